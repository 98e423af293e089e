package sanitize

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"
	"golang.org/x/text/encoding/charmap"

	"rastel/sanitize/eml"
)

func cleanOf(t testing.TB, s string) string {
	t.Helper()
	var b bytes.Buffer
	if err := writeClean(&b, strings.NewReader(s), nil, "utf-8", ""); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// inBody is the clean form without what every page has around its body.
func inBody(t testing.TB, s string) string {
	out := strings.TrimPrefix(cleanOf(t, s), "<html>\n<head>\n<meta charset=\"utf-8\">\n")
	return strings.TrimSuffix(strings.TrimPrefix(out, "</head>\n<body>"), "</body></html>\n")
}

func TestCleanKeepsWhatIsAllowed(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{`<p>hello`, `<p>hello</p>`},
		{`a < b &amp; "c" &lt;script>`, `a &lt; b &amp; "c" &lt;script&gt;`},
		{`<P CLASS=a onclick=x STYLE="color:red">x</P>`, `<p class="a" style="color: red;">x</p>`},
		{`<script>alert(1)</script>x<SCRIPT>y`, `x`},
		{`<a href=" java&#10;script:x">y</a>`, `<a>y</a>`},
		{`<a href="https://a/?b=1&c=2" target=_top>y</a>`, `<a href="https://a/?b=1&amp;c=2" target="_blank">y</a>`},
		{`<a href="\\host\x">y</a><a href="//h/x">y</a>`, `<a>y</a><a href="https://h/x">y</a>`},
		{`<img src="data:image/png;base64,xx"><img src="data:image/svg+xml,x"><img src=cid:a@b>`, `<img src="data:image/png;base64,xx"><img><img src="cid:a@b">`},
		{`<b><i>x</b>y</i>z`, `<b><i>x</i></b><i>y</i>z`},
		{`<p><b>x<p>y</b>z`, `<p><b>x</b></p><p><b>y</b>z</p>`},
		{`<b>1<div>2</b>3</div>4`, `<b>1<div>2</div></b><div>3</div>4`},
		{`<table><tr><td>1<td>2</div><tr><td>3</table></td>`, `<table><tr><td>1</td><td>2</td></tr><tr><td>3</td></tr></table>`},
		{`<td>x</td>`, `x`},
		{`<ul><li>1<li>2<ul><li>3</ul><li>4</ul>`, `<ul><li>1</li><li>2<ul><li>3</li></ul></li><li>4</li></ul>`},
		{`<a href=a>1<a href=b>2`, `<a href="a">1</a><a href="b">2</a>`},
		{`<svg><style><img src=x onerror=alert(1)></style></svg>x`, `x`},
		{`<svg><p>x`, `<p>x</p>`},
		{`<math><mtext><table><mglyph><style><!--</style><img title="--&gt;&lt;img src=1 onerror=alert(1)&gt;">`, `<table><img title="--&gt;&lt;img src=1 onerror=alert(1)&gt;"></table>`},
		{`<noscript><p title="</noscript><img src=x onerror=alert(1)>">`, `<p title="&lt;/noscript&gt;&lt;img src=x onerror=alert(1)&gt;"></p>`},
		{`<textarea><b></textarea><xmp><b></xmp><title><b></title>`, `&lt;b&gt;<pre>&lt;b&gt;</pre>`},
		{`<plaintext><b>`, `<pre>&lt;b&gt;</pre>`},
		{`a<!-- b --><!--[if mso]><p>c<![endif]--><![if !mso]>d<![endif]><?php e ?>f`, `adf`},
		{`<template><b>x</b></template>y<iframe src=a>z</iframe>`, `y`},
		{`<form action=a><input value=b><button formaction=c>d</button></form>`, `d`},
		{`<image src=a>`, `<img src="a">`},
		{"<scr\x00ipt>x</scr\x00ipt>a\x00b\x1bc", `xabc`},
		{`<img src="x`, ``},
		{`<o:p>x</o:p><v:rect>y`, `xy`},
		{`x</br>y</p>z</div>`, `x<br>yz`},
		{`<p style="position:fixed">x`, `<p>x</p>`},
		{`<style>x{y:url(javascript:1)}</style>x`, `x`},
	} {
		if got := inBody(t, tt.in); got != tt.want {
			t.Errorf("%q\n got %q\nwant %q", tt.in, got, tt.want)
		}
		checkClean(t, tt.in)
	}
}

