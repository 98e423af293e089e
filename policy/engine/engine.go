// Package engine takes one message from its first byte to its verdict: parse, examine,
// decide, hold. It is the only place that knows the order of these.
package engine

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"rastel/policy"
	"rastel/policy/exceptions"
	"rastel/policy/quarantine"
	"rastel/sanitize/eml"
	"rastel/scanners"
)

// A Quarantine keeps messages. *quarantine.Store is one.
type Quarantine interface {
	// Hold stores the message; it is durable when Hold returns nil.
	Hold(ctx context.Context, it *quarantine.Item, r io.Reader) error
	// Queue stores a message that is to be sent; it is durable when Queue returns nil.
	Queue(ctx context.Context, it *quarantine.Item, r io.Reader) error
	// Send begins to send what is queued.
	Send()
	// Verify tells whether the token was made by Release for this message, so that it must
	// not be held again.
	Verify(ctx context.Context, token string, env *eml.Envelope, raw io.Reader) (*quarantine.Item, error)
}

// Senders are hosts and users with the messages that they send. *hosts.Table is one.
type Senders interface {
	Count(host netip.Addr, user string, infected, refused bool)
}

// Exceptions are what administrators have excepted from the policy. *exceptions.Book is one.
type Exceptions interface {
	// Snapshot is what is in force.
	Snapshot() *exceptions.Snapshot
	// Hit notes that exceptions made a difference for a message. It does not wait.
	Hit(ids []string, at time.Time)
}

// Options of an Engine.
type Options struct {
	Set        *scanners.Set
	Policy     func() *policy.Policy // the policy in force; called once a message
	Quarantine Quarantine            // nil: what would be held or queued is refused for now
	Notify     NotifyConfig
	Limits     eml.Limits
	// Record gives edits for a message that is changed: they tell of it what will not be found in
	// it any more. Nil: there are none.
	Record func(*eml.Message, []eml.Finding) []eml.Edit
	// Host gives the address of the host that a message comes from, behind relays of our own. Nil: it is
	// the SMTP client.
	Host func(*eml.Message) netip.Addr
	// Senders counts who sends what is infected or refused. Nil: nobody does.
	Senders Senders
	// EvidenceField puts a field into what is delivered that tells what was decided, and why.
	EvidenceField bool
	// Samples keeps a share of what is delivered. Nil: nothing is kept.
	Samples *Sampler
	// Exceptions from the policy. Nil: there are none.
	Exceptions Exceptions
	Logger     *slog.Logger // nil: nothing is logged
	// Metrics is where what Judge does is counted, for one engine. Nil: nowhere.
	Metrics prometheus.Registerer
}

// An Engine examines messages and decides about them. It is safe for concurrent use.
type Engine struct {
	opt     Options
	metrics *metrics
	notify  NotifyConfig // with defaults
	notices *noticeLimit
}

// New makes an engine.
func New(opt Options) *Engine {
	if opt.Logger == nil {
		opt.Logger = slog.New(slog.DiscardHandler)
	}
	notify := opt.Notify.withDefaults()
	return &Engine{opt: opt, metrics: newMetrics(opt.Metrics), notify: notify,
		notices: &noticeLimit{max: notify.PerHour, now: time.Now, keys: map[[sha256.Size]byte]*noticeCount{}}}
}

// An Examination is all that is known about a message, and what is to be done with it.
type Examination struct {
	Message *eml.Message // the caller closes it
	Report  scanners.Report
	Verdict *policy.Verdict
	Item    string // what the message is called in quarantine if the verdict holds it
	// Reference is what the message is called in the log and in replies; that of the item, if it is held.
	Reference string

	exceptions *exceptions.Snapshot
	began      time.Time
	took       time.Duration // until the verdict
	record     []byte        // the evidence that is kept; nil until it is needed
	told       string        // the reference that the policy was given
	policy     *policy.Policy
	released   bool              // an administrator wants it delivered, or we have sent it
	items      map[string]string // what it is called in quarantine, by the group of recipients
	sum        string            // see identity
	queued     bool              // something was, for it
}

