package milter

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
	"time"

	"rastel/policy"
	"rastel/sanitize/eml"
)

// A stage is how far a message has come.
type stage uint8

const (
	inEnvelope stage = iota
	inHeader
	inBody
)

// Limits of the message's own header, above those at which the parser finds fault: only to
// bound memory, since the library and we remember each field.
const (
	maxHeaderFields = 10_000
	maxHeaderBytes  = 4 << 20
	// headerBatch is how much of the header is collected before the judge gets it.
	headerBatch = 32 << 10
)

// Why a message has no verdict.
var (
	errAborted    = errors.New("message aborted")
	errNewMessage = errors.New("another message was begun")
	errBadField   = errors.New("header field that cannot be read")
	errBigHeader  = errors.New("header is larger than the limit")
	errNoVerdict  = errors.New("no verdict in time")
	errCutOff     = errors.New("shutting down, and out of patience")
)

// A transaction is one message: from MAIL to the answer to its end. It owns the spool, and
// waits for the judge.
type transaction struct {
	s        *session
	env      eml.Envelope
	envBytes int
	stage    stage
	deadline time.Time // of the verdict; set with the first byte of the message

	spool       *eml.Spool
	head        []byte   // header lines that are not in the spool yet
	fields      []string // the names of all header fields, in order
	headerBytes int

	refused *refusal // why it cannot be taken; its other data is ignored

	cancel context.CancelFunc // of the judge; nil if it was not started
	over   <-chan struct{}    // closed when the judge's time is over
	judged chan judgement     // has room for the one judgement
	got    *judgement         // received from judged
}

// A refusal is an answer that needs no verdict.
type refusal struct {
	action policy.Action // TempFail or Reject
	reply  policy.Reply
	err    error
}

// A judgement is what Judge returned.
type judgement struct {
	verdict *policy.Verdict
	err     error
}

func newTransaction(s *session) *transaction {
	t := &transaction{s: s, spool: eml.NewSpool(s.srv.spool)}
	for _, arg := range s.args {
		t.envBytes += len(arg)
	}
	return t
}

// addRecipient tells whether there was room for it.
func (t *transaction) addRecipient(addr string) bool {
	if len(t.env.Recipients) >= maxRecipients || t.envBytes+len(addr) > maxEnvelopeBytes {
		return false
	}
	t.env.Recipients = append(t.env.Recipients, addr)
	t.envBytes += len(addr)
	return true
}

// tempfail spoils the message for now; see refuse.
func (t *transaction) tempfail(why error) { t.refuse(policy.TempFail, policy.Reply{}, why) }

// refuse spoils the message. The judge is told at once; the MTA hears of it at the end. Only
// the first reason counts.
func (t *transaction) refuse(a policy.Action, r policy.Reply, why error) {
	if t.refused != nil {
		return
	}
	t.refused = &refusal{a, r, why}
	t.cut(why)
}

// field adds a header field, byte for byte as the MTA will deliver it.
func (t *transaction) field(name, value string) {
	if t.refused != nil {
		return
	}
	t.headerBytes += len(name) + len(value)
	t.fields = append(t.fields, name)
	if len(t.fields) > maxHeaderFields || t.headerBytes > maxHeaderBytes {
		t.refuse(policy.Reject, policy.Reply{Code: 552, Enhanced: "5.3.4", Text: "The header of the message is too large"}, errBigHeader)
		return
	}
	var err error
	if t.head, err = appendField(t.head, name, value, t.s.leadingSpace()); err != nil {
		t.tempfail(err)
		return
	}
	if len(t.head) >= headerBatch {
		t.flushHead()
	}
}

// appendField writes a field as it will be delivered: folds arrive as LF and leave as CRLF.
// Without leadingSpace the MTA has taken one blank from the value, if there was one.
func appendField(dst []byte, name, value string, leadingSpace bool) ([]byte, error) {
	if strings.ContainsAny(name, ":\r\n") {
		return dst, fmt.Errorf("%w: name %.60q", errBadField, name)
	}
	dst = append(append(dst, name...), ':')
	if !leadingSpace {
		dst = append(dst, ' ')
	}
	for {
		line, rest, folded := strings.Cut(value, "\n")
		dst = append(append(dst, strings.TrimSuffix(line, "\r")...), "\r\n"...)
		if !folded {
			return dst, nil
		}
		if rest == "" || rest[0] != ' ' && rest[0] != '\t' { // we would see another field, or the end
			return dst, fmt.Errorf("%w: %.60q has a line break that is no fold", errBadField, name)
		}
		value = rest
	}
}

// endHeader adds the empty line. The judge has all of the header now.
func (t *transaction) endHeader() {
	t.stage = inBody
	t.head = append(t.head, "\r\n"...)
	t.flushHead()
	t.head = nil
}

func (t *transaction) flushHead() {
	t.write(t.head)
	t.head = t.head[:0]
}

// body adds bytes of the body.
func (t *transaction) body(chunk []byte) { t.write(chunk) }

// write adds bytes to the spool and starts the judge with the first of them.
func (t *transaction) write(p []byte) {
	if t.refused != nil {
		return
	}
	if t.cancel == nil {
		t.start()
	}
	_, err := t.spool.Write(p)
	switch {
	case errors.Is(err, eml.ErrSpoolFull):
		t.refuse(policy.Reject, policy.Reply{Code: 552, Enhanced: "5.3.4", Text: "The message is too large"}, err)
	case err != nil:
		t.refuse(policy.TempFail, policy.Reply{Code: 452, Enhanced: "4.3.1", Text: "Not enough storage now; try again later"}, err)
	}
}

// start completes the envelope and starts the judge.
func (t *transaction) start() {
	t.s.describe(&t.env)
	t.s.lastQueueID = t.env.QueueID

	ctx, cancel := context.WithDeadline(context.Background(), t.deadline)
	t.cancel, t.over = cancel, ctx.Done()
	t.judged = make(chan judgement, 1)
	judge := t.s.srv.judge
	go func() { t.judged <- consult(ctx, judge, &t.env, t.spool) }()
}

// consult calls the judge and makes an error of a panic.
func consult(ctx context.Context, judge Judge, env *eml.Envelope, s *eml.Spool) (j judgement) {
	defer func() {
		if v := recover(); v != nil {
			j = judgement{err: &panicError{v, debug.Stack()}}
		}
	}()
	v, err := judge.Judge(ctx, env, s)
	if err == nil && v == nil {
		err = errors.New("neither verdict nor error")
	}
	return judgement{v, err}
}

// A panicError is what became of a judge.
type panicError struct {
	value any
	stack []byte
}

func (e *panicError) Error() string { return fmt.Sprintf("panic: %v", e.value) }

// returned tells whether no judge is at work.
func (t *transaction) returned() bool {
	if t.cancel == nil || t.got != nil {
		return true
	}
	select {
	case j := <-t.judged:
		t.got = &j
		return true
	default:
		return false
	}
}

// cut tells the judge that it need not go on.
func (t *transaction) cut(why error) {
	t.spool.CloseWrite(why)
	if t.cancel != nil {
		t.cancel()
	}
}

// end waits for the judge and gives everything back.
func (t *transaction) end(why error) {
	t.cut(why)
	if !t.returned() {
		j := <-t.judged
		t.got = &j
	}
	_ = t.spool.Close() // its bytes were read already, or do not matter
}
