package milter

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"rastel/policy"
	"rastel/sanitize/eml"
)

// routed is a recipient whose address names the way to it, and removed how it is removed: as it came, and as Postfix knows
// it.
const (
	routed  = "@h.example,@i.example:d@x.example"
	removed = "- \"<@h.example,@i.example:d@x.example>\\x00\"\n- \"<d@x.example>\\x00\"\n"
)

// three is first for three recipients.
func three() mail {
	x := first
	x.rcpts = []string{"a@x.example", `"b c"@x.example`, routed}
	return x
}

// changing is a judge whose verdicts are changed.
func changing(j Judge, change func(*policy.Verdict)) Judge {
	return JudgeFunc(func(ctx context.Context, env *eml.Envelope, s *eml.Spool) (*policy.Verdict, error) {
		v, err := j.Judge(ctx, env, s)
		if err == nil {
			change(v)
		}
		return v, err
	})
}

// packetText is edits as text.
func packetText(list []packet) string {
	var b strings.Builder
	for _, p := range list {
		fmt.Fprintf(&b, "%c %q\n", p.code, p.data)
	}
	return b.String()
}

func TestEnvelopeChanges(t *testing.T) {
	for _, tt := range []struct {
		name string
		v    policy.Verdict
		want string
		code byte
	}{
		{"none", policy.Verdict{}, "", 'a'},
		{"remove", policy.Verdict{Remove: []string{`"b c"@x.example`}}, "- \"<\\\"b c\\\"@x.example>\\x00\"\n", 'a'},
		{"add", policy.Verdict{Add: []string{"n@x.example", "m@x.example"}}, "+ \"<n@x.example>\\x00\"\n+ \"<m@x.example>\\x00\"\n", 'a'},
		{"removed first", policy.Verdict{Add: []string{"n@x.example"}, Remove: []string{"a@x.example", routed}},
			"- \"<a@x.example>\\x00\"\n" + removed + "+ \"<n@x.example>\\x00\"\n", 'a'},
		{"hold", policy.Verdict{MTAHold: "100% odd\r\nä"}, "q \"100% odd???\\x00\"\n", 'a'},
		{"a long reason", policy.Verdict{MTAHold: strings.Repeat("x", 1000)}, fmt.Sprintf("q %q\n", strings.Repeat("x", maxHoldReason)+"\x00"), 'a'},
		{"all of them removed", policy.Verdict{Remove: []string{"a@x.example", `"b c"@x.example`, routed}, MTAHold: "x"}, "", 'd'},
		{"all of them replaced", policy.Verdict{Remove: []string{"a@x.example", `"b c"@x.example`, routed}, Add: []string{"n@x.example"}},
			"- \"<a@x.example>\\x00\"\n- \"<\\\"b c\\\"@x.example>\\x00\"\n" + removed + "+ \"<n@x.example>\\x00\"\n", 'a'},
		{"others", policy.Verdict{Recipients: []string{"a@x.example"}, Remove: []string{`"b c"@x.example`, routed}, Others: []*policy.Verdict{{Action: policy.Quarantine, Recipients: []string{`"b c"@x.example`, routed}}}},
			"- \"<\\\"b c\\\"@x.example>\\x00\"\n" + removed, 'a'},
		{"one that is not there", policy.Verdict{Remove: []string{"A@x.example"}}, "", 'y'},
		{"one that would be two arguments", policy.Verdict{Add: []string{"a@x.example> <b@x.example"}}, "", 'y'},
		{"one with a NUL", policy.Verdict{Add: []string{"a\x00@x.example"}}, "", 'y'},
		{"an empty one", policy.Verdict{Add: []string{""}}, "", 'y'},
	} {
		tt.v.Action = policy.Accept
		m := start(t, Config{}, always(tt.v)).mta()
		m.hello()
		edits, final := m.deliver(three())
		if got := packetText(edits); got != tt.want || final.code != tt.code {
			t.Errorf("%s: got %s%q, want %s%q", tt.name, got, final.code, tt.want, tt.code)
		}
		if final.code == 'y' && !strings.HasPrefix(final.data, "451 ") {
			t.Errorf("%s: reply %q, want one for now", tt.name, final.data)
		}
	}
}

