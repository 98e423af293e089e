package procmail

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// maxPattern is how many bytes a pattern may have: as long as file systems allow names.
const maxPattern = 255

// A listed is what a list file comes to.
type listed struct {
	patterns []string
	brackets int // filespecs with brackets, which are read in two ways
	rejected []rejected
}

type rejected struct {
	at  Place
	why string
}

// filespecs reads a list file: one filespec on a line, with "*" and "?"; "#" begins a comment.
func filespecs(f File) (listed, error) {
	text, ok := plainText(f.Data)
	if !ok {
		return listed{}, fmt.Errorf("%s: no text: it holds a NUL", f.Name)
	}
	var out listed
	seen := map[string]bool{}
	line := 0
	for s := range strings.Lines(text) {
		line++
		if s = strings.TrimSpace(s); s == "" || s[0] == '#' {
			continue
		}
		patterns, why := filespec(s)
		if why != "" {
			out.rejected = append(out.rejected, rejected{Place{f.Name, line}, why})
			continue
		}
		out.brackets += len(patterns) - 1
		for _, p := range patterns {
			if !seen[p] {
				seen[p] = true
				out.patterns = append(out.patterns, p)
			}
		}
	}
	return out, nil
}

// filespec gives the patterns of path.Match that a filespec comes to, or what is wrong with it.
// Whether brackets stood for one of some characters or for themselves is not certain, so both are
// looked for.
func filespec(s string) (patterns []string, wrong string) {
	s = strings.ToLower(s)
	patterns = []string{escapeGlob(s, "*?")}
	if both := escapeGlob(s, "*?[]-^"); both != patterns[0] && isPattern(both) {
		patterns = append(patterns, both)
	}
	switch {
	case strings.Contains(s, "/"):
		return nil, fmt.Sprintf("%.80q holds a slash, but names are compared without directories", s)
	case strings.Trim(s, "*?") == "":
		return nil, fmt.Sprintf("%.80q is like any name", s)
	case slices.ContainsFunc(patterns, func(p string) bool { return len(p) > maxPattern }):
		return nil, fmt.Sprintf("%.40q... has more than %d bytes", s, maxPattern)
	}
	return patterns, ""
}

func isPattern(s string) bool {
	_, err := path.Match(s, "")
	return err == nil
}

// escapeGlob writes text as a pattern in which only the wildcards of keep have a meaning.
func escapeGlob(s, keep string) string {
	var b strings.Builder
	for i := range len(s) {
		if strings.IndexByte(`*?[\`, s[i]) >= 0 && strings.IndexByte(keep, s[i]) < 0 {
			b.WriteByte('\\')
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
