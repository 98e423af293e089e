package eml

import (
	"bytes"
	"context"
	"encoding/base64"
	"strings"
	"sync"
	"testing"
)

const hidden = "what the attacker hides"

// hiddenIn reports whether some leaf of the message holds the hidden content.
func hiddenIn(m *Message) bool {
	found := false
	m.Root.Walk(func(p *Part) bool {
		found = found || p.Leaf() && strings.Contains(content(p), hidden)
		return !found
	})
	return found
}

// TestReadsWhatAnyClientMay: the hidden content is seen in each, whichever reading shows it.
func TestReadsWhatAnyClientMay(t *testing.T) {
	b64 := base64.StdEncoding.EncodeToString([]byte(hidden))
	part := "Content-Transfer-Encoding: base64\n\n" + b64 + "\n"
	mixed := func(params string) string { return "Content-Type: multipart/mixed" + params + "\n\n" }
	with := func(b string) string { return "--" + b + "\n\ntext\n--" + b + "\n" + part + "--" + b + "--\n" }
	var four, one strings.Builder
	for i := 0; i < len(hidden); i += 4 {
		four.WriteString(base64.StdEncoding.EncodeToString([]byte(hidden[i:min(i+4, len(hidden))])))
	}
	for i := range hidden {
		one.WriteString(base64.StdEncoding.EncodeToString([]byte(hidden[i : i+1])))
	}
	for _, tt := range []struct{ name, raw string }{
		{"the first of two boundaries", mixed("; boundary=a; boundary=b") + with("a")},
		{"the last of two boundaries", mixed("; boundary=a; boundary=b") + with("b")},
		{"a boundary in continuations", mixed("; boundary=x; boundary*0=a; boundary*1=b") + with("ab")},
		{"an extended boundary", mixed("; boundary=x; boundary*=us-ascii''ab") + with("ab")},
		{"the plain boundary beside others", mixed("; boundary*0=a; boundary*1=b; boundary=x") + with("x")},
		{"a boundary in a comment", mixed(" (x; boundary=QQ) ; boundary=BB") + with("BB")},
		{"a boundary with a quoted pair", mixed(`; boundary="a\b"`) + with("ab")},
		{"a boundary with a backslash", mixed(`; boundary="a\b"`) + with(`a\b`)},
		{"a boundary without an end quote", mixed(`; boundary="a`) + with("a")},
		{"a boundary with blanks", mixed(`; boundary=a b`) + with("a b")},
		{"a boundary up to a blank", mixed(`; boundary=a b`) + with("a")},
		{"a boundary without a semicolon", mixed(" boundary=a") + with("a")},
		{"an empty boundary", mixed(`; boundary=""`) + with("")},
		{"a guessed boundary", mixed("") + with("qq")},
		{"a wrong boundary", mixed("; boundary=x") + with("qq")},
		{"two types, multipart first", "Content-Type: multipart/mixed; boundary=a\nContent-Type: text/plain\n\n" + with("a")},
		{"two types, multipart last", "Content-Type: text/plain\nContent-Type: multipart/mixed; boundary=a\n\n" + with("a")},
		{"a text with a boundary", "Content-Type: text/plain; boundary=a\n\n" + with("a")},
		{"a quoted type", "Content-Type: \"multipart/mixed\"; boundary=a\n\n" + with("a")},
		{"two encodings, base64 first", "Content-Transfer-Encoding: base64\nContent-Transfer-Encoding: 7bit\n\n" + b64},
		{"two encodings, base64 last", "Content-Transfer-Encoding: 7bit\nContent-Transfer-Encoding: base64\n\n" + b64},
		{"two encodings that decode", "Content-Transfer-Encoding: quoted-printable\nContent-Transfer-Encoding: base64\n\n" + b64},
		{"an encoding with a comment", "Content-Transfer-Encoding: base64 (x)\n\n" + b64},
		{"an encoding in quotes", "Content-Transfer-Encoding: \"base64\"\n\n" + b64},
		{"an encoding with a semicolon", "Content-Transfer-Encoding: base64;\n\n" + b64},
		{"an encoding in a list", "Content-Transfer-Encoding: base64,7bit\n\n" + b64},
		{"an encoding with x-", "Content-Transfer-Encoding: x-base64\n\n" + b64},
		{"an unknown encoding", "Content-Transfer-Encoding: x-foo\n\n" + b64},
		{"a folded encoding", "Content-Transfer-Encoding:\n base64\n\n" + b64},
		{"a blank before the colon", "Content-Transfer-Encoding : base64\n\n" + b64},
		{"no blank before the colon", "X: y\nContent-Transfer-Encoding : base64\n\n" + hidden},
		{"a NUL in the field name", "Content-Transfer\x00-Encoding: base64\n\n" + b64},
		{"a bare CR between fields", "X: y\rContent-Transfer-Encoding: base64\n\n" + b64},
		{"a bare CR between delimiters", mixed("; boundary=a") + "\r--a\rContent-Transfer-Encoding: base64\r\r" + b64 + "\r--a--\r"},
		{"an encoded multipart", "Content-Transfer-Encoding: base64\n" + mixed("; boundary=a") + base64.StdEncoding.EncodeToString([]byte(with("a")))},
		{"an encoding on a multipart that is not encoded", "Content-Transfer-Encoding: base64\n" + mixed("; boundary=a") + with("a")},
		{"padding every four bytes", "Content-Transfer-Encoding: base64\n\n" + four.String()},
		{"padding every byte", "Content-Transfer-Encoding: base64\n\n" + one.String()},
		{"stray bytes in base64", "Content-Transfer-Encoding: base64\n\n*" + b64[:8] + " *\xff" + b64[8:]},
		{"base64 without padding", "Content-Transfer-Encoding: base64\n\n" + strings.TrimRight(b64, "=")},
		{"quoted-printable", "Content-Transfer-Encoding: quoted-printable\n\n=ZZ" + strings.ReplaceAll(hidden, "a", "=\n=61")},
		{"no closing delimiter", mixed("; boundary=a") + "--a\n" + part},
		{"a part behind the closing delimiter", mixed("; boundary=a") + "--a\n\nx\n--a--\n--a\n" + part + "--a--\n"},
		{"a part before the first delimiter", mixed("; boundary=a") + part + "--a\n\nx\n--a--\n"},
		{"a part behind the last without a delimiter", mixed("; boundary=a") + "--a\n\nx\n--a--\n\n" + part},
		{"junk behind a delimiter", mixed("; boundary=a") + "--a\n\nx\n--a junk\n" + part + "--a--\n"},
		{"junk right behind a delimiter", mixed("; boundary=a") + "--a\n\nx\n--ajunk\n" + part + "--a--\n"},
		{"a blank before a delimiter", mixed("; boundary=a") + "--a\n\nx\n --a\n" + part + "--a--\n"},
		{"a tab behind a delimiter", mixed("; boundary=a") + "--a\t\n" + part + "--a--\n"},
		{"a delimiter that closes and goes on", mixed("; boundary=a") + "--a\n\nx\n--a--More\n" + part + "--a--\n"},
		{"an inner boundary that goes on from the outer", mixed("; boundary=BB") + "--BB\nContent-Type: multipart/mixed; boundary=BBX\n\n--BBX\n" + part + "--BBX--\n--BB--\n"},
		{"an inner boundary like the outer", mixed("; boundary=a") + "--a\n" + mixed("; boundary=a") + "--a\n" + part + "--a--\n--a--\n"},
		{"a long boundary", mixed("; boundary="+strings.Repeat("a", 300)) + with(strings.Repeat("a", 300))},
		{"a field behind an empty line", "Subject: x\n\n" + part},
		{"a type behind an empty line", "Subject: x\n\n" + mixed("; boundary=a") + with("a")},
		{"a parameter that is not folded", "Content-Type: multipart/mixed;\nboundary=a\n\n" + with("a")},
		{"a line that is no field", "X: y\njunk\n" + part},
		{"a header that begins with a fold", " folded\n" + part},
		{"a line that is no field, the body", "Content-Transfer-Encoding: base64\n" + b64 + "\n"},
		{"line ends that differ", strings.ReplaceAll(mixed("; boundary=a")+"--a\n\nx\n", "\n", "\r\n") + "--a\n" + part + "--a--\n"},
		{"a bare LF", "Content-Transfer-Encoding: base64\n\n" + b64},
		{"a message in base64", "Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\n" + base64.StdEncoding.EncodeToString([]byte("Subject: x\n\n"+hidden))},
		{"a message said to be in base64", "Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\nSubject: x\n\n" + hidden},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, eol := range []string{"\n", "\r\n"} {
				raw := strings.ReplaceAll(tt.raw, "\r\n", "\n")
				m, findings := parseBytes(t, []byte(strings.ReplaceAll(raw, "\n", eol)), Limits{})
				if !hiddenIn(m) {
					t.Errorf("not found in %q: %s; findings %s", tt.raw, outline(m), checksOf(findings))
				}
			}
		})
	}
}