func sheetOf(css string) string { return string(cleanSheet(nil, []byte(css))) }

func declarationsOf(css string) string {
	out, _ := cleanDeclarations(nil, []byte(css))
	return string(out)
}

func TestCleanStyleSheets(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{`p{color:red}`, "p {color: red;}\n"},
		{`<!-- p , .a > b{color:red !important;} -->`, "p , .a > b {color: red !important;}\n"},
		{`@import url(x); @charset "x"; a{top:1px}`, "a {top: 1px;}\n"},
		{`@media screen and (max-width:600px){ .a{width:100%!important} @import "x"; }`, "@media screen and (max-width:600px) {\n.a {width: 100%!important;}\n}\n"},
		{`a{behavior:url(x);-moz-binding:url(y);b\65havior:url(z);top:1px}`, "a {top: 1px;}\n"},
		{`a{width:expression(x);height:e\78pression(y);top:exp/**/ression(z)}`, ""},
		{`a{background:url(javascript:x);background:u\72l( "https://a/b" )}`, "a {background: url(\"https://a/b\");}\n"},
		{`a{content:"</style><script>"}`, "a {content: \"\\3c /style\\3e \\3c script\\3e \";}\n"},
		{`a{content:'` + "\n" + `';top:1px} b{top:2px}`, ""},
		{`a[href="x<y"]{top:1px} a<b{top:1px}`, "a[href=\"x\\3c y\"] {top: 1px;}\n"},
		{`@font-face{font-family:X;src:url(https://a/x.woff2) format("woff2")}`, "@font-face {font-family: X; src: url(\"https://a/x.woff2\") format(\"woff2\");}\n"},
		{`a{b{top:1px} left:1px}c{top:1px`, "a {left: 1px;}\nc {top: 1px;}\n"},
		{`a\{"b" c{top:1px} a<b["c"] d{top:1px} url(x)"y"{top:1px} e{top:1px}`, "e {top: 1px;}\n"}, // a string makes up for nothing
		{`a{position:fixed;position:var(--x);position:sticky;position:absolute}`, "a {position: absolute;}\n"},
		{`a{background:image-set("javascript:x" 1x)}`, ""},
		{`a{top:1px}}} b{left:-.5em}`, "a {top: 1px;}\nb {left: -.5em;}\n"},
		{`\31 a{color:#fFf;filter:alpha(opacity=50)}`, "\\31 a {color: #fFf; filter: alpha(opacity=50);}\n"},
	} {
		got := sheetOf(tt.in)
		if got != tt.want {
			t.Errorf("%q\n got %q\nwant %q", tt.in, got, tt.want)
		}
		if again := sheetOf(got); again != got {
			t.Errorf("%q\nis  %q\nand %q", tt.in, got, again)
		}
	}
}

func TestCleanKeepsHowAPageIsShown(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{`<!DOCTYPE html><html lang=de><body bgcolor=red>x`, "<!DOCTYPE html>\n<html lang=\"de\">\n<head>\n<meta charset=\"utf-8\">\n</head>\n<body bgcolor=\"red\">x</body></html>\n"},
		{`<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Transitional//EN" "http://x"><html xmlns=a><head><meta charset=x><title>y</title><style>a{top:1px}</style></head> <body> x </body> </html> `, limitedDoctype + "\n<html>\n<head>\n<meta charset=\"utf-8\">\n<style>\na {top: 1px;}\n</style>\n</head>\n<body> x </body></html>\n"},
		{`<!DOCTYPE HTML PUBLIC "-//W3C//DTD HTML 3.2//EN">x`, "<html>\n<head>\n<meta charset=\"utf-8\">\n</head>\n<body>x</body></html>\n"},
		{``, "<html>\n<head>\n<meta charset=\"utf-8\">\n</head>\n<body></body></html>\n"},
	} {
		if got := cleanOf(t, tt.in); got != tt.want {
			t.Errorf("%q\n got %q\nwant %q", tt.in, got, tt.want)
		}
		checkClean(t, tt.in)
	}
}

