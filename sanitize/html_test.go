package sanitize

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/html"

	"rastel/sanitize/eml"
)

// corpus is third-party test data that may stand beside the project.
const corpus = "../../shared/corpus/html"

// message parses a message that is one part with that content, not encoded.
func message(t testing.TB, header, content string) *eml.Message {
	t.Helper()
	s := eml.NewSpool(eml.SpoolOptions{})
	if _, err := s.Write([]byte(header + "\r\nContent-Transfer-Encoding: binary\r\n\r\n" + content)); err != nil {
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

const htmlHeader = "Content-Type: text/html"

// scanHTML gives what is active in a page, and the page with the fixes of that made.
func scanHTML(t testing.TB, content string) ([]eml.Finding, string) {
	t.Helper()
	return scanFor(t, "html/", content)
}

// scanFor gives the findings in a page that are of an area, and the page with their fixes made.
func scanFor(t testing.TB, area, content string) ([]eml.Finding, string) {
	t.Helper()
	m := message(t, htmlHeader, content)
	findings, err := HTML{}.Scan(t.Context(), m.Root)
	if err != nil {
		t.Fatal(err)
	}
	findings = slices.DeleteFunc(findings, func(f eml.Finding) bool { return !strings.HasPrefix(f.Check, area) })
	return findings, fixed(t, m, findings)
}

// fixed is the content of the message with all fixes made.
func fixed(t testing.TB, m *eml.Message, findings []eml.Finding) string {
	t.Helper()
	var edits []eml.Edit
	for _, f := range findings {
		edits = append(edits, f.Fix...)
	}
	p, err := eml.NewPatch(m, edits)
	if err != nil {
		t.Fatalf("fixes do not go together: %v", err)
	}
	var b bytes.Buffer
	if _, err := p.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	_, body, _ := bytes.Cut(b.Bytes(), []byte("\r\n\r\n"))
	return string(body)
}

func checkNames(findings []eml.Finding) string {
	var out []string
	for _, f := range findings {
		out = append(out, strings.TrimPrefix(f.Check, "html/"))
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

func TestActiveHTMLIsFoundAndDefanged(t *testing.T) {
	long := strings.Repeat("x", 200) // prefixes of namespaces have no limit
	for _, tt := range []struct{ in, checks, want string }{
		{`<p>hello</p>`, "", `<p>hello</p>`},
		{`<script>x</script>`, "script", `<DEFANGED_script>x</script>`},
		{`<SCRIPT SRC=//a></SCRIPT>`, "script", `<DEFANGED_SCRIPT SRC=//a></SCRIPT>`},
		{`<svg:script>x`, "script", `<svg:DEFANGED_script>x`},
		{"<scr\x00ipt>x", "script", "PERFRkFOR0VEX3NjcgBpcHQ+eA==\r\n"}, // with NUL no body goes as it is
		{`<img src=a onerror=go()>`, "event-handler", `<img src=a DEFANGED_onerror=go()>`},
		{`<img src="a"onerror="go()">`, "event-handler", `<img src="a"DEFANGED_onerror="go()">`},
		{`<img/onerror=go()/src=a>`, "event-handler", `<img/DEFANGED_onerror=go()/src=a>`},
		{`<a href="javascript:go()">`, "url", `<a href="DEFANGED_javascript:go()">`},
		{"<a href=' \tjava\nscript:go()'>", "url", "<a href='DEFANGED_ \tjava\nscript:go()'>"},
		{`<a href="&#106;ava&Tab;script&colon;go()">`, "url", `<a href="DEFANGED_&#106;ava&Tab;script&colon;go()">`},
		{`<a href="data:text/html,x">`, "url", `<a href="DEFANGED_data:text/html,x">`},
		{`<img src="data:image/png;base64,xx">`, "", `<img src="data:image/png;base64,xx">`},
		{`<img src="\\host\share">`, "url", `<img src="DEFANGED_\\host\share">`},
		{`<a href="https://a/?q=javascript:x" title="javascript: a language">`, "", `<a href="https://a/?q=javascript:x" title="javascript: a language">`},
		{`<iframe src=a>`, "frame", `<DEFANGED_iframe src=a>`},
		{`<object data=a><embed src=b>`, "object", `<DEFANGED_object data=a><DEFANGED_embed src=b>`},
		{`<meta http-equiv="Refresh" content="0;url=a">`, "meta-refresh", `<meta DEFANGED_http-equiv="Refresh" content="0;url=a">`},
		{`<meta http-equiv="Content-Type" content="text/html; charset=utf-8">`, "", `<meta http-equiv="Content-Type" content="text/html; charset=utf-8">`},
		{`<base href="https://a/"><base target="_blank">`, "base", `<base DEFANGED_href="https://a/"><base target="_blank">`},
		{`<form action=a><button formaction=b>`, "form", `<DEFANGED_form action=a><button DEFANGED_formaction=b>`},
		{`<link rel=import href=a><link rel=stylesheet href=b>`, "link", `<link DEFANGED_rel=import href=a><link rel=stylesheet href=b>`},
		{`<p style="width: expression(go())">`, "style", `<p style="width: DEFANGED_expression(go())">`},
		{`<p style="w:exp/**/ression(go())">`, "style", `<p style="w:DEFANGED_exp/**/ression(go())">`},
		{`<style>a { -moz-binding: url(x) }</style>`, "style", `<style>a { DEFANGED_-moz-binding: url(x) }</style>`},
		{`<style>@import url(https://a/b.css); p { background: url(x.png) }</style>`, "", `<style>@import url(https://a/b.css); p { background: url(x.png) }</style>`},
		{`<svg><animate attributeName=href values=javascript:go()>`, "svg url", `<svg><animate DEFANGED_attributeName=href values=DEFANGED_javascript:go()>`},
		{`<svg><use href="#a"/><use xlink:href="data:x"/>`, "svg url", `<svg><use href="#a"/><use xlink:DEFANGED_href="DEFANGED_data:x"/>`},
		{`<iframe srcdoc="<script>x</script>">`, "frame script", `<DEFANGED_iframe DEFANGED_srcdoc="<DEFANGED_script>x</script>">`},
		{`<!--[if mso]><script>x</script><![endif]-->`, "script", `<!--[if mso]><DEFANGED_script>x</script><![endif]-->`},
		{`<noscript><p title="</noscript><img src=x onerror=alert(1)>">`, "event-handler", `<noscript><p title="</noscript><img src=x DEFANGED_onerror=alert(1)>">`},
		{`<svg><style><img src=x onerror=alert(1)></style>`, "event-handler", `<svg><style><img src=x DEFANGED_onerror=alert(1)></style>`},
		{`text <img src="x" onerror="go()`, "malformed", `text < DEFANGED_img src="x" onerror="go()`},
		{`a < b, c <d`, "", `a < b, c <d`},
		{`<meta http-equiv="&#x` + strings.Repeat("0", 300) + `72;efresh">`, "meta-refresh", `<meta DEFANGED_http-equiv="&#x` + strings.Repeat("0", 300) + `72;efresh">`},
		{"<" + long + ":script>", "script", "<" + long + ":DEFANGED_script>"},
		{"<a " + long + ":srcdoc=x>", "frame", "<a " + long + ":DEFANGED_srcdoc=x>"},
		{`<style>a{}</styles>b{behavior:url(x)}</style>`, "style", `<style>a{}</styles>b{DEFANGED_behavior:url(x)}</style>`},
		{`<?xml-stylesheet href="#a" type="text/xsl"?>`, "link", `<?DEFANGED_xml-stylesheet href="#a" type="text/xsl"?>`},
		{`<?xml-stylesheet href="a.css" type="text/css" > type="text/xsl"?>`, "link", `<?DEFANGED_xml-stylesheet href="a.css" type="text/css" > type="text/xsl"?>`},
		{`<?xml-stylesheet href="a.css" type="text/css"?>`, "", `<?xml-stylesheet href="a.css" type="text/css"?>`},
		{`<!DOCTYPE svg [<!ENTITY a "&#60;x>">]><svg>&a;`, "svg", `<!DOCTYPE svg [<!DEFANGED_ENTITY a "&#60;x>">]><svg>&a;`},
		{`<!DOCTYPE svg [<!ENTITY ns_svg "http://www.w3.org/2000/svg">]>`, "", `<!DOCTYPE svg [<!ENTITY ns_svg "http://www.w3.org/2000/svg">]>`},
		{`<!DOCTYPE svg [<!ATTLIST svg onload CDATA "go()">]>`, "svg", `<!DOCTYPE svg [<!DEFANGED_ATTLIST svg onload CDATA "go()">]>`},
	} {
		findings, got := scanHTML(t, tt.in)
		if checkNames(findings) != tt.checks || got != tt.want {
			t.Errorf("%q: got %q, %q; want %q, %q", tt.in, checkNames(findings), got, tt.checks, tt.want)
		}
	}
}

func TestHTMLIsJudgedWhateverItsLabel(t *testing.T) {
	const page = "<html><script>x</script></html>"
	for _, tt := range []struct {
		header string
		want   bool
	}{
		{"Content-Type: text/html", true},
		{"Content-Type: application/octet-stream; name=a.html", true},
		{"Content-Type: application/octet-stream", true},
		{"Content-Type: text/plain; name=a.txt", true},
		{"Content-Type: text/plain", true}, // it begins as a page
		{"Content-Type: image/svg+xml", true},
	} {
		findings, err := HTML{}.Scan(t.Context(), message(t, tt.header, page).Root)
		if err != nil || len(findings) > 0 != tt.want {
			t.Errorf("%s: got %q, %v; found should be %v", tt.header, checkNames(findings), err, tt.want)
		}
	}
	findings, err := HTML{}.Scan(t.Context(), message(t, "Content-Type: text/plain", "Write <script>x</script> to run x.").Root)
	if err != nil || len(findings) > 0 {
		t.Errorf("plain text about HTML: got %q, %v", checkNames(findings), err)
	}
}

func TestXMLIsJudgedIfABrowserShowsIt(t *testing.T) {
	padding := "<?xml version=\"1.0\"?><!--" + strings.Repeat(" ", 2000) + "-->"
	for _, tt := range []struct{ header, content, want string }{
		{"Content-Type: text/xml", padding + `<x xmlns:h="http://www.w3.org/1999/xhtml"><h:script>go()</h:script>`, "script"},
		{"Content-Type: application/octet-stream; name=a.xml", padding + `<svg xmlns="http://www.w3.org/2000/&#x73;vg" onload="go()"/>`, "event-handler"},
		{"Content-Type: text/xml", padding + `<!DOCTYPE x [<!ENTITY a "x">]><x xmlns="&a;" onload="go()"/>`, "event-handler svg"},
		{"Content-Type: text/xml", `<?xml version="1.0"?><?xml-stylesheet type="text/xsl" href="invoice.xsl"?><order><form/><object on="1" onset="2"/></order>`, ""},
	} {
		findings, err := HTML{}.Scan(t.Context(), message(t, tt.header, tt.content).Root)
		if err != nil || checkNames(findings) != tt.want {
			t.Errorf("%.2500q: got %q, %v; want %q", tt.content, checkNames(findings), err, tt.want)
		}
	}
}

func TestHTMLThatCannotBeEditedHasNoFix(t *testing.T) {
	utf16 := "\xff\xfe"
	for _, c := range "<script>x</script>" {
		utf16 += string([]byte{byte(c), 0})
	}
	for _, tt := range []struct{ name, header, content, want string }{
		{"UTF-16", htmlHeader, utf16, "charset script"},
		{"UTF-7", "Content-Type: text/html; charset=utf-7", "+ADw-script+AD4-x", "charset script"},
		{"UTF-7 by meta", htmlHeader, `<meta charset="utf-7">+ADw-script+AD4-x`, "charset script"},
		{"UTF-16 that is too large", htmlHeader, "\xff\xfe" + strings.Repeat("a\x00", maxRecoded/2), "limit"},
		{"many scripts", htmlHeader, strings.Repeat("<script>", maxMarks+1), "limit script"},
		{"styles within styles", htmlHeader, strings.Repeat(`<style>\`, 300_000), "limit"}, // took hours
		{"attributes of tags within tags", htmlHeader, strings.Repeat(strings.Repeat("<a ", 60)+strings.Repeat("onx ", 1900)+">", 500), "event-handler limit"},
		{"tags within tags", htmlHeader, strings.Repeat("<a ", 200_000) + ">", "limit"},
	} {
		findings, err := HTML{}.Scan(t.Context(), message(t, tt.header, tt.content).Root)
		if err != nil || checkNames(findings) != tt.want {
			t.Errorf("%s: got %q, %v; want %q", tt.name, checkNames(findings), err, tt.want)
		}
		for _, f := range findings {
			if len(f.Fix) > 0 && !strings.Contains(tt.want, "limit") {
				t.Errorf("%s: %s has a fix", tt.name, f.Check)
			}
		}
	}
}

func TestCharsetsThatAreNoDisguise(t *testing.T) {
	for _, tt := range []struct{ charset, content, want string }{
		{"ibm866", "<p>\x8f\xe0</p>", ""},
		{"iso-2022-jp", "<p>\x1b$B<R\x1b(B</p>", ""},
		{"iso-2022-jp", "<script>", "script"}, // and no charset: it can be edited
		{"unicode-1-1-utf-8", "<script>", "script"},
	} {
		findings, err := HTML{}.Scan(t.Context(), message(t, "Content-Type: text/html; charset="+tt.charset, tt.content).Root)
		if err != nil || checkNames(findings) != tt.want {
			t.Errorf("%s: got %q, %v; want %q", tt.charset, checkNames(findings), err, tt.want)
		}
	}
}

// A htmlCase is a line of the corpus.
type htmlCase struct {
	ID    string `json:"id"`
	HTML  string `json:"html"`
	Class string `json:"cls"`
}

func readCases(t testing.TB, name string) []htmlCase {
	f, err := os.Open(filepath.Join(corpus, name))
	if err != nil {
		return nil
	}
	defer f.Close()
	var out []htmlCase
	sc := bufio.NewScanner(f)
	for sc.Buffer(nil, 1<<20); sc.Scan(); {
		var c htmlCase
		if err := json.Unmarshal(sc.Bytes(), &c); err != nil {
			t.Fatal(err)
		}
		out = append(out, c)
	}
	return out
}

func TestCorpusIsInertAfterDefanging(t *testing.T) {
	cases := readCases(t, "payloads.jsonl")
	if len(cases) == 0 {
		t.Skip("needs ../shared/corpus/html beside the project")
	}
	for _, c := range cases {
		_, out := scanHTML(t, c.HTML)
		for _, scripting := range []bool{true, false} {
			if bad := activeIn(t, out, scripting); bad != "" {
				t.Errorf("%s: %q\nbecame %q\nwhich has %s", c.ID, c.HTML, out, bad)
			}
		}
		checkStable(t, out)
	}
}

func TestBenignPagesStayAsTheyAre(t *testing.T) {
	pages, err := filepath.Glob(corpus + "/benign/*/*.html")
	if err != nil || len(pages) == 0 {
		t.Skip("needs ../shared/corpus/html beside the project")
	}
	for _, name := range pages {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if findings, _ := scanHTML(t, string(b)); len(findings) > 0 {
			t.Errorf("%s: found %q: %.100q", name, checkNames(findings), findings[0].Detail)
		}
	}
}

// activeIn parses a page as a browser does and names what is active in it.
func activeIn(t testing.TB, page string, scripting bool) (bad string) {
	t.Helper()
	doc, err := html.ParseWithOptions(strings.NewReader(page), html.ParseOptionEnableScripting(scripting))
	if err != nil {
		return ""
	}
	for n := range doc.Descendants() {
		if n.Type != html.ElementNode {
			continue
		}
		switch n.Data {
		case "script", "iframe", "frame", "object", "embed", "applet", "form":
			return "<" + n.Data + ">"
		}
		for _, a := range n.Attr {
			if strings.HasPrefix(strings.ToLower(a.Key), "on") && len(a.Key) > 2 {
				return a.Key
			}
			v := strings.Map(dropBlank, strings.ToLower(a.Val))
			if (a.Key == "href" || a.Key == "src" || a.Key == "action") && (strings.HasPrefix(v, "javascript:") || strings.HasPrefix(v, "vbscript:") || strings.HasPrefix(v, "data:text/html")) {
				return a.Key + "=" + a.Val
			}
		}
	}
	return ""
}

func dropBlank(r rune) rune {
	if r <= ' ' {
		return -1
	}
	return r
}

// checkStable holds a page that was defanged to the promise that nothing is left to do.
func checkStable(t testing.TB, page string) {
	t.Helper()
	findings, again := scanHTML(t, page)
	if again != page {
		t.Errorf("defanging\n%q again makes\n%q", page, again)
	}
	for _, f := range findings {
		if len(f.Fix) > 0 {
			t.Errorf("%s is found again in %q", f.Check, page)
		}
	}
}
