package sanitize

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"
	"golang.org/x/sys/unix"

	"rastel/sanitize/eml"
)

// benchPages are what the benchmark reads: mail as it is, mail as attackers write it, and text. Those
// of long lines are also read as MTAs break them.
func benchPages(b *testing.B) map[string][]byte {
	benign := joined(b, corpus+"/benign/*/*.html")
	if len(benign) == 0 {
		benign = []byte(newsletter)
	}
	hostile, long := "", ""
	for _, c := range readCases(b, "payloads.jsonl") {
		long += c.HTML + "\n"
		if len(c.HTML) < 900 {
			hostile += c.HTML + "\n"
		}
	}
	line := strings.ReplaceAll(newsletter, "\r\n", "") + "\r\n" // as it is where a builder minifies
	body := strings.TrimSuffix(line, "\r\n")
	image := `<p><img alt="Photo" style="width:100%;" src="data:image/jpeg;base64,` + strings.Repeat("/9j/4AAQSkZJRgABAQEAYABgAAD+", 40<<10/28) + `"></p>`
	photo := `<img src="data:image/jpeg;base64,` + strings.Repeat("/9j/4AAQSkZJRgABAQEAYABgAAD+", 2<<20/28) + `">`
	pages := map[string][]byte{
		"minified":        []byte(strings.Repeat(line, 1+(4<<20)/len(line))),
		"one-line":        []byte(strings.Repeat(body, 1+(4<<20)/len(body))),
		"data-images":     []byte(strings.Repeat(line+image, 4<<20/(len(line)+len(image)))),
		"data-photos":     []byte(strings.Repeat(body+photo, 2)),
		"long-style":      []byte(strings.Repeat(body+"<style>"+minifiedCSS(benign, 30<<10)+"</style>", 120)),
		"huge-style":      []byte(body + "<style>" + minifiedCSS(benign, 4<<20) + "</style>"),
		"minified-benign": bytes.Repeat(minified(benign), 1+(4<<20)/len(benign)),
		"benign":          bytes.Repeat(benign, 1+(4<<20)/len(benign)),
		"newsletter":      []byte(strings.Repeat(newsletter, 1+(4<<20)/len(newsletter))),
		"hostile":         []byte(hostile),
		"long-lines":      []byte(long),
		"text":            bytes.Repeat([]byte("Nothing in this line begins with an angle bracket.\r\n"), (20<<20)/52),
	}
	return pages
}

var breaks = regexp.MustCompile(`\s*\n\s*`)

// minified is pages with each of them in one line.
func minified(pages []byte) []byte {
	return bytes.ReplaceAll(breaks.ReplaceAll(pages, []byte(" ")), []byte("</html>"), []byte("</html>\r\n"))
}

var styles = regexp.MustCompile(`(?is)<style[^>]*>(.*?)</style`)

// minifiedCSS is about so much CSS in one line, of the styles in pages.
func minifiedCSS(pages []byte, size int) string {
	var css []byte
	for _, m := range styles.FindAllSubmatch(pages, -1) {
		css = append(css, m[1]...)
	}
	css = cssComment.ReplaceAll(breaks.ReplaceAll(css, nil), nil)
	text := strings.NewReplacer("<!--", "", "-->", "").Replace(string(css))
	text = strings.Repeat(text, 1+size/len(text))
	return text[:strings.LastIndexByte(text[:size], '}')+1]
}

func joined(b *testing.B, pattern string) []byte {
	names, err := filepath.Glob(pattern)
	if err != nil {
		b.Fatal(err)
	}
	var out []byte
	for _, n := range names {
		page, err := os.ReadFile(n)
		if err != nil {
			b.Fatal(err)
		}
		out = append(out, page...)
	}
	return out
}

// BenchmarkHTML compares rewriting a part, from its content to the patched content, with the time that the
// tokenizer of golang.org/x/net/html takes to read it. The yardstick is of-attrs: the tokenizer with the names
// and attributes of all tags, because without these nothing can be rewritten; no row but long-lines is to be
// below 0.7. of-tokens is the tokenizer alone, from token to token, which looks at none of what it reads. All is
// processor time of one thread.
//
// long-lines is a page that says it is in UTF-7 and has breaks in what is encoded, so that there are six forms of it:
// as it is, and as two kinds of MTAs leave it, each in two charsets. of-forms compares with the tokenizer that
// reads all forms of a page; no row is to be below 0.7 of that.
func BenchmarkHTML(b *testing.B) {
	for name, page := range benchPages(b) {
		b.Run(name, func(b *testing.B) { compare(b, page) })
	}
}

