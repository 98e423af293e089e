package milter

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"rastel/policy"
	"rastel/sanitize/eml"
)

var (
	first  = mail{"Q1", "a@one.example", []string{"r1@x.example", "r2@x.example"}, []string{"From: a", "Subject: first"}, "one\r\n"}
	second = mail{"Q2", "b@two.example", []string{"r3@x.example"}, []string{"From: b", "X-Other: second"}, "two\r\n"}
)

// wantMail compares what the judge saw with what was sent.
func wantMail(t *testing.T, got seen, want mail) {
	t.Helper()
	if got.err != nil || got.raw != want.raw() {
		t.Errorf("message %s: got %q, error %v; want %q", want.id, got.raw, got.err, want.raw())
	}
	e := got.env
	if e.Sender != want.sender || !slices.Equal(e.Recipients, want.rcpts) || e.QueueID != want.id {
		t.Errorf("message %s: got queue id %q, from %q to %q; want %q, %q, %q", want.id, e.QueueID, e.Sender, e.Recipients, want.id, want.sender, want.rcpts)
	}
	if e.Client != netip.MustParseAddr("192.0.2.7") || e.ClientName != "client.example" || e.Helo != "client.example" || e.TLS != "TLSv1.3" || e.Session == "" {
		t.Errorf("message %s: the session is lost: %+v", want.id, e)
	}
	if !slices.Equal(e.SenderArgs, []string{"SIZE=100"}) {
		t.Errorf("message %s: arguments of MAIL are %q", want.id, e.SenderArgs)
	}
}

// forBoth runs a test with the sequence of each MTA.
func forBoth(t *testing.T, f func(t *testing.T, sendmail bool)) {
	t.Run("postfix", func(t *testing.T) { f(t, false) })
	t.Run("sendmail", func(t *testing.T) { f(t, true) })
}

func TestKeepsTwoMessagesOfASessionApart(t *testing.T) {
	forBoth(t, func(t *testing.T, sendmail bool) {
		j := accept()
		m := start(t, Config{}, j).mta()
		m.sendmail = sendmail
		m.hello()
		for _, x := range []mail{first, second, first} {
			if edits, final := m.deliver(x); final.code != 'a' || len(edits) > 0 {
				t.Fatalf("got %v, %v; want accept", edits, final)
			}
		}
		got := j.messages()
		if len(got) != 3 {
			t.Fatalf("%d messages were judged, want 3", len(got))
		}
		wantMail(t, got[0], first)
		wantMail(t, got[1], second)
		wantMail(t, got[2], first)
	})
}

func TestAcceptsACleanMessageAfterARejectedOne(t *testing.T) {
	forBoth(t, func(t *testing.T, sendmail bool) {
		for _, action := range []policy.Action{policy.Reject, policy.TempFail, policy.Discard, policy.Quarantine, policy.Accept} {
			j := &recorder{decide: JudgeFunc(func(_ context.Context, env *eml.Envelope, _ *eml.Spool) (*policy.Verdict, error) {
				if env.QueueID == first.id {
					return &policy.Verdict{Action: action}, nil
				}
				return &policy.Verdict{Action: policy.Accept}, nil
			})}
			m := start(t, Config{}, j).mta()
			m.sendmail = sendmail
			m.hello()
			m.deliver(first)
			if _, final := m.deliver(second); final.code != 'a' {
				t.Errorf("after %v: got %v, want accept", action, final)
			}
			if got := j.messages(); len(got) != 2 {
				t.Errorf("after %v: %d messages were judged, want 2", action, len(got))
			} else {
				wantMail(t, got[1], second)
			}
		}
	})
}

