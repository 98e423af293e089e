package milter

import (
	"context"

	"rastel/policy"
	"rastel/sanitize/eml"
)

// A Judge decides about messages. The session calls it with the first bytes of a message;
// the spool is written meanwhile, and closed after Judge has returned and its verdict was
// carried out.
//
// An error means that there is no verdict: the message is refused for now. When ctx ends the
// message is gone (the MTA gave up, or time ran out) and nothing that Judge returns counts.
// The verdict's patch reads from the spool.
type Judge interface {
	Judge(ctx context.Context, env *eml.Envelope, s *eml.Spool) (*policy.Verdict, error)
}

// A Stages is a Judge that also decides at the stages of an SMTP session before there is a message.
type Stages interface {
	// Stages is called when a session begins. What it gives is called at eml.AtConnect, eml.AtMail, and
	// eml.AtRcpt once for each recipient, with what is known by then: the envelope has the recipients
	// that were taken before. It may block for a short time. Nil, or an action other than TempFail and
	// Reject, means that the client may go on; the message is judged in any case.
	Stages() func(ctx context.Context, at eml.Stage, env *eml.Envelope, recipient string) *policy.Verdict
}

// JudgeFunc is a function that is a Judge.
type JudgeFunc func(ctx context.Context, env *eml.Envelope, s *eml.Spool) (*policy.Verdict, error)

// Judge calls f.
func (f JudgeFunc) Judge(ctx context.Context, env *eml.Envelope, s *eml.Spool) (*policy.Verdict, error) {
	return f(ctx, env, s)
}
