package eml

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func TestWrapsLinesAsMTAsDo(t *testing.T) {
	x := func(n int) string { return strings.Repeat("x", n) }
	for _, tt := range []struct {
		by       Wrapping
		in, want string
	}{
		{ByPostfix, "", ""},
		{ByPostfix, "a\r\nb\nc", "a\r\nb\nc"},
		{ByPostfix, x(998) + "\r\n", x(998) + "\r\n"},
		{ByPostfix, x(999) + "\r\n" + x(999), x(998) + "\r\n x\r\n" + x(998) + "\r\n x"},
		{ByPostfix, x(998+997) + "\r\ny", x(998) + "\r\n " + x(997) + "\r\ny"},
		{ByPostfix, x(998+998) + "\r\ny", x(998) + "\r\n " + x(997) + "\r\n x\r\ny"},
		{BySendmail, x(990) + "\r\n", x(990) + "\r\n"},
		{BySendmail, x(991) + "\r\ny", x(989) + "!\r\n xx\r\ny"},
		{BySendmail, x(989+989) + "\r\ny", x(989) + "!\r\n " + x(989) + "\r\ny"},
		{BySendmail, x(989+990) + "\r\ny", x(989) + "!\r\n " + x(988) + "!\r\n xx\r\ny"},
		{BySendmail, x(2047+991) + "\r\ny", x(989) + "!\r\n " + x(988) + "!\r\n " + x(70+989) + "!\r\n xx\r\ny"},
	} {
		for _, r := range []io.Reader{strings.NewReader(tt.in), iotest.OneByteReader(strings.NewReader(tt.in))} {
			got, err := io.ReadAll(newWrapReader(r, tt.by))
			if err != nil || string(got) != tt.want {
				t.Errorf("%d: of %d bytes got\n%q, %v, want\n%q", tt.by, len(tt.in), got, err, tt.want)
			}
		}
		if got := string(NewBreaks([]byte(tt.in), tt.by).Append(nil, 0, len(tt.in))); got != tt.want {
			t.Errorf("%d: %d bytes by their breaks are\n%q, want\n%q", tt.by, len(tt.in), got, tt.want)
		}
	}
}

// TestEditedContentHasNoLongLines: an edit moves the place where an MTA breaks a line.
func TestEditedContentHasNoLongLines(t *testing.T) {
	for _, encoding := range []string{"8bit", "quoted-printable"} {
		line := strings.Repeat("x", 985)
		m, _ := parse(t, "Content-Type: text/html\nContent-Transfer-Encoding: "+encoding+"\n\n"+line+"\n"+line+"long..\n")
		p, err := NewPatch(m, []Edit{{m.Root, InContent, 0, 0, nil, nil}})
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		if _, err := p.WriteTo(&out); err != nil {
			t.Fatal(err)
		}
		again, findings := parseBytes(t, out.Bytes(), Limits{})
		if again.Root.Encoding != Base64 || content(again.Root) != content(m.Root) || len(findings) > 0 || again.Root.HasLongLines() {
			t.Errorf("%s: got %s\n%s", encoding, checksOf(findings), out.String())
		}
	}
}

// FuzzBreaks holds the places of breaks to what a reader makes of a text, as a whole and from any byte on.
func FuzzBreaks(f *testing.F) {
	f.Add("abc\n", uint16(400), uint16(10), uint16(1200))
	f.Add("x\r\n", uint16(1000), uint16(989), uint16(999))
	f.Add(strings.Repeat("y", 500)+"\r", uint16(5), uint16(0), uint16(2048))
	f.Fuzz(func(t *testing.T, piece string, times, from, to uint16) {
		in := strings.Repeat(piece, int(times)%500)
		if len(in) > 20_000 {
			return
		}
		i := min(int(from), len(in))
		j := max(i, min(int(to), len(in)))
		for _, by := range Wrappings() {
			whole, err := io.ReadAll(newWrapReader(strings.NewReader(in), by))
			if err != nil {
				t.Fatal(err)
			}
			k := NewBreaks([]byte(in), by)
			if got := k.Append(nil, 0, len(in)); !bytes.Equal(got, whole) {
				t.Fatalf("%d: %q: by its breaks it is\n%q, want\n%q", by, in, got, whole)
			}
			_, added := k.After(i)
			got := k.Append(nil, i, j)
			if at := i + added; !bytes.HasPrefix(whole[at:], got) {
				t.Fatalf("%d: %q: from byte %d on got\n%q, want the beginning of\n%q", by, in, i, got, whole[at:])
			}
			_, all := k.After(len(in))
			if len(in)+all != len(whole) {
				t.Fatalf("%d: %q: %d bytes are added, want %d", by, in, all, len(whole)-len(in))
			}
		}
	})
}
