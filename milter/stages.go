package milter

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/emersion/go-milter"

	"rastel/policy"
	"rastel/sanitize/eml"
)

// A decideFunc is what Stages gives.
type decideFunc = func(ctx context.Context, at eml.Stage, env *eml.Envelope, recipient string) *policy.Verdict

// stageTimeout is how long a decision at a stage may take. The MTA hears nothing meanwhile.
const stageTimeout = 5 * time.Second

var errRefused = errors.New("refused at MAIL")

// atStage is the answer of the judge at a stage before the message; nil if the client may go on. We
// ask the MTA to wait for answers to these commands, whether there are rules for them or not, so there
// is nothing to agree about in the negotiation.
func (s *session) atStage(at eml.Stage, recipient string) milter.Response {
	if s.decide == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), stageTimeout)
	defer cancel()
	v := s.decideAt(ctx, at, recipient)
	if v == nil || v.Action != policy.TempFail && v.Action != policy.Reject {
		return nil
	}
	return replyPacket(v.Action, v.Reply)
}

// decideAt calls the judge. If it panics the client may go on: the message is still to be judged.
func (s *session) decideAt(ctx context.Context, at eml.Stage, recipient string) (v *policy.Verdict) {
	defer func() {
		if p := recover(); p != nil {
			s.srv.log.Error("panic: nothing decided at a stage", "session", s.id, "stage", at.String(), "error", fmt.Sprint(p), "stack", string(debug.Stack()))
			v = nil
		}
	}()
	return s.decide(ctx, at, s.envelope(), recipient)
}

// envelope is what is known by now. The caller may keep it, but not change its recipients.
func (s *session) envelope() *eml.Envelope {
	env := &eml.Envelope{}
	if s.tx != nil {
		*env = s.tx.env
		env.Recipients = slices.Clip(env.Recipients) // those that follow go elsewhere
	}
	s.describe(env)
	return env
}

// describe fills in what the session says about a message.
func (s *session) describe(env *eml.Envelope) {
	env.QueueID = s.macros.get(macroQueueID)
	env.TLS = s.macros.get(macroTLS)
	env.AuthUser = s.macros.get(macroAuth)
	env.Listener = s.macros.get(macroDaemonName)
	env.ListenerAddr = listenerAddr(s.macros.get(macroIfAddr), s.macros.get(macroDaemonAddr))
	env.Session, env.Helo = s.id, s.helo
	env.Client, env.ClientName = s.client, s.clientName
}

// listenerAddr is the first of these that is an address, as netip writes it; empty if none is.
func listenerAddr(texts ...string) string {
	for _, text := range texts {
		text = strings.Trim(text, "[]")
		if i := len("IPv6:"); len(text) > i && strings.EqualFold(text[:i], "IPv6:") {
			text = text[i:]
		}
		if a, err := netip.ParseAddr(text); err == nil && !a.IsUnspecified() {
			return a.Unmap().WithZone("").String()
		}
	}
	return ""
}
