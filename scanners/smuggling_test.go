package scanners

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"

	"rastel/sanitize/eml"
)

// payload is what the pages of the tests smuggle: longer than what is taken for a text by chance.
var smuggled = letter + strings.Repeat("and more of it, so that it is long enough. ", 200)

func numbers(s, format string) string {
	var b strings.Builder
	for i := range len(s) {
		fmt.Fprintf(&b, format, s[i])
	}
	return b.String()
}

func TestSmuggledFilesAreFound(t *testing.T) {
	b64 := base64.StdEncoding.EncodeToString([]byte(smuggled))
	script := func(s string) string {
		return "<html><body><script>" + s + "</script></body></html>"
	}
	const save = `;var u=URL.createObjectURL(new Blob([x],{type:"octet/stream"}));a.href=u;a.download="x.iso";a.click()`
	half := len(b64) / 2
	wide := []byte{0xff, 0xfe}
	for _, u := range utf16.Encode([]rune(script(`var x=atob("` + b64 + `")` + save))) {
		wide = append(wide, byte(u), byte(u>>8))
	}
	for _, tt := range []struct {
		name, header, content string
		found, carved         bool
	}{
		{"base64 and Blob", "Content-Type: text/html", script(`var x=atob("` + b64 + `")` + save), true, true},
		{"added strings", "Content-Type: text/html", script(`var x=atob("` + b64[:half] + "\"\n + '" + b64[half:] + `')` + save), true, true},
		{"line breaks", "Content-Type: text/html", script("var x=atob(`" + b64[:half] + "\r\n" + b64[half:] + "`)" + save), true, true},
		{"URL alphabet", "Content-Type: text/html", script(`var x="` + strings.NewReplacer("+", "-", "/", "_").Replace(b64) + `"` + save), true, true},
		{"hexadecimal", "Content-Type: text/html", script(`var x="` + hex.EncodeToString([]byte(smuggled)) + `"` + save), true, true},
		{"numbers", "Content-Type: text/html", script(`var x=new Uint8Array([` + numbers(smuggled, "%d, ") + `])` + save), true, true},
		{"hexadecimal numbers", "Content-Type: text/html", script(`x=String.fromCharCode(` + numbers(smuggled, "0x%02x,") + `)` + save), true, true},
		{"escapes", "Content-Type: text/html", script(`x="` + numbers(smuggled, `\x%02x`) + `"` + save), true, true},
		{"unescape", "Content-Type: text/html", script(`document.write(unescape("` + numbers(smuggled, "%%%02x") + `"))`), true, true},
		{"Internet Explorer", "Content-Type: text/html", script(`navigator.msSaveOrOpenBlob(b,"x.iso")` + strings.Repeat(" ", 256)), true, false},
		{"a download", "Content-Type: text/html", `<a download="x.iso" href="data:application/octet-stream;base64,` + b64 + `">x</a>`, true, true},
		{"a document", "Content-Type: text/html", `<embed src="data:application/pdf;base64,` + b64 + `">`, true, true},
		{"a drawing", "Content-Type: image/svg+xml", `<svg xmlns="http://www.w3.org/2000/svg"><script>x=atob("` + b64 + `")` + save + `</script></svg>`, true, true},
		{"by name", "Content-Type: application/octet-stream; name=x.htm", "\x01" + script(`var x=atob("`+b64+`")`+save), true, true},
		{"UTF-16", "Content-Type: text/html", string(wide), true, true},
		{"a picture", "Content-Type: text/html", `<img src="data:image/png;base64,` + b64 + `">`, false, false},
		{"an SVG picture", "Content-Type: text/html", `<img src="data:image/svg+xml;base64,` + b64 + `">`, false, true},
		{"text about it", "Content-Type: text/html", `<code>var x=atob(y)` + save + `</code>` + strings.Repeat(" words", 100), false, false},
		{"a token in a link", "Content-Type: text/html", `<a href="https://a/?x=` + b64 + `">`, false, false},
		{"data of a script", "Content-Type: text/html", script(`var x="` + b64 + `"`), false, true},
		{"plain text", "Content-Type: text/plain", "See: " + script(`var x=atob("`+b64+`")`+save), false, false},
	} {
		o := openHidden(t, Smuggling{}, partOf(t, tt.header, []byte(tt.content)))
		if found := slices.ContainsFunc(o.findings, func(f string) bool { return strings.Contains(f, smuggling) }); found != tt.found {
			t.Errorf("%s: findings %q", tt.name, o.findings)
		}
		if carved := slices.ContainsFunc(o.contents, func(s string) bool {
			return strings.Contains(s, "RASTEL HARMLESS TEST PAYLOAD") && strings.HasSuffix(s, smuggled[len(smuggled)-20:])
		}); carved != tt.carved {
			t.Errorf("%s: %d members %.200q", tt.name, len(o.contents), o.contents)
		}
	}
}

func TestSmugglingIsBounded(t *testing.T) {
	one := `"` + strings.Repeat("QUJD", 80) + `",`
	o := openHidden(t, Smuggling{}, partOf(t, "Content-Type: text/html", []byte("<script>["+strings.Repeat(one, 2*maxCarved))))
	if len(o.contents) != maxCarved || len(o.findings) != 1 {
		t.Errorf("%d members, findings %q", len(o.contents), o.findings)
	}
}

func FuzzSmuggling(f *testing.F) {
	for _, s := range []string{`<script>x="QUJD` + strings.Repeat("QUJD", 80) + `" + 'QUI='`, `<script>[1,2,0xff, 300]`, `"\x41\u0042%43%u0044"`, `data:a/b;base64,` + strings.Repeat("QUJD\n", 80)} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		o := openHidden(t, Smuggling{}, partOf(t, "Content-Type: text/html", b))
		total := 0
		for _, s := range o.contents {
			total += len(s)
		}
		if total > 2*len(b)+8 {
			t.Errorf("%d bytes came out of %d", total, len(b))
		}
	})
}

func BenchmarkSmuggling(b *testing.B) {
	words := "<html><body>" + strings.Repeat(`<p class="a">Some words, as mail has them (more or less).</p>`, 20_000)
	for name, page := range map[string]string{
		"mail": words, "script": words + "<script>",
		"picture": `<img src="data:image/png;base64,` + strings.Repeat("QUJD", 300_000) + `">`,
	} {
		b.Run(name, func(b *testing.B) {
			p := partOf(b, "Content-Type: text/html", []byte(page))
			b.SetBytes(int64(len(page)))
			for b.Loop() {
				if _, err := (Smuggling{}).Expand(b.Context(), p, NewBudget(BudgetLimits{}, eml.SpoolOptions{}), nil); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