func TestCleanWritesTheCharset(t *testing.T) {
	var b bytes.Buffer
	in := `<p title="ä€日">ä€日</p><style>.ä{content:"日"}</style>`
	if err := writeClean(&b, strings.NewReader(in), charmap.ISO8859_15, "iso-8859-15", ""); err != nil {
		t.Fatal(err)
	}
	want := "<p title=\"\xe4\xa4&#26085;\">\xe4\xa4&#26085;</p><style>\n.\xe4 {content: \"\\65e5 \";}\n</style>"
	if !strings.Contains(b.String(), want) {
		t.Errorf("got %q, want in it %q", b.String(), want)
	}
}

// TestCleanIsBounded: what is deep, long or often opened again makes neither the memory nor the
// page grow beyond measure, and nothing else is lost.
func TestCleanIsBounded(t *testing.T) {
	for name, in := range map[string]string{
		"deep":         strings.Repeat("<div>", 100_000) + "x",
		"reopened":     strings.Repeat("<b title="+strings.Repeat("y", 500)+">", 100) + strings.Repeat("<p>x", 10_000),
		"long text":    strings.Repeat("ä&amp;<x ", 500_000),
		"long tag":     "<p title=" + strings.Repeat("y", 5<<20) + ">z",
		"long comment": "<!--" + strings.Repeat("<p>", 3<<20) + "-->z",
		"long script":  "<script>" + strings.Repeat("y", 5<<20) + "</script>z",
		"long style":   "<style>" + strings.Repeat("p{top:1px}", 600_000) + "</style>z",
		"attributes":   "<p " + strings.Repeat("title=a ", 100_000) + ">z",
	} {
		out := cleanOf(t, in)
		if len(out) > 3*len(in)+freeReopen+1000 {
			t.Errorf("%s: %d bytes became %d", name, len(in), len(out))
		}
		if strings.HasPrefix(name, "long ") && name != "long text" && !strings.Contains(out, "z") {
			t.Errorf("%s: what is behind it is lost: %.300q", name, out)
		}
		if again := cleanOf(t, out); again != out {
			t.Errorf("%s: not its own clean form", name)
		}
	}
	text := strings.Repeat("ä&amp;€ 日 &lt;", 100_000)
	want := strings.Repeat("ä&amp;€ 日 &lt;", 100_000)
	if got := inBody(t, text); got != want {
		t.Errorf("long text of %d bytes became one of %d", len(want), len(got))
	}
}

// TestLargeStyleSheetsEndWhereTheyAreFull: what is behind the first rule that does not fit costs nothing.
func TestLargeStyleSheetsEndWhereTheyAreFull(t *testing.T) {
	rule := "a {top: 1px;}\n"
	fits := strings.Repeat(rule, maxSheet/len(rule))
	for _, tt := range []struct{ in, want string }{
		{fits, fits},
		{fits + "@media x{b{" + strings.Repeat("top:1px;", 100) + "}}b{top:1px}", fits},
		{"@media x{" + fits + rule + "}b{top:1px}", ""},
		{"a{" + strings.Repeat("top:1px;", maxSheet/8) + "}b{top:1px}", ""},
	} {
		got := sheetOf(tt.in)
		if got != tt.want {
			t.Errorf("%d bytes, %.40q... become %d bytes, want %d", len(tt.in), tt.in, len(got), len(tt.want))
		}
		if again := sheetOf(got); again != got {
			t.Errorf("%.40q...: not its own clean form", tt.in)
		}
	}
}

