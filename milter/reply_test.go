package milter

import (
	"strings"
	"testing"

	"rastel/policy"
)

func TestReplies(t *testing.T) {
	const tempfail, reject = policy.TempFail, policy.Reject
	x380 := strings.Repeat("x", maxReplyText)
	for _, tt := range []struct {
		action policy.Action
		reply  policy.Reply
		want   string
	}{
		{tempfail, policy.Reply{}, "451 4.7.1 The message could not be examined; try again later"},
		{reject, policy.Reply{}, "550 5.7.1 The message was refused because of its content"},
		{reject, policy.Reply{Code: 554, Enhanced: "5.6.0", Text: "a"}, "554 5.6.0 a"},
		{tempfail, policy.Reply{Code: 452, Enhanced: "4.3.1", Text: "a"}, "452 4.3.1 a"},

		// The class is that of the action, and 421 would close the SMTP session.
		{reject, policy.Reply{Code: 451, Enhanced: "4.7.1", Text: "a"}, "550 5.7.1 a"},
		{tempfail, policy.Reply{Code: 550, Enhanced: "5.7.1", Text: "a"}, "451 4.7.1 a"},
		{tempfail, policy.Reply{Code: 421, Enhanced: "4.3.2", Text: "a"}, "451 4.3.2 a"},
		{tempfail, policy.Reply{Code: 250, Text: "a"}, "451 4.7.1 a"},
		{reject, policy.Reply{Code: 600, Text: "a"}, "550 5.7.1 a"},
		{reject, policy.Reply{Code: -550, Text: "a"}, "550 5.7.1 a"},
		{policy.Undecided, policy.Reply{Code: 550, Text: "a"}, "451 4.7.1 a"},

		// Enhanced codes: form and class.
		{reject, policy.Reply{Enhanced: "4.7.1", Text: "a"}, "550 5.7.1 a"},
		{reject, policy.Reply{Enhanced: "5.7", Text: "a"}, "550 5.7.1 a"},
		{reject, policy.Reply{Enhanced: "5.7.1\r\n", Text: "a"}, "550 5.7.1 a"},
		{reject, policy.Reply{Enhanced: "5.-7.1", Text: "a"}, "550 5.7.1 a"},
		{reject, policy.Reply{Enhanced: "5.07.1", Text: "a"}, "550 5.7.1 a"},
		{reject, policy.Reply{Enhanced: "5.1000.1", Text: "a"}, "550 5.7.1 a"},
		{reject, policy.Reply{Enhanced: "5.999.0", Text: "a"}, "550 5.999.0 a"},

		// Text: Sendmail formats it, both MTAs pass on what they are given.
		{reject, policy.Reply{Text: "100%"}, "550 5.7.1 100%%"},
		{reject, policy.Reply{Text: "%s%n"}, "550 5.7.1 %%s%%n"},
		{reject, policy.Reply{Text: "a\x00b\tc\x7fd\x1b"}, "550 5.7.1 a b c?d"},
		{reject, policy.Reply{Text: "é\xff"}, "550 5.7.1 ??"},
		{reject, policy.Reply{Text: " \n "}, "550 5.7.1 The message was refused because of its content"},
		{reject, policy.Reply{Text: "a\rb"}, "550 5.7.1 a b"},

		// Lines.
		{reject, policy.Reply{Text: "a\nb"}, "550-5.7.1 a\r\n550 5.7.1 b"},
		{reject, policy.Reply{Text: "a\r\n250 OK\r\n"}, "550-5.7.1 a\r\n550 5.7.1 250 OK"},
		{reject, policy.Reply{Text: "\n\na\n\n"}, "550 5.7.1 a"},
		{reject, policy.Reply{Text: x380 + "y"}, "550-5.7.1 " + x380 + "\r\n550 5.7.1 y"},
		{reject, policy.Reply{Text: x380[1:] + "%"}, "550-5.7.1 " + x380[1:] + "\r\n550 5.7.1 %%"},
	} {
		got := replyPacket(tt.action, tt.reply).Response()
		if got.Code != 'y' || string(got.Data) != tt.want+"\x00" {
			t.Errorf("%v %+v: got %q %q, want %q", tt.action, tt.reply, got.Code, got.Data, tt.want)
		}
	}
}

func TestRepliesAreBounded(t *testing.T) {
	for _, text := range []string{strings.Repeat("x", 1<<20), strings.Repeat("%", 1<<20), strings.Repeat("x\n", 1<<20)} {
		lines := strings.Split(string(replyPacket(policy.Reject, policy.Reply{Text: text}).Response().Data), "\r\n")
		if len(lines) > maxReplyLines {
			t.Errorf("%.10q...: %d lines, want at most %d", text, len(lines), maxReplyLines)
		}
		for _, l := range lines {
			if len(l) > 400 {
				t.Errorf("%.10q...: a line of %d bytes", text, len(l))
			}
		}
	}
}

func FuzzReply(f *testing.F) {
	f.Add(550, "5.7.1", "a\r\nb % \x00")
	f.Add(421, "4.3.2", "")
	f.Fuzz(func(t *testing.T, code int, enhanced, text string) {
		for _, action := range []policy.Action{policy.TempFail, policy.Reject} {
			p := replyPacket(action, policy.Reply{Code: code, Enhanced: enhanced, Text: text}).Response()
			data := strings.TrimSuffix(string(p.Data), "\x00")
			class := map[policy.Action]byte{policy.TempFail: '4', policy.Reject: '5'}[action]
			lines := strings.Split(data, "\r\n")
			for i, l := range lines {
				last := i == len(lines)-1
				if len(l) < 10 || l[0] != class || (l[3] == ' ') != last || l[4] != class || strings.HasPrefix(l, "421") {
					t.Fatalf("%q is no reply line", l)
				}
				if strings.ContainsFunc(l, func(r rune) bool { return r < ' ' || r > '~' }) || strings.Contains(strings.ReplaceAll(l, "%%", ""), "%") {
					t.Fatalf("%q has bytes that MTAs do not like", l)
				}
			}
		}
	})
}
