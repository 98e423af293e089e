package milter

import (
	"crypto/rand"
	"fmt"
	"net"
	"net/netip"
	"net/textproto"
	"runtime/debug"
	"strings"
	"time"

	"github.com/emersion/go-milter"

	"rastel/policy"
	"rastel/sanitize/eml"
)

// sessionIDLength is how much of a random text names a session in the log: 60 bits.
const sessionIDLength = 12

// Limits of one envelope. A recipient beyond them is refused for now, so that the client
// sends the message to it later (RFC 5321 section 4.5.3.1.10).
const (
	maxRecipients    = 10_000
	maxEnvelopeBytes = 4 << 20
)

// A session is what is known of one SMTP session. It is the library's backend and stays the
// same however often the library asks for a new one; it decides itself when a message begins
// and ends. Only the goroutine of its connection uses it.
type session struct {
	srv *Server
	c   *conn
	id  string

	client     netip.Addr
	clientName string
	helo       string
	macros     macros
	args       []string // of the command that the library is about to hand over

	decide  decideFunc      // at stages before the message; nil: the judge does not
	refused milter.Response // to the client when it connected; nil if it was not refused

	tx          *transaction // nil between messages
	late        *transaction // one that was answered before its judge had returned
	idAtMail    bool         // the MTA told the queue id of the message with MAIL
	lastQueueID string       // of the present or last message, for the log
}

var _ milter.Milter = (*session)(nil)

func newSession(srv *Server, c *conn) *session {
	s := &session{srv: srv, c: c}
	s.reset()
	return s
}

// reset begins another SMTP session.
func (s *session) reset() {
	s.drop(errNewMessage)
	*s = session{srv: s.srv, c: s.c, id: rand.Text()[:sessionIDLength]}
	if st, ok := s.srv.judge.(Stages); ok {
		s.decide = st.Stages()
	}
	s.srv.log.Debug("session begins", "session", s.id)
}

// connected notes the SMTP client.
func (s *session) connected(data []byte) error {
	name, addr, err := parseConnect(data)
	if err != nil {
		return err
	}
	s.drop(errNewMessage)
	s.client, s.clientName, s.helo, s.refused = addr, name, "", nil
	if addr.IsValid() && (name == "" || name == "unknown") { // what Postfix calls an unverified name
		s.clientName = "[" + addr.String() + "]"
	}
	return nil
}

// guard is deferred by handlers and contains their panics: the message is refused, with resp
// as the answer to the present command.
func (s *session) guard(resp *milter.Response, answer milter.Response) {
	v := recover()
	if v == nil {
		return
	}
	err := &panicError{v, debug.Stack()}
	s.logNoVerdict(err)
	*resp = answer
	if s.tx != nil {
		s.tx.tempfail(err)
	}
}

// Connect implements milter.Milter. The conn has taken the client from the frame.
func (s *session) Connect(string, string, uint16, net.IP, *milter.Modifier) (milter.Response, error) {
	if s.refused = s.atStage(eml.AtConnect, ""); s.refused != nil {
		return s.refused, nil
	}
	return milter.RespContinue, nil
}

// Helo implements milter.Milter.
func (s *session) Helo(string, *milter.Modifier) (milter.Response, error) {
	s.helo = s.args[0]
	return milter.RespContinue, nil
}

// MailFrom implements milter.Milter: a message begins.
func (s *session) MailFrom(string, *milter.Modifier) (resp milter.Response, err error) {
	defer s.guard(&resp, milter.RespTempFail)
	s.drop(errNewMessage)
	s.tx = newTransaction(s)
	s.tx.env.Sender, s.tx.env.SenderArgs = bare(s.args[0]), s.args[1:]
	s.lastQueueID = s.macros.get(macroQueueID)
	s.idAtMail = s.lastQueueID != ""
	resp = s.refused // not every MTA ends the session then
	if resp == nil {
		resp = s.atStage(eml.AtMail, "")
	}
	if resp != nil {
		s.drop(errRefused)
		return resp, nil
	}
	return milter.RespContinue, nil
}

// RcptTo implements milter.Milter.
func (s *session) RcptTo(string, *milter.Modifier) (resp milter.Response, err error) {
	defer s.guard(&resp, milter.RespTempFail)
	if s.tx == nil || s.tx.stage != inEnvelope {
		s.c.fail(fmt.Errorf("recipient: %w", errNoTurn))
		return nil, nil
	}
	recipient := bare(s.args[0])
	if resp := s.atStage(eml.AtRcpt, recipient); resp != nil {
		return resp, nil
	}
	if !s.tx.addRecipient(recipient) {
		return replyPacket(policy.TempFail, policy.Reply{Code: 452, Enhanced: "4.5.3", Text: "Too many recipients; send the message to the others separately"}), nil
	}
	return milter.RespContinue, nil
}