// checkClean checks what must be true of the clean form of any page.
func checkClean(t testing.TB, in string) {
	t.Helper()
	out := cleanOf(t, in)
	if again := cleanOf(t, out); again != out {
		t.Fatalf("%q\nbecomes      %q\nand that     %q", in, out, again)
	}
	pg := newPage([]byte(out))
	defer pg.done()
	if err := pg.examine(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, m := range pg.marks {
		if m.check < checkRemoteImage {
			t.Fatalf("%q\nhas %s at %q: %q", in, htmlChecks[m.check].ID, pg.excerpt(m.at), out)
		}
	}
	for _, scripting := range []bool{true, false} {
		doc, err := html.ParseWithOptions(strings.NewReader(out), html.ParseOptionEnableScripting(scripting))
		if err != nil {
			t.Fatal(err)
		}
		checkNodes(t, in, out, doc)
	}
	for _, name := range []string{"div", "select", "textarea", "title", "table", "tr", "svg", "math", "noscript", "style", "template"} {
		ctx := &html.Node{Type: html.ElementNode, Data: name, DataAtom: atom.Lookup([]byte(name))}
		if name == "svg" || name == "math" {
			ctx.Namespace, ctx.DataAtom = name, 0
			if name == "svg" {
				ctx.DataAtom = atom.Svg
			} else {
				ctx.DataAtom = atom.Math
			}
		}
		nodes, err := html.ParseFragment(strings.NewReader(out), ctx)
		if err != nil {
			continue // the parser refuses a context
		}
		for _, n := range nodes {
			checkNodes(t, in, out, n)
		}
	}
}

var uncleanURL = regexp.MustCompile(`(?i)^[\x00-\x20]*((javascript|vbscript|file|ms-[a-z]+|search-ms|about|blob):|\\\\)`)

func checkNodes(t testing.TB, in, out string, n *html.Node) {
	t.Helper()
	switch n.Type {
	case html.CommentNode:
		t.Fatalf("%q\nhas a comment: %q", in, out)
	case html.ElementNode:
		checkElement(t, in, out, n)
	}
	for c := n.FirstChild; c != nil; c = c.NextSibling {
		checkNodes(t, in, out, c)
	}
}

func checkElement(t testing.TB, in, out string, n *html.Node) {
	t.Helper()
	structure := n.Data == "html" || n.Data == "head" || n.Data == "body" || n.Data == "meta" || n.Data == "style"
	if !structure && !cleanElements[n.Data] {
		t.Fatalf("%q\nhas an element %s: %q", in, n.Data, out)
	}
	for _, a := range n.Attr {
		switch {
		case n.Data == "meta" && a.Key == "charset":
		case !cleanAttrs[a.Key] && !cleanElementAttrs[n.Data][a.Key], strings.HasPrefix(a.Key, "on"):
			t.Fatalf("%q\nhas an attribute %s: %q", in, a.Key, out)
		case (a.Key == "href" || a.Key == "src" || a.Key == "background") && (uncleanURL.MatchString(a.Val) || !allowedURL(n.Data, a.Key, a.Val)):
			t.Fatalf("%q\nhas a URL %q: %q", in, a.Val, out)
		case a.Key == "style":
			checkStyles(t, in, a.Val)
		}
	}
	if n.Data == "style" && n.FirstChild != nil {
		checkStyles(t, in, n.FirstChild.Data)
	}
}

var uncleanStyle = regexp.MustCompile(`(?i)expression\s*\(|(^|[^-])behaviou?r\s*:|-moz-binding\s*:|@import|url\(\s*"?\s*(javascript|vbscript|file|\\\\)|position:\s*(fixed|sticky)|<`)

func checkStyles(t testing.TB, in, css string) {
	t.Helper()
	if uncleanStyle.MatchString(css) {
		t.Fatalf("%q\nhas a style %q", in, css)
	}
}

// htmlPages passes the test pages.
func htmlPages(f *testing.F, add func(string)) {
	files, _ := filepath.Glob("../testdata/html/*.html")
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		add(string(b))
	}
}

// htmlSeeds are pages to begin with.
func htmlSeeds(f *testing.F) {
	htmlPages(f, func(s string) { f.Add(s) })
	for _, s := range []string{
		`<b><p>1<i></b>2<table><tr><td><a>3<table>4</a></table>5`,
		`<style>@media x{a{b:c}}</style><p style="color:red;w:e\78p(">`,
		`<svg><style>&lt;p><p title="</style>`, `<table><b><tr>x<td></b><select><option><img>`,
		`<!DOCTYPE html PUBLIC "-//W3C//DTD HTML 4.01 Transitional//EN" "http://x"><html a><body b>x`,
		`<math><annotation-xml encoding="text/html"><style><img></style>`, `<a href="&#x6a;avascript&colon;x" style='a:url("\6a")'>`,
		"<h1>x<h2>y</h1><hr><ul><li>1<ol><li>2</ul><blockquote><pre>\n a\n</pre></blockquote><a href=http://b/>c</a>",
		"<pre>begin 644 x\n=ybegin\n</pre><div style='display:none'>x</div><br><br><br>y&#0;&#x80;&#xd800;",
	} {
		f.Add(s)
	}
}

