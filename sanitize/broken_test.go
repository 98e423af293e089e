package sanitize

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"rastel/sanitize/eml"
)

// scanWhole is what HTML.Scan does for HTML, reading all of it once more for each MTA: what reading
// pieces of it again must come to.
func scanWhole(ctx context.Context, p *eml.Part) ([]eml.Finding, error) {
	b, release, err := p.View()
	if err != nil {
		return nil, fmt.Errorf("read HTML: %w", err)
	}
	defer release()
	out, marks, err := examine(ctx, p, b, true, nil)
	if err != nil || !p.HasLongLines() {
		return out, err
	}
	return wrapped(ctx, out, p, marks, nil)
}

// checkBrokenPages compares what is read along with a page, as MTAs leave it and in UTF-7, with all of that
// read for itself: each mark, and what it costs. Then it compares the findings and fixes. It reports how many of the
// pages were not read as a whole anyway.
func checkBrokenPages(t testing.TB, content string) (pieced int) {
	t.Helper()
	return checkAlongside(t, htmlHeader, content)
}

func checkAlongside(t testing.TB, header, content string) (pieced int) {
	t.Helper()
	m := message(t, header, content)
	b, release, err := m.Root.View()
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	along := newAlongside(m.Root, b)
	if _, _, err := examine(t.Context(), m.Root, b, true, along); err != nil {
		t.Fatal(err)
	}
	if along != nil {
		pieced = checkOtherPages(t, m.Root, along)
	}
	along.done()
	got, err := HTML{}.Scan(t.Context(), m.Root)
	if err != nil {
		t.Fatal(err)
	}
	want, err := scanWhole(t.Context(), m.Root)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("%.3000q: got\n%v, want\n%v", content, got, want)
	}
	return pieced
}

func checkOtherPages(t testing.TB, p *eml.Part, along *alongside) (pieced int) {
	t.Helper()
	texts := [][]byte{along.b}
	for _, by := range eml.Wrappings() {
		var b bytes.Buffer
		if err := p.WriteWrapped(&b, by); err != nil {
			t.Fatal(err)
		}
		texts = append(texts, b.Bytes())
	}
	for i, k := range along.wraps {
		if !k.whole {
			checkOtherPage(t, p, k, texts[1+i])
		}
		if _, ok := along.tally(i, p.Charset()); ok {
			pieced++
		}
	}
	for i, k := range along.utf7 {
		if !k.whole {
			checkOtherPage(t, p, k, []byte(eml.ToUTF8("utf-7", string(texts[i]))))
			decodedAlong++
		}
	}
	return pieced
}

// decodedAlong is how many pages in UTF-7 were compared.
var decodedAlong int

func checkOtherPage(t testing.TB, p *eml.Part, k *otherPage, text []byte) {
	t.Helper()
	pg := newPage(text)
	pg.xml, pg.disk = mayBeXML(p), isFile(p)
	defer pg.done()
	if err := pg.examine(t.Context()); err != nil {
		t.Fatal(err)
	}
	unreadableOf := func(charsets []string) []string {
		return slices.DeleteFunc(slices.Clone(charsets), func(c string) bool { return !unreadable(c) })
	}
	wanted := slices.DeleteFunc(slices.Clone(pg.marks), func(m mark) bool { return !k.utf7 && m.check >= checkRemoteImage })
	if !slices.Equal(k.marks, wanted) || k.work != pg.work || k.over != pg.over || !slices.Equal(unreadableOf(k.charset), unreadableOf(pg.charset)) {
		t.Fatalf("%.3000q: in pieces got %v at the cost of %d, %v %q; as a whole %v of %d, %v %q", text, k.marks, k.work, k.over, k.charset, pg.marks, pg.work, pg.over, pg.charset)
	}
}

