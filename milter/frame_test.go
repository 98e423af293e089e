package milter

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"log/slog"
	"net"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"rastel/policy"
	"rastel/sanitize/eml"
)

func TestAnswersWithWhatTheMTAOffers(t *testing.T) {
	for _, tt := range []struct{ version, actions, protocol, wantVersion, wantProtocol uint32 }{
		{6, 0x1ff, 0x1fffff, 2, nrHeader | nrBody | leadSpc},
		{6, 0x1ff, 0xffffffff, 2, nrHeader | nrBody | leadSpc},
		{2, 0x3f, 0x7f, 2, 0},
		{1, 0x1f, 0, 1, 0},
		{6, 0x1ff, leadSpc, 2, leadSpc},
		{6, 0x1ff, nrBody, 2, nrBody},
	} {
		j := accept()
		m := start(t, Config{}, j).mta()
		version, actions := m.offer(tt.version, tt.actions, tt.protocol)
		if version != tt.wantVersion || actions != tt.actions&0x3f || m.protocol != tt.wantProtocol {
			t.Errorf("%+v: got version %d, actions %#x, protocol %#x", tt, version, actions, m.protocol)
		}
		if _, final := m.deliver(first); final.code != 'a' {
			t.Errorf("%+v: got %v, want accept", tt, final)
		}
		if got := j.messages(); len(got) != 1 || got[0].raw != first.raw() {
			t.Errorf("%+v: got %+v, want %q", tt, got, first.raw())
		}
	}
}

func TestRefusesAnMTAThatCannotChangeMessages(t *testing.T) {
	for _, actions := range []uint32{0, 0x1ff &^ 1, 0x1ff &^ 2, 0x1ff &^ 0x10} {
		m := start(t, Config{}, accept()).mta()
		m.send(optNeg(6, actions, offerProtocol))
		m.closed("an offer without required actions")
	}
}

// junk is what no MTA sends, after a greeting.
var junk = map[string][]byte{
	"length 0":               {0, 0, 0, 0},
	"length 4 GiB":           {0xff, 0xff, 0xff, 0xff, 'B'},
	"long MAIL":              {0, 2, 0, 0, 'M'},
	"unknown command":        rawFrame('?', ""),
	"body before MAIL":       rawFrame('B', "x"),
	"header before MAIL":     frame('L', "A", "b"),
	"bad field before MAIL":  frame('L', "A"),
	"EOH before MAIL":        frame('N'),
	"end before MAIL":        frame('E'),
	"RCPT before MAIL":       frame('R', "<r@x>"),
	"MAIL without NUL":       rawFrame('M', "<a@b>"),
	"MAIL without anything":  rawFrame('M', ""),
	"HELO without anything":  rawFrame('H', ""),
	"connect without family": rawFrame('C', "host\x00"),
	"connect without NUL":    rawFrame('C', "host"),
	"connect without port":   rawFrame('C', "host\x004\x01"),
	"empty connect":          rawFrame('C', ""),
	"second greeting":        optNeg(6, offerActions, offerProtocol),
	"short greeting":         rawFrame('O', "12345678901"),
}

// inMessage are commands out of order, after MAIL, RCPT and a body chunk.
var inMessage = map[string][]byte{
	"RCPT after body":     frame('R', "<r@x>"),
	"header after body":   frame('L', "A", "b"),
	"second EOH":          frame('N'),
	"bad field in a body": frame('L', ""),
}

func TestJunkEndsThatSessionOnly(t *testing.T) {
	r := start(t, Config{}, accept())
	other := r.mta()
	other.hello()
	for name, b := range junk {
		m := r.mta()
		m.negotiate()
		m.send(b)
		m.closed(name)
	}
	for name, b := range inMessage {
		m := r.mta()
		m.hello()
		m.envelope(first)
		m.data(first)
		m.send(b)
		m.closed(name)
	}
	if _, final := other.deliver(first); final.code != 'a' {
		t.Errorf("another session got %v, want accept", final)
	}
}

func TestAnythingBeforeTheGreetingEndsTheSession(t *testing.T) {
	r := start(t, Config{}, accept())
	for _, code := range "ABCDEHKLMNQRTU" {
		m := r.mta()
		m.send(frame(byte(code), "x"))
		m.closed("command " + string(code))
	}
}