func FuzzClean(f *testing.F) {
	htmlSeeds(f)
	f.Fuzz(func(t *testing.T, s string) { checkClean(t, strings.ToValidUTF8(s, "\ufffd")) })
}

func FuzzCleanStyle(f *testing.F) {
	for _, s := range []string{`a{b:c}`, `@media x{a:hover,b>c{top:-1.5e3px!important;content:"\3c"}}`, `@font-face{src:url( 'a' )}`, `u+26 -->\;{a:#b(c[d])}`, `a{--x:{b:c};d:e`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		s = strings.ToValidUTF8(s, "\ufffd")
		for name, clean := range map[string]func(string) string{"sheet": sheetOf, "declarations": declarationsOf} {
			out := clean(s)
			if again := clean(out); again != out {
				t.Errorf("%s %q\nbecomes  %q\nand that %q", name, s, out, again)
			}
			checkStyles(t, s, out)
		}
	})
}

// TestCorpusIsCleaned runs over third-party pages that may stand beside the project.
func TestCorpusIsCleaned(t *testing.T) {
	f, err := os.Open(filepath.Join(corpus, "payloads.jsonl"))
	if err != nil {
		t.Skipf("no corpus beside the project: %v", err)
	}
	defer f.Close()
	s := bufio.NewScanner(f)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		var item struct{ ID, HTML string }
		if err := json.Unmarshal(s.Bytes(), &item); err != nil {
			t.Fatal(err)
		}
		checkClean(t, strings.ToValidUTF8(item.HTML, "\ufffd"))
		checkText(t, strings.ToValidUTF8(item.HTML, "\ufffd"))
	}
	files, _ := filepath.Glob(filepath.Join(corpus, "benign/*/*.html"))
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		checkClean(t, string(b))
		checkText(t, string(b))
	}
}

func textOf(t testing.TB, s string, file bool) string {
	t.Helper()
	var b bytes.Buffer
	if err := writeText(&b, strings.NewReader(s), file, ""); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestPagesBecomeText(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{`<p>Hello,   <b>wor</b>ld</p><p>again`, "Hello, world\n\nagain\n"},
		{`<h1>Title</h1>x<h2>Sub</h2>`, "Title\n=====\n\nx\n\nSub\n---\n"},
		{`<ul><li>1<li>2<ol><li>a<li>b</ol><li>3</ul>x`, "* 1\n* 2\n  1. a\n  2. b\n* 3\n\nx\n"},
		{`<table border=1><tr><th>a<th>b<tr><td>1<td>2</table>`, "a | b\n1 | 2\n"},
		{`<table><tr><td><p>a</p></td><td>b</td></tr></table>`, "a\n\nb\n"},
		{`x<blockquote>a<br>b<blockquote>c</blockquote></blockquote>y`, "x\n\n> a\n> b\n\n> > c\n\ny\n"},
		{`<a href="https://a/b">here</a>, <a href="https://a/">https://a/</a> <a href="mailto:a@b">a@b</a> <a href="#x">x</a> <a href="javascript:y">z</a>`, "here <https://a/b>, https://a/ a@b x z\n"},
		{`<img src=a alt="A  picture"><a href=https://a/><img src=b></a>`, "[A picture]<https://a/>\n"},
		{`a<span style="display: none !important">b</span>c<div hidden>d</div><p style="font-size:0">e`, "ac\n"},
		{`<pre>a  b` + "\n" + ` c</pre>`, "a  b\n c\n"},
		{`<pre>begin 644 x` + "\n" + `From y</pre>-----BEGIN PGP<br>Begin now`, "| begin 644 x\n| From y\n\n| -----BEGIN PGP\nBegin now\n"},
		{`&lt;script>x&lt;/script>`, "| <script>x</script>\n"},
		{`<script>x</script><style>y</style><title>z</title><noscript>n</noscript>`, "n\n"},
		{`a<br><br>b<hr>c`, "a\n\nb\n\n----------------------------------------\n\nc\n"},
		{"a&nbsp;b&shy;c&#8203;d\u202ee", "a bcde\n"},
		{`<svg><text>x</text></svg><textarea>y</textarea><select><option>1<option>2</select>`, "y\n1\n2\n"},
		{``, ""},
	} {
		if got := textOf(t, tt.in, false); got != tt.want {
			t.Errorf("%q\n got %q\nwant %q", tt.in, got, tt.want)
		}
		checkText(t, tt.in)
	}
}

