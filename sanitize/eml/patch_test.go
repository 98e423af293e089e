package eml

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

func patched(t *testing.T, m *Message, edits ...Edit) string {
	t.Helper()
	p, err := NewPatch(m, edits)
	if err != nil {
		t.Fatalf("NewPatch: %v", err)
	}
	var b bytes.Buffer
	if _, err := p.WriteTo(&b); err != nil {
		t.Fatalf("WriteTo: %v", err)
	}
	return b.String()
}

func TestPatchChangesOnlyItsCuts(t *testing.T) {
	raw := "Subject: s\nContent-Type: multipart/mixed; boundary=b\n\n--b\nX: y\n\nhello world\n--b\nContent-Transfer-Encoding: quoted-printable\n\na=3Cb=\nc =20\nd\n--b--\nepi\n"
	m, _ := parse(t, raw)
	one, two := m.Root.Children[0], m.Root.Children[1]
	for _, tt := range []struct {
		name  string
		edits []Edit
		want  string // of raw, with "\n" for CRLF
	}{
		{"nothing", nil, raw},
		{"text", []Edit{{one, InContent, 0, 5, []byte("HELLO"), nil}}, strings.Replace(raw, "hello", "HELLO", 1)},
		{"insertion", []Edit{{one, InContent, 5, 5, []byte(","), nil}}, strings.Replace(raw, "hello", "hello,", 1)},
		{"the same twice", []Edit{{one, InContent, 0, 5, []byte("x"), nil}, {one, InContent, 0, 5, []byte("x"), nil}}, strings.Replace(raw, "hello", "x", 1)},
		{"one within another", []Edit{{one, InContent, 1, 3, []byte("y"), nil}, {one, InContent, 0, 5, []byte("x"), nil}}, strings.Replace(raw, "hello", "x", 1)},
		{"to the end", []Edit{{one, InBody, 0, -1, []byte("gone"), nil}}, strings.Replace(raw, "hello world", "gone", 1)},
		{"header of a part", []Edit{{one, InHeader, 0, 6, []byte("Z: z\r\n"), nil}}, strings.Replace(raw, "X: y", "Z: z", 1)},
		{"escape", []Edit{{two, InContent, 1, 2, []byte("["), nil}}, strings.Replace(raw, "a=3Cb", "a=\n[=\nb", 1)},
		{"deletion before a line end", []Edit{{two, InContent, 5, 6, nil, nil}}, strings.Replace(raw, "c =20", "c =\n", 1)},
		{"own header", []Edit{{m.Root, InHeader, 0, 12, []byte("Subject: t\r\n"), nil}}, strings.Replace(raw, "Subject: s", "Subject: t", 1)},
		{"append to the own header", []Edit{{m.Root, InHeader, -1, -1, nil, nil}}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.want == "" {
				end := int64(len(m.Root.Header.Bytes()))
				tt.edits = []Edit{{m.Root, InHeader, end, end, []byte("New: x\r\n"), nil}}
				tt.want = strings.Replace(raw, "boundary=b\n", "boundary=b\nNew: x\n", 1)
			}
			if got, want := patched(t, m, tt.edits...), strings.ReplaceAll(tt.want, "\n", "\r\n"); got != want {
				t.Errorf("got  %q\nwant %q", got, want)
			}
		})
	}
}

func TestPatchRefusesWhatItCannotMean(t *testing.T) {
	m, _ := parse(t, "Content-Type: multipart/mixed; boundary=b\n\n--b\n\nhello\n--b--\n")
	one := m.Root.Children[0]
	member, err := NewMember(one, 1, nil, spoolOf(t, []byte("x")))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name  string
		edits []Edit
	}{
		{"overlap", []Edit{{one, InContent, 0, 3, nil, nil}, {one, InContent, 2, 4, nil, nil}}},
		{"beyond the end", []Edit{{one, InContent, 0, 6, nil, nil}}},
		{"backwards", []Edit{{one, InContent, 3, 2, nil, nil}}},
		{"a member", []Edit{{member, InContent, 0, 1, nil, nil}}},
		{"content of a multipart", []Edit{{m.Root, InContent, 0, 0, nil, nil}}},
		{"half a field", []Edit{{m.Root, InHeader, 3, 5, nil, nil}}},
		{"no field", []Edit{{m.Root, InHeader, 0, 0, []byte("junk\r\n"), nil}}},
		{"no line end", []Edit{{m.Root, InHeader, 0, 0, []byte("A: b"), nil}}},
		{"an empty line", []Edit{{one, InHeader, 0, 0, []byte("\r\n"), nil}}},
		{"an empty line behind a field", []Edit{{one, InHeader, 0, 0, []byte("A: b\r\n\r\n"), nil}}},
		{"a bare CR in a fold", []Edit{{m.Root, InHeader, 0, 0, []byte("A: b\r\n c\rd: e\r\n"), nil}}},
		{"bare LF", []Edit{{m.Root, InHeader, 0, 0, []byte("A: b\nC: d\r\n"), nil}}},
	} {
		if p, err := NewPatch(m, tt.edits); err == nil {
			t.Errorf("%s: no error, fields %v", tt.name, p.Fields())
		}
	}
	if _, err := NewPatch(m, []Edit{{one, InContent, 0, 3, nil, nil}, {one, InContent, 2, 4, nil, nil}}); !errors.Is(err, ErrOverlap) {
		t.Errorf("got %v, want ErrOverlap", err)
	}
}