func TestForgetsAMessageThatIsNotFinished(t *testing.T) {
	forBoth(t, func(t *testing.T, sendmail bool) {
		for name, begin := range map[string]func(*mta){
			"after MAIL": func(m *mta) { m.ask('M', "<lost@x.example>") },
			"after RCPT": func(m *mta) { m.ask('M', "<lost@x.example>"); m.ask('R', "<lost@x.example>") },
			"in the header": func(m *mta) {
				m.ask('M', "<lost@x.example>")
				m.send(frame('L', "Lost", " field"))
			},
			"in the body": func(m *mta) {
				m.envelope(first)
				m.data(first)
			},
		} {
			for _, abort := range []bool{true, false} {
				j := accept()
				m := start(t, Config{}, j).mta()
				m.sendmail = sendmail
				m.hello()
				begin(m)
				if abort { // RSET, as both MTAs tell it
					m.send(frame('A'))
				}
				if _, final := m.deliver(second); final.code != 'a' {
					t.Errorf("%s, abort %v: got %v, want accept", name, abort, final)
				}
				got := j.messages()
				wantMail(t, got[len(got)-1], second)
				if len(got) == 2 && got[0].err == nil {
					t.Errorf("%s: the judge took the lost message for complete: %q", name, got[0].raw)
				}
			}
		}
	})
}

func TestKeepsInterleavedSessionsApart(t *testing.T) {
	j := accept()
	r := start(t, Config{}, j)
	a, b := r.mta(), r.mta()
	a.hello()
	b.hello()
	b.sendmail = true
	a.envelope(first)
	b.envelope(second)
	a.data(first)
	b.data(second)
	_, fa := a.finish()
	_, fb := b.finish()
	if fa.code != 'a' || fb.code != 'a' {
		t.Fatalf("got %v and %v, want accept", fa, fb)
	}
	got := j.messages()
	if len(got) != 2 {
		t.Fatalf("%d messages were judged, want 2", len(got))
	}
	wantMail(t, got[0], first)
	wantMail(t, got[1], second)
	if got[0].env.Session == got[1].env.Session {
		t.Errorf("both sessions are called %q", got[0].env.Session)
	}
}

func TestKeepsMacrosByStage(t *testing.T) {
	j := accept()
	m := start(t, Config{}, j).mta()
	m.sendmail = true
	m.hello()
	m.send(rawFrame('D', "M{auth_authen}\x00user\x00i\x00Q1\x00"))
	m.ask('M', "<a@x.example>")
	m.send(rawFrame('D', "R{rcpt_addr}\x00r\x00"))
	m.ask('R', "<r@x.example>")
	m.send(rawFrame('D', "N{unused}\x00x\x00"))
	m.data(mail{})
	m.finish()
	m.ask('M', "<a@x.example>") // without macros: a new client that has not authenticated
	m.data(mail{})
	m.finish()
	got := j.messages()
	if e := got[0].env; e.AuthUser != "user" || e.QueueID != "Q1" || e.TLS != "TLSv1.3" {
		t.Errorf("macros are lost: %+v", e)
	}
	if e := got[1].env; e.AuthUser != "" || e.QueueID != "" || e.TLS != "TLSv1.3" {
		t.Errorf("macros of the first message are still there: %+v", e)
	}
}

func TestTellsTheListener(t *testing.T) {
	for _, tt := range []struct{ macros, name, addr string }{
		{"{daemon_name}\x00submission\x00{daemon_addr}\x00192.0.2.25\x00", "submission", "192.0.2.25"}, // Postfix
		{"{daemon_name}\x00MSA\x00{daemon_addr}\x000.0.0.0\x00{if_addr}\x00[192.0.2.26]\x00", "MSA", "192.0.2.26"},
		{"{daemon_addr}\x00IPv6:2001:DB8:0::25\x00", "", "2001:db8::25"},
		{"{daemon_addr}\x00nonsense\x00{if_addr}\x00\x00", "", ""},
	} {
		j := accept()
		m := start(t, Config{}, j).mta()
		m.negotiate()
		m.send(rawFrame('D', "C"+tt.macros))
		m.send(rawFrame('C', "client.example\x00U"))
		m.expect('c')
		m.ask('H', "client")
		m.deliver(first)
		if e := j.messages()[0].env; e.Listener != tt.name || e.ListenerAddr != tt.addr {
			t.Errorf("%q: %q, %q, want %q, %q", tt.macros, e.Listener, e.ListenerAddr, tt.name, tt.addr)
		}
	}
}

