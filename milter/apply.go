package milter

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/emersion/go-milter"

	"rastel/policy"
	"rastel/sanitize/eml"
)

// hangUpPoll is how often we look whether the MTA still waits for the verdict.
const hangUpPoll = time.Second

// conclude ends the data of a message, waits for its verdict and carries it out.
func (s *session) conclude(t *transaction, m *milter.Modifier) milter.Response {
	t.spool.CloseWrite(nil)
	if r := t.refused; r != nil {
		s.logNoVerdict(r.err)
		return replyPacket(r.action, r.reply)
	}
	v, err := s.await(t)
	if err != nil {
		s.logNoVerdict(err)
		return replyPacket(policy.TempFail, policy.Reply{})
	}
	return s.carryOut(t, v, m)
}

// logNoVerdict is for messages that the judge cannot log, since it has not judged them.
func (s *session) logNoVerdict(err error) {
	args := []any{"queue_id", s.lastQueueID, "session", s.id, "error", err}
	var p *panicError
	if errors.As(err, &p) {
		s.srv.log.Error("panic: message refused without a verdict", append(args, "stack", string(p.stack))...)
		return
	}
	s.srv.log.Warn("message refused without a verdict", args...)
}

// await waits for the judge and tells the MTA meanwhile that it must wait too. What the judge
// returns after its time does not count.
func (s *session) await(t *transaction) (*policy.Verdict, error) {
	if !t.returned() {
		if err := s.keepWaiting(t); err != nil {
			return nil, err
		}
	}
	select {
	case <-t.over:
		return nil, errNoVerdict
	default:
		return t.got.verdict, t.got.err
	}
}

// keepWaiting waits until the judge has returned. An error means that it has not.
func (s *session) keepWaiting(t *transaction) error {
	interval := s.srv.cfg.ProgressInterval
	tick := time.NewTicker(min(hangUpPoll, interval))
	defer tick.Stop()
	next := time.Now().Add(interval)
	for {
		select {
		case j := <-t.judged:
			t.got = &j
			return nil
		case <-t.over:
			return errNoVerdict
		case <-s.srv.forced:
			return errCutOff
		case now := <-tick.C:
			if s.c.gone() {
				return s.lose(errHungUp)
			}
			if now.Before(next) {
				continue
			}
			next = now.Add(interval)
			if err := s.c.progress(); err != nil {
				return s.lose(err)
			}
		}
	}
}

// lose ends the session too.
func (s *session) lose(err error) error {
	s.c.fail(err)
	return err
}

// carryOut turns a verdict into packets. A quarantined message is discarded, because the
// judge has stored it before it returned.
func (s *session) carryOut(t *transaction, v *policy.Verdict, m *milter.Modifier) milter.Response {
	switch v.Action {
	case policy.Accept:
		if nobodyLeft(&t.env, v) {
			return milter.RespDiscard
		}
		if err := s.edit(t, v, m); err != nil {
			s.srv.log.Error("verdict not carried out, message refused for now", "queue_id", s.lastQueueID, "session", s.id, "error", err)
			return replyPacket(policy.TempFail, policy.Reply{})
		}
		return milter.RespAccept
	case policy.Quarantine, policy.Discard:
		return milter.RespDiscard
	case policy.TempFail, policy.Reject:
		return replyPacket(v.Action, v.Reply)
	}
	return replyPacket(policy.TempFail, policy.Reply{})
}

// edit sends the changes: header fields first, then the envelope, then the body in one run. Nothing but
// the answer may follow; on an error that is a refusal, and the MTA forgets what it was sent.
func (s *session) edit(t *transaction, v *policy.Verdict, m *milter.Modifier) error {
	edits := v.Patch.Fields()
	for _, e := range edits {
		if err := checkEdit(e, t.fields); err != nil {
			return err
		}
	}
	if err := s.checkEnvelope(&t.env, v); err != nil {
		return err
	}
	for _, e := range edits {
		if err := s.editField(e, m); err != nil {
			return err
		}
	}
	if err := s.editEnvelope(&t.env, v, m); err != nil {
		return err
	}
	if body := v.Patch.Body(); body != nil {
		return replaceBody(s.c, body)
	}
	return s.c.err
}

// maxFieldEdit is the longest value that is sent: with the name it must fit a frame that
// libmilter's other end takes.
const maxFieldEdit = 60 << 10

// checkEdit finds fault with an edit that the MTA would carry out differently: both MTAs
// append where an index is too large, and neither looks at names.
func checkEdit(e eml.FieldEdit, fields []string) error {
	if !validName(e.Name) {
		return fmt.Errorf("edit of field %.60q: no field name", e.Name)
	}
	if len(e.Value) > maxFieldEdit {
		return fmt.Errorf("edit of field %.60q: value of %d bytes, more than %d", e.Name, len(e.Value), maxFieldEdit)
	}
	switch e.Op {
	case eml.ChangeField, eml.DeleteField:
		if most := count(fields, e.Name); e.Index < 1 || e.Index > most {
			return fmt.Errorf("edit of field %.60q: index %d is not within 1 and %d", e.Name, e.Index, most)
		}
	case eml.AppendField, eml.InsertField:
	default:
		return fmt.Errorf("edit of field %.60q: unknown operation %d", e.Name, e.Op)
	}
	return nil
}

