package sanitize

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"rastel/sanitize/eml"
)

// A bannerTarget is a part that banners are put into.
type bannerTarget struct {
	p     *eml.Part
	texts []string // of the banners
	plain []string // the same for a part that can only express ASCII
	known []string // what may be there already
	html  bool
	whole int  // of the edits, the one that replaces all of the content; -1 if there is none
	anew  int  // of the edits, the one that writes the part anew; -1 if there is none
	typed bool // an edit changes the type of the part, or how it is encoded
	head  []byte
	code  string // the charset
}

// add adds the texts of a banner.
func (t *bannerTarget) add(n *Notices, b *Banner) {
	for _, text := range n.bannerTexts(b) {
		t.texts = append(t.texts, text)
		if b.Name != "" {
			text = n.banner(defaultLanguage, b.Name)
		}
		t.plain = append(t.plain, asASCII(text))
	}
}

// maxBanners is how many banners that are there already are looked at.
const maxBanners = 20

// there gives the banners that stand at a place of t.head, one behind the other, in that form.
func (t *bannerTarget) there(at int, form func(string) ([]byte, bool)) map[string]bool {
	out := map[string]bool{}
next:
	for range maxBanners {
		for _, s := range slices.Concat(t.texts, t.known) {
			if b, ok := form(s); ok && bytes.HasPrefix(t.head[at:], b) {
				out[s] = true
				at += len(b)
				continue next
			}
		}
		break
	}
	return out
}

// look finds out what the part will be after the edits.
func (t *bannerTarget) look(edits []eml.Edit) error {
	t.whole, t.anew, t.html, t.code = -1, -1, t.p.MediaType != "text/plain", t.p.Charset()
	for i, e := range edits {
		switch {
		case e.Part != t.p:
		case e.Region == eml.InHeader:
			t.retyped(e.Text)
		case e.Region == eml.InBody && e.Write != nil:
			t.anew = i
		case e.Region == eml.InBody:
			return fmt.Errorf("its body is replaced already")
		case e.Start == 0 && (e.End == -1 || e.End == t.p.Size) && t.p.Size > 0:
			t.whole = i
		}
	}
	if t.whole >= 0 {
		t.head = edits[t.whole].Text
	} else {
		t.head = t.p.Head(maxBannerHead)
	}
	return nil
}

// retyped takes note of fields that an edit gives the part.
func (t *bannerTarget) retyped(fields []byte) {
	unfolded := strings.NewReplacer("\r\n ", " ", "\r\n\t", " ").Replace(string(fields))
	for line := range strings.SplitSeq(unfolded, "\r\n") {
		name, value, _ := strings.Cut(line, ":")
		value = strings.ToLower(strings.TrimSpace(value))
		switch strings.ToLower(name) {
		case "content-type":
			t.typed = true
			t.html = !strings.HasPrefix(value, "text/plain")
			if c := charsetOf(value); c != "" {
				t.code = c
			}
		case "content-transfer-encoding":
			t.typed = true
		}
	}
}

// put makes the edits of one part.
func (t *bannerTarget) put(edits []eml.Edit) ([]eml.Edit, error) {
	if len(t.texts) == 0 {
		return edits, nil
	}
	if t.anew >= 0 {
		return t.putAnew(edits)
	}
	if t.html {
		return t.putHTML(edits), nil
	}
	return t.putText(edits)
}

// insert puts bytes into the content, at a place in t.head.
func (t *bannerTarget) insert(edits []eml.Edit, at int, text []byte) []eml.Edit {
	if len(text) == 0 {
		return edits
	}
	if t.whole >= 0 {
		edits = slices.Clone(edits)
		edits[t.whole].Text = slices.Concat(t.head[:at], text, t.head[at:])
		return edits
	}
	return append(edits, eml.Edit{Part: t.p, Region: eml.InContent, Start: int64(at), End: int64(at), Text: text})
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}
