package engine

import (
	"context"
	"strings"

	"rastel/policy"
	"rastel/policy/exceptions"
	"rastel/sanitize/eml"
	"rastel/scanners"
)

// Inspect parses and scans a message while its spool is written, and decides nothing. The caller closes
// the message. The error is that of the spool or of ctx.
func (e *Engine) Inspect(ctx context.Context, env *eml.Envelope, s *eml.Spool) (*eml.Message, scanners.Report, error) {
	run := e.opt.Set.Start(ctx)
	m, findings, err := eml.Parse(ctx, env, s, e.opt.Limits, run.Add)
	if err != nil {
		run.Wait()
		return nil, scanners.Report{}, err
	}
	run.Message(m)
	report := run.Wait()
	report.Merge(findings)
	return m, report, nil
}

// DecideBy gives what a policy makes of a message that was inspected, and stays the caller's. So several
// policies may be asked about one inspection. Exceptions from the policy are those given; nil: there are none. It
// stores and counts nothing.
func (e *Engine) DecideBy(p *policy.Policy, m *eml.Message, r scanners.Report, except *exceptions.Snapshot) (*Examination, error) {
	x := &Examination{Message: m, Report: r, policy: p, exceptions: except}
	if err := e.decide(x); err != nil {
		return nil, err
	}
	return x, nil
}

// Checks are all checks that the scanners of the engine may report.
func (e *Engine) Checks() []eml.Check { return append(e.opt.Set.Checks(), eml.Checks()...) }

// CountsAsUnexamined reports whether a finding of an engine, of which only the check is known, says that
// the content could not be looked into.
func CountsAsUnexamined(check string) bool {
	return strings.HasSuffix(check, "/limit") || strings.HasSuffix(check, "/encrypted") || check == "clamd/ignored"
}
