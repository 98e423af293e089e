package policy

import (
	"fmt"
	"strings"
	"testing"

	"rastel/sanitize/eml"
	"rastel/scanners"
)

func TestReplyTextsAreFilledIn(t *testing.T) {
	m := parse(t, threeParts)
	r := report(t, m, "html/script 1.2", "clamd/malware 1.3", "name/executable 1.3")
	for _, tt := range []struct{ rule, text, want string }{
		{`for: part, when: 'part.has("name/executable")'`, "{part} is a program ({rule}; {check}; {reference})", `"Setup.EXE" is a program (no <programs_; name/executable; R1)`},
		{`for: part, when: 'part.has("html/*")'`, "{part}: {check}", "part 1.2: html/script"},
		{`for: part, when: 'part.id == "1"'`, "{part}", "the message"},
		{`when: 'has("clamd/*", "name/executable")'`, "{check} in {part}", `clamd/malware in "Setup.EXE"`},
		{`when: 'has("clamd/*") or size > 1'`, "{part}", `"Setup.EXE"`},
		{`when: 'has("mime/*") or size > 1'`, "{check} in {part}", "no check in the message"},
		{`when: size > 1`, "{part} {} { part } {1} {", "the message {} { part } {1} {"},
	} {
		text := fmt.Sprintf("rules: [{name: 'no <programs>', %s, then: reject, reply: {text: %q}}]", tt.rule, tt.text)
		v := load(t, text).DecideGiven(m, r, Given{Reference: "R1"})
		if want := strings.ReplaceAll(tt.want, "<", "_"); v.Action != Reject || v.Reply.Text != want {
			t.Errorf("%s %q: got %v %q, want %q", tt.rule, tt.text, v.Action, v.Reply.Text, want)
		}
	}
}

// TestReplyTextsAreSafe: whatever the sender calls a part, the reply is short and printable ASCII.
func TestReplyTextsAreSafe(t *testing.T) {
	for _, name := range []string{"a\r\n250 ok", "%n%s", "\x1b[31mred", `"quoted" \ `, "<script>`id`$(id)", strings.Repeat("x", 300), "Grüße\u202eexe.pdf", "{reference}", "../../etc/passwd", "\x00", " ", ""} {
		m := parse(t, threeParts)
		at(t, m, "1.3").Names = []string{name}
		v := load(t, `rules: [{name: x, for: part, when: 'part.id == "1.3"', then: reject, reply: {text: "No {part}"}}]`).Decide(m, scanners.Report{})
		got := strings.TrimPrefix(v.Reply.Text, "No ")
		if got == v.Reply.Text || len(got) > maxReplyPart+5 || !ascii(got) || !printable(got) || strings.ContainsAny(strings.Trim(got, `"`), "\"\\<>%{}`$") {
			t.Errorf("%q: %q", name, v.Reply.Text)
		}
	}
	m := parse(t, threeParts)
	at(t, m, "1.3").Names = []string{strings.Repeat("x", 60)}
	v := load(t, `rules: [{name: x, for: part, when: 'part.id == "1.3"', then: reject, reply: {text: "`+strings.Repeat("{part}", 33)+`"}}]`).Decide(m, scanners.Report{})
	if len(v.Reply.Text) != maxFilled || !strings.HasSuffix(v.Reply.Text, "...") {
		t.Errorf("%d characters: %q", len(v.Reply.Text), v.Reply.Text)
	}
}

func TestReplyTextsAtStages(t *testing.T) {
	p := load(t, `rules: [{name: x, stage: mail, when: true, then: reject, reply: {text: "No, see {rule} of {reference}"}}]`)
	if v := p.DecideAt(eml.AtMail, stageEnvelope(), "", nil); v.Reply.Text != "No, see x of S1" {
		t.Errorf("got %q", v.Reply.Text)
	}
}