var tagLike = regexp.MustCompile(`<[A-Za-z/!?]`)

func checkText(t testing.TB, in string) {
	t.Helper()
	file := textOf(t, in, true)
	if tagLike.MatchString(file) {
		t.Fatalf("%q\nbecomes a file with tags: %q", in, file)
	}
	body := textOf(t, in, false)
	for line := range strings.Lines(body) {
		if line = strings.TrimRight(line, "\n"); isRiskyLine([]byte(line), false) {
			t.Fatalf("%q\nhas a line %q", in, line)
		}
		for _, r := range line {
			if isUnread(r) && r != '\t' {
				t.Fatalf("%q\nhas a character %U", in, r)
			}
		}
	}
	if strings.HasPrefix(strings.TrimSpace(body), "<") {
		t.Fatalf("%q\nbegins as a page: %q", in, body)
	}
	if len(body) > 20*len(in)+1000 {
		t.Fatalf("%d bytes become %d", len(in), len(body))
	}
}

func FuzzText(f *testing.F) {
	htmlSeeds(f)
	f.Fuzz(func(t *testing.T, s string) { checkText(t, strings.ToValidUTF8(s, "\ufffd")) })
}

// TestBannersGoIntoWhatIsWrittenAnew: once, and behind all that is before the body.
func TestBannersGoIntoWhatIsWrittenAnew(t *testing.T) {
	for name, rewrite := range map[string]func(*eml.Part) ([]eml.Edit, error){"clean": Clean, "text": Text} {
		m := message(t, htmlHeader+"; charset=utf-8", "<html><body bgcolor=red><p>x<script>y</script>")
		list := []Banner{{Text: "Mind <this>, ä" + strings.Repeat(", and so on", 10) + ".\n"}}
		var b bytes.Buffer
		for range 2 {
			edits, err := rewrite(m.Root)
			if errors.Is(err, ErrNotHTML) {
				err = nil // it is text by now
			}
			if err == nil {
				edits, _, err = (&Notices{}).PutBanners(m.Root, list, edits)
			}
			if err != nil {
				t.Fatal(err)
			}
			p, err := eml.NewPatch(m, edits)
			if err != nil {
				t.Fatal(err)
			}
			b.Reset()
			if _, err := p.WriteTo(&b); err != nil {
				t.Fatal(err)
			}
			if m, err = parseRaw(t, b.String()); err != nil {
				t.Fatal(err)
			}
		}
		text, _ := io.ReadAll(m.Root.Content())
		if n := strings.Count(string(text), "Mind"); n != 1 || strings.Contains(string(text), "script") || !strings.Contains(string(text), "x") {
			t.Errorf("%s: %d banners in %q", name, n, text)
		}
		if name == "clean" && !strings.Contains(string(text), `<body bgcolor="red"><div style=`) {
			t.Errorf("clean: %q", text)
		}
	}
}

func parseRaw(t testing.TB, raw string) (*eml.Message, error) {
	t.Helper()
	s := eml.NewSpool(eml.SpoolOptions{})
	if _, err := io.WriteString(s, raw); err != nil {
		return nil, err
	}
	s.CloseWrite(nil)
	m, _, err := eml.Parse(t.Context(), &eml.Envelope{}, s, eml.Limits{}, nil)
	t.Cleanup(func() { m.Close(); s.Close() })
	return m, err
}

// TestCleanTablesAreWithinTheOthers: what a page that is written anew may have, any page may.
func TestCleanTablesAreWithinTheOthers(t *testing.T) {
	for name := range cleanElements {
		if !allowedElement(name) {
			t.Errorf("element %s", name)
		}
		for _, attrs := range []map[string]bool{cleanAttrs, cleanElementAttrs[name]} {
			for attr := range attrs {
				if !allowedAttr(name, attr) {
					t.Errorf("attribute %s of %s", attr, name)
				}
			}
		}
	}
}