func TestFieldsAreMilterTerms(t *testing.T) {
	raw := "A: 1\nB: 2\nA: 3\nC: 4\n\nbody"
	for _, tt := range []struct {
		name       string
		start, end int64
		text       string
		want       string
	}{
		{"change", 12, 18, "A: x\n", `[{0 2 A  x}]`},
		{"delete", 6, 12, "", `[{1 1 B }]`},
		{"fold", 6, 12, "B: x\n y\n", `[{0 1 B  x` + "\r\n" + ` y}]`},
		{"insert", 6, 6, "N: x\nM: y\n", `[{3 0 N  x} {3 0 M  y}]`},
		{"at the top", 0, 0, "N: x\nM: y\n", `[{2 0 M  y} {2 0 N  x}]`},
		{"append", 24, 24, "N: x\nM: y\n", `[{3 0 N  x} {3 0 M  y}]`},
		{"rename", 6, 12, "N: x\n", `[{1 1 B } {3 0 N  x}]`},
		{"two for one", 6, 12, "B: x\nN: y\n", `[{0 1 B  x} {3 0 N  y}]`},
		{"one for two", 6, 18, "B: x\n", `[{1 2 A } {0 1 B  x}]`},
		{"the second for the first", 0, 18, "b: x\na: y\n", `[{1 2 A } {0 1 B  x} {0 1 A  y}]`},
		{"the same", 6, 12, "B: 2\n", `[]`},
		{"the same in another case", 6, 12, "b: 2\n", `[]`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m, _ := parse(t, raw)
			p, err := NewPatch(m, []Edit{{m.Root, InHeader, tt.start, tt.end, []byte(strings.ReplaceAll(tt.text, "\n", "\r\n")), nil}})
			if err != nil {
				t.Fatal(err)
			}
			if got := fmt.Sprint(p.Fields()); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			if p.Body() != nil {
				t.Error("the body counts as changed")
			}
		})
	}
}

// TestFieldsSayWhatTheBytesDo edits headers at random and carries the edits out as an MTA does,
// one after another: the header must become the one that is written.
func TestFieldsSayWhatTheBytesDo(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	names := []string{"A", "a", "B", "Mime-Version", "MIME-Version", "Content-Type"}
	field := func() string {
		return names[rnd.IntN(len(names))] + ":" + []string{"", " v", "\tv \r\n w", "  v"}[rnd.IntN(4)] + fmt.Sprint(rnd.IntN(3)) + "\r\n"
	}
	for range 3000 {
		var lines []string
		for range rnd.IntN(8) {
			lines = append(lines, field())
		}
		m, _ := parseBytes(t, []byte(strings.Join(lines, "")+"\r\nbody"), Limits{})
		var edits []Edit
		for i, f := range m.Root.Header.Fields {
			e := Edit{m.Root, InHeader, f.Start, f.End, nil, nil}
			if rnd.IntN(4) == 0 {
				e.End = f.Start
			}
			for range rnd.IntN(3) {
				e.Text = append(e.Text, field()...)
			}
			if i%2 == rnd.IntN(2) {
				edits = append(edits, e)
			}
		}
		p, err := NewPatch(m, edits)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range p.Fields() {
			lines = carriedOut(t, lines, e)
		}
		var got bytes.Buffer
		if _, err := p.WriteTo(&got); err != nil {
			t.Fatal(err)
		}
		if want := strings.Join(lines, "") + "\r\nbody"; got.String() != want || p.Body() != nil {
			t.Fatalf("edits %v of\n%q\nwrite\n%q\nand %v come to\n%q", edits, m.Root.Header.Bytes(), got.String(), p.Fields(), want)
		}
	}
}