func TestTwoEndsOfAMessageEndTheSession(t *testing.T) {
	j := accept()
	m := start(t, Config{}, j).mta()
	m.sendmail = true
	m.hello()
	m.deliver(first)
	m.send(frame('E'))
	m.closed("second end of message")
	if n := len(j.messages()); n != 1 {
		t.Errorf("%d messages were judged, want 1", n)
	}
}

// TestSurvivesTheEndAtEveryByte cuts a session with two messages off at every place. Nothing
// may be accepted that was not complete, and nothing left behind (see TestMain).
func TestSurvivesTheEndAtEveryByte(t *testing.T) {
	all := slices.Concat(optNeg(6, offerActions, offerProtocol), rawFrame('C', "h\x004\x00\x19192.0.2.1\x00"), frame('H', "h"))
	message := slices.Concat(rawFrame('D', "Mi\x00Q\x00"), frame('M', "<a@b>"), frame('R', "<r@x>"),
		frame('L', "A", " b"), frame('N'), rawFrame('B', "body\r\n"), frame('E'))
	all = slices.Concat(all, message, frame('A'), message, frame('Q'))
	j := accept()
	r := start(t, Config{}, j)
	for n := range len(all) {
		m := r.mta()
		go io.Copy(io.Discard, m.c)
		m.send(all[:n])
		m.c.Close()
	}
	ctx, cancel := context.WithTimeout(t.Context(), replyTime)
	defer cancel()
	if err := r.srv.Shutdown(ctx); err != nil {
		t.Fatalf("sessions are left: %v", err)
	}
	for _, s := range j.messages() {
		if s.err == nil && s.raw != "A: b\r\n\r\nbody\r\n" {
			t.Errorf("the judge took %q for complete", s.raw)
		}
	}
}

func TestBadFieldsSpoilTheirMessageOnly(t *testing.T) {
	for name, f := range map[string][]byte{
		"NUL in the value":      rawFrame('L', "A\x00b\x00c\x00"),
		"no value":              rawFrame('L', "A\x00"),
		"no NUL":                rawFrame('L', "A"),
		"nothing":               rawFrame('L', ""),
		"no name":               frame('L', "", "value"),
		"value without NUL":     rawFrame('L', "A\x00b"),
		"colon in the name":     frame('L', "A: b", "c"),
		"line break in name":    frame('L', "A\nB", "c"),
		"line break, no fold":   frame('L', "A", "b\nBcc: c"),
		"empty line in a value": frame('L', "A", "b\n\n c"),
		"line break at the end": frame('L', "A", "b\n"),
	} {
		for _, protocol := range []uint32{offerProtocol, 0} {
			m := start(t, Config{}, accept()).mta()
			m.offer(6, offerActions, protocol)
			m.envelope(first)
			m.send(f)
			if protocol == 0 {
				m.expect('c')
			}
			m.data(first)
			if _, final := m.finish(); final.code != 'y' || !strings.HasPrefix(final.data, "451 ") {
				t.Errorf("%s: got %v, want 451", name, final)
			}
			if _, final := m.deliver(second); final.code != 'a' {
				t.Errorf("%s: the next message got %v, want accept", name, final)
			}
		}
	}
}

func TestExaminesBodyThatComesWithTheEnd(t *testing.T) {
	j := accept()
	m := start(t, Config{}, j).mta()
	m.hello()
	m.envelope(first)
	m.data(first)
	m.send(rawFrame('E', "last\r\n"))
	if _, final := m.outcome(); final.code != 'a' {
		t.Errorf("got %v, want accept", final)
	}
	if got, want := j.messages()[0].raw, first.raw()+"last\r\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestAnswersUnknownSMTPCommands(t *testing.T) {
	m := start(t, Config{}, accept()).mta()
	m.hello()
	m.ask('U', "XJUNK\r\n")
	m.ask('M', "<a@x.example>")
	m.ask('U', "XJUNK\r\n")
	m.ask('T')
	m.data(first)
	if _, final := m.finish(); final.code != 'a' {
		t.Errorf("got %v, want accept", final)
	}
}

func TestMemoryGrowsAsBytesArrive(t *testing.T) {
	const sessions = 200
	r := startTCP(t, Config{}, accept())
	before := liveMemory()
	for range sessions {
		m := r.mta()
		m.hello()
		m.ask('M', "<a@x.example>")
		b := binary.BigEndian.AppendUint32(nil, maxFrame) // a field of 1 MiB, it says
		m.send(append(b, "LA\x00"...))
	}
	m := r.mta() // its answers come after those sessions were begun
	m.hello()
	if grown := int64(liveMemory()) - int64(before); grown > sessions*(64<<10) {
		t.Errorf("%d frames of 1 MiB that have only begun take %d KiB each", sessions, grown/sessions>>10)
	}
}