// Header implements milter.Milter.
func (s *session) Header(name, value string, _ *milter.Modifier) (resp milter.Response, err error) {
	defer s.guard(&resp, s.quiet(milter.OptNoHeaderReply))
	t := s.take("header field", inHeader)
	if t == nil {
		return nil, nil
	}
	t.field(name, value)
	return s.quiet(milter.OptNoHeaderReply), nil
}

// Headers implements milter.Milter: the header ends. What the library has collected is not
// looked at; it may hold fields of another message.
func (s *session) Headers(textproto.MIMEHeader, *milter.Modifier) (resp milter.Response, err error) {
	defer s.guard(&resp, milter.RespTempFail)
	t := s.take("end of header", inHeader)
	if t == nil {
		return nil, nil
	}
	t.endHeader()
	return milter.RespContinue, nil
}

// BodyChunk implements milter.Milter.
func (s *session) BodyChunk(chunk []byte, _ *milter.Modifier) (resp milter.Response, err error) {
	defer s.guard(&resp, s.quiet(milter.OptNoBodyReply))
	t := s.take("body", inBody)
	if t == nil {
		return nil, nil
	}
	t.body(chunk)
	return s.quiet(milter.OptNoBodyReply), nil
}

// Body implements milter.Milter: the message is complete, and its verdict is carried out.
func (s *session) Body(m *milter.Modifier) (resp milter.Response, err error) {
	defer s.finished()
	defer s.guard(&resp, milter.RespTempFail)
	if t := s.take("end of message", inBody); t != nil {
		resp = s.conclude(t, m)
	}
	return resp, nil
}

// Abort implements milter.Milter. It comes after a message, instead of its end, both, or
// neither; and from the conn too.
func (s *session) Abort(*milter.Modifier) error {
	s.drop(errAborted)
	return nil
}

// take gives the message that data of a stage belongs to. A command out of order ends the
// session: the MTA and we disagree about what the message is.
func (s *session) take(what string, st stage) *transaction {
	t := s.tx
	if t == nil || t.stage > st {
		s.c.fail(fmt.Errorf("%s: %w", what, errNoTurn))
		return nil
	}
	if t.stage == inEnvelope {
		s.lastQueueID = s.macros.get(macroQueueID)
		t.deadline = time.Now().Add(s.srv.cfg.VerdictTimeout)
		t.stage = inHeader
	}
	if st == inBody && t.stage == inHeader {
		t.endHeader() // a message without a header, or an MTA that does not tell its end
	}
	return t
}

// quiet is the answer where the MTA may have agreed not to wait for one.
func (s *session) quiet(bit milter.OptProtocol) milter.Response {
	if s.c.agreed(bit) {
		return nil
	}
	return milter.RespContinue
}

// badField spoils the message with a header field that cannot be read.
func (s *session) badField() error {
	t := s.take("header field", inHeader)
	if t == nil {
		return errNoTurn
	}
	t.tempfail(errBadField)
	return nil
}

// lastChunk takes what comes with the end of a message: the protocol lets an MTA send the last
// of the body there, and the library drops it.
func (s *session) lastChunk(data []byte) error {
	if len(data) == 0 {
		return nil
	}
	t := s.take("end of message", inBody)
	if t == nil {
		return errNoTurn
	}
	t.body(data)
	return nil
}

// deadline is when the message that is being received must have its verdict; zero if none is.
func (s *session) deadline() time.Time {
	if s.tx == nil {
		return time.Time{}
	}
	return s.tx.deadline
}

// finished ends a message whose answer is decided. If its judge is still at work, the answer
// goes out first.
func (s *session) finished() {
	t := s.tx
	if t == nil {
		return
	}
	s.tx = nil
	if t.returned() {
		t.end(nil)
		return
	}
	t.cut(errNoVerdict)
	s.late = t
}

// drop ends the message in work, if there is one, and waits for its judge.
func (s *session) drop(why error) {
	for _, t := range []*transaction{s.late, s.tx} {
		if t != nil {
			t.end(why)
		}
	}
	s.late, s.tx = nil, nil
}

// end ends the session. What is still in work is lost.
func (s *session) end() { s.drop(errHungUp) }

// bare takes the angle brackets off an address.
func bare(addr string) string {
	if inner, ok := strings.CutPrefix(addr, "<"); ok {
		return strings.TrimSuffix(inner, ">")
	}
	return addr
}
