package scanners

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// A clock measures how long it takes to open one part, and ends the context of that when it takes
// too long. It runs from start to stop, any number of times. Only Pause may be called from another
// goroutine than the one that starts it.
type clock struct {
	b    *Budget
	it   *item // that is opened
	told bool  // somebody has said that the time is up

	ctx    context.Context //nolint:containedctx // ends with the clock
	cancel context.CancelCauseFunc

	mu    sync.Mutex
	timer *time.Timer
	since time.Time // zero: it stands still
	used  time.Duration
}

type clockKey struct{}

// start lets the clock run. The context that it returns is one of parent's that ends when the time
// is up.
func (c *clock) start(parent context.Context) context.Context {
	if c.ctx == nil {
		c.ctx, c.cancel = context.WithCancelCause(context.WithValue(parent, clockKey{}, c))
	}
	c.resume()
	return c.ctx
}

// resume lets the clock run, for as long as there is time left.
func (c *clock) resume() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.since = time.Now()
	one, all := c.b.lim.ContainerTime, c.b.lim.Time
	left, why := one-c.used, fmt.Errorf("%w: more than %v for one container", ErrBudget, one)
	if l := all - time.Duration(c.b.spent.Load()); l < left {
		left, why = l, fmt.Errorf("%w: more than %v for all containers", ErrBudget, all)
	}
	if left <= 0 {
		c.cancel(why)
		return
	}
	c.timer = time.AfterFunc(left, func() { c.cancel(why) })
}

// stop lets the clock stand still.
func (c *clock) stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.timer != nil {
		c.timer.Stop()
	}
	took := time.Since(c.since)
	c.used += took
	c.b.spent.Add(int64(took))
}

// over is ErrBudget if the time is up.
func (c *clock) over() error {
	if err := context.Cause(c.ctx); errors.Is(err, ErrBudget) {
		return err
	}
	return nil
}

// close ends the context.
func (c *clock) close() {
	if c.cancel != nil {
		c.cancel(nil)
	}
}

// Pause says that what follows is waiting that the message is not to blame for, until the function
// that it returns is called: it does not count as time of the expansion that ctx belongs to.
func Pause(ctx context.Context) func() {
	c, ok := ctx.Value(clockKey{}).(*clock)
	if !ok {
		return func() {}
	}
	c.stop()
	return c.resume
}