// validName follows RFC 5322 section 2.2.
func validName(name string) bool {
	for i := range len(name) {
		if c := name[i]; c < 33 || c > 126 || c == ':' {
			return false
		}
	}
	return name != "" && len(name) <= maxFieldName
}

// maxFieldName is the longest name that fits a line of 998 (RFC 5322 section 2.1.1).
const maxFieldName = 996

func count(fields []string, name string) int {
	n := 0
	for _, f := range fields {
		if strings.EqualFold(f, name) {
			n++
		}
	}
	return n
}

// topIndex is where a field is inserted: below the MTA's own Received, which stands before the
// fields that we know. Farther down Sendmail also counts fields of its own that it may never
// write, so that nothing else is certain there but the end. The end is an index beyond all fields:
// what Sendmail is told to add it puts before the first field of that name.
const (
	topIndex = 1
	endIndex = 1 << 20
)

// editField sends one edit.
func (s *session) editField(e eml.FieldEdit, m *milter.Modifier) error {
	value := wireValue(e.Value, s.leadingSpace())
	switch e.Op {
	case eml.DeleteField:
		return m.ChangeHeader(e.Index, e.Name, "")
	case eml.ChangeField:
		if value == "" {
			value = " " // an empty value would delete the field
		}
		return m.ChangeHeader(e.Index, e.Name, value)
	case eml.InsertField:
		return m.InsertHeader(topIndex, e.Name, value)
	default:
		return m.InsertHeader(endIndex, e.Name, value)
	}
}

// leadingSpace tells whether values come and go with the blank that follows the colon.
func (s *session) leadingSpace() bool { return s.c.agreed(milter.OptHeaderLeadingSpace) }

// wireValue makes a value safe to send: a line break that is no fold, CR and NUL, any of
// which some MTA passes on, become blanks. Without leadingSpace the MTA adds one blank.
func wireValue(v string, leadingSpace bool) string {
	if !leadingSpace {
		v = strings.TrimPrefix(v, " ")
	}
	if !strings.ContainsAny(v, "\r\n\x00") {
		return v
	}
	v = strings.ReplaceAll(v, "\r\n", "\n")
	b := []byte(v)
	for i, c := range b {
		fold := c == '\n' && i+1 < len(b) && (b[i+1] == ' ' || b[i+1] == '\t')
		if c == '\r' || c == 0 || c == '\n' && !fold {
			b[i] = ' '
		}
	}
	return string(b)
}

// replaceBody sends a new body. It does not go through the library, which makes LF of CRLF
// chunk by chunk: both MTAs take off one CR before each LF themselves, so of CR CR LF one CR
// would be lost, and a CRLF on the border of two chunks is not seen.
func replaceBody(c *conn, body io.WriterTo) error {
	w := &bodyWriter{c: c, frame: make([]byte, bodyHead, bodyHead+milter.MaxBodyChunk)}
	if _, err := body.WriteTo(w); err != nil {
		return fmt.Errorf("replace body: %w", err)
	}
	if err := w.end(); err != nil {
		return fmt.Errorf("replace body: %w", err)
	}
	return nil
}

// bodyHead is the length of a frame and its code.
const bodyHead = 5

// A bodyWriter sends what is written in frames below 64 KiB, none of which ends between CR
// and LF.
type bodyWriter struct {
	c     *conn
	frame []byte // head and data of the next frame
	sent  bool
}

func (w *bodyWriter) Write(p []byte) (int, error) {
	total := len(p)
	for len(p) > 0 {
		if len(w.frame) == cap(w.frame) {
			if err := w.emit(); err != nil {
				return total - len(p), err
			}
		}
		n := min(len(p), cap(w.frame)-len(w.frame))
		w.frame = append(w.frame, p[:n]...)
		p = p[n:]
	}
	return total, nil
}

// emit sends a full frame, less a final CR, which begins the next one.
func (w *bodyWriter) emit() error {
	var cr []byte
	if last := len(w.frame) - 1; w.frame[last] == '\r' {
		w.frame, cr = w.frame[:last], []byte{'\r'}
	}
	if err := w.send(); err != nil {
		return err
	}
	w.frame = append(w.frame, cr...)
	return nil
}

// end sends what is left. An empty body is one empty frame.
func (w *bodyWriter) end() error {
	if len(w.frame) == bodyHead && w.sent {
		return nil
	}
	return w.send()
}

func (w *bodyWriter) send() error {
	binary.BigEndian.PutUint32(w.frame, uint32(len(w.frame)-4))
	w.frame[4] = byte(milter.ActReplBody)
	err := w.c.send(w.frame)
	w.frame, w.sent = w.frame[:bodyHead], true
	if w.c.err != nil {
		return errors.Join(w.c.err, err)
	}
	return err
}
