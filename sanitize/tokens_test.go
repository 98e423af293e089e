package sanitize

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"golang.org/x/net/html"
)

// tokenized is what the tokenizer of golang.org/x/net/html reads, as far as a tokenReader gives it.
func tokenized(in string) []string {
	z := html.NewTokenizer(strings.NewReader(in))
	var out []string
	raw := ""
	withoutNUL := func(s string) string { return strings.ReplaceAll(s, "\x00", "\ufffd") }
	for {
		switch kind := z.Next(); kind {
		case html.ErrorToken:
			return out
		case html.TextToken:
			switch {
			case silentElements[raw]:
			case raw == "style":
				out = addText(out, string(z.Raw()))
			default:
				out = addText(out, string(z.Text()))
			}
		case html.StartTagToken, html.SelfClosingTagToken:
			name, more := z.TagName()
			s, known := "<"+withoutNUL(string(name)), map[string]bool{}
			if raw = ""; rawElements[string(name)] {
				raw = string(name)
			}
			if string(name) == "noscript" {
				z.NextIsNotRawText()
			}
			for more {
				var k, v []byte
				if k, v, more = z.TagAttr(); htmlAttrs.find(k) != nil && !known[string(k)] {
					known[string(k)] = true
					s += fmt.Sprintf(" %s=%q", k, withoutNUL(string(v)))
				}
			}
			out = append(out, s)
		case html.EndTagToken:
			name, _ := z.TagName()
			out, raw = append(out, "</"+withoutNUL(string(name))), ""
		case html.DoctypeToken:
			out = append(out, "<!"+string(z.Text()))
		}
	}
}

// addText appends text, together with that before it.
func addText(out []string, text string) []string {
	if n := len(out); n > 0 && strings.HasPrefix(out[n-1], "=") {
		out[n-1] += text
		return out
	}
	return append(out, "="+text)
}

// read is what a tokenReader reads.
func read(t testing.TB, r io.Reader) []string {
	t.Helper()
	tr := newTokenReader(r)
	var out []string
	for tr.next() {
		switch tr.kind {
		case html.TextToken:
			out = addText(out, string(tr.text))
		case html.StartTagToken:
			s := "<" + tr.name
			for _, a := range tr.attrs {
				s += fmt.Sprintf(" %s=%q", a.name, a.value)
			}
			out = append(out, s)
		case html.EndTagToken:
			out = append(out, "</"+tr.name)
		case html.DoctypeToken:
			out = append(out, "<!"+string(tr.text))
		}
	}
	if tr.err != nil {
		t.Fatal(tr.err)
	}
	return out
}

// checkTokens compares the two, with the end of what is read at first at some byte of the page.
func checkTokens(t testing.TB, in string, at int) {
	t.Helper()
	if at = at % (len(in) + 1); at < firstRead {
		in = strings.Repeat("x", firstRead-at) + in
	}
	want := tokenized(in)
	if got := read(t, strings.NewReader(in)); !slices.Equal(got, want) {
		t.Fatalf("%q, %d:\n got %.300q\nwant %.300q", in, at, got, want)
	}
}

// tokenParts are what matters to who reads tokens.
var tokenParts = []string{
	"<", "</", "<!", "<!-", "<!--", "-->", "--!>", "<!-->", "<!--->", "->", "-", "!", "<?", "?>", ">", "/>", "=", "/", "\"", "'", " ", "\n", "\r", "\r\n", "\x00", "&amp;", "&ampx", "&nbsp", "&", "&#x3c;", "é", "x",
	"<!DOCTYPE", "<!doctype html>", "<!DOCTYPE \x00&amp;\r", "<![CDATA[", "]]>", "<p>", "</p>", "</p a='>'>", "<P CLASS=x class=y>", "<p title", "<p title=\"a>b\">", "<a href='x'y=z>", "<a href=/>", "<a/href=x>", "<a =href>", "<a href = x>", "</>", "</ x>", "<1>",
	"<script>", "</script>", "<script", "</script", "<SCRIPT ", "</sCript/", "<style>", "</style>", "</style x>", "</styles>", "<style/>", "<title>", "</title>", "<textarea>", "</textarea>", "<xmp>", "</xmp>", "<plaintext>", "<iframe>", "</iframe>", "<noembed>", "<noframes>", "<noscript>", "</noscript>",
}