func compare(b *testing.B, page []byte) {
	m := message(b, htmlHeader, string(page))
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var ours, whole, tokens, attrs, others time.Duration
	forms := otherForms(b, m.Root)
	b.SetBytes(int64(len(page)))
	for b.Loop() {
		start := threadTime(b)
		rewrite(b, m, HTML{}.Scan)
		ours += threadTime(b) - start
		b.StopTimer()
		if m.Root.HasLongLines() {
			start = threadTime(b)
			rewrite(b, m, scanWhole)
			whole += threadTime(b) - start
		}
		start = threadTime(b)
		tokenize(page, false)
		tokens += threadTime(b) - start
		start = threadTime(b)
		tokenize(page, true)
		attrs += threadTime(b) - start
		start = threadTime(b)
		for _, f := range forms {
			tokenize(f, true)
		}
		others += threadTime(b) - start
		b.StartTimer()
	}
	reportSpeed(b, len(page), ours, tokens, attrs)
	b.ReportMetric((attrs+others).Seconds()/ours.Seconds(), "of-forms")
	if whole > 0 {
		b.ReportMetric(attrs.Seconds()/whole.Seconds(), "whole-of-attrs")
	}
}

// otherForms are those that HTML.Scan reads besides the page as it is.
func otherForms(b *testing.B, p *eml.Part) (forms [][]byte) {
	page, err := io.ReadAll(p.Content())
	if err != nil {
		b.Fatal(err)
	}
	if p.HasLongLines() {
		for _, by := range eml.Wrappings() {
			s := eml.NewSpool(eml.SpoolOptions{})
			defer s.Close()
			if err := p.WriteWrapped(s, by); err != nil {
				b.Fatal(err)
			}
			s.CloseWrite(nil)
			form, err := io.ReadAll(io.NewSectionReader(s, 0, s.Size()))
			if err != nil {
				b.Fatal(err)
			}
			forms = append(forms, form)
		}
	}
	if bytes.Contains(bytes.ToLower(page), []byte("utf-7")) {
		for _, form := range append(forms, page) {
			forms = append(forms, fromUTF7(form))
		}
	}
	return forms
}

// reportSpeed reports how fast a page of size bytes was rewritten, and which part of the tokenizer's speed
// that is.
func reportSpeed(b *testing.B, size int, ours, tokens, attrs time.Duration) {
	b.Helper()
	speed := func(d time.Duration) float64 { return float64(size) * float64(b.N) / d.Seconds() / 1e6 }
	b.ReportMetric(speed(ours), "ours-MB/s")
	b.ReportMetric(speed(tokens), "tokens-MB/s")
	b.ReportMetric(speed(attrs), "attrs-MB/s")
	b.ReportMetric(tokens.Seconds()/ours.Seconds(), "of-tokens")
	b.ReportMetric(attrs.Seconds()/ours.Seconds(), "of-attrs")
}

// threadTime is how long this thread has had a core, whatever else the machine does.
func threadTime(b *testing.B) time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t); err != nil {
		b.Fatal(err)
	}
	return time.Duration(t.Nano())
}

// rewrite examines the part of a message and writes it with all fixes made.
func rewrite(b *testing.B, m *eml.Message, scan func(context.Context, *eml.Part) ([]eml.Finding, error)) {
	findings, err := scan(b.Context(), m.Root)
	if err != nil {
		b.Fatal(err)
	}
	var edits []eml.Edit
	for _, f := range findings {
		edits = append(edits, f.Fix...)
	}
	p, err := eml.NewPatch(m, edits)
	if err != nil {
		b.Fatal(err)
	}
	if _, err := p.WriteTo(io.Discard); err != nil {
		b.Fatal(err)
	}
}

func tokenize(page []byte, attrs bool) {
	z := html.NewTokenizer(bytes.NewReader(page))
	for z.Next() != html.ErrorToken {
		if !attrs {
			continue
		}
		_, more := z.TagName()
		for more {
			_, _, more = z.TagAttr()
		}
	}
}

