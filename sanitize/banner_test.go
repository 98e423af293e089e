package sanitize

import (
	"slices"
	"strings"
	"testing"

	"rastel/sanitize/eml"
)

// TestBannersArePutIn shows where banners go in messages of several structures, that nothing else
// changes, and that they are put in once.
func TestBannersArePutIn(t *testing.T) {
	n := notices(t, NoticeConfig{})
	page := htmlBanner("Caf\u00e9 < 5\n")
	page = strings.ReplaceAll(page, "\r\n", "\n")
	const alternative = "Content-Type: multipart/alternative; boundary=b\n\n--b\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\none\n--b\nContent-Type: text/html\n\n<p>two\n--b--\n"
	both := strings.NewReplacer("8bit\n\none", "8bit\n\nCaf\u00e9 < 5\n\none", "html\n\n<p>", "html\n\n"+page+"<p>").Replace(alternative)
	for _, tt := range []struct{ name, raw, want string }{
		{"text and HTML", alternative, both},
		{
			"HTML with a head", "Content-Type: text/html\n\n<!DOCTYPE html>\n<!-- <body> --><html><head><title><body></title><style>a{} /*<body>*/</style></head>\n<body bgcolor=\"a>b\">\n<p>x\n",
			"Content-Type: text/html\n\n<!DOCTYPE html>\n<!-- <body> --><html><head><title><body></title><style>a{} /*<body>*/</style></head>\n<body bgcolor=\"a>b\">" + page + "\n<p>x\n",
		},
		{
			"the charset of the text", "Content-Type: text/plain; charset=iso-8859-1\nContent-Transfer-Encoding: 8bit\n\nx\xe9\n",
			"Content-Type: text/plain; charset=iso-8859-1\nContent-Transfer-Encoding: 8bit\n\nCaf\xe9 < 5\n\nx\xe9\n",
		},
		{
			"becomes UTF-8", "Content-Type: text/plain; format=flowed\n\nx = 1\n",
			"Content-Type: text/plain;\n\tcharset=\"utf-8\";\n\tformat=\"flowed\"\nMIME-Version: 1.0\nContent-Transfer-Encoding: quoted-printable\n\nCaf=C3=A9 < 5\n\nx =3D 1\n",
		},
		{
			"becomes UTF-8, from another charset", "MIME-Version: 1.0\nContent-Type: text/plain; charset=koi8-r\nContent-Transfer-Encoding: 8bit\n\n\xd4\xc5\xd3\xd4 and more than that in ASCII\n",
			"MIME-Version: 1.0\nContent-Type: text/plain;\n\tcharset=\"utf-8\"\nContent-Transfer-Encoding: quoted-printable\n\nCaf=C3=A9 < 5\n\n=D1=82=D0=B5=D1=81=D1=82 and more than that in ASCII\n",
		},
		{
			"of a charset that is not known", "Content-Type: text/plain; charset=x-foo\nContent-Transfer-Encoding: 8bit\n\n\xd4\n",
			"Content-Type: text/plain; charset=x-foo\nContent-Transfer-Encoding: 8bit\n\nCafe < 5\n\n\xd4\n",
		},
		{"no body", "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: image/png\n\nx\n--b--\n", "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: image/png\n\nx\n--b--\n"},
		{
			"not in attachments", "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Disposition: attachment\n\nx\n--b\n\ny\xe9\n--b\n\nz\n--b\nContent-Type: message/rfc822\n\nA: b\n\nx\n--b--\n",
			"",
		},
	} {
		m := raw(t, tt.raw)
		list := []Banner{{Text: "Caf\u00e9 < 5\n"}}
		edits, _, err := n.PutBanners(m.Root, list, nil)
		if err != nil {
			t.Fatal(err)
		}
		got := patched(t, m, edits)
		if tt.want != "" && got != tt.want {
			t.Errorf("%s: got\n%s\nwant\n%s", tt.name, got, tt.want)
		}
		if tt.want == "" && (strings.Count(got, "Caf") != 1 || !strings.Contains(got, "Cafe < 5\n\ny\xe9")) {
			t.Errorf("%s: got\n%s", tt.name, got)
		}
		m = raw(t, got)
		if edits, _, err = n.PutBanners(m.Root, list, nil); err != nil || len(edits) > 0 {
			t.Errorf("%s: the second time %v, %v", tt.name, edits, err)
		}
	}
}

func TestBannersAreInOrderAndKnownOneByOne(t *testing.T) {
	n := notices(t, NoticeConfig{})
	list := []Banner{{Name: "external", Languages: []string{"ja", "en"}}, {Text: "Second.\n"}}
	m := raw(t, "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: base64\n\neA==\n")
	edits, _, err := n.PutBanners(m.Root, list[:1], nil)
	if err != nil {
		t.Fatal(err)
	}
	m = raw(t, patched(t, m, edits))
	if got := text(t, m.Root); !strings.HasPrefix(got, "このメッセージは") || !strings.Contains(got, "\r\n\r\nThis message comes from outside") || !strings.HasSuffix(got, "\r\n\r\nx") {
		t.Errorf("the text is %q", got)
	}
	if edits, _, err = n.PutBanners(m.Root, list, nil); err != nil || len(edits) != 1 || string(edits[0].Text) != "Second.\r\n\r\n" {
		t.Errorf("the edits are %v, %v", edits, err)
	}
	edits, _, err = n.PutBanners(m.Root, []Banner{{Text: "x", Keep: []*eml.Part{m.Root}}}, nil)
	if err != nil || len(edits) > 0 {
		t.Errorf("what is to be kept gets %v, %v", edits, err)
	}
}

