package engine

import (
	"context"
	"fmt"
	"time"

	"rastel/policy"
	"rastel/sanitize/eml"
)

// stageWait is how long the stages of one session may wait for what is not known yet, all together.
const stageWait = 2 * time.Second

// A stages decides at the stages of one session, always by the same policy.
type stages struct {
	*Engine
	policy *policy.Policy
	left   time.Duration // of stageWait

	mail  bool          // found is what is known since MAIL
	found []eml.Finding // about the envelope
}

// Stages begins an SMTP session: it gives what decides at its stages before there is a message. Nil
// means that the client may go on. It implements milter.Stages; the function is for one goroutine.
func (e *Engine) Stages() func(ctx context.Context, at eml.Stage, env *eml.Envelope, recipient string) *policy.Verdict {
	s := &stages{Engine: e, policy: e.opt.Policy(), left: stageWait}
	return s.decide
}

func (s *stages) decide(ctx context.Context, at eml.Stage, env *eml.Envelope, recipient string) *policy.Verdict {
	start := time.Now()
	if at != eml.AtRcpt { // the answers are to be there when the message is
		s.mail, s.found = false, nil
		s.opt.Set.BeginEnvelope(at, env)
	}
	if !s.policy.Asks(at) {
		return nil
	}
	v := s.policy.DecideAt(at, env, recipient, s.findings(ctx, at, env))
	s.logFailed(v, at, env)
	s.metrics.countWatched(v)
	if v.Action == policy.Accept {
		s.logWatched(v, at, env)
		return nil
	}
	v.Reply = stageReply(v, at, env)
	s.metrics.refused(at, v)
	if s.opt.Senders != nil && v.Action == policy.Reject {
		s.opt.Senders.Count(env.Client, env.AuthUser, false, true)
	}
	s.opt.Logger.Info("verdict", "queue_id", env.QueueID, "session", env.Session, "stage", at.String(), "client", env.Client.String(),
		"action", v.Action.String(), "rule", v.Rule, "rules", matched(v.Trace), "findings", checkIDs(s.found), "watched", watched(v),
		"duration", time.Since(start).Round(time.Microsecond), "policy", v.Policy)
	return v
}

// findings are what is known of the envelope. At RCPT this is what is known since MAIL.
func (s *stages) findings(ctx context.Context, at eml.Stage, env *eml.Envelope) []eml.Finding {
	if at == eml.AtRcpt && s.mail {
		return s.found
	}
	if at == eml.AtRcpt {
		at = eml.AtMail
	}
	start := time.Now()
	ctx, cancel := context.WithTimeout(ctx, s.left)
	defer cancel()
	s.found, s.mail = s.opt.Set.ScanEnvelope(ctx, at, env), at == eml.AtMail
	s.left = max(0, s.left-time.Since(start))
	return s.found
}

// logFailed tells of a rule that could not be evaluated. The client goes on then.
func (s *stages) logFailed(v *policy.Verdict, at eml.Stage, env *eml.Envelope) {
	for _, step := range v.Trace {
		if step.Failed {
			s.opt.Logger.Warn("rule could not be evaluated", "session", env.Session, "stage", at.String(), "rule", step.Rule, "error", step.Why)
		}
	}
}

// logWatched tells of rules that would have refused something and only watch.
func (s *stages) logWatched(v *policy.Verdict, at eml.Stage, env *eml.Envelope) {
	if len(v.Watched) > 0 {
		s.opt.Logger.Info("watched", "queue_id", env.QueueID, "session", env.Session, "stage", at.String(), "client", env.Client.String(),
			"watched", watched(v), "policy", v.Policy)
	}
}

// stageTexts are what the sender is told if the rule does not say anything.
var stageTexts = map[eml.Stage]string{
	eml.AtConnect: "Mail from your host is not taken",
	eml.AtMail:    "Mail of this sender is not taken from your host",
	eml.AtRcpt:    "Mail for this recipient is not taken",
}

// stageReply is the reply with what names it in our log.
func stageReply(v *policy.Verdict, at eml.Stage, env *eml.Envelope) policy.Reply {
	r := v.Reply
	if r.Text == "" {
		r.Text = stageTexts[at]
		if v.Action == policy.TempFail {
			r.Text += " for now; try again later"
		}
	}
	if env.Session != "" {
		r.Text += fmt.Sprintf(" (reference %s)", env.Session)
	}
	return r
}
