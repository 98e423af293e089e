package eml

import (
	"bytes"
	"io"
	"slices"
	"strings"
	"testing"
)

// writeAnew gives the message with an entity written anew.
func writeAnew(t testing.TB, m *Message, p *Part, edits ...Edit) []byte {
	t.Helper()
	patch, err := NewPatch(m, edits, p)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if _, err := patch.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// contents are the contents of all leaves of the first reading that the standards know of, and of
// multipart entities without parts, which become text.
func contents(m *Message) []string {
	var out []string
	m.Root.Walk(func(p *Part) bool {
		switch {
		case p.member || p.Reading != "":
		case p.Leaf():
			out = append(out, content(p))
		case kindOf(p.MediaType) == kindMultipart && len(firstReading(p)) == 0:
			b, _ := io.ReadAll(p.RawBody())
			out = append(out, string(b))
		}
		return true
	})
	return out
}

func hasOtherReadings(m *Message) bool {
	return !m.Root.Walk(func(p *Part) bool { return p.ReadFrom() == nil })
}

// checkUnambiguous reports what is not as it must be in a message that was written anew.
func checkUnambiguous(t testing.TB, before *Message, out []byte) {
	t.Helper()
	after, findings := parseBytes(t, out, Limits{})
	if after.Ambiguous || hasOtherReadings(after) {
		t.Errorf("still ambiguous, %s: %.2000q", checksOf(findings), out)
	}
	if got, want := contents(after), contents(before); !slices.Equal(got, want) {
		t.Errorf("contents of %.2000q\n got %.2000q\nwant %.2000q", out, got, want)
	}
	if i := bytes.IndexByte(out, 0); i >= 0 {
		t.Errorf("NUL in %.2000q", out)
	}
	body := out[after.Root.body:]
	for line := range bytes.Lines(body) {
		text, ok := bytes.CutSuffix(line, []byte("\r\n"))
		if !ok && !bytes.HasSuffix(body, line) || len(text) > maxPlainLine || bytes.ContainsAny(text, "\r\n") {
			t.Errorf("line %.100q", line)
		}
	}
}

func TestWrittenAnewThereIsOneReading(t *testing.T) {
	for _, raw := range []string{
		"Content-Type: multipart/mixed; boundary=a; boundary=b\n\npre\n--a\n\none\n--b\n\ntwo\n--a--\n--a\n\nafter\n",
		"Content-Type: multipart/mixed; boundary=a\nContent-Type: text/html\nX: y\n\n--a junk\nContent-Type: text/html; charset=\"utf-8\"; charset=x\nContent-Transfer-Encoding: base64\nContent-Transfer-Encoding: 7bit\n\nPGI+\n--a\nContent-Disposition: inline; filename=a.txt; filename=b.exe; filename*=utf-8''%c3%a4.txt\nContent-ID: <x@y>\n\nz\n",
		"Content-Transfer-Encoding: base64\n\naGV*sbG8=aGVsbG8=",
		"Content-Transfer-Encoding: x-foo\nContent-Type: text/plain\n\nna\xc3\xafve " + strings.Repeat("long ", 300) + "\n",
		"Content-Type: text/plain; charset=utf-7\nContent-Transfer-Encoding: \"quoted-printable\"\n\na=ZZb =\nc\n",
		"Content-Type : text/html\n\nbody",
		"A: b\nno field\nContent-Type: multipart/mixed; boundary=q\n\n--q\nContent-Type: message/rfc822\n\nSubject: in\x00ner\njunk\nContent-Type: multipart/alternative\n\n--g\n\n1\n--g\n\n2\n--g--\n--q--\n",
		"Content-Type: multipart/mixed\n\nno parts\n",
		"Content-Type: multipart; boundary=a\n\n--a\nContent-Type: html\n\nx\n--a--\n",
		"Content-Type: message/rfc822\nContent-Transfer-Encoding: base64 (x)\n\nU3ViamVjdDogeA0KDQp5\n",
		"Subject: x\r\ty: z\nContent-Type: multipart/digest; boundary=a; boundary=c\n\n--a\n\nSubject: y\n\nz\n--a--\n",
	} {
		m, _ := parse(t, raw)
		checkUnambiguous(t, m, writeAnew(t, m, m.Root))
	}
}

func TestWritingAnewKeepsWhatIsClear(t *testing.T) {
	m, _ := parse(t, "From: a@b\nSubject: =?utf-8?q?=C3=A4?=\nContent-Type: multipart/mixed; boundary=out\nX-Last: 1\n\n--out\nContent-Type: text/plain\n\nplain \n--out\n"+
		"Content-Type: text/plain; format=flowed; charset=\"us-ascii\"; name=\"a\\\"b.txt\"\nContent-Transfer-Encoding: 7bit, base64\n\naGVsbG8NCg==\n--out--\nepilogue\n")
	p := partByID(m, "1.2")
	got := string(writeAnew(t, m, p))
	want := "From: a@b\nSubject: =?utf-8?q?=C3=A4?=\nContent-Type: multipart/mixed; boundary=out\nX-Last: 1\n\n--out\nContent-Type: text/plain\n\nplain \n--out\n" +
		"Content-Type: text/plain;\n\tcharset=\"us-ascii\";\n\tformat=\"flowed\"\nContent-Disposition: attachment;\n\tfilename=\"a_b.txt\";\n\tfilename*=utf-8''a%22b.txt\n\nhello\n\n--out--\nepilogue\n"
	if want = strings.ReplaceAll(want, "\n", "\r\n"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// TestWritingAnewCarriesOutEdits: what is defanged or stripped stays so.
func TestWritingAnewCarriesOutEdits(t *testing.T) {
	m, _ := parse(t, "Subject: s\nContent-Type: multipart/mixed; boundary=a; boundary=b\n\n--a\nContent-Type: text/html\nContent-Transfer-Encoding: base64\n\nPHNjcmlwdD4=\n--a\nContent-Type: image/png; name=x.png\n\ndata\n--a--\n")
	page, picture := partByID(m, "1.1"), partByID(m, "1.2")
	out := writeAnew(t, m, m.Root,
		Edit{Part: m.Root, Region: InHeader, Start: 0, End: int64(len("Subject: s\r\n")), Text: []byte("Subject: t\r\n")},
		Edit{Part: page, Region: InContent, Start: 1, End: 1, Text: []byte("X_")},
		Edit{Part: picture, Region: InHeader, Start: 0, End: -1, Text: []byte("Content-Type: text/plain; charset=us-ascii\r\nContent-Transfer-Encoding: 7bit\r\n")},
		Edit{Part: picture, Region: InBody, Start: 0, End: -1, Text: []byte("gone\r\n")},
	)
	after, findings := parseBytes(t, out, Limits{})
	if got, want := strings.Join(contents(after), "|"), "<X_script>|gone\r\n"; got != want || len(findings) > 0 || after.Root.Header.Get("Subject") != "t" {
		t.Errorf("contents %q, want %q; findings %s\n%s", got, want, checksOf(findings), out)
	}
}

// TestWhatTakesThePlaceOfALeafKeepsItsType: a notice in several forms is multipart, and nobody would see it
// as anything else.
func TestWhatTakesThePlaceOfALeafKeepsItsType(t *testing.T) {
	m, _ := parseBytes(t, []byte("Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: a/b\r\n\r\nx\r\n--b--\r\n"), Limits{})
	leaf := m.Root.Children[0]
	out := writeAnew(t, m, m.Root,
		Edit{Part: leaf, Region: InHeader, Start: 0, End: -1, Text: []byte("Content-Type: multipart/alternative; boundary=c\r\n")},
		Edit{Part: leaf, Region: InBody, Start: 0, End: -1, Text: []byte("--c\r\n\r\ntext\r\n--c--\r\n")})
	after, _ := parseBytes(t, out, Limits{})
	if p := after.Root.Children[0]; p.MediaType != "multipart/alternative" || len(p.Children) != 1 {
		t.Errorf("it is %s with %d parts: %q", p.MediaType, len(p.Children), out)
	}
}

func TestMilterIsToldOfFieldsWrittenAnew(t *testing.T) {
	m, _ := parse(t, "Received: x\nContent-Type: text/plain\nSubject: s\nContent-Type: text/html\n\nx\n")
	patch, err := NewPatch(m, nil, m.Root)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range patch.Fields() {
		got = append(got, [...]string{"change", "delete", "insert", "append"}[f.Op]+" "+f.Name+" "+f.Value)
	}
	// The first Content-Type is what it should be already.
	want := []string{"delete Content-Type ", "append MIME-Version  1.0"}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	var body bytes.Buffer
	if _, err := patch.Body().WriteTo(&body); err != nil || body.String() != "x\r\n" {
		t.Errorf("body %q, %v", body.String(), err)
	}
}

func FuzzWriteAnew(f *testing.F) {
	for _, b := range append(corpusFiles(f), seeds(f)...) {
		f.Add(b)
	}
	f.Add([]byte("Content-Type: multipart/mixed; boundary=b; boundary=c\r\n\r\n--b\r\n\r\n1\r\n--b--\r\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		m, findings := parseBytes(t, raw, Limits{})
		for _, finding := range findings {
			if finding.Unexamined {
				return
			}
		}
		if !bytes.HasPrefix(raw, []byte("From ")) {
			checkUnambiguous(t, m, writeAnew(t, m, m.Root))
		}
	})
}