// carriedOut does to a header what an MTA does.
func carriedOut(t *testing.T, lines []string, e FieldEdit) []string {
	t.Helper()
	line := e.Name + ":" + e.Value + "\r\n"
	switch e.Op {
	case InsertField:
		return append([]string{line}, lines...)
	case AppendField:
		return append(lines, line)
	}
	n := 0
	for i, l := range lines {
		name, _, _ := strings.Cut(l, ":")
		if strings.EqualFold(name, e.Name) {
			n++
		}
		switch {
		case n < e.Index || !strings.EqualFold(name, e.Name):
		case name != e.Name:
			t.Fatalf("%v is to change %q: Postfix would spell the name otherwise", e, l)
		case e.Op == DeleteField:
			return slices.Delete(lines, i, i+1)
		default:
			lines[i] = line
			return lines
		}
	}
	t.Fatalf("%v: there is no such field in %q", e, lines)
	return nil
}

// TestEditedContentDecodesToWhatWasMeant edits content at random, in each encoding, and
// compares what a reader decodes afterwards with the edit of the plain content.
func TestEditedContentDecodesToWhatWasMeant(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for i := range 2000 {
		plain := randomText(rnd, rnd.IntN(300))
		enc := []string{"7bit", "base64", "quoted-printable"}[i%3]
		raw := "Content-Type: multipart/mixed; boundary=bb\r\n\r\n--bb\r\nContent-Transfer-Encoding: " + enc + "\r\n\r\n" +
			encodeFor(enc, plain) + "\r\n--bb\r\n\r\nother\r\n--bb--\r\n"
		m, findings := parseBytes(t, []byte(raw), Limits{})
		if len(findings) > 0 || content(m.Root.Children[0]) != plain {
			t.Fatalf("%s of %q: findings %q, content %q", enc, plain, checksOf(findings), content(m.Root.Children[0]))
		}
		edits, want := randomEdits(rnd, m.Root.Children[0], plain)
		got, findings := parseBytes(t, []byte(patched(t, m, edits...)), Limits{})
		if c := content(got.Root.Children[0]); c != want || len(findings) > 0 {
			t.Fatalf("%s of %q, edits %v:\n got %q (%s)\nwant %q", enc, plain, edits, c, checksOf(findings), want)
		}
		if c := content(got.Root.Children[1]); c != "other" {
			t.Fatalf("the other part became %q", c)
		}
	}
}

func randomText(rnd *rand.Rand, n int) string {
	var b strings.Builder
	for range n {
		b.WriteString([]string{"a", " ", "\t", "=", "é", "<", "\r\n", "xyz"}[rnd.IntN(8)])
	}
	return b.String()
}

func encodeFor(enc, s string) string {
	switch enc {
	case "base64":
		var b bytes.Buffer
		l := &lineWriter{w: &b}
		l.Write([]byte(base64.StdEncoding.EncodeToString([]byte(s))))
		return b.String()
	case "quoted-printable":
		return string(encodeQP([]byte(s)))
	}
	return s
}

func randomEdits(rnd *rand.Rand, p *Part, plain string) ([]Edit, string) {
	var edits []Edit
	var want strings.Builder
	at := 0
	for at < len(plain) {
		start := at + rnd.IntN(len(plain)-at+1)
		end := start + rnd.IntN(len(plain)-start+1)/2
		text := strings.NewReplacer("\r\n", "n").Replace(randomText(rnd, rnd.IntN(5)))
		edits = append(edits, Edit{p, InContent, int64(start), int64(end), []byte(text), nil})
		want.WriteString(plain[at:start] + text)
		at = end + 1
		if end < len(plain) {
			want.WriteByte(plain[end])
		}
	}
	if at <= len(plain) {
		want.WriteString(plain[min(at, len(plain)):])
	}
	rnd.Shuffle(len(edits), func(i, j int) { edits[i], edits[j] = edits[j], edits[i] })
	return edits, want.String()
}

