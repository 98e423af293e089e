package sqlindex

import (
	"context"
	"database/sql"
	"errors"
	"math/rand/v2"
	"time"
)

// A dialect is in what databases differ. The zero value is SQLite: one writer at a time, in a file that is
// always there.
type dialect struct {
	lockRow string           // behind a SELECT whose row is going to be changed
	tx      sql.TxOptions    // of transactions that write
	again   func(error) bool // whether a call may come about if it is tried again; nil: never

	unsure func(error) bool // whether a commit with that error may have come about; nil: never

	put, list, update time.Duration // how long those calls may take; 0: as long as their caller lets them
}

const (
	// maxTries is how often a call is tried.
	maxTries = 1000
	// maxPause is how long it waits in between at most.
	maxPause = 250 * time.Millisecond
)

// within bounds a call.
func within(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	if d == 0 {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, d)
}

// retry calls do until it comes about, fails for good, or ctx ends.
func (d dialect) retry(ctx context.Context, do func() error) error {
	for try := 0; ; try++ {
		err := do()
		if err == nil || d.again == nil || try >= maxTries || ctx.Err() != nil || !d.again(err) {
			return err
		}
		pause := min(maxPause, time.Millisecond<<min(try, 10))
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-time.After(pause/2 + rand.N(pause)):
		}
	}
}