// Examine parses and scans a message while its spool is written, and decides. It changes and
// stores nothing. The error is that of the spool or of ctx.
func (e *Engine) Examine(ctx context.Context, env *eml.Envelope, s *eml.Spool) (*Examination, error) {
	began := time.Now()
	p := e.opt.Policy() // once, so that a reload does not change it half-way
	m, report, err := e.Inspect(ctx, env, s)
	if err != nil {
		return nil, err
	}
	x := &Examination{Message: m, Report: report, Reference: quarantine.NewID(), began: began, policy: p}
	if e.opt.Quarantine != nil {
		x.Item = x.Reference
	}
	if e.opt.Exceptions != nil {
		x.exceptions = e.opt.Exceptions.Snapshot()
	}
	if err := e.decide(x); err != nil {
		m.Close()
		return nil, err
	}
	x.took = time.Since(began)
	return x, nil
}

// decide makes the verdict.
func (e *Engine) decide(x *Examination) error {
	x.record, x.told = nil, x.Reference
	x.Verdict = x.policy.DecideGiven(x.Message, x.Report, policy.Given{Item: x.Item, Reference: x.Reference, Exceptions: x.exceptions})
	if err := e.record(x); err != nil {
		return err
	}
	return e.tellEvidence(x)
}

// record adds the edits of Options.Record to the patches of all verdicts.
func (e *Engine) record(x *Examination) error {
	for _, v := range x.verdicts() {
		if err := e.recordIn(x, v); err != nil {
			return err
		}
	}
	return nil
}

// recordIn adds them to a patch that changes what a signature may cover; a field more does not.
func (e *Engine) recordIn(x *Examination, v *policy.Verdict) error {
	changes := v.Patch.Body() != nil || slices.ContainsFunc(v.Patch.Fields(), func(f eml.FieldEdit) bool {
		return f.Op == eml.ChangeField || f.Op == eml.DeleteField
	})
	if e.opt.Record == nil || !changes {
		return nil
	}
	edits := e.opt.Record(x.Message, x.Report.Findings)
	if len(edits) == 0 {
		return nil
	}
	patch, err := v.Patch.With(x.Message, edits...)
	if err != nil {
		return fmt.Errorf("record what was found: %w", err)
	}
	v.Patch = patch
	return nil
}

// Judge does all that Examine does, and all of the verdict that is not for the MTA: it holds the message,
// and queues copies and notices. A verdict that it returns is one that a crash cannot undo. It implements
// milter.Judge.
func (e *Engine) Judge(ctx context.Context, env *eml.Envelope, s *eml.Spool) (*policy.Verdict, error) {
	start := time.Now()
	x, err := e.Examine(ctx, env, s)
	if err != nil {
		return nil, err
	}
	defer x.Message.Close()
	if err := e.released(ctx, x); err != nil {
		return nil, err
	}
	if err := e.carryOut(ctx, x); err != nil {
		e.opt.Logger.Error("message could not be held, or what is to be sent could not be queued", "queue_id", env.QueueID, "session", env.Session, "error", err)
		x.Verdict = refuse(x.Verdict)
	}
	x.refer()
	e.opt.Samples.keep(ctx, x, e.evidenceFor)
	took := time.Since(start)
	e.metrics.count(x, took)
	e.countSender(x)
	if used := x.Verdict.AllExceptions(); e.opt.Exceptions != nil && len(used) > 0 {
		e.opt.Exceptions.Hit(used, start)
	}
	e.log(x, took)
	return x.Verdict, nil
}

// countSender counts who sent a message. What was released is not sent again by whoever sent it first.
func (e *Engine) countSender(x *Examination) {
	if e.opt.Senders == nil || x.released {
		return
	}
	infected := slices.ContainsFunc(x.Report.Findings, func(f eml.Finding) bool { return strings.HasSuffix(f.Check, "/malware") })
	refused := x.Verdict.Action == policy.Reject || x.Verdict.Action == policy.Quarantine || x.Verdict.Action == policy.Discard
	e.opt.Senders.Count(e.host(x.Message), x.Message.Envelope.AuthUser, infected, refused)
}

