package browser

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"regexp"
	"strings"
	"testing"

	nethtml "golang.org/x/net/html"
	"golang.org/x/net/html/atom"
)

// xmlName are the names that XML and HTML have in common.
var xmlName = regexp.MustCompile(`^[A-Za-z_][-A-Za-z0-9_.]*$`)

// An xmlForm is a way to write a page as a file that is read as XML.
type xmlForm struct {
	name, label   string
	before, after string
	spaces        map[string]string // how elements of each namespace begin; that of HTML is ""
	rename        map[string]string // elements and attributes that are called otherwise
	encode        string
}

const namespaces = `xmlns:xlink="http://www.w3.org/1999/xlink" xmlns:h="http://www.w3.org/1999/xhtml" xmlns:s="http://www.w3.org/2000/svg" xmlns:m="http://www.w3.org/1998/Math/MathML"`

// xmlForms are the forms; a fragment has each of them.
var xmlForms = []xmlForm{
	{name: "a.xhtml", label: "application/xhtml+xml", before: `<html xmlns="http://www.w3.org/1999/xhtml" ` + namespaces + `><head><title>x</title></head><body>`, after: `</body></html>`,
		spaces: map[string]string{"": "", "svg": "s:", "math": "m:"}},
	{name: "a.svg", label: "application/octet-stream", before: `<svg xmlns="http://www.w3.org/2000/svg" ` + namespaces + ` width="800" height="600"><foreignObject width="800" height="600">`, after: `</foreignObject></svg>`,
		spaces: map[string]string{"": "h:", "svg": "", "math": "m:"}},
	{name: "b.svg", label: "image/svg+xml", before: `<svg xmlns="http://www.w3.org/2000/svg" ` + namespaces + ` width="800" height="600">`, after: `</svg>`,
		spaces: map[string]string{"": "", "svg": "", "math": "m:"}, rename: map[string]string{"img": "image", "src": "href"}},
	{name: "a.xml", label: "text/plain", before: `<?xml version="1.0" encoding="UTF-16"?><data ` + namespaces + `>`, after: `</data>`,
		spaces: map[string]string{"": "h:", "svg": "s:", "math": "m:"}, encode: "utf-16le"},
}

// write writes a fragment in a form, as far as XML can express it.
func (f *xmlForm) write(fragment string) (attachment, error) {
	body := &nethtml.Node{Type: nethtml.ElementNode, Data: "body", DataAtom: atom.Body}
	nodes, err := nethtml.ParseFragment(strings.NewReader(fragment), body)
	if err != nil {
		return attachment{}, err
	}
	var b bytes.Buffer
	b.WriteString(f.before)
	for _, n := range nodes {
		f.node(&b, n)
	}
	b.WriteString(f.after)
	a := attachment{f.name, f.label, b.Bytes()}
	if f.encode != "" {
		a.content = encodings[f.encode](a.content)
	}
	return a, nil
}

func (f *xmlForm) node(b *bytes.Buffer, n *nethtml.Node) {
	switch {
	case n.Type == nethtml.TextNode:
		_ = xml.EscapeText(b, []byte(n.Data)) // into memory
		return
	case n.Type != nethtml.ElementNode || !xmlName.MatchString(n.Data):
		return
	}
	name := f.spaces[n.Namespace] + f.called(n.Data)
	b.WriteString("<" + name)
	seen := map[string]bool{}
	for _, a := range n.Attr {
		key := f.called(a.Key)
		if !xmlName.MatchString(key) || strings.HasPrefix(key, "xmlns") || seen[key] {
			continue
		}
		seen[key] = true
		if a.Namespace == "xlink" {
			key = "xlink:" + key
		}
		b.WriteString(" " + key + `="`)
		if len(a.Val) > 0 && a.Val[0] == '/' && !strings.HasPrefix(a.Val, "//") && !strings.HasPrefix(a.Val, `/\`) {
			b.WriteByte('.') // the root of a site would be that of the disk, which is no other place either
		}
		_ = xml.EscapeText(b, []byte(a.Val)) // into memory
		b.WriteString(`"`)
	}
	b.WriteString(">")
	for c := n.FirstChild; c != nil; c = c.NextSibling {
		f.node(b, c)
	}
	b.WriteString("</" + name + ">")
}

func (f *xmlForm) called(name string) string {
	if other := f.rename[name]; other != "" {
		return other
	}
	return name
}

// minFilesFire is how many of the files must fire when nothing is done to them.
const minFilesFire = 40

// TestHostileFragmentsInFilesDoNothing puts each fragment of the corpus into a file that is read as
// XML, the forms in turn, and opens it from the disk: as it is, and after defang. What the other modes
// make of files is TestOwnFilesDoNothing's.
func TestHostileFragmentsInFilesDoNothing(t *testing.T) {
	needCorpus(t)
	var all []*attachment
	var names, before []string
	var pages []Page
	for i, fr := range fragments(t, "xss", 206) {
		f := xmlForms[i%len(xmlForms)]
		a, err := f.write(fr.HTML)
		if err != nil {
			t.Fatal(err)
		}
		all, pages = append(all, &a), append(pages, a.page())
		names, before = append(names, fmt.Sprintf("%s in %s", fr.ID, f.name)), append(before, string(a.content))
	}
	r := row{mode: "untouched"}
	records, errs := visitAll(t, pages)
	for i, rec := range records {
		r.count(rec, errs[i])
	}
	if r.scripts < minFilesFire {
		t.Errorf("%d files run a script when nothing is done to them, want at least %d: the check does not see them", r.scripts, minFilesFire)
	}
	rows := []row{r, {mode: "defang"}}
	out, held := deliverAll(t, &modes[0], all)
	show := make([]Page, len(out))
	whole, gone := 0, 0
	for i, d := range out {
		show[i] = d.Page
		switch {
		case d.patched && d.File == "":
			gone++
		case d.patched && wellFormed(d.Content):
			whole++
		}
		if d.patched {
			rows[1].changed++
		}
	}
	rows[1].held = held
	checkShown(t, &rows[1], names, before, show)
	t.Logf("of %d that are changed %d are stripped, %d are still well-formed", rows[1].changed, gone, whole)
	report(t, rows)
}
