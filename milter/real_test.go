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
		if env.Listener == "" || env.ListenerAddr != "127.0.0.1" && env.Listener != "MTA" { // of Sendmail, which tells no address of the machine itself
			t.Errorf("the listener is %q at %q, want a name, and 127.0.0.1", env.Listener, env.ListenerAddr)
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

// An editing judge changes each message by a function that the test sets before it sends it.
type editing struct {
	edit func(m *eml.Message) []eml.Edit
	want bytes.Buffer
}

// TestRealMTAsEditExactly sends, in one session, messages whose edits need the right index, the
// right place or the right border between packets, and compares what is delivered byte for byte.
func TestRealMTAsEditExactly(t *testing.T) {
	for _, kind := range []string{rig.NeedPostfix, rig.NeedSendmail} {
		t.Run(kind, func(t *testing.T) {
			var e editing
			r := startTCP(t, Config{}, JudgeFunc(func(ctx context.Context, env *eml.Envelope, s *eml.Spool) (*policy.Verdict, error) {
				e.want.Reset()
				return patching(t, e.edit, &e.want).Judge(ctx, env, s)
			}))
			m, sink := realMTA(t, kind, "inet:"+r.srv.Addrs()[0].String())
			c, err := rig.Dial(m.SMTP())
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if _, err := c.Cmd("EHLO client.example.test"); err != nil {
				t.Fatal(err)
			}
			for n, tt := range exactEdits() {
				e.edit = tt.edit
				reply, err := c.Message("a@example.test", []string{"b@example.test"}, []byte(tt.raw))
				if err != nil || !reply.OK() {
					t.Fatalf("%s: %v, %v", tt.name, reply, err)
				}
				got, err := sink.Wait(n+1, deliveryTime)
				if err != nil {
					t.Fatalf("%s: %v", tt.name, err)
				}
				if raw, want := withoutTrace(got[n].Raw), asDelivered(e.want.Bytes()); !bytes.Equal(raw, want) {
					t.Errorf("%s: %s", tt.name, difference(raw, want))
				}
			}
		})
	}
}

// withoutTrace takes off the Received field of the MTA itself.
func withoutTrace(raw []byte) []byte {
	for i, first := 0, true; i < len(raw); first = false {
		n := bytes.IndexByte(raw[i:], '\n') + 1
		if n == 0 || !first && raw[i] != ' ' && raw[i] != '\t' {
			return raw[i:]
		}
		i += n
	}
	return nil
}

// asDelivered is a message with what each MTA does to it: the last line is ended.
func asDelivered(raw []byte) []byte {
	if bytes.HasSuffix(raw, []byte("\n")) {
		return raw
	}
	return append(bytes.Clone(raw), "\r\n"...)
}

func difference(got, want []byte) string {
	i := 0
	for i < min(len(got), len(want)) && got[i] == want[i] {
		i++
	}
	return fmt.Sprintf("%d bytes, want %d; at byte %d got %.300q, want %.300q", len(got), len(want), i, got[i:], want[i:])
}

// An exactEdit is a message and what is done to it.
type exactEdit struct {
	name, raw string
	edit      func(m *eml.Message) []eml.Edit
}

func exactEdits() []exactEdit {
	const head = "From: <a@example.test>\r\nTo: <b@example.test>\r\nDate: Tue, 24 Nov 2026 04:00:00 +0000\r\nMessage-ID: <1@example.test>\r\nSubject: s\r\n"
	one := func(f func(m *eml.Message) eml.Edit) func(m *eml.Message) []eml.Edit {
		return func(m *eml.Message) []eml.Edit { return []eml.Edit{f(m)} }
	}
	top := one(func(m *eml.Message) eml.Edit { return header(m, 0, 0, "X-A: 1\r\nX-B:  2\r\n\tfold \r\n") })
	last := one(func(m *eml.Message) eml.Edit { return header(m, len(m.Root.Header.Fields), 0, "X-A: 1\r\nx-a:2\r\n") })
	list := []exactEdit{
		{"a field at the top", head + "\r\nx\r\n", top},
		{"a field at the top of many Received", "Received: from c\r\n\tby d\r\nReceived: from a\r\n\tby b\r\n" + head + "\r\nx\r\n", top},
		{"the second Received is changed", "Received: from c\r\nReceived: from a\r\n" + head + "\r\nx\r\n", one(func(m *eml.Message) eml.Edit {
			return header(m, 1, 2, "Received: changed\r\n")
		})},
		{"the first Received is removed", "Received: from c\r\nReceived: from a\r\n" + head + "\r\nx\r\n", one(func(m *eml.Message) eml.Edit { return header(m, 0, 1, "") })},
		{"fields behind all others", head + "\r\nx\r\n", last},
		{"a field behind one of its name", head + "X-A: 0\r\nX-Z: 0\r\n\r\nx\r\n", last},
		{"a field between others", head + "\r\nx\r\n", one(func(m *eml.Message) eml.Edit { return header(m, 3, 3, "X-A: 1\r\n") })},
		{"a field in the place of one with another name", head + "\r\nx\r\n", one(func(m *eml.Message) eml.Edit { return header(m, 4, 5, "X-A: 1\r\nX-B: 2\r\n") })},
		{"a value is emptied", head + "\r\nx\r\n", one(func(m *eml.Message) eml.Edit { return header(m, 4, 5, "Subject: \r\n") })},
		{"no body", head + "\r\n\r\n", last},
		{"a body becomes empty", head + "\r\nx\r\n", one(func(m *eml.Message) eml.Edit { return body(m, 0, -1, "") })},
		{"a body without its last line end", head + "\r\nx", one(func(m *eml.Message) eml.Edit { return body(m, 0, 1, "y") })},
		{"a new body without its last line end", head + "\r\nx\r\n", one(func(m *eml.Message) eml.Edit { return body(m, 0, -1, "y") })},
		{"dots", head + "\r\n.\r\n..\r\n.x\r\n", one(func(m *eml.Message) eml.Edit { return body(m, 0, 0, ".\r\n..\r\n.x\r\n") })},
		{"bytes of all kinds", head + "\r\nx\r\n", one(func(m *eml.Message) eml.Edit { return body(m, 0, 0, "\xff\xfe\x01\x7f \t \r\n\r\n \r\n") })},
		{"nothing, behind all of these", head + "\r\n.\r\nx\r\n", func(*eml.Message) []eml.Edit { return nil }},
	}
	list = append(list, manyFields(head)...)
	list = append(list, largeBodies(head)...)
	return list
}

// manyFields are messages with as many fields as the parser takes, and names that many have.
func manyFields(head string) []exactEdit {
	var b strings.Builder
	for i := range 990 {
		fmt.Fprintf(&b, "%s:%d \r\n", []string{"X-N", "x-n", "X-n", "Y"}[i%4], i)
	}
	raw := head + b.String() + "\r\nx\r\n"
	pick := func(list ...int) func(m *eml.Message) []eml.Edit {
		return func(m *eml.Message) (out []eml.Edit) {
			for _, i := range list {
				name := m.Root.Header.Fields[i].Name
				out = append(out, header(m, i, i+1, []string{"", name + ":  changed\t\r\n", strings.ToUpper(name) + ":\r\n new\r\n"}[i%3]))
			}
			return out
		}
	}
	return []exactEdit{
		{"the last of many fields", raw, pick(994)},
		{"the first and the last of many", raw, pick(5, 6, 992, 993, 994)},
		{"some of many", raw, pick(7, 8, 9, 10, 11, 300, 301, 302, 303, 500, 800, 801, 802, 990, 991)},
		{"each tenth", raw, func(m *eml.Message) (out []eml.Edit) {
			for i := 10; i < 995; i += 10 {
				out = append(out, pick(i)(m)...)
			}
			return append(out, header(m, 0, 0, "X-Top: 1\r\n"), header(m, 995, 0, "X-N: last\r\n"))
		}},
	}
}

// largeBodies have line breaks at the borders of packets, and one small edit.
func largeBodies(head string) []exactEdit {
	var list []exactEdit
	for shift := range 4 { // a CRLF around byte 65535 of the body
		text := strings.Repeat(strings.Repeat("x", 62)+"\r\n", 1023) + strings.Repeat("y", 61+shift) + "\r\n.\r\n" + strings.Repeat("z\r\n", 30_000)
		list = append(list,
			exactEdit{fmt.Sprintf("a line end at the border, %d", shift), head + "\r\n" + text, func(m *eml.Message) []eml.Edit {
				return []eml.Edit{body(m, m.Root.RawBody().Size(), -1, "end\r\n")}
			}},
			exactEdit{fmt.Sprintf("a line end at the border, moved, %d", shift), head + "\r\n" + text, func(m *eml.Message) []eml.Edit { return []eml.Edit{body(m, 0, 0, "ab\r\n")} }})
	}
	large := head + "\r\n" + strings.Repeat("0123456789abcdef0123456789abcdef0123456789abcdef0123456789abc\r\n", 20<<20/63)
	return append(list,
		exactEdit{"20 MB, edited at the beginning", large, func(m *eml.Message) []eml.Edit { return []eml.Edit{body(m, 0, 1, "changed")} }},
		exactEdit{"20 MB, edited at the end", large, func(m *eml.Message) []eml.Edit {
			n := m.Root.RawBody().Size()
			return []eml.Edit{body(m, n-3, n-2, "changed")}
		}},
		exactEdit{"a small one behind it", head + "\r\nx\r\n", func(*eml.Message) []eml.Edit { return nil }})
}
