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

	// Renamed makes the banner the notice about these parts. It has neither text nor name, stands
	// behind the banners, and gets a part of its own where there is no text to put it into.
	Renamed []Renaming
	Item    string // of the quarantine, for that notice; empty if the original is not kept

	// Anew are the entities that are written anew besides. Where one holds a part that ended in its
	// header, that has a body then; and the message, if it is one, gets no part besides.
	Anew []*eml.Part
}

// A shownBanner is a banner as it is put in.
type shownBanner struct {
	*Banner
	texts []string // one for each language
	plain []string // the same for a part that can only express ASCII
}

// shownBanners makes the texts of banners.
func (n *Notices) shownBanners(list []Banner) ([]shownBanner, error) {
	out := make([]shownBanner, len(list))
	for i := range list {
		b := shownBanner{Banner: &list[i]}
		if len(b.Renamed) > 0 {
			texts, plain, err := n.renamedTexts(b.Banner)
			if err != nil {
				return nil, err
			}
			b.texts, b.plain = texts, []string{plain}
		} else {
			b.texts = n.bannerTexts(b.Banner)
			for _, text := range b.texts {
				if b.Name != "" {
					text = n.banner(defaultLanguage, b.Name)
				}
				b.plain = append(b.plain, asASCII(text))
			}
		}
		out[i] = b
	}
	return out, nil
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
//
// The notice about renamed parts is put in likewise, or else in a part of its own, behind the banners
// in either case. It reports whether there was no place for it.
func (n *Notices) PutBanners(root *eml.Part, list []Banner, edits []eml.Edit) (all []eml.Edit, untold bool, err error) {
	known := n.knownBanners(list)
	shown, err := n.shownBanners(list)
	if err != nil {
		return nil, false, err
	}
	told := map[*Banner]bool{}
	var anew []*eml.Part
	for _, b := range list {
		anew = b.Anew
	}
	for _, p := range bannerParts(root, edits, anew) {
		t := &bannerTarget{p: p, known: known}
		for _, b := range shown {
			if !isKept(p, b.Keep) {
				t.add(b)
				told[b.Banner] = true
			}
		}
		if err := t.look(edits); err != nil {
			return nil, false, fmt.Errorf("banner in part %s: %w", p.ID, err)
		}
		if edits, err = t.put(edits); err != nil {
			return nil, false, fmt.Errorf("banner in part %s: %w", p.ID, err)
		}
	}
	for _, b := range shown {
		if len(b.Renamed) == 0 || len(b.texts) == 0 || told[b.Banner] {
			continue
		}
		if edits, untold, err = putOwnPart(root, shown, slices.Contains(anew, root), edits); err != nil {
			return nil, false, err
		}
		break
	}
	return edits, untold, nil
}

// bannerParts are the texts that a reader sees first after the edits: of several alternatives all, of
// other parts the first that has a text. One that ends in its header is none, unless it is written anew:
// what is put in would be a part of that.
func bannerParts(p *eml.Part, edits []eml.Edit, anew []*eml.Part) []*eml.Part {
	if p.Leaf() {
		media, disposition := becomes(p, edits)
		shown := media == "text/plain" || media == "text/html" || media == "application/xhtml+xml"
		if !shown || disposition == "attachment" || endsInHeader(p) && !isKept(p, anew) {
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
		out = append(out, bannerParts(c, edits, anew)...)
		if len(out) > 0 && p.MediaType != "multipart/alternative" {
			break
		}
	}
	return out
}

// becomes gives the type and the disposition that a part has after the edits: what is mangled is no text
// any more.
func becomes(p *eml.Part, edits []eml.Edit) (media, disposition string) {
	media, disposition = p.MediaType, p.Disposition
	for _, e := range edits {
		if e.Part != p || e.Region != eml.InHeader {
			continue
		}
		for name, value := range fieldsIn(e.Text) {
			value, _, _ = strings.Cut(value, ";")
			switch value = strings.TrimSpace(value); name {
			case "content-type":
				media = value
			case "content-disposition":
				disposition = value
			}
		}
	}
	return media, disposition
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