func TestQuitWithNewConnectionForgetsTheSession(t *testing.T) {
	j := accept()
	m := start(t, Config{}, j).mta()
	m.hello()
	m.deliver(first)
	m.send(frame('K'))
	m.negotiate()
	m.send(rawFrame('C', "other.example\x00U"))
	m.expect('c')
	m.ask('H', "other")
	m.deliver(second)
	got := j.messages()
	e := got[1].env
	if e.Client.IsValid() || e.TLS != "" || e.Helo != "other" || e.Session == got[0].env.Session {
		t.Errorf("the first session is still there: %+v", e)
	}
}

func TestReadsClientAddresses(t *testing.T) {
	for _, tt := range []struct{ frame, name, addr string }{
		{"n\x004\x00\x19192.0.2.1\x00", "n", "192.0.2.1"},
		{"n\x006\x00\x192001:db8::1\x00", "n", "2001:db8::1"},
		{"n\x006\x00\x19IPv6:2001:db8:0:0:0:0:0:1\x00", "n", "2001:db8::1"}, // Sendmail
		{"n\x006\x00\x19ipv6:2001:db8::1\x00", "n", "2001:db8::1"},
		{"n\x006\x00\x19::ffff:192.0.2.1\x00", "n", "192.0.2.1"},
		{"n\x006\x00\x19fe80::1%eth0\x00", "n", "fe80::1"},
		{"unknown\x004\x00\x19192.0.2.1\x00", "[192.0.2.1]", "192.0.2.1"}, // Postfix
		{"unknown\x006\x00\x192001:db8::1\x00", "[2001:db8::1]", "2001:db8::1"},
		{"n\x004\x00\x19nonsense\x00", "n", ""},
		{"n\x004\x00\x19", "n", ""},
		{"localhost\x00L\x00\x00/run/x\x00", "localhost", ""},
		{"localhost\x00U", "localhost", ""},
	} {
		j := accept()
		m := start(t, Config{}, j).mta()
		m.negotiate()
		m.send(rawFrame('C', tt.frame))
		m.expect('c')
		m.deliver(first)
		e := j.messages()[0].env
		want, _ := netip.ParseAddr(tt.addr)
		if e.Client != want || e.ClientName != tt.name {
			t.Errorf("%q: got %q, %v; want %q, %v", tt.frame, e.ClientName, e.Client, tt.name, want)
		}
	}
}

func TestWritesTheMessageAsItWillBeDelivered(t *testing.T) {
	j := accept()
	m := start(t, Config{}, j).mta()
	m.hello()
	big := mail{"Q3", "", nil, []string{
		"Subject:nospace", "X-Two:  blanks", "X-Tab:\tx ", "X-Empty:", "X-Empty: ", "x-CASE: \xe9", "X-Fold: a\n b\n\t \n c",
		"X-Long: " + strings.Repeat("y", 100_000),
	}, strings.Repeat("line\r\n", 30_000) + "\x00\xff\r\r\nend without line break"}
	m.deliver(big)
	if got := j.messages()[0].raw; got != big.raw() {
		t.Errorf("got %d bytes, want %d; first %.300q", len(got), len(big.raw()), got)
	}
}

func TestWritesAFieldWithoutLeadingSpaceAsMostMTAsDeliverIt(t *testing.T) {
	j := accept()
	m := start(t, Config{}, j).mta()
	m.offer(6, offerActions, offerProtocol&^leadSpc)
	m.deliver(first)
	if got := j.messages()[0].raw; got != first.raw() {
		t.Errorf("got %q, want %q", got, first.raw())
	}
}

