// Package worker runs expanders in processes of their own. What a Go program does not survive, a
// stack that overflows, memory that runs out, a decoder that never ends, then ends a worker and is
// a failure to examine one part.
//
// A worker may do nothing but compute: it has a limit of memory and processor time, opens no file,
// no connection, no program, and sees one part at a time through the descriptor that it is given.
// What it says is believed no more than the sender of the part is.
package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"rastel/sanitize/eml"
	"rastel/scanners"
)

const (
	defaultMemory = 256 << 20
	// MinMemory is the least memory that a worker can do with.
	MinMemory = 64 << 20
	// maxJobs is after how many jobs a worker is replaced, and maxCPU after how much processor time.
	maxJobs = 1000
	maxCPU  = 5 * time.Minute
	// lentPerWorker is how many workers may wait for the rest of their messages, besides each that works.
	lentPerWorker = 16
)

// Options of a Pool.
type Options struct {
	Workers int             // how many there are at most; 0 means as many as processors
	Memory  int64           // bytes of memory that each may use; default 256 MiB
	Config  json.RawMessage // what Main makes its expanders of
	// Command is the program that calls Main, and its arguments, the first of which is its name.
	Command []string
	Env     []string // of the command
	Spool   eml.SpoolOptions
	Limits  scanners.BudgetLimits
	Logger  *slog.Logger // nil: nothing is logged
}

// A Pool is a number of workers. They are started when there is work for them. It is safe for
// concurrent use.
type Pool struct {
	opt      Options
	settings settings

	slots  chan *process // one for each worker; nil: it is to be started
	lent   chan struct{} // one for each slot that was lent
	starts chan chan<- started
	thread sync.WaitGroup
	ready  ready // what the first worker said
}

type started struct {
	w   *process
	err error
}

// New makes a pool, and starts one worker to see that it works. The caller closes the pool, when
// nothing made by Isolate is in use any more.
func New(opt Options) (*Pool, error) {
	if opt.Workers == 0 {
		opt.Workers = runtime.GOMAXPROCS(0)
	}
	if opt.Memory == 0 {
		opt.Memory = defaultMemory
	}
	if opt.Logger == nil {
		opt.Logger = slog.New(slog.DiscardHandler)
	}
	lim := scanners.NewBudget(opt.Limits, opt.Spool).Limits()
	pl := &Pool{
		opt: opt, slots: make(chan *process, opt.Workers), lent: make(chan struct{}, opt.Workers*lentPerWorker), starts: make(chan chan<- started),
		settings: settings{
			Config: opt.Config, Memory: opt.Memory, FileSize: lim.Bytes + 1<<20,
			CPU: maxCPU + lim.ContainerTime, // none that is well comes to that
		},
	}
	pl.thread.Go(pl.starter)
	for range opt.Workers {
		pl.slots <- nil
	}
	w, err := pl.take(context.Background())
	if err != nil {
		pl.Close()
		return nil, err
	}
	pl.ready = w.ready
	pl.slots <- w
	return pl, nil
}

// Close ends all workers.
func (pl *Pool) Close() {
	for range pl.opt.Workers {
		if w := <-pl.slots; w != nil {
			w.kill(errors.New("the pool was closed"))
			w.close()
		}
	}
	close(pl.starts)
	pl.thread.Wait()
}

// starter starts workers. The kernel kills them when the thread that has started them ends, so it
// is one that stays.
func (pl *Pool) starter() {
	runtime.LockOSThread()
	for reply := range pl.starts {
		w, err := pl.start()
		reply <- started{w, err}
	}
}

// Confined says, for the log, what the kernel holds the workers to, and what it cannot.
func (pl *Pool) Confined() (by, notBy string) {
	return short(pl.ready.Confined), short(pl.ready.Missing)
}

// short is what a worker says, for the log.
func short(list []string) string {
	text := strings.Join(list, ", ")
	return strings.ToValidUTF8(text[:min(len(text), 1000)], "?")
}

// take waits for a worker, and starts one if there is none yet. The caller gives it back.
func (pl *Pool) take(ctx context.Context) (*process, error) {
	var w *process
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case w = <-pl.slots:
	}
	if w != nil {
		return w, nil
	}
	reply := make(chan started, 1)
	pl.starts <- reply
	s := <-reply
	if s.err != nil {
		pl.slots <- nil
		return nil, &scanners.Temporary{Err: fmt.Errorf("start worker: %w", s.err)}
	}
	return s.w, nil
}

// give gives a worker back. One that is not fit for another job is ended, and why is returned.
func (pl *Pool) give(w *process, fit bool) error {
	w.jobs++
	if fit && w.jobs < maxJobs && w.memory() < pl.settings.Memory/2 {
		pl.slots <- w
		return nil
	}
	if fit {
		w.kill(errors.New("replaced"))
	}
	w.close()
	pl.slots <- nil
	return w.obituary()
}

// lend gives the slot of a worker that is about to wait to another one: the rest of a message may be
// long in coming, and what is awaited may itself need a worker. It reports false if too many wait.
func (pl *Pool) lend() bool {
	select {
	case pl.lent <- struct{}{}:
		pl.slots <- nil // there is room: a worker is out
		return true
	default:
		return false
	}
}

// regain takes a slot for a worker that goes on.
func (pl *Pool) regain() {
	if w := <-pl.slots; w != nil {
		w.kill(errors.New("replaced"))
		w.close()
	}
	<-pl.lent
}

// Isolate gives the list with all Openers replaced by scanners that run them in workers. Their
// names must be those that Main knows them by.
func (pl *Pool) Isolate(list []scanners.Named) []scanners.Named {
	list = slices.Clone(list)
	for i, n := range list {
		if o, ok := n.Scanner.(scanners.Opener); ok {
			list[i].Scanner = &isolated{Opener: o, name: n.Name, pool: pl}
		}
	}
	return list
}
