package policy

import (
	"mime"
	"strings"
	"testing"

	"rastel/sanitize/eml"
	"rastel/scanners"
)

func TestTagSubject(t *testing.T) {
	long := strings.Repeat("word ", 13) + "end"
	for _, tt := range []struct{ name, tag, header, want string }{
		{"plain", "[X]", "Subject: hello\n", "Subject: [X] hello\n"},
		{"no blank after the colon", "[X]", "subject:hello\n", "subject: [X] hello\n"},
		{"empty", "[X]", "Subject:\n", "Subject: [X]\n"},
		{"missing", "[X]", "From: a\n", "From: a\nSubject: [X]\n"},
		{"missing, not ASCII", "[Ä]", "From: a\n", "From: a\nSubject: =?utf-8?b?W8OEXQ==?=\n"},
		{"there already", "[X]", "Subject: [X] hello\n", "Subject: [X] hello\n"},
		{"in a reply", "[X]", "Subject: Re: AW: [X] hello\n", "Subject: Re: AW: [X] hello\n"},
		{"only further behind", "[X]", "Subject: hello [X]\n", "Subject: [X] hello [X]\n"},
		{"there already, encoded", "[Ä]", "Subject: =?utf-8?q?=5B=C3=84=5D_x?=\n", "Subject: =?utf-8?q?=5B=C3=84=5D_x?=\n"},
		{"encoded words stay", "[X]", "Subject: =?utf-8?q?=C3=BC?=\n =?utf-8?q?=C3=BC?=\n", "Subject: [X] =?utf-8?q?=C3=BC?=\n =?utf-8?q?=C3=BC?=\n"},
		{"not ASCII before ASCII", "[Ä]", "Subject: hello\n", "Subject: =?utf-8?b?W8OEXQ==?= hello\n"},
		{"not ASCII before an encoded word", "[Ä]", "Subject: =?utf-8?q?=C3=BC?=\n", "Subject: =?utf-8?b?W8OEXSA=?= =?utf-8?q?=C3=BC?=\n"},
		{"each of several", "[X]", "Subject: a\nSubject: b\n", "Subject: [X] a\nSubject: [X] b\n"},
		{"a long line is folded", "[tagged]", "Subject: " + long + "\n", "Subject: [tagged]\n " + long + "\n"},
		{"folded", "[X]", "Subject:\n a\n\tb\n", "Subject: [X] a\n\tb\n"},
		{"NUL and CR, which no field may hold", "[X]", "Subject: a\x00b\rc\n", "Subject: [X] a b c\n"},
		{"eight-bit", "[X]", "Subject: \xe4\n", "Subject: [X] \xe4\n"},
	} {
		p := load(t, `rules: [{name: x, when: true, do: [{tag_subject: "`+tt.tag+`"}]}]`)
		m := parse(t, tt.header+"\nbody\n")
		v := p.Decide(m, scanners.Report{})
		got := delivered(t, m, v)
		if want := tt.want + "\nbody\n"; got != want || v.Action != Accept {
			t.Errorf("%s: %s\n%q\nwant\n%q\n%s", tt.name, v.Action, got, want, traceOf(v))
		}
		again := parse(t, got)
		if twice := delivered(t, again, p.Decide(again, scanners.Report{})); twice != got {
			t.Errorf("%s: twice\n%q\nis not once\n%q", tt.name, twice, got)
		}
	}
}

// TestTagIsShownWithABlank: what a client decodes has the tag, one blank and the subject.
func TestTagIsShownWithABlank(t *testing.T) {
	for _, subject := range []string{"hello", "=?utf-8?q?hello?=", "=?utf-8?q?hello?="} {
		for _, tag := range []string{"[X]", "[Ä]"} {
			text, _ := tagged("Subject", []byte(" "+subject), []string{tag})
			_, value, _ := strings.Cut(strings.TrimSpace(string(text)), ": ")
			if got, err := new(mime.WordDecoder).DecodeHeader(value); err != nil || got != tag+" hello" {
				t.Errorf("%s and %s: %q is shown as %q, %v", tag, subject, value, got, err)
			}
		}
	}
}

func TestManyTagsStayOnShortLines(t *testing.T) {
	var tags []string
	for range 60 {
		tags = append(tags, strings.Repeat("t", maxTag-1)+string(rune('A'+len(tags))))
	}
	for _, tags := range [][]string{tags, append(tags, "ä")} {
		text, _ := tagged("Subject", []byte(" hello"), tags)
		for line := range strings.Lines(string(text)) {
			if len(line) > maxLine+2 {
				t.Errorf("a line of %d bytes: %q", len(line), line)
			}
		}
	}
}