func (e *Engine) host(m *eml.Message) netip.Addr {
	if e.opt.Host == nil {
		return m.Envelope.Client
	}
	return e.opt.Host(m)
}

// released lets a message through that an administrator has released, and takes the token off
// any message that has one: it must not be seen outside.
func (e *Engine) released(ctx context.Context, x *Examination) error {
	m := x.Message
	tokens := tokenEdits(m)
	if len(tokens) == 0 {
		return nil
	}
	if it := e.verified(ctx, m); it != nil {
		x.released = true
		x.Verdict = &policy.Verdict{Action: policy.Accept, Rule: "released from quarantine", Policy: x.Verdict.Policy, Trace: x.Verdict.Trace}
		if it.Purpose != "" {
			x.Verdict.Rule = "sent by the filter"
		}
	}
	for _, v := range x.verdicts() {
		patch, err := v.Patch.With(m, tokens...)
		if err != nil {
			return fmt.Errorf("remove %s: %w", quarantine.TokenField, err)
		}
		v.Patch = patch
	}
	return nil
}

// verified gives the item of the first token of the message, if it is genuine; others do not count.
func (e *Engine) verified(ctx context.Context, m *eml.Message) *quarantine.Item {
	if e.opt.Quarantine == nil {
		return nil
	}
	token := m.Root.Header.Get(quarantine.TokenField)
	it, err := e.opt.Quarantine.Verify(ctx, token, m.Envelope, io.NewSectionReader(m.Spool, 0, m.Size))
	if err != nil {
		e.opt.Logger.Warn("release token not believed", "queue_id", m.Envelope.QueueID, "session", m.Envelope.Session, "error", err)
		return nil
	}
	return it
}

// maxLogged is how many rules and how many checks the log line names.
const maxLogged = 20

func (e *Engine) log(x *Examination, took time.Duration) {
	env := x.Message.Envelope
	parts := 0
	x.Message.Root.Walk(func(*eml.Part) bool { parts++; return true })
	args := []any{"queue_id", env.QueueID, "session", env.Session, "reference", x.Reference, "action", x.Verdict.Action.String(),
		"rule", x.Verdict.Rule, "rules", matched(x.Verdict.Trace), "findings", checkIDs(x.Report.Findings), "patched", !x.Verdict.Patch.Empty(), "held", x.Verdict.Hold,
		"watched", watched(x.Verdict), "exceptions", list(x.Verdict.AllExceptions(), func(id string) string { return id }), "size", x.Message.Size, "parts", parts, "duration", took.Round(time.Microsecond), "policy", x.Verdict.Policy}
	if len(x.Verdict.Others) > 0 {
		args = append(args, "others", others(x.Verdict))
	}
	if v := x.Verdict; len(v.Add)+len(v.Remove) > 0 {
		args = append(args, "added", len(v.Add), "removed", len(v.Remove))
	}
	if x.Verdict.MTAHold != "" {
		args = append(args, "mta_hold", true)
	}
	e.opt.Logger.Info("verdict", args...)
}

// others tells what becomes of the other recipients.
func others(v *policy.Verdict) string {
	return list(v.Others, func(o *policy.Verdict) string {
		s := fmt.Sprintf("%s for %d", o.Action, len(o.Recipients))
		if o.Rule != "" {
			s += " by " + o.Rule
		}
		return s
	})
}

// checkIDs names what was found.
func checkIDs(findings []eml.Finding) string {
	return list(findings, func(f eml.Finding) string { return f.Check })
}

// matched names the rules that held, the one that decided among them.
func matched(trace []policy.Step) string {
	return list(trace, func(s policy.Step) string {
		if !s.Matched || s.Watched {
			return ""
		}
		return s.Rule
	})
}

// watched names the rules that would have done something and only watch.
func watched(v *policy.Verdict) string {
	return list(v.AllWatched(), func(w policy.Watched) string { return w.Rule })
}

// list gives the first names for the log, each once, without the empty ones.
func list[T any](of []T, name func(T) string) string {
	var out []string
	for _, v := range of {
		if n := name(v); n != "" && !slices.Contains(out, n) && len(out) < maxLogged {
			out = append(out, n)
		}
	}
	return strings.Join(out, ",")
}