func TestTokensAreThoseOfTheTokenizer(t *testing.T) {
	rnd := rand.New(rand.NewPCG(5, 6))
	times := 30_000
	if testing.Short() {
		times = 5000
	}
	for range times {
		var b strings.Builder
		if rnd.IntN(3) == 0 {
			b.WriteString([]string{"<script>", "<!--", "<style>", "<textarea>", "<script><!--", "<script><!--<script>", "<p title="}[rnd.IntN(7)])
		}
		for range 1 + rnd.IntN(10) {
			b.WriteString(tokenParts[rnd.IntN(len(tokenParts))])
		}
		checkTokens(t, b.String(), rnd.IntN(b.Len()))
	}
}

func FuzzTokens(f *testing.F) {
	for i, s := range tokenParts {
		f.Add("<p>", s, i)
		f.Add("<script><!--<script>", s, i)
		f.Add("<textarea>", s, i)
	}
	htmlPages(f, func(s string) { f.Add("", s, 100) })
	f.Fuzz(func(t *testing.T, before, in string, at int) {
		checkTokens(t, before+in, max(at, 0))
	})
}

// TestLongTokens: what a token is does not depend on how much of it is read at once.
func TestLongTokens(t *testing.T) {
	long := strings.Repeat("x", textRoom-20)
	for _, in := range []string{
		long + "&amp;&lt;p>&eacute;éé\r\n\r\n<p>y", "<textarea>" + long + "&amp;&lt;p>&eacute;éé\r\n</textarea>y", "<xmp>" + long + "\x00é</xmp >y",
		"<script>" + long + "<!-- <script> </script> --></script>y", "<title>" + long + "</titl></title>y", "<style>" + long + long + long + "</style>y",
		"<!--" + long + "--->->--!>y", "<p title='" + long + long + long + ">&amp;'>y", "</p " + long + long + ">y", "<?" + long + "'>y", "<!DOCTYPE html " + long + "\">y",
		"<plaintext>" + long + "</plaintext>" + long, "<script>" + long + long, "<!--" + long + long, "<p " + long + long, "</script" + long,
	} {
		for shift := range 45 {
			in := strings.Repeat("z", shift) + in
			want := tokenized(in)
			if got := read(t, strings.NewReader(in)); !slices.Equal(got, want) {
				t.Errorf("%.20q, %d: got %.100q, want %.100q", in[shift:], shift, got, want)
			}
		}
	}
}

// TestTokensThatAreTooLong: nothing is left of them, but what is behind them is.
func TestTokensThatAreTooLong(t *testing.T) {
	long := strings.Repeat("x", maxToken)
	for in, want := range map[string]string{
		"<p " + long + " title=<b>y": `["=y"]`, "</p " + long + "<b>y": `["=y"]`, "<!DOCTYPE " + long + "<b>y": `["=y"]`,
		"<!--" + long + "<b>--!>y": `["=y"]`, "<script>" + long + "<b></script>y": `["<script" "</script" "=y"]`, "<?" + long + "<b>y": `["=y"]`,
		"<p>" + "<p " + long: `["<p"]`,
	} {
		if got := fmt.Sprintf("%.99q", read(t, strings.NewReader(in))); got != want {
			t.Errorf("%.20q: got %s, want %s", in, got, want)
		}
	}
	style := newTokenReader(strings.NewReader("<style>" + long + "</styl" + long + "</style>y"))
	n := 0
	for i := 0; style.next(); i++ {
		if style.kind == html.TextToken && style.in.name == "style" {
			if n += len(style.text); style.goes != (i > 1) {
				t.Errorf("token %d goes on: %v", i, style.goes)
			}
		}
	}
	if n != 2*len(long)+len("</styl") || string(style.text) != "y" {
		t.Errorf("%d bytes of style, then %.20q", n, style.text)
	}
}

func TestTokensOfAReaderThatFails(t *testing.T) {
	broken := errors.New("broken")
	tr := newTokenReader(io.MultiReader(strings.NewReader("<p>x"), iotest.ErrReader(broken)))
	for tr.next() {
	}
	if !errors.Is(tr.err, broken) {
		t.Errorf("got %v, want %v", tr.err, broken)
	}
	in := "<p title=x>" + strings.Repeat("y", 10_000) + "</p>"
	if got, want := read(t, iotest.OneByteReader(strings.NewReader(in))), tokenized(in); !slices.Equal(got, want) {
		t.Errorf("byte by byte: got %.100q", got)
	}
	if got := read(t, bytes.NewReader(nil)); got != nil {
		t.Errorf("nothing: got %q", got)
	}
}