// TestLeafGetsWhatIsNew: each content once, in whichever reading it is.
func TestLeafGetsWhatIsNew(t *testing.T) {
	raw := "Content-Type: multipart/mixed; boundary=a; boundary=b\r\n\r\n--a\r\n\r\none\r\n--b\r\n\r\ntwo\r\n--a\r\n\r\nthree\r\n--a--\r\n"
	var got []string
	m, _, err := Parse(context.Background(), &Envelope{}, spoolOf(t, []byte(raw)), Limits{}, func(p *Part) { got = append(got, p.ID+" "+content(p)) })
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	want := "1.1 one\r\n--b\r\n\r\ntwo|1.2 three|1~1.1 two\r\n--a\r\n\r\nthree\r\n--a--\r\n"
	if s := strings.Join(got, "|"); s != want {
		t.Errorf("got  %q\nwant %q", s, want)
	}
	for _, id := range []string{"1~1", "1~1.1"} {
		if p := partByID(m, id); p == nil || !p.Member() || p.Carrier() != m.Root || p.Reading == "" {
			t.Errorf("%s is %+v, want a member of the message in a reading of its own", id, p)
		}
	}
}

func partByID(m *Message, id string) (found *Part) {
	m.Root.Walk(func(p *Part) bool {
		if p.ID == id {
			found = p
		}
		return found == nil
	})
	return found
}

