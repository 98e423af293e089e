package scanners

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"

	"rastel/sanitize/eml"
)

// The checks of this package: what the run itself says about scanners.
var runChecks = []eml.Check{
	{ID: "scan/failed", Doc: "A scanner could not examine the part, so nobody knows what it is."},
	{ID: "scan/limit", Doc: "The containers in the message expand to more than the limits allow, so the rest was not examined."},
}

// Named is a scanner in a Set.
type Named struct {
	Name    string // for the log and for "scan/failed"
	Scanner Scanner
	// Waits says that the scanner mostly waits for another process, such as an engine behind
	// a socket, so that several may run beside the ones that compute.
	Waits bool
}

// Options of a Set. The zero value is usable.
type Options struct {
	Budget  BudgetLimits
	Spool   eml.SpoolOptions // where members are kept
	Workers int              // computing scanners of one message at a time; 0 means the number of processors
	Waiting int              // waiting scanners of one message at a time; 0 means 4
	// Passwords are tried on what is encrypted, besides the words of the message.
	Passwords []string
	Logger    *slog.Logger // for panics of scanners; nil means none
}

// A Set is the scanners that examine messages. It does not change once made, and is safe for
// concurrent use.
type Set struct {
	opt     Options
	compute []Named
	wait    []Named

	envelope []namedEnvelope
}

type namedEnvelope struct {
	EnvelopeScanner
	name string
}

// NewSet makes a set of scanners. They run in that order where order can be seen.
func NewSet(opt Options, list ...Named) *Set {
	if opt.Workers <= 0 {
		opt.Workers = runtime.GOMAXPROCS(0)
	}
	if opt.Waiting <= 0 {
		opt.Waiting = 4
	}
	if opt.Logger == nil {
		opt.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Set{opt: opt}
	for _, n := range list {
		if es, ok := n.Scanner.(EnvelopeScanner); ok {
			s.envelope = append(s.envelope, namedEnvelope{es, n.Name})
		}
		if n.Waits {
			s.wait = append(s.wait, n)
		} else {
			s.compute = append(s.compute, n)
		}
	}
	return s
}

// Checks are all checks that a Report may hold besides those of eml.Parse.
func (s *Set) Checks() []eml.Check {
	out := append([]eml.Check(nil), runChecks...)
	for _, list := range [][]Named{s.compute, s.wait} {
		for _, n := range list {
			out = append(out, n.Scanner.Checks()...)
		}
	}
	return out
}

// BeginEnvelope begins what is to be known of an envelope, and does not wait.
func (s *Set) BeginEnvelope(at eml.Stage, env *eml.Envelope) {
	for _, n := range s.envelope {
		_ = s.protect(n.name, func() { n.BeginEnvelope(at, env) }) // then ScanEnvelope does not know
	}
}

// ScanEnvelope gives what is known of an envelope at that stage, AtConnect or AtMail.
func (s *Set) ScanEnvelope(ctx context.Context, at eml.Stage, env *eml.Envelope) []eml.Finding {
	found := make([][]eml.Finding, len(s.envelope))
	var all sync.WaitGroup
	for i, n := range s.envelope {
		all.Go(func() {
			_ = s.protect(n.name, func() { found[i] = n.ScanEnvelope(ctx, at, env) }) // what it would have found is not known
		})
	}
	all.Wait()
	return slices.Concat(found...)
}

// protect makes an error of a panic, and logs it.
func (s *Set) protect(name string, f func()) (err error) {
	defer func() {
		if v := recover(); v != nil {
			s.opt.Logger.Error("scanner panicked", "scanner", name, "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
			err = fmt.Errorf("panic: %v", v)
		}
	}()
	f()
	return nil
}

// Start begins the examination of one message, which must end before ctx does.
func (s *Set) Start(ctx context.Context) *Run {
	r := &Run{set: s, ctx: ctx, budget: NewBudget(s.opt.Budget, s.opt.Spool), adopted: map[*eml.Part][]*eml.Part{}}
	r.idle.L = &r.mu
	r.text.known = make(chan struct{})
	r.budget.SetWords(r.words)
	r.compute.max, r.waiting.max = s.opt.Workers, s.opt.Waiting
	return r
}
