package sanitize

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func viewOf(t testing.TB, content string) string {
	t.Helper()
	m := message(t, htmlHeader+"; charset=utf-8", content)
	findings, err := People{}.Scan(t.Context(), m.Root)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, f := range findings {
		out = append(out, strings.TrimPrefix(f.Check, "page/"))
	}
	return strings.Join(out, " ")
}

func TestTextThatIsNotSeen(t *testing.T) {
	long := strings.Repeat("seen words ", 50)
	const words = "words that nobody is to see at all"
	for _, tt := range []struct{ name, in, want string }{
		{"preheader", `<div style="display:none;font-size:1px">` + words + `</div><p>` + long, ""},
		{"none", long + `<div style="display:none">` + words + `</div>`, "hidden-text"},
		{"responsive", `<style>@media screen{.m{display:block}}</style>` + long + `<div class=m style="display:none">` + words + `</div>`, ""},
		{"size", long + `<span style="font-size:0px">` + words + `</span>`, "hidden-text"},
		{"size of a cell alone", long + `<table><tr><td style="font-size:0px"><div style="font-size:13px">` + words + `</div></table>`, ""},
		{"size within words", long + strings.Repeat(`Pay<font style="font-size:0">qzx</font>Pal `, 10), "hidden-text"},
		{"color", `<body bgcolor=white>` + long + `<font color="#fefefe">` + words + `</font>`, "hidden-text"},
		{"color on another background", `<body bgcolor=white>` + long + `<table bgcolor="#003366"><tr><td style="color:#fff">` + words + `</table>`, ""},
		{"color on a picture", long + `<td style="background:#fff url(x)"><font color=white>` + words, ""},
		{"beyond", long + `<div style="position:absolute; left:-9999px">` + words + `</div>`, "hidden-text"},
		{"no height", long + `<div style="overflow:hidden;max-height:0">` + words + `</div>`, "hidden-text"},
		{"blanks", long + `<div style="display:none">&zwnj;&nbsp;&zwnj;&nbsp;&#847;&#8199;</div>`, ""},
	} {
		if got := viewOf(t, tt.in); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestLinksThatLeadElsewhere(t *testing.T) {
	for _, tt := range []struct{ href, said, want string }{
		{"https://evil.example/x", "www.bank.com", "link-mismatch"},
		{"https://evil.example/x", "<b>https://www.bank.com/login</b>", "link-mismatch"},
		{"https://evil.example/x", "bank.com", "link-mismatch"},
		{"https://www.bank.com@evil.example/", "here", "link-mismatch"},
		{"https://evil.example/bank.com/", "https://bank.com", "link-mismatch"},
		{"https://login.bank.com/", "www.bank.com", ""},
		{"https://bank.de/", "www.bank.com", ""},
		{"https://click.sender.example/?u=https%3A%2F%2Fwww.bank.com%2Fa", "www.bank.com", ""},
		{"https://abc.list-manage.com/track/click?u=1", "www.bank.com", ""},
		{"https://evil.example/", "Node.js", ""},
		{"https://github.example/", "README.md", ""},
		{"https://evil.example/", "Visit bank.com now", ""},
		{"mailto:a@b.example", "bank.com", ""},
		{"{{action_url}}", "https://bank.com", ""},
		{"https://{{host}}/", "https://bank.com", ""},
		{"http://192.0.2.7/login", "here", "link-address"},
		{"http://0xC0.0x00020007/", "here", "link-address"},
		{"http://3221225991/", "here", "link-address"},
		{"http://[2001:db8::1]/", "here", "link-address"},
		{"http://192.0.2.7/login", "bank.com", "link-mismatch"},
		{"https://b\u0430nk.com/", "here", "link-lookalike"},
		{"https://xn--80ak6aa92e.com/", "here", "link-lookalike"}, // apple, in Cyrillic
		{"https://m\u00fcnchen.de/", "here", ""},
		{"https://\u043f\u0440\u0435\u0437\u0438\u0434\u0435\u043d\u0442.\u0440\u0444/", "here", ""},
		{"https://xn--fiqs8s.xn--fiqz9s/", "here", ""},
	} {
		if got := viewOf(t, `<a href="`+tt.href+`">`+tt.said+`</a>`); got != tt.want {
			t.Errorf("%s to %s: got %q, want %q", tt.said, tt.href, got, tt.want)
		}
	}
}

// TestInnocentMailHidesNothing runs over third-party templates that may stand beside the project.
func TestInnocentMailHidesNothing(t *testing.T) {
	files, _ := filepath.Glob(filepath.Join(corpus, "benign/*/*.html"))
	if len(files) == 0 {
		t.Skip("no corpus beside the project")
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if got := viewOf(t, string(b)); got != "" {
			m := message(t, htmlHeader, string(b))
			findings, _ := People{}.Scan(t.Context(), m.Root)
			t.Errorf("%s: %s: %q", name, got, findings[0].Detail)
		}
	}
}
