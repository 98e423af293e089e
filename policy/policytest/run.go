package policytest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"rastel/policy"
	"rastel/policy/engine"
	"rastel/sanitize/eml"
	"rastel/scanners"
)

// A Runner runs cases. It is safe for concurrent use.
type Runner struct {
	Engine *engine.Engine // examines; the policy that it has is not asked
	Spool  eml.SpoolOptions
	// Deadline is how long one message may be examined; 0 means one minute.
	Deadline time.Duration
	// Checks are those that a case may give. Without any, they are taken as they are.
	Checks []eml.Check
	// Twice says that what is delivered is examined once more, and must not be changed again.
	Twice bool
}

// Run gives what is not as the case wants it, a line each: file, line, what was wanted and what is there
// instead. The error says why the case could not be run.
func (r *Runner) Run(ctx context.Context, p *policy.Policy, c *Case) (failures []string, err error) {
	if err := r.checkGiven(c); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, r.deadline())
	defer cancel()
	if !c.Time.IsZero() {
		p = p.At(c.Time)
	}
	o, done, err := r.outcome(ctx, p, c)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.File, err)
	}
	defer done()
	for _, w := range c.wants {
		got, err := w.key.got(o, w.value)
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %s: %w", c.File, w.line, w.key.Name, err)
		}
		if got != "" {
			failures = append(failures, fmt.Sprintf("%s:%d: want %s: %s; got %s", c.File, w.line, w.key.Name, w.value, got))
		}
	}
	if r.Twice && o.verdict.Action == policy.Accept {
		failures = append(failures, r.secondPass(ctx, p, c, o)...)
	}
	return failures, nil
}

func (r *Runner) deadline() time.Duration {
	if r.Deadline > 0 {
		return r.Deadline
	}
	return time.Minute
}

func (r *Runner) checkGiven(c *Case) error {
	if len(r.Checks) == 0 {
		return nil
	}
	ids := make([]string, len(r.Checks))
	for i, k := range r.Checks {
		ids[i] = k.ID
	}
	for _, g := range c.given {
		if !slices.Contains(ids, g.check) {
			return fmt.Errorf("%s:%d: given: there is no check %q%s", c.File, g.line, g.check, meant(policy.Nearest(g.check, ids)))
		}
	}
	return nil
}

func meant(near string) string {
	if near == "" {
		return ""
	}
	return fmt.Sprintf("; did you mean %q?", near)
}

// outcome has the policy decide about the case, at all stages. done gives back what it holds.
func (r *Runner) outcome(ctx context.Context, p *policy.Policy, c *Case) (o *outcome, done func(), err error) {
	o = &outcome{refused: map[string]*policy.Verdict{}}
	env := c.Envelope
	if o.early(p, c, &env) {
		return o, func() {}, nil
	}
	m, report, closeMessage, err := r.inspect(ctx, &env, c.Raw)
	if err != nil {
		return nil, nil, err
	}
	closers := []func(){closeMessage}
	closeAll := func() {
		for _, f := range closers {
			f()
		}
	}
	defer func() {
		if err != nil {
			closeAll()
		}
	}()
	if err := c.Give(m, &report); err != nil {
		return nil, nil, err
	}
	x, err := r.Engine.DecideBy(p, m, report, nil)
	if err != nil {
		return nil, nil, err
	}
	o.message, o.report, o.verdict = m, report, x.Verdict
	if o.out, err = delivered(x.Verdict, c.Raw); err != nil || o.out == nil || !c.asksForMore() {
		return o, closeAll, err
	}
	again, _, closeAgain, err := r.inspect(ctx, &env, o.out)
	if err == nil {
		o.again, closers = again, append(closers, closeAgain)
	}
	return o, closeAll, err
}

// asksForMore reports whether the parts of what is delivered are asked for.
func (c *Case) asksForMore() bool {
	return slices.ContainsFunc(c.wants, func(w want) bool { return w.key.Name == "same" })
}

