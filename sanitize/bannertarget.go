package sanitize

import (
	"bytes"
	"fmt"
	"iter"
	"slices"
	"strings"

	"rastel/sanitize/eml"
)

// A bannerTarget is a part that banners are put into.
type bannerTarget struct {
	p     *eml.Part
	texts []string // of the banners
	plain []string // the same for a part that can only express ASCII
	told  []string // texts of the notice about renamed parts, which stands behind the banners
	short []string // the same for a part that can only express ASCII
	known []string // what may be there already
	html  bool
	whole int  // of the edits, the one that replaces all of the content; -1 if there is none
	anew  int  // of the edits, the one that writes the part anew; -1 if there is none
	typed bool // an edit changes the type of the part, or how it is encoded
	head  []byte
	code  string // the charset
}

// add adds the texts of a banner.
func (t *bannerTarget) add(b shownBanner) {
	if len(b.Renamed) == 0 {
		t.texts, t.plain = append(t.texts, b.texts...), append(t.plain, b.plain...)
	} else if len(b.texts) > 0 {
		t.told, t.short = append(t.told, b.texts...), append(t.short, b.plain...)
	}
}

// maxBanners is how many banners that are there already are looked at.
const maxBanners = 20

// there gives the banners that stand at a place of t.head, one behind the other, in that form, and
// where they end.
func (t *bannerTarget) there(at int, form func(string) ([]byte, bool)) (out map[string]bool, end int) {
	out = map[string]bool{}
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
	return out, at
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
	for name, value := range fieldsIn(fields) {
		switch name {
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

// fieldsIn goes through fields that an edit gives a part: names and unfolded values in lower case.
func fieldsIn(text []byte) iter.Seq2[string, string] {
	return func(yield func(name, value string) bool) {
		unfolded := strings.NewReplacer("\r\n ", " ", "\r\n\t", " ").Replace(string(text))
		for line := range strings.SplitSeq(unfolded, "\r\n") {
			name, value, _ := strings.Cut(line, ":")
			if !yield(strings.ToLower(name), strings.ToLower(strings.TrimSpace(value))) {
				return
			}
		}
	}
}

// put makes the edits of one part.
func (t *bannerTarget) put(edits []eml.Edit) ([]eml.Edit, error) {
	if len(t.texts)+len(t.told) == 0 {
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

// insertBoth puts banners into the content at a place in t.head, and the notice at a later one.
func (t *bannerTarget) insertBoth(edits []eml.Edit, at int, banners []byte, end int, told []byte) []eml.Edit {
	if at == end {
		return t.insert(edits, at, slices.Concat(banners, told))
	}
	edits = t.insert(edits, end, told) // which moves nothing before it
	return t.insert(edits, at, banners)
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