func TestMessagesWithoutHeaderOrBody(t *testing.T) {
	for name, tt := range map[string]struct {
		frames [][]byte
		want   string
	}{
		"nothing":             {nil, "\r\n"},
		"header only":         {[][]byte{frame('L', "A", " b")}, "A: b\r\n\r\n"},
		"body only":           {[][]byte{rawFrame('B', "x\r\n")}, "\r\nx\r\n"},
		"header, body, no N":  {[][]byte{frame('L', "A", " b"), rawFrame('B', "x")}, "A: b\r\n\r\nx"},
		"empty chunk of body": {[][]byte{rawFrame('B', "")}, "\r\n"},
	} {
		j := accept()
		m := start(t, Config{}, j).mta()
		m.hello()
		m.envelope(first)
		for _, f := range tt.frames {
			m.send(f)
		}
		if _, final := m.finish(); final.code != 'a' {
			t.Errorf("%s: got %v, want accept", name, final)
		}
		if got := j.messages()[0].raw; got != tt.want {
			t.Errorf("%s: got %q, want %q", name, got, tt.want)
		}
	}
}

func TestTellsTooManyRecipientsToTryLater(t *testing.T) {
	j := accept()
	m := start(t, Config{}, j).mta()
	m.hello()
	m.ask('M', "<a@x.example>")
	for range maxRecipients {
		m.ask('R', "<r@x.example>")
	}
	m.send(frame('R', "<more@x.example>"))
	if p := m.expect('y'); !strings.HasPrefix(p.data, "452 4.5.3 ") {
		t.Errorf("got %q, want 452 4.5.3", p.data)
	}
	m.data(first)
	if _, final := m.finish(); final.code != 'a' {
		t.Errorf("got %v, want accept", final)
	}
	if got := len(j.messages()[0].env.Recipients); got != maxRecipients {
		t.Errorf("the envelope has %d recipients, want %d", got, maxRecipients)
	}
}

func TestBoundsTheEnvelopeInBytes(t *testing.T) {
	m := start(t, Config{}, accept()).mta()
	m.hello()
	m.ask('M', "<a@x.example>")
	long := strings.Repeat("x", maxCommand-10)
	for range maxEnvelopeBytes/maxCommand + 1 {
		m.send(frame('R', long))
		if p, _ := m.read(); p.code == 'y' {
			return
		}
	}
	t.Errorf("an envelope of more than %d bytes was taken", maxEnvelopeBytes)
}

func TestRefusesWhatIsTooLarge(t *testing.T) {
	field := "X: " + strings.Repeat("y", 60_000)
	for name, tt := range map[string]struct {
		x    mail
		want string
	}{
		"message":         {mail{fields: []string{"A: b"}, body: strings.Repeat("z", 2_000_000)}, "552 5.3.4 "},
		"header":          {mail{fields: slices.Repeat([]string{field}, maxHeaderBytes/60_000+1)}, "552 5.3.4 "},
		"number of field": {mail{fields: slices.Repeat([]string{"A: b"}, maxHeaderFields+1)}, "552 5.3.4 "},
	} {
		size := int64(1_000_000)
		if name != "message" {
			size = 0
		}
		m := start(t, Config{MaxMessageSize: size}, accept()).mta()
		m.hello()
		if _, final := m.deliver(tt.x); final.code != 'y' || !strings.HasPrefix(final.data, tt.want) {
			t.Errorf("%s: got %v, want %s", name, final, tt.want)
		}
		if _, final := m.deliver(first); final.code != 'a' {
			t.Errorf("%s: the next message got %v, want accept", name, final)
		}
	}
}

