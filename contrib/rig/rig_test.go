package rig

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// deliveryTimeout is how long a message may take from the client to the sink.
const deliveryTimeout = 30 * time.Second

// need skips a test whose servers are not there. In contrib/test it fails instead.
func need(t *testing.T, needs ...string) {
	t.Helper()
	m := Missing(needs...)
	if len(m) == 0 {
		return
	}
	if os.Getenv("RASTEL_E2E") == "1" {
		t.Fatalf("missing: %q", m)
	}
	t.Skipf("needs real servers; missing: %q", m)
}

func startSink(t *testing.T) *Sink {
	t.Helper()
	s, err := StartSink()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Errorf("stop sink: %v", err)
		}
	})
	return s
}

// An mtaCase is one kind of MTA.
type mtaCase struct {
	name  string
	start func(milter, sink string) (MTA, error)
}

var mtaCases = []mtaCase{
	{NeedPostfix, func(milter, sink string) (MTA, error) {
		return StartPostfix(PostfixOptions{Milter: milter, Sink: sink})
	}},
	{NeedSendmail, func(milter, sink string) (MTA, error) {
		return StartSendmail(SendmailOptions{Milter: milter, Sink: sink})
	}},
}

// eachMTA runs a test with each kind of MTA.
func eachMTA(t *testing.T, milter string, test func(t *testing.T, m MTA, s *Sink)) {
	for _, c := range mtaCases {
		t.Run(c.name, func(t *testing.T) {
			need(t, c.name)
			s := startSink(t)
			m, err := c.start(milter, s.Addr)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if t.Failed() {
					t.Logf("log of %s:\n%s", c.name, m.Log())
				}
				if err := m.Stop(); err != nil {
					t.Errorf("stop %s: %v", c.name, err)
				}
			})
			test(t, m, s)
		})
	}
}

const testMessage = "From: Alice <alice@sender.test>\r\nTo: bob@example.test\r\nSubject: test\r\n" +
	"Date: Mon, 23 Nov 2026 10:00:00 +0000\r\nMessage-ID: <1@sender.test>\r\n\r\n" +
	".dot\r\n..two dots\r\n.\r\n\r\nH\xc3\xa9llo  \r\nlast\r\n"

func TestMTAHandsMailToTheSink(t *testing.T) {
	eachMTA(t, "", func(t *testing.T, m MTA, s *Sink) {
		to := []string{`"a b"@example.test`, "bob@example.test"}
		reply, err := Send(m.SMTP(), "alice@sender.test", to, []byte(testMessage))
		if err != nil || reply.Code != 250 {
			t.Fatalf("Send = %v, %v, want 250", reply, err)
		}
		got, err := s.Wait(1, deliveryTimeout)
		if err != nil {
			t.Fatal(err)
		}
		if left, err := WaitIdle(m, deliveryTimeout); err != nil || len(left) > 0 {
			t.Errorf("left in the queue: %v, %v, want nothing", left, err)
		}
		d := got[0]
		slices.Sort(d.Recipients) // Postfix does not keep their order
		if env, want := fmt.Sprintf("%s %q", d.Sender, d.Recipients), fmt.Sprintf("alice@sender.test %q", to); env != want {
			t.Errorf("envelope %s, want %s", env, want)
		}
		if !bytes.HasPrefix(d.Raw, []byte("Received: ")) || !bytes.HasSuffix(d.Raw, []byte(testMessage[strings.Index(testMessage, "\r\n\r\n"):])) {
			t.Errorf("sent\n%q\ngot\n%q", testMessage, d.Raw)
		}
	})
}

func TestMTARefusesForNowWithoutItsMilter(t *testing.T) {
	addr, err := FreeAddr()
	if err != nil {
		t.Fatal(err)
	}
	eachMTA(t, "inet:"+addr, func(t *testing.T, m MTA, s *Sink) {
		reply, err := Send(m.SMTP(), "alice@sender.test", []string{"bob@example.test"}, []byte(testMessage))
		if err != nil || !reply.Temporary() {
			t.Errorf("Send = %v, %v, want 4xx", reply, err)
		}
		if left, err := WaitIdle(m, deliveryTimeout); err != nil || len(left) > 0 {
			t.Errorf("left in the queue: %v, %v, want nothing", left, err)
		}
		if got := s.Deliveries(); len(got) > 0 {
			t.Errorf("delivered %q, want nothing", got)
		}
	})
}

func TestRigsRunSideBySide(t *testing.T) {
	need(t, NeedPostfix)
	s := startSink(t)
	for i := range 2 {
		p, err := StartPostfix(PostfixOptions{Sink: s.Addr})
		if err != nil {
			t.Fatal(err)
		}
		defer p.Stop()
		if reply, err := Send(p.Addr, "", []string{fmt.Sprintf("bob%d@example.test", i)}, []byte(testMessage)); err != nil || !reply.OK() {
			t.Fatalf("Postfix %d: Send = %v, %v, want 250", i, reply, err)
		}
	}
	if _, err := s.Wait(2, deliveryTimeout); err != nil {
		t.Error(err)
	}
}

