package main

import (
	"errors"
	"sync"
	"syscall"
	"time"

	"rastel/contrib/rig"
)

// A fault is something that happens to a clamd.
type fault struct {
	name  string
	doc   string
	begin func(w *world) error
	end   func(w *world) error // returns when the clamd can be used again

	both   bool // it happens to both, so that there is nobody to scan
	unseen bool // rastel need not notice
}

func (f fault) title() string { return f.name + " (" + f.doc + ")" }

func nothing(*world) error { return nil }

// faults are all of them. The first clamd is asked by a unix socket, the second one by TCP and through
// the proxy.
func faults() []fault {
	var again reloader
	return []fault{
		{name: "well", doc: "nothing happens", begin: nothing, end: nothing, unseen: true},
		{name: "killed", doc: "SIGKILL, started again", begin: kill, end: start},
		{name: "hung", doc: "SIGSTOP, SIGCONT", begin: signal(syscall.SIGSTOP), end: signal(syscall.SIGCONT)},
		{name: "slow", doc: "5 bytes a second", begin: proxied(crawl), end: proxied(pass)},
		{name: "slow scans", doc: "8 s each, PING at once", begin: proxied(lateReplies), end: proxied(pass), unseen: true},
		{name: "reloading", doc: "ConcurrentDatabaseReload no", begin: again.begin(first), end: again.end, unseen: true},
		{name: "garbage", doc: "to everything", begin: proxied(babble), end: proxied(pass)},
		{name: "garbage for scans", doc: "PING is answered", begin: proxied(babbleScans), end: proxied(pass)},
		{name: "closing", doc: "in the middle of content or reply", begin: proxied(hangUp), end: proxied(pass)},
		{name: "both reloading", doc: "ConcurrentDatabaseReload no", begin: again.begin(both), end: again.end, both: true, unseen: true},
		{name: "both killed", doc: "SIGKILL, started again", begin: killBoth, end: startBoth, both: true},
		{name: "both hung", doc: "SIGSTOP, SIGCONT", begin: signalBoth(syscall.SIGSTOP), end: signalBoth(syscall.SIGCONT), both: true},
	}
}

func first(w *world) []*rig.Clamd { return []*rig.Clamd{w.first} }
func both(w *world) []*rig.Clamd  { return []*rig.Clamd{w.first, w.second} }

func kill(w *world) error  { w.first.Kill(); return nil }
func start(w *world) error { return w.first.Start() }

func killBoth(w *world) error {
	w.first.Kill()
	w.second.Kill()
	return nil
}

func startBoth(w *world) error { return errors.Join(w.first.Start(), w.second.Start()) }

func signal(sig syscall.Signal) func(*world) error {
	return func(w *world) error { return w.first.Signal(sig) }
}

func signalBoth(sig syscall.Signal) func(*world) error {
	return func(w *world) error { return errors.Join(w.first.Signal(sig), w.second.Signal(sig)) }
}

func proxied(m mode) func(*world) error {
	return func(w *world) error { w.proxy.set(m); return nil }
}

// A reloader has clamds load their databases again and again.
type reloader struct {
	stop chan struct{}
	done sync.WaitGroup
	list []*rig.Clamd
}

const reloadInterval = 3 * time.Second

func (r *reloader) begin(which func(*world) []*rig.Clamd) func(*world) error {
	return func(w *world) error {
		r.stop, r.list = make(chan struct{}), which(w)
		r.done.Go(func() {
			tick := time.NewTicker(reloadInterval)
			defer tick.Stop()
			for {
				for _, c := range r.list {
					_ = c.Signal(syscall.SIGUSR2) // it has ended: then all that follows fails
				}
				select {
				case <-tick.C:
				case <-r.stop:
					return
				}
			}
		})
		return nil
	}
}

// end waits until they answer.
func (r *reloader) end(*world) error {
	close(r.stop)
	r.done.Wait()
	var errs error
	for _, c := range r.list {
		errs = errors.Join(errs, c.Wait())
	}
	return errs
}