// TestTagKeepsTheFixOfTheSubject: two edits of the same bytes would leave one.
func TestTagKeepsTheFixOfTheSubject(t *testing.T) {
	for _, tt := range []struct{ fix, want string }{
		{"Subject: safe\r\n", "Subject: [X] safe\n"},
		{"Subject: safe\r\n and long\r\n", "Subject: [X] safe\n and long\n"},
	} {
		m := parse(t, "Subject: bad\n\nbody\n")
		f := m.Root.Header.Fields[0]
		r := scanners.Report{Findings: []eml.Finding{{
			Check: "header/long", Part: m.Root,
			Fix: []eml.Edit{{Part: m.Root, Region: eml.InHeader, Start: f.Start, End: f.End, Text: []byte(tt.fix)}},
		}}}
		p := load(t, `rules: [{name: x, when: 'has("header/long")', do: [{tag_subject: "[X]"}, defang]}]`)
		if got := delivered(t, m, p.Decide(m, r)); got != tt.want+"\nbody\n" {
			t.Errorf("%q: got %q, want %q", tt.fix, got, tt.want)
		}
		if string(r.Findings[0].Fix[0].Text) != tt.fix {
			t.Errorf("the report was changed")
		}
	}
}

func TestIsSubject(t *testing.T) {
	for text, want := range map[string]bool{
		"Subject: a\r\n": true, "subject: a\r\n b\r\n": true, "Subject: a\r\nX: b\r\n": false, "X: a\r\n": false, "": false,
	} {
		if got := isSubject([]byte(text)); got != want {
			t.Errorf("%q: got %v, want %v", text, got, want)
		}
	}
}

// TestFieldsAreSetOnce: what comes again, with whatever it has then, is not changed again.
func TestFieldsAreSetOnce(t *testing.T) {
	for _, tt := range []struct{ name, do, header, want string }{
		{"several", "{set_header: {name: X, value: a}}, {add_header: {name: X, value: b}}", "X: 1\nY: y\nx: 2\nX: 3\n", "X: a\nY: y\nx: b\n"},
		{"none", "{set_header: {name: X, value: a}}, {add_header: {name: X, value: b}}, {set_header: {name: Z, value: z}}", "Y: y\n", "Y: y\nX: a\nX: b\nZ: z\n"},
		{"one too many", "{set_header: {name: X, value: a}}", "X: b\nY: y\nX: a\n", "X: a\nY: y\n"},
		{"folded", "{set_header: {name: X, value: a b}}", "X: a\n b\nY: y\n", "X: a\n b\nY: y\n"},
		{"encoded", "{set_header: {name: X, value: ü}}", "X: =?utf-8?q?=C3=BC?=\n", "X: =?utf-8?q?=C3=BC?=\n"},
		{"removed", "{remove_header: X}", "x: 1\nY: y\nX: 2\n", "Y: y\n"},
		{"removed and added", "{remove_header: X}, {add_header: {name: X, value: a}}", "X: 1\nY: y\nX: 2\n", "X: a\nY: y\n"},
	} {
		p := load(t, `rules: [{name: x, when: true, do: [`+tt.do+`]}]`)
		m := parse(t, tt.header+"\nbody\n")
		v := p.Decide(m, scanners.Report{})
		got := delivered(t, m, v)
		if want := tt.want + "\nbody\n"; got != want || v.Action != Accept {
			t.Errorf("%s: %s\n%q\nwant\n%q\n%s", tt.name, v.Action, got, want, traceOf(v))
		}
		again := parse(t, got)
		if v := p.Decide(again, scanners.Report{}); !v.Patch.Empty() {
			t.Errorf("%s: twice\n%q\nis not once\n%q", tt.name, delivered(t, again, v), got)
		}
	}
}

// TestSetFieldWinsOverItsFix: both are edits of the same bytes, of which one is made.
func TestSetFieldWinsOverItsFix(t *testing.T) {
	for do, want := range map[string]string{
		"{set_header: {name: X, value: a}}":   "X: a\nY: y\n",
		"{set_header: {name: X, value: bad}}": "X: bad\nY: y\n",
		"{remove_header: X}":                  "Y: y\n",
	} {
		m := parse(t, "X:  bad\nY: y\n\nbody\n")
		f := m.Root.Header.Fields[0]
		r := scanners.Report{Findings: []eml.Finding{{
			Check: "header/long", Part: m.Root,
			Fix: []eml.Edit{{Part: m.Root, Region: eml.InHeader, Start: f.Start, End: f.End, Text: []byte("X: cut\r\n")}},
		}}}
		p := load(t, `rules: [{name: x, when: 'has("header/long")', do: [`+do+`, defang]}]`)
		if got := delivered(t, m, p.Decide(m, r)); got != want+"\nbody\n" {
			t.Errorf("%s: got %q, want %q", do, got, want)
		}
	}
}
