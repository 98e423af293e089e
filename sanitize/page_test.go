package sanitize

import (
	"context"
	"errors"
	"io"
	"runtime"
	"strings"
	"testing"

	"rastel/sanitize/eml"
)

func TestWhatMailDoesNotNeedIsDefanged(t *testing.T) {
	padding := strings.Repeat("x", 3*cssWindow)
	for _, tt := range []struct{ in, checks, want string }{
		{`<meta http-equiv="Set-Cookie" content="a=b">`, "meta", `<meta DEFANGED_http-equiv="Set-Cookie" content="a=b">`},
		{`<meta http-equiv="X-UA-Compatible" content="IE=edge">`, "", ``},
		{`<a href=x ping=y>`, "attribute", `<a href=x DEFANGED_ping=y>`},
		{`<p viewas="&lt;script>">`, "attribute", `<p DEFANGED_viewas="&lt;script>">`},
		{`<p viewas="a &amp; b" title="&lt;b&gt;" data-page="&lt;b&gt;">`, "", ``},
		{`<p loadfrom="https://a/b">`, "attribute", `<p DEFANGED_loadfrom="https://a/b">`},
		{`<viewer src=a.b></viewer><my-viewer src=a.b><o:viewer src=a.b>`, "attribute", `<viewer DEFANGED_src=a.b></viewer><my-viewer src=a.b><o:viewer src=a.b>`},
		{`<img src="file:///a" srcset="b 1x,file:///c 2x">`, "url", `<img src="DEFANGED_file:///a" srcset="b 1x,DEFANGED_file:///c 2x">`},
		{`<a href="/\a/b"><a href="evil:x"><a href="a.b:80/c"><a href="12:30">`, "url", `<a href="DEFANGED_/\a/b"><a href="DEFANGED_evil:x"><a href="a.b:80/c"><a href="12:30">`},
		{`<img src="data:image/svg+xml,x"><a href="data:image/svg+xml,x">`, "url", `<img src="data:image/svg+xml,x"><a href="DEFANGED_data:image/svg+xml,x">`},
		{`<p style="background:url(data:image/svg+xml,x)">`, "", ``},
		{`<p style="background:url(\\a\b)">`, "style", `<p style="background:url(DEFANGED_\\a\b)">`},
		{`<p style="position:fixed"><p style="background-position:fixed">`, "overlay", `<p style="DEFANGED_position:fixed"><p style="background-position:fixed">`},
		{`<style>a{position:var(--x)}</style>`, "overlay", `<style>a{DEFANGED_position:var(--x)}</style>`},
		{`<p style="position:absolute;opacity:.0">`, "overlay", `<p style="position:absolute;DEFANGED_opacity:.0">`},
		{`<p style="position:absolute;opacity:0;width:1px"><p style="position:absolute;opacity:0.9"><p style="opacity:0">`, "", ``},
		{`<style>a{opacity:0}b{position:absolute}</style>`, "", ``},
		{`<style>a/*` + padding + `*/{b:exp/*` + padding + `*/ression(1)}</style>`, "style", ``},
		{`<style>a{b:url(` + strings.Repeat(" ", 3*cssWindow) + `javascript:x)}` + padding + `\</style>`, "style", ``},
		{`<style>\` + padding + `{behavior:url(x)}` + padding + `</style>`, "style", ``},
		{"<scr\u0131pt>", "script", "<DEFANGED_scr\u0131pt>"},
		{"<script\x0bsrc=x>", "script", "<DEFANGED_script\x0bsrc=x>"},
		{`<svg><animate attributeName="fill" to="red"/><animate attributeName="xlink:href"/></svg>`, "svg", `<svg><animate attributeName="fill" to="red"/><animate DEFANGED_attributeName="xlink:href"/></svg>`},
		{`<link rel="` + strings.Repeat("nofollow ", 28) + `top  modulepreload">`, "link", ``},
		{`<link rel="stylesheet nonsense">`, "link", `<link DEFANGED_rel="stylesheet nonsense">`},
		{`<x:a xml:base="https://a/">`, "base", `<x:a xml:DEFANGED_base="https://a/">`},
		{`<DEFANGED_h:script>`, "script", `<DEFANGED_h:DEFANGED_script>`},
		{`<john@example.org> <b and c> <foo bar="a: b">`, "", ``},
	} {
		findings, got := scanHTML(t, tt.in)
		if checkNames(findings) != tt.checks || tt.want != "" && got != tt.want || tt.checks == "" && got != tt.in {
			t.Errorf("%.300q: got %q, %.300q; want %q, %q", tt.in, checkNames(findings), got, tt.checks, tt.want)
		}
		checkStable(t, got)
	}
}

func TestWhatIsFetchedFromElsewhereIsTold(t *testing.T) {
	for _, tt := range []struct{ in, checks, want string }{
		{`<img src="cid:a"><img src="a.png"><a href="https://a/">`, "", ``},
		{`<img src="https://a/b.png">`, "page/remote-image", `<img DEFANGED_src="https://a/b.png">`},
		{`<td background=" //a/b.png">`, "page/remote-image", `<td DEFANGED_background=" //a/b.png">`},
		{`<img srcset="a.png 1x" src="HTTP://a/b">`, "page/remote-image", `<img srcset="a.png 1x" DEFANGED_src="HTTP://a/b">`},
		{`<img srcset="a.png 1x, https://a/b 2x">`, "page/remote-image", `<img DEFANGED_srcset="a.png 1x, https://a/b 2x">`},
		{`<v:fill src="https://a/b.png">`, "page/remote-image", `<v:fill DEFANGED_src="https://a/b.png">`},
		{`<svg><image xlink:href="https://a/b.png"/></svg>`, "page/remote-image", `<svg><image xlink:DEFANGED_href="https://a/b.png"/></svg>`},
		{`<p style="background:url('https://a/b.png')">`, "page/remote-image", `<p style="background:url('DEFANGED_https://a/b.png')">`},
		{`<p style="background:\75rl(https://a/b.png)">`, "page/remote-image", `<p style="background:\75rl(DEFANGED_https://a/b.png)">`},
		{`<link rel=stylesheet href="https://a/b.css"><style>@import url(https://a/c.css);</style>`, "page/remote-style", `<link rel=stylesheet DEFANGED_href="https://a/b.css"><style>@import url(DEFANGED_https://a/c.css);</style>`},
		{`<link rel=preconnect href="https://a"><link rel="dns-prefetch" href="//a">`, "page/remote-hint", `<link rel=preconnect DEFANGED_href="https://a"><link rel="dns-prefetch" DEFANGED_href="//a">`},
		{`<link href="https://a/b.woff" as=font rel=preload><link rel=next href=https://a/>`, "page/remote-hint", `<link DEFANGED_href="https://a/b.woff" as=font rel=preload><link rel=next DEFANGED_href=https://a/>`},
		{`<link rel="stylesheet preload" as=style href="https://a/b.css">`, "page/remote-style", `<link rel="stylesheet preload" as=style DEFANGED_href="https://a/b.css">`},
		{`<link rel="shortcut icon" href="https://a/b.ico"><link rel=icon href="cid:a">`, "page/remote-image", `<link rel="shortcut icon" DEFANGED_href="https://a/b.ico"><link rel=icon href="cid:a">`},
		{`<link rel=preconnect href="/a"><link rel=canonical href="https://a">`, "", ``},
		{`<img src="https://a/b" width=1 height=1>`, "page/remote-image page/web-bug", `<img DEFANGED_src="https://a/b" width=1 height=1>`},
		{`<img src="https://a/b" style="width:0px; height: 0">`, "page/remote-image page/web-bug", `<img DEFANGED_src="https://a/b" style="width:0px; height: 0">`},
		{`<img hidden src="https://a/b">`, "page/remote-image page/web-bug", `<img hidden DEFANGED_src="https://a/b">`},
		{`<img src="https://a/wf/open?u=1">`, "page/remote-image page/web-bug", `<img DEFANGED_src="https://a/wf/open?u=1">`},
		{`<img src="https://a/b" width="1%" height=10><img src="https://a/c" width=1>`, "page/remote-image", ``},
	} {
		findings, got := scanFor(t, "page/", tt.in)
		if checkNames(findings) != tt.checks || tt.want != "" && got != tt.want || tt.checks == "" && got != tt.in {
			t.Errorf("%q: got %q, %q; want %q, %q", tt.in, checkNames(findings), got, tt.checks, tt.want)
		}
		if again, _ := scanFor(t, "page/", got); len(again) > 0 {
			t.Errorf("%q is found again in %q", checkNames(again), got)
		}
	}
}

// touched are the fragments of the corpus that are called benign and hold what is active, if only
// in clients of old.
var touched = map[string]string{
	"bluemonday-0071": "event-handler", "bluemonday-0078": "url", "bluemonday-0079": "url", "bluemonday-0080": "url", "bluemonday-0081": "url",
	"bluemonday-0082": "url", "bluemonday-0099": "style", "bluemonday-0113": "style", "bluemonday-0114": "url",
}

func TestBenignFragmentsStayAsTheyAre(t *testing.T) {
	cases := readCases(t, "payloads.jsonl")
	if len(cases) == 0 {
		t.Skip("needs ../shared/corpus/html beside the project")
	}
	for _, c := range cases {
		if c.Class != "benign-fragment" {
			continue
		}
		if findings, out := scanHTML(t, c.HTML); checkNames(findings) != touched[c.ID] {
			t.Errorf("%s: %q: got %q, %q; want %q", c.ID, c.HTML, checkNames(findings), out, touched[c.ID])
		}
	}
}

// TestMemoryDoesNotGrowWithThePage defangs pages of 1, 10 and 100 MB, which are in a file that is mapped: what is taken
// of memory, whether it is given back or not, does not depend on the size, for a page of mail as for attacks on it.
func TestMemoryDoesNotGrowWithThePage(t *testing.T) {
	local := strings.ReplaceAll(newsletter, "https://", "cid:") // each remote image costs an edit
	for name, tt := range map[string]struct {
		begin, piece string
		large        bool // the largest size too
	}{
		"newsletters":        {"<p onclick=go()>", local, true},
		"a style":            {"<script>x</script><style>\\", local, false},
		"attacks":            {"", "<p onclick=go()>text\r\n", true},
		"in one line":        {"<p onclick=go()>", strings.ReplaceAll(local, "\r\n", ""), false},
		"attacks in a line":  {"", "<p onclick=go()>text", false},
		"opened quotes":      {"<p onclick=go()>", "<a title='", false},
		"opened tags":        {"<p onclick=go()>", "<a b", false},
		"UTF-7":              {"<meta charset=utf-7><p onclick=go()>", "+ADw-b+AD4- text\r\n", false},
		"UTF-7 in one line":  {"<meta charset=utf-7><p onclick=go()>", "+ADw-script+AD4- <b>+AGEAYg-", true},
		"a plus, and no end": {"<p onclick=go()>", "<b>+", false},
	} {
		sizes, most := []int{1 << 20, 10 << 20, 100 << 20}, uint64(0)
		if testing.Short() || !tt.large {
			sizes = sizes[:2]
		}
		for _, size := range sizes {
			cost := scanCost(t, tt.begin, tt.piece, size)
			if t.Logf("%s, %d MB: %d KB", name, size>>20, cost>>10); size == sizes[len(sizes)-1] && cost > most+20<<20 { // the race detector takes some
				t.Errorf("%s: a page of %d MB took %d bytes of memory, smaller ones %d at most", name, size>>20, cost, most)
			}
			most = max(most, cost)
		}
	}
}

// scanCost is how many bytes of memory are taken while a page of that size is examined, and written with all fixes made.
func scanCost(t *testing.T, begin, piece string, size int) uint64 {
	s := eml.NewSpool(eml.SpoolOptions{})
	defer s.Close()
	_, err := io.WriteString(s, htmlHeader+"\r\nContent-Transfer-Encoding: binary\r\n\r\n"+begin)
	chunk := []byte(strings.Repeat(piece, 1+(64<<10)/len(piece)))
	for n := 0; err == nil && n < size; n += len(chunk) {
		_, err = s.Write(chunk)
	}
	if err != nil {
		t.Fatal(err)
	}
	s.CloseWrite(nil)
	m, _, err := eml.Parse(t.Context(), &eml.Envelope{}, s, eml.Limits{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	findings, err := HTML{}.Scan(t.Context(), m.Root)
	if err != nil || len(findings) == 0 {
		t.Fatalf("got %q, %v", checkNames(findings), err)
	}
	var edits []eml.Edit
	for _, f := range findings {
		edits = append(edits, f.Fix...)
	}
	p, err := eml.NewPatch(m, edits)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.WriteTo(io.Discard); err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

func TestScanEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := HTML{}.Scan(ctx, message(t, htmlHeader, strings.Repeat("<p>", 100)).Root)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want that the context has ended", err)
	}
}

// TestStylesInDrawingsCostWhatThePageMay: the limit is that of the page, not of the text that is put together.
func TestStylesInDrawingsCostWhatThePageMay(t *testing.T) {
	in := "<svg></svg>" + strings.Repeat("<p>text\r\n", 40_000) + "<style><!-- a{b:c} --></style>"
	if findings, out := scanHTML(t, in); len(findings) > 0 || out != in {
		t.Errorf("got %q", checkNames(findings))
	}
}
