package sanitize

import (
	"fmt"
	"slices"
	"strings"

	"rastel/sanitize/eml"
)

// Limits of banners.
const (
	maxBannerText    = 4000      // bytes of one text
	maxBannerRewrite = 1 << 20   // bytes of a text part that is converted for the sake of a banner
	maxBannerHead    = 256 << 10 // bytes of a page in which the beginning of its body is looked for
)

// A Banner is a short text at the top of what the reader of a message sees.
type Banner struct {
	Text      string      // as it is, in lines that end in "\n"; empty if there is a name
	Name      string      // of a banner of the texts
	Languages []string    // of the text with that name; none means the default
	Keep      []*eml.Part // what is not to be changed, with all that is in it
	Others    []string    // texts of other banners that may be there already
}

// bannerTexts are the texts of a banner, one for each language.
func (n *Notices) bannerTexts(b *Banner) []string {
	if b.Name == "" {
		return []string{b.Text}
	}
	var texts []string
	for _, tag := range n.in(b.Languages) {
		if t := n.banner(tag, b.Name); t != "" && !slices.Contains(texts, t) {
			texts = append(texts, t)
		}
	}
	return texts
}

// knownBanners are all texts that may stand at the top of a message already: another rule may have
// put them there when the message came the first time.
func (n *Notices) knownBanners(list []Banner) []string {
	var out []string
	for _, l := range n.languages {
		for _, text := range l.banners {
			out = append(out, text)
		}
	}
	slices.Sort(out)
	for _, b := range list {
		out = append(append(out, b.Text), b.Others...)
	}
	for _, s := range out {
		if plain := asASCII(s); plain != s {
			out = append(out, plain)
		}
	}
	return slices.DeleteFunc(out, func(s string) bool { return s == "" })
}

// PutBanners puts banners at the top of the text of a message, in that order: into all alternatives
// of its first text, as text or as HTML. It gives all edits that are to be made: the ones it was
// given, and its own. A banner that is there already is not put in again. All other bytes stay as
// they are, except where a text cannot express the banner in its charset: that one becomes UTF-8.
func (n *Notices) PutBanners(root *eml.Part, list []Banner, edits []eml.Edit) ([]eml.Edit, error) {
	known := n.knownBanners(list)
	for _, p := range bannerParts(root) {
		t := &bannerTarget{p: p, known: known}
		for i := range list {
			if b := &list[i]; !isKept(p, b.Keep) {
				t.add(n, b)
			}
		}
		if err := t.look(edits); err != nil {
			return nil, fmt.Errorf("banner in part %s: %w", p.ID, err)
		}
		more, err := t.put(edits)
		if err != nil {
			return nil, fmt.Errorf("banner in part %s: %w", p.ID, err)
		}
		edits = more
	}
	return edits, nil
}

// bannerParts are the texts that a reader sees first: of several alternatives all, of other parts
// the first that has a text.
func bannerParts(p *eml.Part) []*eml.Part {
	if p.Leaf() {
		shown := p.MediaType == "text/plain" || p.MediaType == "text/html" || p.MediaType == "application/xhtml+xml"
		if !shown || p.Disposition == "attachment" {
			return nil
		}
		return []*eml.Part{p}
	}
	if !strings.HasPrefix(p.MediaType, "multipart/") {
		return nil // a message within the message
	}
	var out []*eml.Part
	for _, c := range p.Children {
		if c.Member() || c.Reading != "" {
			continue
		}
		out = append(out, bannerParts(c)...)
		if len(out) > 0 && p.MediaType != "multipart/alternative" {
			break
		}
	}
	return out
}

// isKept reports whether a part is one of the list or lies in one.
func isKept(p *eml.Part, list []*eml.Part) bool {
	for ; p != nil; p = p.Parent {
		if slices.Contains(list, p) {
			return true
		}
	}
	return false
}