// A heapMeter looks at how much memory is in use while it is written to.
type heapMeter struct{ written, next, most int64 }

func (m *heapMeter) Write(p []byte) (int, error) {
	if m.written += int64(len(p)); m.written >= m.next {
		m.next = m.written + 1<<20
		runtime.GC()
		var s runtime.MemStats
		runtime.ReadMemStats(&s)
		m.most = max(m.most, int64(s.HeapAlloc)) //nolint:gosec // no heap is that large
	}
	return len(p), nil
}

// TestWritingAnewNeedsLittleMemory: that is no more for a large page than for a small one.
func TestWritingAnewNeedsLittleMemory(t *testing.T) {
	const size = 6 << 20
	for name, unit := range map[string]string{
		"tags": `<p class="a">Some <b>words</b> &amp; a <a href="https://example.com/">link</a>.</p>`,
		"text": "Some words without any markup. ", "deep": "<div>x", "lists": "<ul><li>x",
		"closed": "</p></b></span>", "names": "",
	} {
		for _, mode := range []string{"clean", "text"} {
			var before runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			r := io.LimitReader(&repeated{unit: unit}, size)
			m := &heapMeter{}
			var err error
			if mode == "clean" {
				err = writeClean(m, r, nil, "utf-8", "")
			} else {
				err = writeText(m, r, false, "")
			}
			if more := m.most - int64(before.HeapAlloc); err != nil || more > 2<<20 { //nolint:gosec // no heap is that large
				t.Errorf("%s, %s: %d MB take %d KB, %v", name, mode, size>>20, more>>10, err)
			}
		}
	}
}

// A repeated is endless: one unit, or elements of which each has another name.
type repeated struct {
	unit  string
	at, n int
	names bool
}

func (r *repeated) Read(p []byte) (int, error) {
	for i := range p {
		if r.at == len(r.unit) || r.unit == "" {
			if r.at, r.n = 0, r.n+1; r.names || r.unit == "" {
				r.unit, r.names = fmt.Sprintf("<x%d>y</x%d>", r.n, r.n), true
			}
		}
		p[i] = r.unit[r.at]
		r.at++
	}
	return len(p), nil
}

// TestWhatIsWrittenAnewBeginsNoPart: what stood in base64 or behind references comes out as text, and a
// line of it could be a boundary of the message. No line grows beyond what is allowed for that.
func TestWhatIsWrittenAnewBeginsNoPart(t *testing.T) {
	hidden := "\n--b\nContent-Type: text/html\n\n&lt;script>go()&lt;/script>\n--b--\n" + strings.Repeat("-", 500) + strings.Repeat("é-", 100) + strings.Repeat("x--", 100) + "\n-\n"
	page := base64.StdEncoding.EncodeToString([]byte("<p>x<pre>" + hidden + "</pre><style>.x{color:red}\n--b{}</style>"))
	for _, rewrite := range []func(*eml.Part) ([]eml.Edit, error){Clean, Text} {
		m := raw(t, "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/html\nContent-Transfer-Encoding: base64\n\n"+page+"\n--b\n\nlast\n--b--\n")
		edits, err := rewrite(m.Root.Children[0])
		if err != nil {
			t.Fatal(err)
		}
		out := patched(t, m, edits)
		again := raw(t, out)
		if len(again.Root.Children) != 2 || text(t, again.Root.Children[1]) != "last" {
			t.Errorf("the message has other parts:\n%s", out)
			continue
		}
		got := text(t, again.Root.Children[0])
		for _, s := range []string{"\n--b\r\nContent-Type: text/html", "\n--b--\r\n" + strings.Repeat("-", 500) + strings.Repeat("é-", 100) + strings.Repeat("x--", 100)} {
			if !strings.Contains(got, s) {
				t.Errorf("%.80q is not in\n%s", s, got)
			}
		}
		for line := range strings.Lines(out[strings.Index(out, "quoted-printable"):]) {
			if len(line) > 77 {
				t.Errorf("a line of %d bytes: %s", len(line), line)
			}
		}
	}
}