// newsletter is a message in the manner of the builders of newsletters and of Outlook.
var newsletter = strings.Join([]string{
	`<!doctype html><html xmlns="http://www.w3.org/1999/xhtml" xmlns:v="urn:schemas-microsoft-com:vml" xmlns:o="urn:schemas-microsoft-com:office:office">`,
	`<head><title></title><!--[if !mso]><!--><meta http-equiv="X-UA-Compatible" content="IE=edge"><!--<![endif]--><meta http-equiv="Content-Type" content="text/html; charset=UTF-8"><meta name="viewport" content="width=device-width, initial-scale=1">`,
	`<style type="text/css">#outlook a { padding:0; } body { margin:0;padding:0;-webkit-text-size-adjust:100%;-ms-text-size-adjust:100%; } table, td { border-collapse:collapse;mso-table-lspace:0pt;mso-table-rspace:0pt; } img { border:0;height:auto;line-height:100%; outline:none;text-decoration:none;-ms-interpolation-mode:bicubic; } p { display:block;margin:13px 0; }</style>`,
	`<!--[if mso]><noscript><xml><o:OfficeDocumentSettings><o:AllowPNG/><o:PixelsPerInch>96</o:PixelsPerInch></o:OfficeDocumentSettings></xml></noscript><![endif]-->`,
	`<style type="text/css">@media only screen and (min-width:480px) { .mj-column-per-100 { width:100% !important; max-width: 100%; } } a[x-apple-data-detectors] { color: inherit !important; }</style></head>`,
	`<body style="word-spacing:normal;background-color:#f4f4f4;"><div style="display:none;font-size:1px;color:#ffffff;line-height:1px;max-height:0px;max-width:0px;opacity:0;overflow:hidden;">What is new in November</div>`,
	`<div style="background-color:#f4f4f4;" lang="und" dir="auto"><!--[if mso | IE]><table align="center" border="0" cellpadding="0" cellspacing="0" role="presentation" style="width:600px;" width="600" bgcolor="#ffffff" ><tr><td style="line-height:0px;font-size:0px;mso-line-height-rule:exactly;"><v:rect style="width:600px;" xmlns:v="urn:schemas-microsoft-com:vml" fill="true" stroke="false"><v:fill origin="0, -0.5" position="0, -0.5" src="https://img.example.org/hero.jpg" color="#ffffff" type="tile" /><v:textbox style="mso-fit-shape-to-text:true" inset="0,0,0,0"><![endif]-->`,
	`<table align="center" border="0" cellpadding="0" cellspacing="0" role="presentation" style="background:#ffffff;background-color:#ffffff;width:100%;"><tbody><tr><td style="direction:ltr;font-size:0px;padding:20px 0;text-align:center;">`,
	`<table border="0" cellpadding="0" cellspacing="0" role="presentation" style="border-collapse:collapse;border-spacing:0px;"><tbody><tr><td style="width:550px;"><a href="https://click.example.org/?qs=5ab1c9d0e7" target="_blank" alias="Hero" conversion="false" data-linkto="https://"><img alt="Hero" src="https://img.example.org/hero.jpg" style="border:0;display:block;outline:none;text-decoration:none;height:auto;width:100%;font-size:13px;" width="550" height="auto"></a></td></tr></tbody></table>`,
	`<div style="font-family:Ubuntu, Helvetica, Arial, sans-serif;font-size:13px;line-height:1.5;text-align:left;color:#000000;"><p>Dear reader, the month has been long and its news are many. We tell you about all of them, in the order in which they happened, and there is nothing in them that anybody would have to be told twice.</p><ul><li>First &amp; foremost</li><li>Second&nbsp;rate</li></ul></div>`,
	`<!--[if mso]><v:roundrect xmlns:v="urn:schemas-microsoft-com:vml" xmlns:w="urn:schemas-microsoft-com:office:word" href="https://click.example.org/?qs=77" style="height:40px;v-text-anchor:middle;width:200px;" arcsize="10%" strokecolor="#1e3650" fillcolor="#556270"><w:anchorlock/><center style="color:#ffffff;font-family:sans-serif;font-size:13px;font-weight:bold;">Read on</center></v:roundrect><![endif]-->`,
	`<img src="https://click.example.org/open.aspx?b=1&c=2" width="1" height="1" alt=""></td></tr></tbody></table></div></body></html>` + "\r\n",
}, "\r\n")
