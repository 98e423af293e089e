package sanitize

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/html"
)

// fragments gives own pages that hold what attacks on sanitizers are made of.
func fragments(t testing.TB) []string {
	names, err := filepath.Glob("../testdata/html/*.html")
	if err != nil {
		t.Fatal(err)
	}
	out := slices.Clone(seeds)
	for _, n := range names {
		b, err := os.ReadFile(n)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, string(b))
	}
	return out
}

// seeds are what the fuzzer begins with: one construct each that the engine looks for.
var seeds = []string{
	newsletter,
	`<a href="javascript:go()"><style>x{behavior:url(a)}</style><svg><script>`,
	`<math><mtext><table><mglyph><style><!--</style><img title="--&gt;&lt;img src=1 onerror=go()&gt;">`,
	`<form><math><mtext></form><form><mglyph><svg><mtext><style><path id="</style><img onerror=go() src>">`,
	`<noscript><p title="</noscript><img src=x onerror=go()>">`, `<select><option><style></option></select><script>go()</script></style>`,
	`<svg><a xlink:href="?"><animate attributeName="xlink:href" values="javascript:go()"/></a>`,
	`<svg><filter><feImage href="https://a/b"/></filter><use href="data:image/svg+xml,x"/><foreignObject><p>`,
	`<iframe srcdoc="&lt;script>go()&lt;/script>">`, `<p x="&lt;script>">`, `<foo src="https://a/b">`,
	`<style>@\69mport 'javascript:go()'; a{width:exp\72 ession(1); b:u\rl(java\script:x)}</style>`,
	`<p style="position:/**/fixed;top:0">`, `<p style="opacity:0;position:absolute">`, `<p style="&#98;ehavior:url(x)">`,
	`<style>/*</style><img src=x onerror=go()>*/`, `<!--[if mso]><script>go()</script><![endif]-->`, `<![CDATA[<script>go()</script>]]>`,
	`<img src="x" srcset="a.png 1x, file:///c 2x" ping=https://a/>`, `<a href="\\a\b" ping="https://a/b">`, `<img src="/\a/b">`,
	`<meta http-equiv="refresh" content="0;url=a"><base href="https://a/"><link rel="import" href=a>`,
	`<x xmlns:h="http://www.w3.org/1999/xhtml"><h:script>go()</h:script></x>`, "<scr\x00ipt>", "<ſcript>", "<p \x00onclick=go()>",
	`<template shadowrootmode=open><script>go()</script></template>`, `<plaintext>`, `<xmp><script></xmp><script>go()</script>`,
	`<!DOCTYPE svg [<!ENTITY a "<script>"><!ATTLIST svg onload CDATA "go()">]>`, `<?xml-stylesheet type="text/xsl" href="#a"?>`, `<?import namespace="t">`,
	`<img src="data:;script,0">`, "<a0 on\x1c>", "<style>\xa0url(jAvAsCript:0)", "<p style=\"\xa0position:fixed\">", `<script 0=http:>`, `text <img src="x" onerror="go()`, `<a/onclick=go()//href=x>`, `<p ="onclick=go()>`, `<p style=behavior:url(x)>`, `<p on:x=1 onx>`, "<details open on\x00 ggle=go()>",
}

// FuzzHTML holds defanging to its promises: what came out has nothing in it that is not allowed, in
// whatever a browser takes it for; nothing is left to do; and without findings nothing is changed.
func FuzzHTML(f *testing.F) {
	for _, c := range append(fragments(f), payloads(f)...) {
		f.Add(c)
	}
	f.Fuzz(func(t *testing.T, in string) {
		if len(in) > maxFuzzed {
			return // takes long to read in all contexts, and has nothing that a shorter one has not
		}
		out, ok := defang(t, in)
		if !ok {
			return // what is not examined wholly is stripped
		}
		if again, ok := defang(t, out); ok && again != out {
			t.Errorf("%q became %q, and that %q", in, out, again)
		}
		for _, where := range contexts {
			for _, scripting := range []bool{true, false} {
				if bad := violation(where, out, scripting); bad != "" {
					t.Errorf("%q became %q, which behind %q has %s", in, out, where, bad)
				}
			}
		}
	})
}

// maxFuzzed is the longest page that is fuzzed.
const maxFuzzed = 1000

func payloads(t testing.TB) []string {
	var out []string
	for _, c := range readCases(t, "payloads.jsonl") {
		out = append(out, c.HTML)
	}
	return out
}

