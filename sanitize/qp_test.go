package sanitize

import (
	"bytes"
	"io"
	"mime/quotedprintable"
	"strings"
	"testing"
)

// qpOf is text in quoted-printable, written in two pieces.
func qpOf(t testing.TB, s string, cut int) string {
	t.Helper()
	var b bytes.Buffer
	q := &qpWriter{w: &b}
	for _, piece := range []string{s[:cut], s[cut:]} {
		if _, err := io.WriteString(q, piece); err != nil {
			t.Fatal(err)
		}
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestQPWritesWhatTheStandardDoes(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"a b \r\nc\t", "a b=20\r\nc=09"},
		{"ä=\r\rx\n", "=C3=A4=3D\r\n\r\nx\r\n"},
		{"\r\xe9\n", "\r\n=E9\r\n"},
		{"--a -- ---", "-=2Da -=2D -=2D=2D"},
		{strings.Repeat("x", 76), strings.Repeat("x", 75) + "=\r\nx"},
		{strings.Repeat("x", 74) + "ä", strings.Repeat("x", 74) + "=\r\n=C3=A4"},
		{strings.Repeat("x", 75) + " \n", strings.Repeat("x", 75) + "=\r\n=20\r\n"},
	} {
		if got := qpOf(t, tt.in, 1); got != tt.want {
			t.Errorf("%q\n got %q\nwant %q", tt.in, got, tt.want)
		}
	}
}

// FuzzQP: what is written is what the standard library writes, if there are no hyphens in a row; and always
// it is decoded to what it was, has no line that is too long, and nothing that could be a boundary.
func FuzzQP(f *testing.F) {
	for _, s := range []string{"a b \r\nc\t", "--a\r\r\n--\xff=", strings.Repeat("- ä", 60), newsletter} {
		f.Add(s, 3)
	}
	f.Fuzz(func(t *testing.T, s string, cut int) {
		out := qpOf(t, s, max(0, min(cut, len(s))))
		for line := range strings.SplitSeq(out, "\r\n") {
			if len(line) > maxEncodedLine || strings.Contains(line, "--") || strings.TrimRight(line, " \t") != line {
				t.Errorf("%q has a line %q", s, line)
			}
		}
		back, err := io.ReadAll(quotedprintable.NewReader(strings.NewReader(out)))
		want := strings.NewReplacer("\r\n", "\r\n", "\r", "\r\n", "\n", "\r\n").Replace(s)
		if err != nil || string(back) != want {
			t.Errorf("%q\nbecomes %q\nwhich is %q, %v", s, out, back, err)
		}
		if strings.Contains(s, "--") {
			return
		}
		var std bytes.Buffer
		w := quotedprintable.NewWriter(&std)
		_, _ = io.WriteString(w, want) // of a CR it forgets, if what follows is encoded, that no LF belongs to it
		_ = w.Close()
		if out != std.String() {
			t.Errorf("%q\n got %q\nwant %q", s, out, std.String())
		}
	})
}
