package emltest

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"fmt"
	"strings"
)

// carried are files of the formats that are opened, of many members or much structure.
func carried() []Hostile {
	attached := func(mediaType string, data func(n int) string) func(int) string {
		return func(n int) string {
			return "Content-Type: " + mediaType + "\r\n" + b64 + "\r\n" + lines64(data(n*3/4*76/78))
		}
	}
	text := func(mediaType, begin, s, end string) func(int) string {
		return func(n int) string { return "Content-Type: " + mediaType + "\r\n\r\n" + begin + fill(s, n) + end }
	}
	counted := func(mediaType, begin string, f func(i int) string, end string) func(int) string {
		return func(n int) string { return "Content-Type: " + mediaType + "\r\n\r\n" + begin + count(n, f) + end }
	}
	const ics = "BEGIN:VCALENDAR\r\n"
	return []Hostile{
		{"zip-members", attached("application/zip", func(n int) string { return zipOf(n, 0, func(i int) string { return fmt.Sprintf("a%d.txt", i) }) })},
		{"zip-samename", attached("application/zip", func(n int) string { return zipOf(n, 0, same("a.txt")) })},
		{"zip-longnames", attached("application/zip", func(n int) string {
			return zipOf(n, 0, func(i int) string { return strings.Repeat("n/", 1000) + fmt.Sprint(i) })
		})},
		{"zip-files", attached("application/zip", func(n int) string { return zipOf(n, 2000, func(i int) string { return fmt.Sprintf("a%d.exe", i) }) })},
		{"zip-zips", attached("application/zip", func(n int) string { return zipsIn(n) })},
		{"zip-parts", parts("Content-Type: application/zip\r\n" + b64 + "\r\n" + lines64(zipOf(1000, 0, func(i int) string { return fmt.Sprintf("a%d.txt", i) })))},
		{"tar-members", attached("application/x-tar", func(n int) string { return tarOf(n, 10) })},
		{"tar-longnames", attached("application/x-tar", func(n int) string { return tarOf(n, 2000) })},
		{"gzip-members", attached("application/gzip", func(n int) string { return fill(gzipOf("hello"), n) })},
		{"ics-events", text("text/calendar", ics, "BEGIN:VEVENT\r\nSUMMARY:x\r\nATTACH:http://a/b.exe\r\nEND:VEVENT\r\n", "")},
		{"ics-nested", text("text/calendar", ics, "BEGIN:VEVENT\r\n", "")},
		{"ics-params", text("text/calendar", ics+"BEGIN:VEVENT\r\nATTACH", ";X=\"y\"", ":x\r\n")},
		{"ics-folds", text("text/calendar", ics+"BEGIN:VEVENT\r\nATTACH:", "\r\n x", "\r\n")},
		{"ics-inline", text("text/calendar", ics, "BEGIN:VEVENT\r\nATTACH;ENCODING=BASE64;VALUE=BINARY:TVo=\r\nEND:VEVENT\r\n", "")},
		{"vcard-cards", text("text/vcard", "", "BEGIN:VCARD\r\nFN:x\r\nPHOTO;ENCODING=b:TVo=\r\nURL:javascript:x\r\nEND:VCARD\r\n", "")},
		{"vcard-qp", text("text/vcard", "BEGIN:VCARD\r\nNOTE;ENCODING=QUOTED-PRINTABLE:", "=41=\r\n", "\r\nEND:VCARD\r\n")},
		{"pgp-armour", text("text/plain", "", "-----BEGIN PGP MESSAGE-----\r\n\r\nAAAA\r\n-----END PGP MESSAGE-----\r\n", "")},
		{"pgp-begins", text("text/plain", "", "-----BEGIN PGP MESSAGE-----\r\n", "")},
		{"uu-begins", text("text/plain", "", "begin 644 a\r\n", "")},
		{"uu-files", counted("text/plain", "", func(i int) string { return fmt.Sprintf("begin 644 a%d.exe\r\n#0V%%T\r\n`\r\nend\r\n", i) }, "")},
		{"yenc-begins", text("text/plain", "", "=ybegin line=128 size=3 name=a\r\n", "")},
		{"yenc-files", counted("text/plain", "", func(i int) string {
			return fmt.Sprintf("=ybegin line=128 size=3 name=a%d.exe\r\nabc\r\n=yend size=3\r\n", i)
		}, "")},
		{"binhex-begins", text("text/plain", "", "(This file must be converted with BinHex 4.0)\r\n:", "")},
		{"eml-in-text", text("text/plain", "", "From a\r\nReceived: x\r\nSubject: y\r\n\r\n", "")},
		{"rtf-groups", text("application/rtf", "{\\rtf1", "{", "")},
		{"rtf-objects", text("application/rtf", "{\\rtf1", "{\\object\\objdata 0105}", "}")},
		{"pdf-objects", counted("application/pdf", "%PDF-1.4\r\n", func(i int) string { return fmt.Sprintf("%d 0 obj <</JS (x)>> endobj\r\n", i) }, "")},
		{"ole-zeros", attached("application/msword", func(n int) string { return "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + strings.Repeat("\x00", n) })},
		{"ole-ones", attached("application/msword", func(n int) string { return "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + strings.Repeat("\x01", n) })},
		{"tnef-attributes", attached("application/ms-tnef", func(n int) string {
			return "\x78\x9f\x3e\x22\x01\x00" + fill("\x02\x05\x90\x06\x00\x00\x00\x00\x00\x00\x00", n)
		})},
		{"der-deep", attached("application/pkcs7-mime", func(n int) string { return fill("\x30\x80", n) })},
		{"der-wide", attached("application/pkcs7-mime", func(n int) string {
			return "\x30\x80\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02\xa0\x80\x30\x80" + fill("\x02\x01\x01", n)
		})},
	}
}

// pages are pages that cost more than their size where each thing is looked up in all others.
func pages() []Hostile {
	page := func(begin string, f func(i int) string) func(int) string {
		return func(n int) string { return "Content-Type: text/html\r\n\r\n" + begin + count(n, f) }
	}
	num := func(format string) func(i int) string {
		return func(i int) string { return strings.ReplaceAll(format, "#", fmt.Sprint(i)) }
	}
	deep := func(tag string) func(i int) string { return same("<" + tag + ">") }
	return []Hostile{
		{"page-related", func(n int) string { // as many pictures as places where they are shown
			parts := count(n/2, num("--b\r\nContent-Type: image/png\r\nContent-ID: <#@x>\r\n\r\nx\r\n"))
			return "Content-Type: multipart/related; boundary=b\r\n\r\n--b\r\nContent-Type: text/html\r\n\r\n" + count(n/2, num("<img src=\"cid:#@x\">")) + "\r\n" + parts
		}},
		{"page-ids", page("", num("<a id=i# name=n# href=\"#i#\">x</a>"))},
		{"page-classes", page("", num("<p class=\"c# d#\">x</p>"))},
		{"page-styles", page("", num("<style>.c# { background: url(http://a/#) }</style><p class=c#>"))},
		{"page-rules", page("<style>", num(".c#, #d# > p:not(.e#) { color: red }\n"))},
		{"page-styleattrs", page("", num("<p style=\"background: url('a#'); x: expression(#)\">"))},
		{"page-attrs-distinct", page("<a ", num("a#=b# "))},
		{"page-unknown", page("", num("<x#>y</x#>"))},
		{"page-unclosed", page("", num("<x#>"))},
		{"page-table", page("", deep("table"))},
		{"page-tablecells", page("<table>", deep("td"))},
		{"page-formatting", page("", deep("b"))},
		{"page-misnested", page("", same("<b><i></b></i><p>"))},
		{"page-adoption", page("", same("<a><div>"))},
		{"page-select", page("", deep("select"))},
		{"page-svg", page("<svg>", deep("g"))},
		{"page-math", page("<math>", same("<mi><annotation-xml>"))},
		{"page-foreign", page("", same("<svg><foreignObject><math><mi>"))},
		{"page-template", page("", deep("template"))},
		{"page-iframes", page("", same("<iframe srcdoc=\"&lt;script>\">"))},
		{"page-srcdoc", func(n int) string {
			s := "<b>x</b>"
			for range 6 {
				s = "<iframe srcdoc=\"" + strings.NewReplacer("&", "&amp;", "\"", "&quot;").Replace(s) + "\"></iframe>"
			}
			return "Content-Type: text/html\r\n\r\n" + fill(s, n)
		}},
		{"page-base", page("", num("<base href=http://a#/>"))},
		{"page-meta", page("", num("<meta http-equiv=refresh content='#;url=javascript:x'>"))},
		{"page-data", page("", same("<img src=\"data:text/html;base64,PHNjcmlwdD4=\">"))},
		{"page-dataurl", func(n int) string {
			return "Content-Type: text/html\r\n\r\n<a href=\"data:text/html," + fill("%3Cscript%3E", n) + "\">"
		}},
		{"page-conditional", page("", same("<!--[if mso]><script>x</script><![endif]-->"))},
		{"page-cdata", page("<svg>", same("<![CDATA[<script>"))},
		{"page-xmp", page("", same("<xmp></xm"))},
		{"page-title", page("<title>", same("</titl"))},
		{"page-escapes", page("<style>", same("\\75\\72\\6c("))},
		{"page-cssblocks", page("<style>", same("{"))},
		{"page-cssparens", page("<style>a{b:", same("calc("))},
		{"page-cssstrings", page("<style>", same("'\\\n"))},
		{"page-forms", page("", num("<form action=http://a#><input type=password formaction=b#>"))},
		{"page-smuggling", page("<script>", num("var b#=atob('TVqQAAMAAAAE'); new Blob([b#]);"))},
		{"page-links", page("", num("<a href=http://a#.example/>http://b#.example/</a>"))},
		{"page-hidden", page("", num("<p style='display:none;font-size:0'>x#</p>"))},
		{"page-entities", page("", same("&amp;&#x3c;&lt&NotEqualTilde;"))},
		{"page-bom16", func(n int) string {
			return "Content-Type: text/html; charset=utf-16\r\n\r\n\xff\xfe" + fill("<\x00b\x00>\x00", n)
		}},
		{"page-xhtml", func(n int) string {
			return "Content-Type: application/xhtml+xml\r\n\r\n<html>" + count(n, num("<a:# xmlns:a='b#'/>"))
		}},
		{"page-svgfile", func(n int) string {
			return "Content-Type: image/svg+xml\r\n\r\n<svg xmlns='http://www.w3.org/2000/svg'>" + count(n, num("<g id='#'><a href='javascript:#'/>"))
		}},
		{"page-entitydefs", func(n int) string {
			return "Content-Type: image/svg+xml\r\n\r\n<!DOCTYPE svg [" + count(n, num("<!ENTITY e# '&e#;&e#;'>")) + "]><svg>&e0;</svg>"
		}},
		{"text-urls", func(n int) string {
			return "Content-Type: text/plain\r\n\r\n" + count(n, num("http://a#.example/x "))
		}},
		{"text-flowed", func(n int) string {
			return "Content-Type: text/plain; format=flowed; delsp=yes\r\n\r\n" + fill("> x \r\n", n)
		}},
		{"text-enriched", func(n int) string { return "Content-Type: text/enriched\r\n\r\n" + fill("<bold><<x", n) }},
	}
}

// zipOf is an archive of about n bytes, of stored members with that many bytes.
func zipOf(n, size int, name func(i int) string) string {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	data := bytes.Repeat([]byte("x"), size)
	for i, total := 0, 0; total < n; i++ {
		s := name(i)
		f, _ := w.CreateHeader(&zip.FileHeader{Name: s, Method: zip.Store})
		_, _ = f.Write(data)
		total += 30 + 46 + 16 + 2*len(s) + size
	}
	_ = w.Close()
	return b.String()
}

// zipsIn is an archive of about n bytes, of archives.
func zipsIn(n int) string {
	inner := zipOf(500, 10, func(i int) string { return fmt.Sprintf("a%d.txt", i) })
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for i := 0; i*len(inner) < n; i++ {
		f, _ := w.CreateHeader(&zip.FileHeader{Name: fmt.Sprintf("a%d.zip", i), Method: zip.Store})
		_, _ = f.Write([]byte(inner))
	}
	_ = w.Close()
	return b.String()
}

// tarOf is an archive of about n bytes, of members with names of that length.
func tarOf(n, length int) string {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for i := 0; b.Len() < n; i++ {
		_ = w.WriteHeader(&tar.Header{Name: fmt.Sprintf("%s%d", strings.Repeat("n", length), i), Size: 1, Mode: 0o644})
		_, _ = w.Write([]byte("x"))
	}
	_ = w.Close()
	return b.String()
}

func gzipOf(text string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = w.Write([]byte(text))
	_ = w.Close()
	return b.String()
}