// defang makes all changes for what is active, as edits do. It reports false for what is over the limits or in
// a charset that cannot be edited.
func defang(t testing.TB, in string) (string, bool) {
	p := newPage([]byte(in))
	defer p.done()
	if err := p.examine(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, how := readings(p.b, ""); how != "" || p.over {
		return "", false
	}
	for _, c := range p.charset {
		if unreadable(c) {
			return "", false
		}
	}
	var out strings.Builder
	last, at := 0, -1
	for _, m := range p.marks {
		if m.check >= checkRemoteImage || m.at == at {
			continue
		}
		out.WriteString(in[last:m.at])
		out.Write(m.edit(nil).Text)
		last, at = m.at, m.at
	}
	out.WriteString(in[last:])
	return out.String(), true
}

// contexts are what may stand before a page, so that a browser reads it otherwise.
var contexts = []string{
	"", "<body>", "<svg>", "<math>", "<svg><style>", "<svg><title>", "<math><mtext>", "<math><annotation-xml encoding=text/html>", "<table>", "<table><tr>",
	"<select>", "<style>", "<title>", "<textarea>", "<noscript>", "<head><noscript>", "<template>", "<xmp>", "<noembed>", "<noframes>",
	"<!--", "<![CDATA[", "<svg><![CDATA[", "<p>", "<a>", "<form>", "<button>", "<frameset>",
}

// violation parses a page as a browser does behind something else, and names what is in it that mail may not have.
func violation(where, page string, scripting bool) string {
	styled := strings.HasSuffix(where, "<style>") // what stands there is no style of the page
	doc, err := html.ParseWithOptions(strings.NewReader(where+page), html.ParseOptionEnableScripting(scripting))
	if err != nil {
		return "" // deeper than browsers go
	}
	for n := range doc.Descendants() {
		if n.Type != html.ElementNode {
			continue
		}
		if bad := badElement(n, styled); bad != "" {
			return bad
		}
		for _, a := range n.Attr {
			if bad := badAttr(n, a); bad != "" {
				return bad
			}
		}
	}
	return ""
}

func badElement(n *html.Node, styled bool) string {
	switch name := strings.ToLower(n.Data); {
	case name == "form" && len(n.Attr) == 0 || name == "frameset" && len(n.Attr) == 0 || name == "annotation-xml": // of the context
		return ""
	case refusedElements[name] != 0 || name == "script":
		return "<" + n.Data + ">"
	case name == "style" && !styled && n.FirstChild != nil:
		return badStyle(n.FirstChild.Data)
	}
	return ""
}

func badAttr(n *html.Node, a html.Attribute) string {
	key := strings.ToLower(a.Key)
	key = key[strings.LastIndexByte(key, ':')+1:]
	what := n.Data + " " + a.Key + "=" + a.Val
	switch kind := attrKinds[key]; {
	case strings.HasPrefix(key, "on") && strings.Trim(key[2:], "\ufffd") != "" && kind == attrUnknown: // with NUL or without
		return what
	case kind == attrRefused:
		return what
	case n.Data == "base" && key == "href", n.Data == "meta" && key == "http-equiv" && strings.EqualFold(strings.TrimSpace(a.Val), "refresh"):
		return what
	case n.Data == "use" && key == "href" && !strings.HasPrefix(strings.TrimSpace(a.Val), "#") && a.Val != "":
		return what
	case (n.Data == "animate" || n.Data == "set") && key == "attributename" && strings.HasSuffix(strings.ToLower(strings.TrimSpace(a.Val)), "href"):
		return what
	case key == "style" && badStyle(a.Val) != "":
		return what
	case (kind == attrURL || kind == attrImage) && badURL(a.Val):
		return what
	}
	return ""
}

var urlBlank = strings.NewReplacer("\t", "", "\n", "", "\r", "")

// badURL reads a URL as browsers do (URL, section 4.4).
func badURL(v string) bool {
	v = urlBlank.Replace(strings.TrimLeft(v, "\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f "))
	if strings.HasPrefix(v, `\\`) {
		return true
	}
	m := scheme.FindString(v)
	s := strings.ToLower(strings.TrimSuffix(m, ":"))
	switch {
	case m == "" || safeSchemes[s] || strings.Contains(s, "."):
		return false
	case s == "data":
		kind := strings.ToLower(v[len(m):])
		if n := strings.IndexAny(kind, ",;"); n >= 0 {
			kind = kind[:n]
		}
		return strings.Contains(kind, "html") || strings.Contains(kind, "script") || strings.Contains(kind, "xml") && !strings.Contains(kind, "image/svg")
	case s == "feed" || s == "url":
		return badURL(v[len(m):])
	}
	return s != "about"
}

var (
	scheme     = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9+.-]*:`)
	cssComment = regexp.MustCompile(`(?s)/\*.*?\*/`)
	cssEscape  = regexp.MustCompile(`\\([0-9a-fA-F]{1,6})[ \t\r\n\f]?|\\([^0-9a-fA-F\n\r\f])`)
	cssBad     = regexp.MustCompile(`(?i)(^|[^-\w])(expression\s*\(|-moz-binding\s*:|position\s*:\s*(fixed|sticky)|url\(\s*["']?\s*(javascript|vbscript|file):|@import\s*["']\s*(javascript|vbscript|file):)`)
)

// badStyle reads CSS as browsers do.
func badStyle(v string) string {
	v = cssComment.ReplaceAllString(v, " ")
	v = cssEscape.ReplaceAllStringFunc(v, func(s string) string {
		m := cssEscape.FindStringSubmatch(s)
		if m[1] == "" {
			return m[2]
		}
		var r rune
		for _, c := range []byte(m[1]) {
			r = r<<4 | rune(hexValue(c))
		}
		if r == 0 || r > 0x10ffff {
			r = 0xfffd
		}
		return string(r)
	})
	return cssBad.FindString(v)
}

func TestFragmentsAreInertAfterDefanging(t *testing.T) {
	for _, in := range fragments(t) {
		out, ok := defang(t, in)
		if !ok {
			continue
		}
		if bad := violation("", out, true); bad != "" {
			t.Errorf("%q became %q, which has %s", in, out, bad)
		}
	}
}