// brokenParts are what a break makes a difference to, beyond the seeds.
var brokenParts = []string{
	`xonerror=go()`, `<img src=y xonerror=go()>`, `<a href=xjavascript:go()>`, `<a href="xjavascript:go()">`, `<a href=&#106;avascript:go()>`,
	`<style>a{b:xexpression(go())}</style>`, `<style>a{xbehavior:url(x)}</style>`, `<style>a{b:c}</style x>`, `</style`, `</style>`, `<style>`, `<style>\`,
	`<style>/* }{ */`, `position:absolute;opacity:0`, `<p style="position:absolute;opacity:0.5">`, `<p style="a:b;position:xfixed;">`, `*/`, `/*`, `url(`, `"`, `'`, `>`, `=`, `<`, `</`, `<!`,
	`<!ENTITY a "http://x">`, `<!ENTITY a "http://x<">`, `<!ATTLIST a b>`, `<?xml-stylesheet type="text/css" href=x?>`, `<?import`, `<scr`, `ipt>`, `<script>`, `<form>`, `<script`,
	`<a title="`, `<a title='`, `<a b=`, `<meta charset=xutf-7>`, `<meta charset=utf-7>`, `<meta charset="utf-8">`, "\x00", "<\x00\x00", "<\u0131frame>", "\r\n", "\n", "\r", "\x1b", "(B", "!", " ", "x",
	`a{b:c}`, `b{d:url(http://x)}`, `/* c */`, `/**/`, `}`, `{`, `:`, `a{position:absolute}`, `b{opacity:0}`, `a{b:&#58;c}`, `a{src:url(javascript:x)}`, `a:hover{width:1px}`, `@media x{a{b:c}}`, `@import url(http://x);`, `filter:alphaimageloader(`, `src=javascript:x`,
	`<style>a{b:c}d{e:f}`, `<style>a{position:relative}`, `g{h:i}</style>`, `<!--`, `</styles`, `</style/`, `&amp;`, `&#47;`, `expression`, `(`, `behavior`,
	`<svgx>`, `<svg>`, `<math>`, `</svg>`, `<style>a{b:<!-- -->xposition:fi<b>x</b>xed}</style>`, `<style>a{b:c}<![CDATA[d{xposition:fixed}]]></style>`,
	`+ADw-script+AD4-`, `+`, `-`, `+-`, `+AHg`, `+ADw-img src+AD0-+ACI-x onerror+AD0-go()+AD4-`, `+ADw-a href+AD0-javascript:x+AD4-`, `+2D3eAA-`,
	`<svg xmlns="http://www.w3.org/2000/svg">`, `<meta http-equiv=xrefresh>`, `<meta http-equiv=refresh>`, `<x:y:script>`, `<img srcset="a, javascript:x">`, `<p title="<img src=x onerror=go()>">`,
}

// TestBrokenPagesAreReadAsAWholeWouldBe puts what a break may divide where MTAs break lines.
func TestBrokenPagesAreReadAsAWholeWouldBe(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	parts := slices.Concat(brokenParts, seeds)
	pieced, times := 0, 1500
	if testing.Short() {
		times = 300
	}
	for range times {
		pieced += checkBrokenPages(t, longPage(rnd, parts))
		pieced += checkBrokenPages(t, "<style>"+longPage(rnd, parts[:len(brokenParts)]))
	}
	if pieced < 2*times { // of four for each
		t.Errorf("of %d pages %d were read in pieces: there is little to compare", 4*times, pieced)
	}
}

// longPage makes a page of parts with lines that MTAs break, more often than not within the parts.
func longPage(rnd *rand.Rand, parts []string) string {
	var b strings.Builder
	line := 0
	for range 1 + rnd.IntN(12) {
		if at := []int{989, 998, 989 + 988, 998 + 997, 2047, 3036}[rnd.IntN(6)]; rnd.IntN(2) == 0 && line < at {
			n := max(0, at-line-rnd.IntN(30))
			b.WriteString(strings.Repeat([]string{"x", " ", "a ", "<b>", "\x00", ";}"}[rnd.IntN(6)], n))
			line += n
		}
		p := parts[rnd.IntN(len(parts))]
		b.WriteString(p)
		line += len(p)
		if rnd.IntN(8) == 0 {
			b.WriteString("\r\n")
			line = 0
		}
	}
	return b.String()
}

// TestBrokenStylesAreReadAsAWholeWouldBe puts each byte of a style in which nothing is active where MTAs break
// lines, once as the first and once as the second line that is broken.
func TestBrokenStylesAreReadAsAWholeWouldBe(t *testing.T) {
	for name, css := range map[string]string{
		"the byte before a rule ends the one before": `b:c}xposition:fixed;` + strings.Repeat("b:c;", 250) + `}`,
		"a break ends the style":                     `b:c}</stylex>d{e:f}`,
		"a break opens a comment":                    `/* position:fixed */}d{e:f/* */}`,
		"a comment that is never closed":             `/* xposition:fixed */}d{e:f}`,
		"a comment has a brace":                      `/* } position:fixed */b:c;d:e}f{g:h}`,
		"a comment has a brace behind the break":     `b:c;/* } position:fixed */ d:e}f{g:h}`,
		"a comment hides another":                    `/* } /* position:fixed */b:c}/* } */f{g:h/*}*/}`,
		"two comments":                               `/*}*//* } position:fixed */b:c;d:e}`,
		"a quote with references":                    `b:"&amp;c"}d{e:"&lt;"}xposition:fixed}`,
		"a word begins behind a rule":                `b:c}position:absolute;xopacity:0}d{e:f}`,
		"a word is divided":                          `b:c}xposition:fixed}d{xopacity:0;xposition:absolute}`,
		"an image":                                   `b:url(http://x/y&z)}d{e:f}`,
		"a reference is divided":                     `b:expression&#400;c}d{e:f}`,
	} {
		for i := range min(len(css), 60) + len("</style>") {
			for _, column := range []int{989, 998, 989 + 988, 998 + 997} {
				before := `<style>a{` + strings.Repeat(" ", column-len(`<style>a{`)-i)
				content := before + css + "</style>"
				if pieced := checkBrokenPages(t, content+strings.Repeat("x", max(0, 1000-len(content)))); pieced != 2 {
					t.Errorf("%s, %d: %d were read in pieces", name, i, pieced)
				}
			}
		}
	}
}

// TestStyleWalksGoFromRuleToRule holds the bytes between which a rule is read again to what a look at each byte gives:
// the "}" outside comments before the break and behind it.
func TestStyleWalksGoFromRuleToRule(t *testing.T) {
	rnd := rand.New(rand.NewPCG(11, 12))
	pieces := []string{"}", "}", "{", "/*", "*/", "/", "*", "a", " "}
	for range 20_000 {
		css := ""
		for range 1 + rnd.IntN(20) {
			css += pieces[rnd.IntN(len(pieces))]
		}
		css += "*/" // there is no comment without an end
		braces := bracesOf(css)
		s := styleWalk{b: []byte(css), reset: -1}
		for at := rnd.IntN(len(css)); at < len(css); at += 1 + rnd.IntN(6) {
			reset, want := -1, len(css)
			for _, i := range slices.Backward(braces) {
				if i >= at {
					want = i + 1
				} else {
					reset = max(reset, i)
				}
			}
			end := s.around(at)
			if end != want || s.reset != reset {
				t.Fatalf("%q, %d: got %d to %d, want %d to %d", css, at, s.reset, end, reset, want)
			}
			s.pos, s.reset = max(s.pos, end), end-1
			at = max(at, end-1)
		}
	}
}

// bracesOf are the places of each "}" outside comments.
func bracesOf(css string) (at []int) {
	for i := 0; i < len(css); i++ {
		switch {
		case css[i] == '}':
			at = append(at, i)
		case strings.HasPrefix(css[i:], "/*"):
			n := strings.Index(css[i+2:], "*/")
			if n < 0 {
				return at
			}
			i += 2 + n + 1
		}
	}
	return at
}

// TestRulesThatDependOnOthers: such a piece of a style does not tell what there is in it.
func TestRulesThatDependOnOthers(t *testing.T) {
	for css, want := range map[string]bool{
		`}a{position:fixed}`: true, `}a{b:c}`: true, `}a{b:url(&#106;avascript:x)}`: true,
		`}a{position:fixed;/* }`:                                  false, // ends elsewhere
		`}a{filter:alphaimageloader(}`:                            false, // its URL may be behind
		`}a{filter:alphaimageloader(b&amp;c}`:                     false,
		`}a{` + strings.Repeat(" ", cssAhead) + `position:fixed}`: false, // more than a window
	} {
		p := newPage([]byte(css))
		if got := p.rule(); got != want {
			t.Errorf("%.40q: got %v", css, got)
		}
		p.done()
	}
}

// FuzzBrokenLines does the same to what the fuzzer makes, with a break at any byte of it.
func FuzzBrokenLines(f *testing.F) {
	for i, c := range slices.Concat(brokenParts, seeds, payloads(f)) {
		f.Add("<p>", c, uint8(i))
		f.Add(`<a title="`, c, uint8(i))
		f.Add("<style>", c, uint8(i))
	}
	f.Fuzz(func(t *testing.T, before, in string, at uint8) {
		if len(before)+len(in) > maxFuzzed {
			return
		}
		step := 1 + len(in)/8
		for i := int(at) % step; i < len(in); i += step {
			for _, column := range []int{989, 998} {
				if n := column - len(before) - i; n > 0 {
					content := before + strings.Repeat("x", n) + in
					checkBrokenPages(t, content+strings.Repeat("x", max(0, 1000-len(content))))
				}
			}
		}
	})
}

func TestLargePiecesAreReadAsAWhole(t *testing.T) {
	image := `<img src="data:image/png;base64,` + strings.Repeat("QUJD", maxPieced/4) + `">`
	for _, tt := range []struct {
		name, in string
		pieced   int
	}{
		{"small", "<p>" + strings.Repeat("x", 2000) + `<img src="` + strings.Repeat("y", 2000) + `">`, 2},
		{"data", image + strings.Repeat("x", 2000) + "onclick=go()>", 0},
		{"style", "<style>" + strings.Repeat("x", maxPieced) + "</style>", 0},
		{"unclosed", strings.Repeat("x", 900) + "<b " + strings.Repeat("x", maxPieced), 0},
		{"over", strings.Repeat("<a ", 200_000) + ">", 2},
		{"a drawing with a style", "<svg><style>a{b:<!-- -->c}</style></svg><p>" + strings.Repeat("x", 2000), 2},
		{"a drawing with a style that is divided", "<svg><style>a{b:<!-- -->c;" + strings.Repeat(" ", 2000) + "}</style></svg>", 2},
		{"a drawing by a break", "<p>" + strings.Repeat("x", 998-len("<p>")-len("<svg")) + "<svgx><style>a{b:<!-- -->c}</style>" + strings.Repeat("x", 1000), 1},
		{"charset", "<meta charset=utf-7>" + strings.Repeat("x", 2000), 2},
		{"escape", "<p>\x1b(B" + strings.Repeat("x", 2000), 0},
		{"many charsets", strings.Repeat("<meta charset=utf-8>", 1000), 2},
		{"another charset late", strings.Repeat("<meta charset=utf-8>", 1000) + "<meta charset=utf-7>", 0},
		{"not many marks", strings.Repeat("<script>", maxMarks), 2},
		{"not many marks in styles", strings.Repeat("<style>.c { background: url(http://a/b) }</style><p class=c>", maxMarks*9/10), 2},
		{"marks that breaks divide", strings.Repeat("<style>a{b:xexpression(go())}</style><p onclick=go()>", maxMarks/2-1), 2},
		{"many marks", strings.Repeat("<script>", maxMarks+1), 0},
	} {
		if got := checkBrokenPages(t, tt.in); got != tt.pieced {
			t.Errorf("%s: %d were read in pieces, want %d", tt.name, got, tt.pieced)
		}
	}
}