// FuzzParse holds the parser to its invariants: it never panics, the extents of parts lie
// within their parents and in order, an empty patch is the identity, and the whole is
// deterministic.
func FuzzParse(f *testing.F) {
	for _, b := range append(corpusFiles(f), seeds(f)...) {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		m, findings := parseBytes(t, raw, Limits{})
		checkExtents(t, m.Root, 0, m.Size)
		if got := patched(t, m); got != string(raw) {
			t.Errorf("an empty patch made %q of %q", got, raw)
		}
		var skeleton bytes.Buffer
		if err := m.Skeleton(&skeleton); err != nil {
			t.Error(err)
		}
		again, f2, err := Parse(context.Background(), &Envelope{}, spoolOf(t, raw), Limits{}, nil)
		if err != nil || outline(again) != outline(m) || checksOf(f2) != checksOf(findings) {
			t.Errorf("a second parse differs: %v", err)
		}
		again.Close()
	})
}

func checkExtents(t *testing.T, p *Part, from, to int64) {
	if p.start < from || p.body < p.start || p.end < p.body || p.end > to {
		t.Fatalf("part %s [%d,%d,%d) is not within [%d,%d)", p.ID, p.start, p.body, p.end, from, to)
	}
	at := p.body
	for _, c := range p.Children {
		switch other := strings.HasPrefix(c.ID, p.ID+"~"); {
		case !other:
			checkExtents(t, c, at, p.end)
			at = c.end
		case c.src == p.src:
			checkExtents(t, c, p.start, p.end)
		default:
			checkExtents(t, c, 0, c.src.Size())
		}
	}
}

func TestCorpusHoldsTheInvariants(t *testing.T) {
	files := corpusFiles(t)
	if len(files) == 0 {
		t.Skip("needs ../shared/corpus/mime beside the project")
	}
	for _, raw := range files {
		m, _ := parseBytes(t, raw, Limits{})
		checkExtents(t, m.Root, 0, m.Size)
		if got := patched(t, m); got != string(raw) {
			t.Errorf("an empty patch changed %.80q", raw)
		}
	}
}

// A lineWriter breaks what is written through it into lines of 76 characters (RFC 2045
// section 6.8).
type lineWriter struct {
	w   io.Writer
	col int
}

func (l *lineWriter) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		if l.col == 76 {
			if _, err := io.WriteString(l.w, "\r\n"); err != nil {
				return 0, err
			}
			l.col = 0
		}
		k := min(76-l.col, len(p))
		if _, err := l.w.Write(p[:k]); err != nil {
			return 0, err
		}
		l.col, p = l.col+k, p[k:]
	}
	return n, nil
}

// TestBase64IsWrittenInLines holds the writer to an encoder and a breaker of lines, however it is written to.
func TestBase64IsWrittenInLines(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		in := make([]byte, rnd.IntN(12_000)>>rnd.IntN(10))
		rand.NewChaCha8([32]byte{}).Read(in)
		brk := rnd.IntN(2) == 0
		var got, want bytes.Buffer
		b, l := &base64Writer{w: &got}, &lineWriter{w: &want}
		for p := in; len(p) > 0; {
			n := 1 + rnd.IntN(len(p))
			if n, err := b.Write(p[:n]); n > len(p) || err != nil {
				t.Fatal(n, err)
			}
			p = p[n:]
		}
		if err := b.finish(brk); err != nil {
			t.Fatal(err)
		}
		l.Write([]byte(base64.StdEncoding.EncodeToString(in)))
		if brk {
			want.WriteString("\r\n")
		}
		if got.String() != want.String() {
			t.Fatalf("of %d bytes got\n%s\nwant\n%s", len(in), &got, &want)
		}
	}
}

// TestBase64IsThatOfTheStandardLibrary: whole lines are encoded by other code.
func TestBase64IsThatOfTheStandardLibrary(t *testing.T) {
	rnd := rand.New(rand.NewPCG(7, 8))
	for range 2000 {
		content := make([]byte, rnd.IntN(5*base64Line))
		for i := range content {
			content[i] = byte(rnd.IntN(256))
		}
		var got strings.Builder
		w := &base64Writer{w: &got}
		for rest := content; len(rest) > 0; {
			n := 1 + rnd.IntN(len(rest))
			if _, err := w.Write(rest[:n]); err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
		}
		if err := w.finish(false); err != nil {
			t.Fatal(err)
		}
		if want := base64.StdEncoding.EncodeToString(content); strings.ReplaceAll(got.String(), "\r\n", "") != want {
			t.Fatalf("%x: got %s, want %s", content, got.String(), want)
		}
		for line := range strings.SplitSeq(got.String(), "\r\n") {
			if len(line) > encodedLine {
				t.Fatalf("%x: a line of %d characters", content, len(line))
			}
		}
	}
}