// liveMemory is what the heap and the stacks of goroutines use.
func liveMemory() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // the first one leaves what finalizers and pools hold
	runtime.ReadMemStats(&m)
	return m.HeapAlloc + m.StackInuse
}

// A script of bytes as a connection: it reads them in pieces of step bytes and keeps what is
// written.
type scripted struct {
	net.Conn
	in   bytes.Reader
	step int
	out  bytes.Buffer
}

func (s *scripted) Read(p []byte) (int, error)       { return s.in.Read(p[:min(len(p), s.step)]) }
func (s *scripted) Write(p []byte) (int, error)      { return s.out.Write(p) }
func (s *scripted) Close() error                     { return nil }
func (s *scripted) SetReadDeadline(time.Time) error  { return nil }
func (s *scripted) SetWriteDeadline(time.Time) error { return nil }

// runScript runs a session on the bytes and gives what it answered.
func runScript(t testing.TB, j Judge, b []byte, step int) []byte {
	srv, err := New(Options{Judge: j, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	nc := &scripted{step: step}
	nc.in.Reset(b)
	srv.slots <- struct{}{}
	srv.begin(nc)
	srv.sessions.Wait()
	return nc.out.Bytes()
}

// codes are those of all whole frames, and what follows them.
func codes(b []byte) (list string, rest []byte) {
	for len(b) >= 5 {
		n := int(binary.BigEndian.Uint32(b))
		if n == 0 || n > len(b)-4 {
			break
		}
		list += string(b[4:5])
		b = b[4+n:]
	}
	return list, b
}

// FuzzSession feeds a session with anything. What it answers must be whole frames, must not
// depend on how the bytes arrive, and no more messages may be accepted than ends of messages
// were sent. Every message that the judge takes for complete has the end of its header.
func FuzzSession(f *testing.F) {
	greeting := optNeg(6, offerActions, offerProtocol)
	message := slices.Concat(rawFrame('D', "Mi\x00Q\x00"), frame('M', "<a@b>", "SIZE=1"), frame('R', "<r@x>"),
		frame('L', "A", " b\n c"), frame('N'), rawFrame('B', "body\r\n"), frame('E'))
	f.Add(slices.Concat(greeting, rawFrame('C', "h\x006\x00\x19IPv6:::1\x00"), frame('H', "h"), message, message, frame('A'), frame('K')))
	f.Add(slices.Concat(optNeg(2, 0x3f, 0), message, frame('U', "x"), frame('Q')))
	f.Add(slices.Concat(greeting, message[:len(message)-5], frame('A'), message))
	for _, b := range junk {
		f.Add(slices.Concat(greeting, b))
	}
	for _, b := range inMessage {
		f.Add(slices.Concat(greeting, message[:len(message)-5], b))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		j := &recorder{decide: JudgeFunc(func(context.Context, *eml.Envelope, *eml.Spool) (*policy.Verdict, error) {
			return &policy.Verdict{Action: policy.Accept}, nil
		})}
		out := runScript(t, j, b, len(b)+1)
		answers, rest := codes(out)
		if len(rest) > 0 {
			t.Fatalf("answer ends in no frame: %q", rest)
		}
		commands, _ := codes(b)
		accepted := strings.Count(answers, "a")
		if n := strings.Count(commands, "E"); accepted > n {
			t.Errorf("%d messages were accepted, %d ended", accepted, n)
		}
		complete := 0
		for _, s := range j.messages() {
			if s.err == nil {
				complete++
				if s.raw != "\r\n" && !strings.HasPrefix(s.raw, "\r\n") && !strings.Contains(s.raw, "\r\n\r\n") {
					t.Errorf("a complete message without an end of header: %q", s.raw)
				}
			}
		}
		if accepted > complete {
			t.Errorf("%d messages were accepted, the judge saw %d", accepted, complete)
		}
		if again := runScript(t, accept(), b, 1); !bytes.Equal(again, out) {
			t.Errorf("byte by byte the answer is %q, at once %q", again, out)
		}
	})
}