func TestFullDiskIsATempfail(t *testing.T) {
	r := serveSpool(t, eml.SpoolOptions{Dir: "/nonexistent", Memory: 10}, accept())
	m := r.mta()
	m.hello()
	if _, final := m.deliver(first); final.code != 'y' || !strings.HasPrefix(final.data, "452 4.3.1 ") {
		t.Errorf("got %v, want 452 4.3.1", final)
	}
	if log := r.log.String(); !strings.Contains(log, "queue_id=Q1") || !strings.Contains(log, "nonexistent") {
		t.Errorf("the log does not say what is wrong: %s", log)
	}
}

func TestContainsPanicsOfTheJudge(t *testing.T) {
	j := &recorder{decide: JudgeFunc(func(_ context.Context, env *eml.Envelope, _ *eml.Spool) (*policy.Verdict, error) {
		if env.QueueID == first.id {
			panic("boom")
		}
		return &policy.Verdict{Action: policy.Accept}, nil
	})}
	r := start(t, Config{}, j)
	m := r.mta()
	m.hello()
	if _, final := m.deliver(first); final.code != 'y' || !strings.HasPrefix(final.data, "451 4.7.1 ") {
		t.Errorf("got %v, want 451 4.7.1", final)
	}
	if _, final := m.deliver(second); final.code != 'a' {
		t.Errorf("the next message got %v, want accept", final)
	}
	if log := r.log.String(); !strings.Contains(log, "level=ERROR") || !strings.Contains(log, "session_test.go") || !strings.Contains(log, "queue_id=Q1") {
		t.Errorf("the log has no stack: %s", log)
	}
}

func TestUnclearVerdictsAreTempfails(t *testing.T) {
	for name, f := range map[string]JudgeFunc{
		"error": func(context.Context, *eml.Envelope, *eml.Spool) (*policy.Verdict, error) {
			return nil, io.ErrNoProgress
		},
		"nothing": func(context.Context, *eml.Envelope, *eml.Spool) (*policy.Verdict, error) { return nil, nil },
		"undecided": func(context.Context, *eml.Envelope, *eml.Spool) (*policy.Verdict, error) {
			return &policy.Verdict{}, nil
		},
		"unknown": func(context.Context, *eml.Envelope, *eml.Spool) (*policy.Verdict, error) {
			return &policy.Verdict{Action: 99}, nil
		},
		"both": func(context.Context, *eml.Envelope, *eml.Spool) (*policy.Verdict, error) {
			return &policy.Verdict{Action: policy.Accept}, io.ErrNoProgress
		},
	} {
		m := start(t, Config{}, &recorder{decide: f}).mta()
		m.hello()
		if _, final := m.deliver(first); final.code != 'y' || !strings.HasPrefix(final.data, "451 4.7.1 ") {
			t.Errorf("%s: got %v, want 451 4.7.1", name, final)
		}
	}
}

func TestHangUpCancelsTheJudge(t *testing.T) {
	for stop := range 3 {
		ended := make(chan error, 1)
		j := JudgeFunc(func(ctx context.Context, _ *eml.Envelope, s *eml.Spool) (*policy.Verdict, error) {
			_, err := io.Copy(io.Discard, s.NewReader())
			if err == nil { // the whole message was there: only ctx tells
				<-ctx.Done()
				err = ctx.Err()
			}
			ended <- err
			return nil, err
		})
		m := startTCP(t, Config{}, j).mta()
		m.hello()
		m.envelope(first)
		m.data(first)
		switch stop {
		case 0:
			m.send(frame('Q'))
		case 1:
			m.c.Close()
		case 2: // while we wait for the verdict
			m.send(frame('E'))
			m.c.Close()
		}
		if err := <-ended; err == nil {
			t.Errorf("stop %d: the judge was not told", stop)
		}
	}
}

func ExampleJudgeFunc() {
	j := JudgeFunc(func(context.Context, *eml.Envelope, *eml.Spool) (*policy.Verdict, error) {
		return &policy.Verdict{Action: policy.Accept}, nil
	})
	srv, err := New(Options{Judge: j})
	fmt.Println(srv.Addrs(), err)
	// Output: [] <nil>
}
