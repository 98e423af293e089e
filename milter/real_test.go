package milter

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"rastel/contrib/rig"
	"rastel/policy"
	"rastel/sanitize/eml"
)

// deliveryTime is how long a message may take from the client to the sink.
const deliveryTime = 30 * time.Second

// realMTA starts one of the real servers with a sink behind it.
func realMTA(t *testing.T, kind, milter string) (rig.MTA, *rig.Sink) {
	t.Helper()
	if os.Getenv("RASTEL_E2E") != "1" {
		t.Skipf("needs a real %s, and ten seconds: set RASTEL_E2E=1", kind)
	}
	if m := rig.Missing(kind); len(m) > 0 {
		t.Fatalf("missing: %q", m)
	}
	sink, err := rig.StartSink()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sink.Stop() })
	var m rig.MTA
	if kind == rig.NeedPostfix {
		m, err = rig.StartPostfix(rig.PostfixOptions{Milter: milter, Sink: sink.Addr, ContentTimeout: 5 * time.Second})
	} else {
		m, err = rig.StartSendmail(rig.SendmailOptions{Milter: milter, Sink: sink.Addr, ReplyTimeout: 5 * time.Second})
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("log of %s:\n%s", kind, m.Log())
		}
		m.Stop()
	})
	return m, sink
}

// bySubject is a judge that does what the subject says. The messages as they should be
// delivered go to want.
func bySubject(t *testing.T, want *bytes.Buffer) Judge {
	patch := patching(t, func(m *eml.Message) []eml.Edit {
		switch want.Reset(); m.Root.Header.Get("Subject") {
		case "header":
			return []eml.Edit{header(m, 0, 0, "X-Top:  1\r\n"), header(m, 1, 2, ""), header(m, 4, 5, ""),
				header(m, 5, 6, "Subject:[tag] s\r\n\tfolded \r\n"), header(m, len(m.Root.Header.Fields), 0, "X-Last: 1\r\n")}
		case "body", "slow":
			return []eml.Edit{body(m, 0, 1, "..\r\n"), body(m, 70_000, 70_001, "\r\n.\r\n")}
		}
		return nil
	}, want)
	return JudgeFunc(func(ctx context.Context, env *eml.Envelope, s *eml.Spool) (*policy.Verdict, error) {
		v, err := patch.Judge(ctx, env, s)
		if err != nil {
			return nil, err
		}
		if env.QueueID == "" || env.Session == "" || !env.Client.IsLoopback() || env.Helo != "client.example.test" {
			t.Errorf("the envelope is not complete: %+v", env)
		}
		switch raw := want.String(); {
		case strings.Contains(raw, "Subject: reject\r\n"):
			return &policy.Verdict{Action: policy.Reject, Reply: policy.Reply{Text: "100% sure\nsecond line"}}, nil
		case strings.Contains(raw, "Subject: tempfail\r\n"):
			return nil, context.Canceled
		case strings.Contains(raw, "Subject: slow\r\n"):
			<-time.After(7 * time.Second) // longer than the MTA, whose time is real, waits without progress
		}
		return v, nil
	})
}

// TestRealMTAsCarryOutVerdicts sends several messages in one session, so that whatever one
// leaves behind spoils the next.
func TestRealMTAsCarryOutVerdicts(t *testing.T) {
	for _, kind := range []string{rig.NeedPostfix, rig.NeedSendmail} {
		t.Run(kind, func(t *testing.T) {
			var want bytes.Buffer
			r := startTCP(t, Config{ProgressInterval: 2 * time.Second}, bySubject(t, &want))
			m, sink := realMTA(t, kind, "inet:"+r.srv.Addrs()[0].String())
			c, err := rig.Dial(m.SMTP())
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if _, err := c.Cmd("EHLO client.example.test"); err != nil {
				t.Fatal(err)
			}
			n := 0
			for _, tt := range []struct{ subject, reply string }{
				{"clean", "250"}, {"reject", "550"}, {"clean", "250"}, {"header", "250"}, {"tempfail", "451"}, {"body", "250"}, {"slow", "250"}, {"clean", "250"},
			} {
				reply, err := c.Message("a@example.test", []string{"b@example.test"}, realMail(tt.subject))
				if err != nil {
					t.Fatalf("%s: %v", tt.subject, err)
				}
				if fmt.Sprint(reply.Code) != tt.reply {
					t.Errorf("%s: got %v, want %s", tt.subject, reply, tt.reply)
				}
				if tt.subject == "reject" && !strings.Contains(reply.String(), "100% sure") {
					t.Errorf("the text of the reply is lost: %v", reply)
				}
				if !reply.OK() {
					continue
				}
				n++
				got, err := sink.Wait(n, deliveryTime)
				if err != nil {
					t.Fatalf("%s: %v", tt.subject, err)
				}
				if raw := got[len(got)-1].Raw; !bytes.HasSuffix(raw, want.Bytes()) {
					t.Errorf("%s: got %.600q, want at its end %.400q", tt.subject, raw, want.Bytes())
				}
			}
		})
	}
}

// realMail has what MTAs may change: spelling, blanks, folds, dots.
func realMail(subject string) []byte {
	return []byte("Received: from elsewhere\r\n\tby here\r\nX-Tag: 1\r\nFrom: <a@example.test>\r\nTo: <b@example.test>\r\nx-tag:  2\r\n" +
		"Subject: " + subject + "\r\nDate: Tue, 24 Nov 2026 04:00:00 +0000\r\nMessage-ID: <" + subject + "@example.test>\r\nX-TAG:3 \r\nX-Odd:\ttab  \r\n\r\n" +
		strings.Repeat("a line of the body\r\n.\r\n", 10_000) + "the end\r\n")
}