// early asks the rules for the stages before the message is there, and takes the recipients that are
// refused out of the envelope. It reports whether nothing is left.
func (o *outcome) early(p *policy.Policy, c *Case, env *eml.Envelope) bool {
	found := c.aboutEnvelope()
	for _, at := range []eml.Stage{eml.AtConnect, eml.AtMail} {
		if !p.Asks(at) {
			continue
		}
		if v := p.DecideAt(at, env, "", found); v.Action != policy.Accept {
			o.verdict = v
			return true
		}
	}
	if !p.Asks(eml.AtRcpt) || len(env.Recipients) == 0 {
		return false
	}
	var left []string
	for _, to := range env.Recipients {
		if v := p.DecideAt(eml.AtRcpt, env, to, found); v.Action != policy.Accept {
			o.verdict, o.refused[to] = v, v
		} else {
			left = append(left, to)
		}
	}
	env.Recipients = left
	return len(left) == 0
}

// aboutEnvelope are the given findings that are about no part.
func (c *Case) aboutEnvelope() (out []eml.Finding) {
	for _, g := range c.given {
		if g.part == "" {
			out = append(out, eml.Finding{Check: g.check, Detail: g.detail})
		}
	}
	return out
}

// inspect examines a message. done gives back what it holds.
func (r *Runner) inspect(ctx context.Context, env *eml.Envelope, raw []byte) (m *eml.Message, report scanners.Report, done func(), err error) {
	spool := eml.NewSpool(r.Spool)
	if _, err := io.Copy(spool, bytes.NewReader(raw)); err != nil {
		spool.Close()
		return nil, report, nil, err
	}
	spool.CloseWrite(nil)
	m, report, err = r.Engine.Inspect(ctx, env, spool)
	if err != nil {
		spool.Close()
		return nil, report, nil, err
	}
	return m, report, func() { m.Close(); spool.Close() }, nil
}

// Give adds what the case gives to a report about its message.
func (c *Case) Give(m *eml.Message, report *scanners.Report) error {
	var list []eml.Finding
	for _, g := range c.given {
		p, err := c.partFor(m, g)
		if err != nil {
			return err
		}
		list = append(list, eml.Finding{Check: g.check, Part: p, Detail: g.detail, Unexamined: engine.CountsAsUnexamined(g.check)})
	}
	for _, g := range c.unexamined {
		p, err := c.partFor(m, g)
		if err != nil {
			return err
		}
		list = append(list, eml.Finding{Check: "scan/failed", Part: p, Detail: g.detail})
		report.Unexamined = append(report.Unexamined, eml.Unexamined{Part: p, Why: "scan/failed: " + g.detail, Temporary: g.temporary})
	}
	report.Merge(list)
	m.Root.Walk(func(p *eml.Part) bool {
		for _, e := range c.engines {
			report.Looks = append(report.Looks, scanners.Look{Part: p, Engine: e, Examined: true})
		}
		return true
	})
	return nil
}

// partFor is the part that a finding is about.
func (c *Case) partFor(m *eml.Message, g given) (*eml.Part, error) {
	if g.part == "" {
		return m.Root, nil
	}
	if p := partOf(m, g.part); p != nil {
		return p, nil
	}
	var ids []string
	m.Root.Walk(func(p *eml.Part) bool { ids = append(ids, p.ID); return len(ids) < 50 })
	return nil, fmt.Errorf("line %d: there is no part %q in the message; there are %s", g.line, g.part, strings.Join(ids, ", "))
}

// delivered is what is delivered of a message; nil if nothing is.
func delivered(v *policy.Verdict, raw []byte) ([]byte, error) {
	switch {
	case v.Action != policy.Accept:
		return nil, nil
	case v.Patch.Empty():
		return raw, nil
	}
	var out bytes.Buffer
	if _, err := v.Patch.WriteTo(&out); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// secondPass sees what becomes of what is delivered if it comes again.
func (r *Runner) secondPass(ctx context.Context, p *policy.Policy, c *Case, o *outcome) []string {
	failed := func(format string, a ...any) []string {
		return []string{c.File + ": a second pass " + fmt.Sprintf(format, a...)}
	}
	again := *c
	again.Raw = o.out
	x, done, err := r.outcome(ctx, p, &again)
	if err != nil {
		return failed("fails: %v", err)
	}
	defer done()
	if x.verdict.Action != policy.Accept {
		return failed("gives %s%s", x.verdict.Action, by(x.verdict))
	}
	if !bytes.Equal(x.out, o.out) {
		return failed("changes\n%s\nto\n%s", o.out, x.out)
	}
	return nil
}