// TestReadingsAreLimited: what cannot be read in all ways is not examined, and says so.
func TestReadingsAreLimited(t *testing.T) {
	var b bytes.Buffer
	b.WriteString("Content-Type: multipart/mixed; boundary=x\r\n\r\n")
	for range 2 * maxReadings {
		b.WriteString("--x\r\nContent-Transfer-Encoding: base64\r\n\r\n*aGVs=bG8=\r\n")
	}
	_, findings := parseBytes(t, b.Bytes(), Limits{})
	for _, f := range findings {
		if f.Check == "mime/limit-readings" && f.Unexamined {
			return
		}
	}
	t.Errorf("findings %s, want mime/limit-readings", checksOf(findings))
}

// TestUsualMailHasOneReading: what real programs write is not read twice.
func TestUsualMailHasOneReading(t *testing.T) {
	for _, raw := range []string{
		"Content-Type: multipart/mixed; boundary=\"----=_Part_1\"\n\nThis is a multi-part message in MIME format.\n\n------=_Part_1\n\nx\n------=_Part_1--\n",
		"Content-Type: multipart/signed; protocol=\"x/y\"; micalg=sha-256;\n boundary=\"a b:c\"\n\n--a b:c\n\n-- \nJoe\n--\n---\n--- x\n--a b:c--\n\n_______________\nlist mailing list\nlist@example.org\n",
		"Content-Type: text/plain; charset=\"utf-8\"; format=flowed (x)\nContent-Transfer-Encoding: 8bit \n\n-- \nJoe\n--x--\n",
		"Content-Type: message/rfc822\n\nContent-Type: text/plain\nSubject: x\n\ny\n",
		"Content-Type: multipart/mixed; boundary=a\n\n--a\nContent-Type: multipart/alternative; boundary=b\n\n--b\n\nx\n--b--\n\n--a--\n",
		"Content-Type: text/plain; name*=utf-8''%c3%a4.txt; name=\"=?utf-8?q?=C3=A4?=.txt\"\n\nx\n",
	} {
		m, findings := parse(t, raw)
		if strings.Contains(outline(m), "~") || len(findings) > 0 {
			t.Errorf("%q is read as %s; findings %s", raw, outline(m), checksOf(findings))
		}
	}
}

// TestALeafIsReadAsAMessageMeanwhile: scanners open a leaf that is a message while the parser goes on
// to other readings of the same leaf; both keep what they decode with it. (The race detector tells.)
func TestALeafIsReadAsAMessageMeanwhile(t *testing.T) {
	raw := "Content-Transfer-Encoding: x-foo\r\n\r\nFrom: a\r\nTo: b\r\nContent-Transfer-Encoding: x-bar\r\n\r\naGVs*bG8=\r\n"
	var wg sync.WaitGroup
	m, _, err := Parse(t.Context(), &Envelope{}, spoolOf(t, []byte(raw)), Limits{}, func(p *Part) {
		wg.Go(func() {
			if _, _, err := ParseContent(context.Background(), p, Limits{}, func(*Part) {}); err != nil {
				t.Error(err)
			}
		})
	})
	wg.Wait()
	if err != nil {
		t.Fatal(err)
	}
	m.Close()
}
