package policy

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/expr-lang/expr/conf"

	"rastel/sanitize/eml"
)

// A vocabulary is what may stand in the quotes of a condition.
type vocabulary struct {
	checks []string             // IDs, sorted; empty if they are not known
	from   map[string]eml.Stage // when they may be found
	types  []string             // words of eml.Types
	groups []string             // the same, and their groups
	lists  map[string]*list
	// anyList says that the lists that are built in are not known: others are then empty.
	anyList  bool
	networks map[string]*networks

	addresses map[string]*addresses
	hashes    map[string]*hashes
	texts     map[string]*texts

	language  *conf.Config // of conditions
	languages []string     // of notices and banners; empty if they are not known
	banners   []string     // names of banners; empty if they are not known
	engines   []string     // empty if they are not known
}

func newVocabulary(checks []eml.Check) *vocabulary {
	v := &vocabulary{from: map[string]eml.Stage{}, types: slices.Sorted(maps.Keys(eml.Types)), language: newLanguage()}
	for _, c := range checks {
		v.checks = append(v.checks, c.ID)
		v.from[c.ID] = c.From
	}
	slices.Sort(v.checks)
	v.checks = slices.Compact(v.checks)
	v.groups = slices.Clone(v.types)
	for _, g := range eml.Types {
		v.groups = append(v.groups, g...)
	}
	slices.Sort(v.groups)
	v.groups = slices.Compact(v.groups)
	return v
}

// A pattern is a check ID, or several by "*".
type pattern struct {
	text string
	glob bool
	area string // of "html/*", of which there are many: "html/"; empty of others
}

func (p *pattern) match(check string) bool {
	if !p.glob {
		return p.text == check
	}
	if p.area != "" {
		rest, ok := strings.CutPrefix(check, p.area)
		return ok && strings.IndexByte(rest, '/') < 0
	}
	ok, err := path.Match(p.text, check)
	return ok && err == nil // errors were reported on load
}

func matchAny(patterns []*pattern, check string) bool {
	for _, p := range patterns {
		if p.match(check) {
			return true
		}
	}
	return false
}

// pattern takes the argument of has. The second result, here as below, says what is wrong.
func (v *vocabulary) pattern(text string) (*pattern, string) {
	p := &pattern{text: text, glob: strings.ContainsAny(text, `*?[\`)}
	if text == "*" {
		p.text = "*/*" // everything; to path.Match "*" ends at a slash
	} else if area, ok := strings.CutSuffix(text, "*"); ok && !isGlob(area) {
		p.area = area
	}
	if _, err := path.Match(p.text, ""); err != nil {
		return p, fmt.Sprintf("%.80q is no pattern", text)
	}
	if len(v.checks) == 0 || slices.ContainsFunc(v.checks, p.match) {
		return p, ""
	}
	if p.glob {
		return p, fmt.Sprintf("no check is like %.80q%s", text, orNear(v.nearestArea(text)))
	}
	return p, unknown("check", text, v.checks)
}

// nearestArea is the pattern with the area ("html") that was probably meant.
func (v *vocabulary) nearestArea(text string) string {
	area, what, _ := strings.Cut(text, "/")
	var areas []string
	for _, c := range v.checks {
		a, _, _ := strings.Cut(c, "/")
		areas = append(areas, a)
	}
	near := Nearest(area, slices.Compact(areas))
	if near == "" || what == "" {
		return ""
	}
	return near + "/" + what
}

func orNear(near string) string {
	if near == "" {
		return ""
	}
	return fmt.Sprintf("; did you mean %q?", near)
}

func (v *vocabulary) kind(text string) (string, string) {
	return text, oneOf("kind", text, names(kinds))
}

func (v *vocabulary) engine(text string) (string, string) {
	if len(v.engines) == 0 {
		return text, ""
	}
	return text, oneOf("engine", text, v.engines)
}

func (v *vocabulary) group(text string) (string, string) {
	return text, oneOf("type", text, v.groups)
}

// path takes a pattern of a path apart.
func (v *vocabulary) path(text string) ([]string, string) {
	words := strings.Split(text, "/")
	if len(words) > maxPathWords {
		return nil, fmt.Sprintf("%.80q has more than %d words", text, maxPathWords)
	}
	for _, w := range words {
		if w == "*" || w == "**" {
			continue
		}
		if _, wrong := v.group(w); wrong != "" {
			return nil, wrong
		}
	}
	return words, ""
}

func (v *vocabulary) glob(text string) (string, string) {
	text = strings.ToLower(text)
	if _, err := path.Match(text, ""); err != nil {
		return text, fmt.Sprintf("%.80q is no pattern", text)
	}
	if strings.ContainsAny(text, `/`) {
		return text, fmt.Sprintf("%.80q holds a slash, but names are compared without directories", text)
	}
	return text, ""
}

func (v *vocabulary) list(text string) (*list, string) {
	if l := v.lists[text]; l != nil {
		return l, ""
	}
	if v.anyList && isListName(text) {
		return &list{}, ""
	}
	known := slices.Sorted(maps.Keys(v.lists))
	if len(known) == 0 {
		return nil, fmt.Sprintf("there is no list %.80q", text)
	}
	return nil, unknown("list", text, known)
}

func (v *vocabulary) field(text string) (string, string) {
	if !isFieldName(text) {
		return text, fmt.Sprintf("%.80q is no name of a header field", text)
	}
	return text, ""
}

func oneOf(what, text string, known []string) string {
	if slices.Contains(known, text) {
		return ""
	}
	return unknown(what, text, known)
}

// isFieldName reports whether a header field may be called so (RFC 5322 section 2.2).
func isFieldName(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f || s[i] == ':' {
			return false
		}
	}
	return s != "" && len(s) <= maxFieldName
}