func startClamd(t *testing.T, o ClamdOptions) *Clamd {
	t.Helper()
	need(t, NeedClamd)
	c, err := StartClamd(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Stop(); err != nil {
			t.Errorf("stop clamd: %v", err)
		}
	})
	return c
}

// scan writes content to a file that clamd may read, and has it scanned.
func scan(t *testing.T, c *Clamd, content []byte, want string) {
	t.Helper()
	file := c.dir + "/content"
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := c.expect("SCAN "+file, file+": "+want); err != nil {
		t.Errorf("scan of %q: %v, want %s", content, err, want)
	}
}

func TestClamdKnowsEICARAndWhatItIsTold(t *testing.T) {
	c := startClamd(t, ClamdOptions{TCP: true, Malware: map[string][]byte{"My-Worm": []byte("i am a worm")}})
	scan(t, c, EICAR(), "Eicar-Test.UNOFFICIAL FOUND")
	scan(t, c, []byte("i am a worm"), "My-Worm.UNOFFICIAL FOUND")
	scan(t, c, []byte("i am not"), "OK")
	if err := c.Reload(); err != nil {
		t.Error(err)
	}
}

func TestClamdComesBackAfterKill(t *testing.T) {
	c := startClamd(t, ClamdOptions{})
	c.Kill()
	if err := c.expect("PING", "PONG"); err == nil {
		t.Error("a killed clamd answers")
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	scan(t, c, EICAR(), "Eicar-Test.UNOFFICIAL FOUND")
}

func TestStopEndsAStoppedServer(t *testing.T) {
	c := startClamd(t, ClamdOptions{})
	if err := c.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	// Stop is in the cleanup, and fails the test if it has to wait.
}

func TestSinkSeesTheEndOnlyAfterCRLF(t *testing.T) {
	for _, c := range []struct{ name, sent, want string }{
		{"plain", "a\r\n", "a\r\n"},
		{"empty", "", ""},
		{"dots", ".\r\n..\r\n.a\r\n", ".\r\n..\r\n.a\r\n"},
		{"bare LF before a dot", "a\n.\r\nb\r\n", "a\n.\r\nb\r\n"},
		{"bare CR before a dot", "a\r.\r\nb\r\n", "a\r.\r\nb\r\n"},
		{"CR CR LF", "a\r\r\n.b\r\n", "a\r\r\n.b\r\n"},
		{"NUL and 8-bit", "\x00\xff\r\n", "\x00\xff\r\n"},
		{"long line", strings.Repeat("x", 10000) + ".\r\n", strings.Repeat("x", 10000) + ".\r\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := startSink(t)
			if r, err := Send(s.Addr, "a@b.test", []string{"c@d.test"}, []byte(c.sent)); err != nil || !r.OK() {
				t.Fatalf("Send = %v, %v", r, err)
			}
			got := s.Deliveries()
			if len(got) != 1 || string(got[0].Raw) != c.want {
				t.Errorf("sent %q, kept %q, want %q", c.sent, got, c.want)
			}
		})
	}
}

func TestSamplesAreWholeMessages(t *testing.T) {
	need(t, NeedSamples)
	samples, err := Samples()
	if err != nil {
		t.Fatal(err)
	}
	outcomes := map[string]int{}
	for _, s := range samples {
		outcomes[s.Outcome]++
		if bytes.Count(s.Raw, []byte("\n")) != bytes.Count(s.Raw, []byte("\r\n")) || !bytes.Contains(s.Raw, []byte("\r\n\r\n")) {
			t.Errorf("%s: lines do not end with CRLF, or there is no body:\n%q", s.Name, s.Raw)
		}
	}
	if len(outcomes) != 3 || outcomes[Delivered] < 3 || outcomes[Quarantined] < 9 || outcomes[Defanged] < 1 {
		t.Errorf("outcomes %v of %d samples", outcomes, len(samples))
	}
}

func TestMissingNamesThePackage(t *testing.T) {
	t.Setenv("RASTEL_SENDMAIL_DIR", t.TempDir())
	m := Missing(NeedSendmail)
	if len(m) == 0 || !strings.Contains(m[len(m)-1], "sendmail-bin") {
		t.Errorf("Missing(sendmail) = %q in an empty directory, want the package sendmail-bin", m)
	}
	if _, err := StartSendmail(SendmailOptions{}); err == nil || !strings.Contains(err.Error(), "sendmail-bin") {
		t.Errorf("StartSendmail = %v in an empty directory, want an error that names the package", err)
	}
}
