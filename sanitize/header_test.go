package sanitize

import (
	"context"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"rastel/sanitize/eml"
)

// parsed is a message in memory.
func parsed(t testing.TB, text string) *eml.Message {
	t.Helper()
	s := eml.NewSpool(eml.SpoolOptions{})
	if _, err := s.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	s.CloseWrite(nil)
	m, _, err := eml.Parse(context.Background(), &eml.Envelope{}, s, eml.Limits{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close(); s.Close() })
	return m
}

// mended is what the Header scanner makes of a message: the header as it is delivered, and what is
// found. A second pass finds nothing.
func mended(t *testing.T, s Header, header string) (string, string) {
	t.Helper()
	m := parsed(t, header+"\r\n\r\nx")
	findings, err := s.ScanMessage(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	if len(findings) == 0 {
		return header, ""
	}
	var edits []eml.Edit
	for _, f := range findings {
		edits = append(edits, f.Fix...)
	}
	patch, err := eml.NewPatch(m, edits)
	if err != nil {
		t.Fatalf("%q: %v", header, err)
	}
	again := reparse(t, patch)
	if f, _ := s.ScanMessage(t.Context(), again); len(f) > 0 {
		t.Errorf("%q: %s is found again in %q: %s", header, found(f), again.Root.Header.Bytes(), f[0].Detail)
	}
	return strings.TrimSuffix(string(again.Root.Header.Bytes()), "\r\n"), found(findings)
}

// japanese is a Subject of 60 characters in encoded words, as mail programs write it.
var japanese = "Subject:" + strings.Repeat(" =?iso-2022-jp?B?GyRCRnxLXDhsJE43b0w+JEckOSEjGyhC?=\r\n", 9) + " =?iso-2022-jp?B?GyRCRnxLXDhsJE43b0w+JEckOSEjGyhC?="

func TestHeaderFieldsAreMended(t *testing.T) {
	long := strings.Repeat("x", 600)
	for _, tt := range []struct{ in, checks, out string }{
		// row 1
		{"X-A: a\rBcc: b", "header/bare-cr", "X-A: a Bcc: b"},
		// row 2
		{"To: " + strings.Repeat("<>, ", 6) + "a@example.org", "header/null-address", "To: , , , , , , a@example.org"},
		{"Errors-To: " + strings.Repeat("< >", 6), "header/null-address", "Errors-To: DEFANGED-null-addresses:;"},
		{"To: <>, <>, <>, <>, <>", "", ""},
		{"X-Text: <><><><><><><>", "", ""},
		// row 3: characters, not bytes
		{"Subject: " + strings.Repeat("a", 250), "", ""},
		{"Subject: " + strings.Repeat("a", 251), "header/long", "Subject: " + strings.Repeat("a", 250)},
		{"Subject: " + strings.Repeat("é", 251), "header/long", "Subject: " + strings.Repeat("é", 250)},
		{japanese, "", ""},
		{"Subject: " + strings.Repeat("=?utf-8?b?8J+YgPCfmIA=?= ", 125), "", ""}, // 250 emoji
		{"Subject: " + strings.Repeat("=?utf-8?b?8J+YgPCfmIA=?= ", 126), "header/long", "Subject: " + strings.TrimSpace(strings.Repeat("=?utf-8?b?8J+YgPCfmIA=?= ", 125))},
		{"Subject: =?utf-8?q?" + strings.Repeat("a", 300) + "?=", "header/long", "Subject: " + encodeWords(strings.Repeat("a", 250))},
		{"Subject: a \x1b$B" + strings.Repeat("F|K\\", 120) + "\x1b(B", "", ""},
		{"Subject: a \x1b$B" + strings.Repeat("F|K\\", 200) + "\x1b(B", "header/long", "Subject: a \x1b$B" + strings.Repeat("F|K\\", 124) + "\x1b(B"},
		// row 4
		{"Message-ID: <" + long + "@example.org>", "header/long", "Message-ID: <" + long[:499]},
		{"X-Keywords: " + long, "header/long", "X-Keywords: " + long[:500]},
		{"References: " + strings.Repeat("<a@example.org> ", 100), "", ""},
		{"DKIM-Signature: v=1; b=" + long, "", ""},
		// row 5
		{"Subject: a <script>alert(1)</script>", "header/html", "Subject: a <DEFANGED_script>alert(1)</script>"},
		{`From: "<img src=x onerror=alert(1)>" <a@example.org>`, "header/html", `From: "<img src=x DEFANGED_onerror=alert(1)>" <a@example.org>`},
		{"From: =?utf-8?q?=3Cscript=3Ex=3C/script=3E?= <a@example.org>", "header/html", "From: " + encodeWords("<DEFANGED_script>x</script>") + " <a@example.org>"},
		{"Subject: <=?utf-8?q?script=3E?=", "header/html", "Subject: &lt;=?utf-8?q?script=3E?="},
		{"Subject: <scr=?utf-8?q?ipt=3E?=", "header/html", "Subject: <scr=_?utf-8?q?ipt=3E?="},
		{"Subject: <img src=x onerror=alert(1) ", "header/html", "Subject: < DEFANGED_img src=x onerror=alert(1)"},
		{"Subject: Re: a<b and c=d, 1 < 2 > 0", "", ""},
		{"Subject: the <b>bold</b> and the <br> tag", "", ""},
		{"To: <bounce+a=b@example.org>, Bo <script@example.org>", "", ""},
		{"X-Text: <script>", "", ""},
		// row 6
		{"Content-Type: text/plain; charset=\"`touch x`\"", "header/shell", "Content-Type: text/plain; charset=\"'touch x'\""},
		{"Content-Description: $(id)", "header/shell", "Content-Description: _(id)"},
		{"Content-Description: it`s $5", "", ""},
		{"Subject: use `ls` and $(id)", "", ""},
		// row 8
		{"Content-Type: text/plain; charset=utf-8; encoding=\"\"", "header/null-parameter", "Content-Type: text/plain; charset=utf-8"},
		{"Content-Type: text/plain; format=; charset=utf-8", "header/null-parameter", "Content-Type: text/plain; charset=utf-8"},
		{"Content-Type: text/plain;\r\n\tencoding=\"\";\r\n\tcharset=utf-8", "header/null-parameter", "Content-Type: text/plain;\r\n\tcharset=utf-8"},
		{`Content-Disposition: attachment; filename="a; b=; c=.txt"`, "", ""},
		// row 11
		{"Content-Type: text/plain; charset=utf-8; x=" + long, "header/long-parameter", "Content-Type: text/plain; charset=utf-8"},
		{"Content-Type: text/plain; name=\"" + long + "\"", "", ""},
		{"Content-Description: " + strings.Repeat(long, 20), "header/long-mime", "Content-Description: " + strings.Repeat(long, 20)[:7999]},
		{"Content-Type: text/plain; charset=utf-8" + strings.Repeat("; a=bcdefghij", 700), "header/long-mime", "Content-Type: text/plain; charset=utf-8"},
		{"Content-Type: " + strings.Repeat(long, 20), "header/long-mime", "Content-Type: application/octet-stream"},
		// row 12
		{"Content-Type: text/plain (x); charset=utf-8 (y(z))", "header/comment", "Content-Type: text/plain ; charset=utf-8"},
		{`Content-Disposition: attachment; filename="a (1).txt"`, "", ""},
		{"MIME-Version: 1.0 (Produced by X)", "", ""},
		{"MIME-Version: (a) 1 . 0", "", ""},
		{"MIME-Version: 1.0.0", "header/mime-version", "MIME-Version: 1.0"},
		{"MIME-Version: " + long, "header/mime-version", "MIME-Version: 1.0"},
		// the date
		{"Date: Tue, 18 Jul 2000 14:16:06 GMT" + long, "header/date", "Date: Tue, 18 Jul 2000 14:16:06 +0000"},
		{"Date: Tue, 18 Jul 00 14:16 +0200" + " " + long, "header/date", "Date: Tue, 18 Jul 2000 14:16:00 +0200"},
		{"Date: " + long, "header/date", "Date: Thu, 01 Jan 1970 00:00:00 +0000"},
		{"Date: yesterday", "header/date", "Date: Thu, 01 Jan 1970 00:00:00 +0000"},
		{"Received: by x; Wed, 2 Jan 2026 03:04:05 +0100\r\nDate: ", "header/date", "Received: by x; Wed, 2 Jan 2026 03:04:05 +0100\r\nDate: Fri, 02 Jan 2026 03:04:05 +0100"},
		{"Date: Wed, 02 Jan 2002 03:04:05 PST (Pacific Standard Time)", "", ""},
		{"Date: 2026-01-02T03:04:05Z", "", ""},
		{"Date: Mi, 2. Januar 2026 03.04 Uhr", "", ""},
		{"Date: 1/2/2026 3:04 PM", "", ""},
		// encoded words
		{"Subject: =?utf-8?Q?a=0D=0ABcc:_x?=", "header/encoded-control", "Subject: " + encodeWords("a  Bcc: x")},
		{"Subject: Hi =?utf-8?Q?a=1B]0;x=07b?= you", "header/encoded-control", "Subject: Hi " + encodeWords("a ]0;x b") + " you"},
		{"From: =?utf-8?B?YQBi?= <a@example.org>", "header/encoded-control", "From: " + encodeWords("a b") + " <a@example.org>"},
		{"Subject: =?utf-8?q?a?= =?utf-8?q?=0D?=\r\n =?utf-8?q?=0Ab?=", "header/encoded-control", "Subject: " + encodeWords("a  b")},
		{"Subject: =?utf-8?q?tab=09?=", "", ""},
		{"Subject: =?iso-2022-jp?B?GyRCRnxLXDhsGyhC?=", "", ""},
		// control characters as they are
		{"Subject: a\x1b[2Jb", "header/control", "Subject: a [2Jb"},
		{"Subject: \x1b$BF|K\\8l\x1b(B", "", ""},
		{"Subject: \x1b$BF|K\\8l\x1b(B =?utf-8?q?a?=", "", ""},
		{"Subject: a\x07b\xff", "header/control", "Subject: a b\xff"},
		// ours
		{"X-Rastel-Verdict: clean\r\nSubject: a", "header/forged-trace", "Subject: a"},
		{"x-rastel-verdict : clean\r\nSubject: a", "header/forged-trace", "Subject: a"},
		{"X-Rastel-Release: 1", "", ""},
		{"Authentication-Results: (a) MX.example.net; dkim=pass\r\nSubject: a", "header/forged-trace", "Subject: a"},
		{"Authentication-Results: \"mx.example.net\" 1; dkim=pass\r\nSubject: a", "header/forged-trace", "Subject: a"},
		{"Authentication-Results: mx.example.net.example.org; dkim=pass", "", ""},
		// several at once
		{"Subject: " + strings.Repeat("<script>\x07", 50), "header/control header/html header/long", "Subject: " + strings.Repeat("<DEFANGED_script> ", 14)[:250]},
	} {
		s := Header{Config{Header: HeaderConfig{AuthservIDs: []string{"mx.example.net"}}}}
		out, checks := mended(t, s, tt.in)
		if checks != tt.checks {
			t.Errorf("%.80q: found %q, want %q", tt.in, checks, tt.checks)
		} else if checks != "" && out != strings.TrimRight(tt.out, " ") {
			t.Errorf("%.80q: became\n%q, want\n%q", tt.in, out, tt.out)
		}
	}
}

func TestHeaderLimitsAreConfigured(t *testing.T) {
	s := Header{Config{Header: HeaderConfig{Subject: 40, Field: 50, NullAddresses: 2, Parameter: 60, MIMEField: 400}}}
	x := strings.Repeat("x", 401)
	for in, want := range map[string]string{
		"Subject: " + x[:41]:                    "header/long",
		"From: " + x[:51]:                       "header/long",
		"To: <>,<>":                             "header/null-address",
		"Content-Type: text/plain; a=" + x[:61]: "header/long-parameter",
		"Content-Description: " + x:             "header/long-mime",
		"Subject: " + x[:40]:                    "",
		"Content-Type: text/plain; a=" + x[:60]: "",
		"From: " + x[:50] + "\r\nX-Long: " + x:  "",
	} {
		if _, checks := mended(t, s, in); checks != want {
			t.Errorf("%q: found %q, want %q", in, checks, want)
		}
	}
	for _, c := range []HeaderConfig{{Subject: 1}, {Field: -1}, {NullAddresses: -1}, {Parameter: 39}, {MIMEField: 399}} {
		if err := (Config{Header: c}).Validate(); err == nil || !strings.HasPrefix(err.Error(), "header.") {
			t.Errorf("%+v: got %v", c, err)
		}
	}
}

// TestMIMEFieldsOfAllEntitiesAreMended: those of parts, and of a message in the message.
func TestMIMEFieldsOfAllEntitiesAreMended(t *testing.T) {
	m := parsed(t, "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain; x=\"\"\r\n\r\na\r\n--b\r\nContent-Type: message/rfc822\r\n\r\n"+
		"Subject: <script>\r\nContent-Type: text/plain; y=\"\"\r\n\r\nb\r\n--b--\r\n")
	findings, err := Header{}.ScanMessage(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range findings {
		got = append(got, f.Check+" "+f.Part.ID)
	}
	want := []string{"header/null-parameter 1.1", "header/html 1.2.1", "header/null-parameter 1.2.1"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// FuzzHeader: what is mended is not found again, other fields and the body stay as they are.
func FuzzHeader(f *testing.F) {
	for _, s := range []string{
		"Subject: <script>=?utf-8?q?a=0Ab?=", "Content-Type: text/plain (a(b)); x=\"\"; y=`$(z)`", "Date: GMT\x1b", "To: <><><><><><>",
		japanese, "From: =?utf-8?b?PHNjcmlwdD4=?= =?iso-2022-jp?B?GyRC?=", "MIME-Version: (\"1\\)", "Message-ID: " + strings.Repeat("=?q?q?=", 200),
	} {
		f.Add(s)
	}
	s := Header{Config{Header: HeaderConfig{Subject: 40, Field: 50, NullAddresses: 2, Parameter: 60, MIMEField: 400}}}
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 4<<10 {
			return
		}
		const before, after = "X-Before: a\r\n", "X-After: b\r\n\r\nbody\r\n"
		m := parsed(t, before+text+"\r\n"+after)
		findings, err := s.ScanMessage(t.Context(), m)
		if err != nil {
			t.Fatal(err)
		}
		var edits []eml.Edit
		for _, x := range findings {
			edits = append(edits, x.Fix...)
		}
		if len(edits) == 0 {
			return
		}
		patch, err := eml.NewPatch(m, edits)
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		var out strings.Builder
		if _, err := patch.WriteTo(&out); err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(out.String(), before) || !strings.HasSuffix(out.String(), after[len("X-After: b"):]) {
			t.Errorf("%q became %q", text, out.String())
		}
		again := parsed(t, out.String())
		if f, _ := s.ScanMessage(t.Context(), again); len(f) > 0 {
			t.Errorf("%q became %q: %s again: %s", text, out.String(), found(f), f[0].Detail)
		}
	})
}

// TestHostileHeadersCost tells what a header of 256 KB takes, however it is made.
func TestHostileHeadersCost(t *testing.T) {
	for _, field := range []string{"Subject: ", "Content-Type: text/plain; ", "Content-Description: ", "Date: "} {
		for _, piece := range []string{
			"(", "()", "=?q?q?", "=?x?q?a ", "=?x?q?=0A?= ", "=?x?q?=0A?=", "=?x?b?PHNjcmlwdD4=?= ", "<", "<a ", "<a x=", "<script>", "<>", "`", "$(", "\"", `\`, ";", `;a=""`, ";a=b", "\x1b$B", "\x1b[", "\r\n ", "0:00", "1 jan 1 ", "\x07",
		} {
			m := parsed(t, field+strings.Repeat(piece, 250<<10/len(piece))+"\r\n\r\nx")
			start := time.Now()
			if _, err := (Header{}).ScanMessage(t.Context(), m); err != nil {
				t.Fatal(err)
			}
			t.Logf("%s%q... takes %v", field, piece, time.Since(start))
		}
	}
}

// TestShellCommandsAreFound: the first of them, as this expression has it.
func TestShellCommandsAreFound(t *testing.T) {
	want := regexp.MustCompile("`[^`]*`|\\$[({]")
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		b := make([]byte, rnd.IntN(12))
		for i := range b {
			b[i] = "`$({a\n\xff"[rnd.IntN(7)]
		}
		if got, want := shellCommand(string(b)), want.FindString(string(b)); got != want {
			t.Fatalf("%q: got %q, want %q", b, got, want)
		}
	}
}