// TestBannerStandsWhereItIsSeen takes pages that want it elsewhere.
func TestBannerStandsWhereItIsSeen(t *testing.T) {
	for _, tt := range []struct{ before, after string }{
		{"", "x"},
		{"", ""},
		{"<body>", "x<body>"},
		{"\xef\xbb\xbf<BODY\nonload=x>", "x"},
		{"<?xml version='1.0'?><html xmlns='a>b'><head/><body>", "x"},
		{"<!-- a --><!--[if mso]><!--><body>", "x"},
		{"", "<!--><body> --><p>"},
		{"", "<!---><body> --><p>"},
		{"", "<!-- --!><p><body> -->"},
		{"", "<!-- <!-- --><body> -->"},
		{"", "<!-- <body>"},
		{"<html>", "<noscript><body></noscript>x"},
		{"<html>", "<script>\"<body>\"</script>x"},
		{"<html>", "<template><body>"},
		{"<html>", "<title><body>"},
		{"<html>", "<style><body></styles>"},
		{"<html>", "<style></style a='<body>'>"},
		{"<html>", "<bo\x00dy>x"},
		{"<html>", "<body a='>"},
		{"<html>", "\u00a0<body>"},
		{"", "<!DOCTYPE html [<!ENTITY a '<body>'>]>"},
		{"<style>p{}</STYLE\n>", "</body><body>"},
		{"", "<title>\x1b$B</title><body>\x1b(B"},
		{"", "\n <p>"},
		{"<link rel=stylesheet href=a><meta charset=utf-8><base target=_blank>", "<xml>"},
	} {
		if got := bodyStart([]byte(tt.before + tt.after)); got != len(tt.before) {
			t.Errorf("%q: at %d, want %d", tt.before+tt.after, got, len(tt.before))
		}
	}
}

func TestBannerOfAPageIsInertASCII(t *testing.T) {
	for _, s := range []string{"</div><script>alert(1)</script>\n", "a+AAA-b\u202e送金~\\\n", strings.Repeat("送", 1000) + "\n", strings.Repeat("word ", 300) + "\n"} {
		b := htmlBanner(s)
		if !isASCII([]byte(b)) || strings.Count(b, "<div") != 1 || strings.Contains(b, "<script") {
			t.Errorf("%q gives\n%s", s, b)
		}
		for line := range strings.Lines(b) {
			if len(line) > 180 {
				t.Errorf("a line of %d bytes: %s", len(line), line)
			}
		}
		m := raw(t, "Content-Type: text/html\n\n"+b)
		if f, err := (HTML{}).Scan(t.Context(), m.Root); err != nil || len(f) > 0 {
			t.Errorf("%q: %v, %v", s, f, err)
		}
	}
}

func TestBannersGoTogetherWithOtherEdits(t *testing.T) {
	n := notices(t, NoticeConfig{})
	list := []Banner{{Text: "B\u00e9.\n"}}
	insert := func(p *eml.Part, at int64) []eml.Edit {
		return []eml.Edit{{Part: p, Region: eml.InContent, Start: at, End: at, Text: []byte("DEFANGED_")}}
	}
	m := raw(t, "\n<x>y\n") // it becomes UTF-8, and what was found in it is still defanged
	edits, _, err := n.PutBanners(m.Root, list, insert(m.Root, 1))
	if err != nil {
		t.Fatal(err)
	}
	if got := patched(t, m, edits); !strings.HasSuffix(got, "\n\nB=C3=A9.\n\n<DEFANGED_x>y\n") {
		t.Errorf("got %q", got)
	}
	m = raw(t, "Content-Type: text/html\n\n<body><x>y\n")
	whole := []eml.Edit{{Part: m.Root, Region: eml.InContent, Start: 0, End: -1, Text: []byte("<body>new")}}
	for _, before := range [][]eml.Edit{insert(m.Root, 7), whole} {
		kept := slices.Clone(before)
		edits, _, err := n.PutBanners(m.Root, list, before)
		if err != nil {
			t.Fatal(err)
		}
		if got := patched(t, m, edits); !strings.Contains(got, "\n<body><div style=") || !strings.Contains(got, "DEFANGED_x") && !strings.Contains(got, "</div>\nnew") {
			t.Errorf("got %q", got)
		}
		if string(before[0].Text) != string(kept[0].Text) {
			t.Error("the edits that were given are changed")
		}
	}
	m = raw(t, "Content-Type: text/html; charset=utf-16\nContent-Transfer-Encoding: base64\n\n//48AHAAPgA=\n")
	if edits, _, err = n.PutBanners(m.Root, list, nil); err != nil {
		t.Fatal(err)
	}
	again := raw(t, patched(t, m, edits))
	if got := text(t, again.Root); !strings.HasPrefix(got, "\xff\xfe<\x00d\x00i\x00v\x00") || !strings.HasSuffix(got, "\n\x00<\x00p\x00>\x00") {
		t.Errorf("UTF-16: got %q", got)
	}
	if edits, _, err = n.PutBanners(again.Root, list, nil); err != nil || len(edits) > 0 {
		t.Errorf("UTF-16, twice: %v, %v", edits, err)
	}
}