// TestSendmailGetsBackWhomItMustNotLose: those who stay are added again, unless it is Postfix that has told the queue
// id early.
func TestSendmailGetsBackWhomItMustNotLose(t *testing.T) {
	v := policy.Verdict{Action: policy.Accept, Remove: []string{"a@x.example"}, Add: []string{"n@x.example"}}
	const one, added = "- \"<a@x.example>\\x00\"\n", "+ \"<n@x.example>\\x00\"\n"
	for _, tt := range []struct {
		version  string
		sendmail bool
		want     string
	}{
		{"", false, one + added},
		{"Postfix 3.7.11", true, one + added},
		{"", true, one + "+ \"<\\\"b c\\\"@x.example>\\x00\"\n+ \"<@h.example,@i.example:d@x.example>\\x00\"\n" + added},
	} {
		m := start(t, Config{}, always(v)).mta()
		m.sendmail = tt.sendmail
		m.negotiate()
		m.send(rawFrame('D', "Cv\x00"+tt.version+"\x00"))
		m.connect("192.0.2.7")
		m.ask('H', "client.example")
		edits, final := m.deliver(three())
		if got := packetText(edits); got != tt.want || final.code != 'a' {
			t.Errorf("%+v: got\n%s%q", tt, got, final.code)
		}
	}
	v.Add = nil
	m := start(t, Config{}, always(v)).mta()
	m.sendmail = true
	m.offer(6, offerActions&^0x04, offerProtocol)
	if edits, final := m.deliver(three()); len(edits) > 0 || final.code != 'y' {
		t.Errorf("without the right to add: %s%q", packetText(edits), final.code)
	}
}

// TestEnvelopeChangesBetweenHeaderAndBody: Postfix gives up a body that anything follows.
func TestEnvelopeChangesBetweenHeaderAndBody(t *testing.T) {
	var want strings.Builder
	patch := patching(t, func(m *eml.Message) []eml.Edit {
		return []eml.Edit{header(m, 0, 0, "X-A: 1\r\n"), body(m, 0, 0, "new\r\n")}
	}, &want)
	m := start(t, Config{}, changing(patch, func(v *policy.Verdict) {
		v.Add, v.Remove, v.MTAHold = []string{"n@x.example"}, []string{"a@x.example"}, "look"
	})).mta()
	m.hello()
	edits, final := m.deliver(three())
	var order strings.Builder
	for _, e := range edits {
		order.WriteByte(e.code)
	}
	if order.String() != "i-+qb" || final.code != 'a' {
		t.Errorf("edits %q, answer %q", order.String(), final.code)
	}
}

// TestRefusesForNowWhatTheMTACannotDo: the message must not go to whom it must not go.
func TestRefusesForNowWhatTheMTACannotDo(t *testing.T) {
	for _, tt := range []struct {
		missing uint32
		v       policy.Verdict
	}{
		{0x04, policy.Verdict{Add: []string{"n@x.example"}}},
		{0x08, policy.Verdict{Remove: []string{"a@x.example"}}},
		{0x20, policy.Verdict{MTAHold: "look"}},
	} {
		for offered, want := range map[uint32]byte{offerActions: 'a', offerActions &^ tt.missing: 'y'} {
			tt.v.Action = policy.Accept
			r := start(t, Config{}, always(tt.v))
			m := r.mta()
			if _, agreed := m.offer(6, offered, offerProtocol); agreed != offered&0x3f {
				t.Errorf("%#x: agreed %#x", offered, agreed)
			}
			edits, final := m.deliver(three())
			if final.code != want || want == 'y' && (len(edits) > 0 || !strings.HasPrefix(final.data, "451 ")) {
				t.Errorf("%#x: edits %s, answer %q %q", offered, packetText(edits), final.code, final.data)
			}
			if want == 'y' && !strings.Contains(r.log.String(), "the MTA does not let filters") {
				t.Errorf("%#x: the log says\n%s", offered, r.log.String())
			}
		}
	}
}
