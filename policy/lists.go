package policy

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml/ast"
)

// A List is a list of attachments that is built in: policies ask for it by its name.
type List struct {
	Name, Doc string
	// Patterns are names of files, and media types, as those of a policy's own lists.
	Patterns []string
}

// Limits of lists. A message may have thousands of names, and each is compared with all patterns
// that are more than an ending.
const (
	maxLists    = 100
	maxListFile = 1 << 20 // bytes
	maxPatterns = 50_000  // of all lists of a policy
	maxGlobs    = 1000    // of these, those that are neither a whole name nor "*.ext"
	maxPattern  = 255     // bytes, as long as file systems allow names
)

// maxCompared is how many comparisons of a name with a pattern, of 8 bytes each, the lists and
// patterns of all conditions may take for one message: one or two seconds.
const maxCompared = 20_000_000

var errCompared = fmt.Errorf("names are compared with patterns more than %d times", maxCompared)

// A list is a List that is ready to be asked.
type list struct {
	exact   map[string]struct{} // whole names
	ends    map[string]struct{} // ".exe" of "*.exe"
	longest int                 // of ends, in bytes
	globs   []string            // of names, other than these
	types   []string            // globs of media types
}

// add takes a pattern that was checked by listPattern.
func (l *list) add(pattern string) {
	if l.exact == nil {
		l.exact, l.ends = map[string]struct{}{}, map[string]struct{}{}
	}
	end, isEnd := strings.CutPrefix(pattern, "*")
	switch {
	case strings.Contains(pattern, "/"):
		l.types = append(l.types, pattern)
	case !isGlob(pattern):
		l.exact[pattern] = struct{}{}
	case isEnd && strings.HasPrefix(end, ".") && !isGlob(end):
		l.ends[end] = struct{}{}
		l.longest = max(l.longest, len(end))
	default:
		l.globs = append(l.globs, pattern)
	}
}

func isGlob(s string) bool { return strings.ContainsAny(s, `*?[\`) }

// hasEnding reports whether the name is one of the list or ends as one does. It takes time in
// proportion to the longest ending, however many there are.
func (l *list) hasEnding(name string) bool {
	if _, ok := l.exact[name]; ok {
		return true
	}
	for i := max(0, len(name)-l.longest); i < len(name); i++ {
		if name[i] == '.' {
			if _, ok := l.ends[name[i:]]; ok {
				return true
			}
		}
	}
	return false
}

// inList reports whether a name or the declared type of the part is in one of the lists.
func (p *part) inList(lists []*list) (bool, error) {
	for _, l := range lists {
		if err := p.facts.spend((perMatch + l.longest) * (1 + len(p.bases()))); err != nil {
			return false, err
		}
		if p.MediaType != "" && matchesAny(l.types, p.MediaType) || slices.ContainsFunc(p.bases(), l.hasEnding) {
			return true, nil
		}
		if ok, err := p.isNamed(l.globs); ok || err != nil {
			return ok, err
		}
	}
	return false, nil
}

// isNamed reports whether a name is like one of the patterns.
func (p *part) isNamed(globs []string) (bool, error) {
	for _, n := range p.bases() {
		if p.facts.compared += len(globs) * (1 + len(n)/8); p.facts.compared > maxCompared {
			return false, errCompared
		}
		if matchesAny(globs, n) {
			return true, nil
		}
	}
	return false, nil
}

func matchesAny(globs []string, s string) bool {
	return slices.ContainsFunc(globs, func(g string) bool {
		ok, err := path.Match(g, s)
		return ok && err == nil // errors were reported on load
	})
}

// A listFile is a file that a policy took patterns from.
type listFile struct {
	path string
	data []byte   // while the policy is loaded
	sum  [32]byte // of all of it
	err  error    // in reading it
}

// lists reads the lists of a policy, and adds those that are built in.
func (s *source) lists(n ast.Node, opt Options) map[string]*list {
	out := map[string]*list{}
	for _, b := range opt.Lists {
		out[b.Name] = &list{}
		for _, p := range b.Patterns {
			out[b.Name].add(p)
		}
	}
	r := &listReader{source: s, dir: opt.Dir}
	s.eachList(n, "lists", "lists", maxLists, func(name string, n ast.Node) {
		l := &list{}
		add := func(text string) string { return r.pattern(l, text) }
		r.items(n, name, "a pattern", func(file ast.Node) { r.file(file, maxListFile, add) }, add)
		out[name] = l
	})
	return out
}

// eachList gives the lists that stand below a key of a policy, if it is there.
func (s *source) eachList(n ast.Node, key, what string, most int, f func(name string, n ast.Node)) {
	if n == nil {
		return
	}
	m, ok := n.(*ast.MappingNode)
	if !ok {
		s.mustBe(n, strconv.Quote(key), "a mapping")
		return
	}
	if len(m.Values) > most {
		s.errorf(nodePlace(n), "more than %d %s", most, what)
		return
	}
	for _, v := range m.Values {
		key := v.Key.GetToken()
		if !isListName(key.Value) {
			s.errorf(placeOf(key), "%.80q is no name of a list: want letters, digits and hyphens", key.Value)
		}
		f(key.Value, v.Value)
	}
}

func isListName(s string) bool {
	return s != "" && len(s) <= maxName && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_'
	})
}

// A listReader reads the lists of one policy.
type listReader struct {
	*source
	dir             string
	patterns, globs int // so far
	full            bool
}

// items gives the items of a list: those that name a file, and texts; add tells what is wrong with one.
func (r *listReader) items(n ast.Node, name, what string, file func(ast.Node), add func(text string) (wrong string)) {
	for _, item := range r.source.list(n, fmt.Sprintf("the list %q", name)) {
		if _, ok := item.(*ast.MappingNode); ok {
			file(item)
		} else if v, ok := r.scalar(item, what); ok {
			if msg := add(v.text); msg != "" {
				r.errorf(v.at, "%s", msg)
			}
		}
	}
}

// pattern adds one pattern. It tells what is wrong with it; nothing if nothing is.
func (r *listReader) pattern(l *list, text string) string {
	p, wrong := listPattern(text)
	if wrong != "" {
		return wrong
	}
	before := len(l.globs)
	l.add(p)
	r.patterns, r.globs = r.patterns+1, r.globs+len(l.globs)-before
	switch {
	case r.full:
	case r.patterns > maxPatterns:
		r.full = true
		return fmt.Sprintf("the lists have more than %d patterns", maxPatterns)
	case r.globs > maxGlobs:
		r.full = true
		return fmt.Sprintf("the lists have more than %d patterns that are more than a name or \"*.ext\"", maxGlobs)
	}
	return ""
}

// listPattern checks a pattern of a list: of names, or of media types if it holds a slash.
func listPattern(text string) (string, string) {
	text = strings.ToLower(strings.TrimSpace(text))
	kind, sub, isType := strings.Cut(text, "/")
	switch _, err := path.Match(text, ""); {
	case err != nil:
		return text, fmt.Sprintf("%.80q is no pattern", text)
	case text == "":
		return text, "a pattern is empty"
	case len(text) > maxPattern:
		return text, fmt.Sprintf("%.80q... has more than %d bytes", text, maxPattern)
	case isType && (kind == "" || sub == "" || strings.ContainsAny(text, " \t") || strings.Contains(sub, "/")):
		return text, fmt.Sprintf("%.80q is neither a name without directories nor a media type", text)
	}
	return text, ""
}

// file adds what is in a file: one on a line; "#" begins a comment.
func (r *listReader) file(n ast.Node, limit int, add func(text string) (wrong string)) {
	f, _, ok := r.named(n, limit)
	if !ok {
		return
	}
	at := &source{name: f.path} // errors in it are told with its own lines
	line := 0
	for text := range bytes.Lines(f.data) {
		line++
		s := strings.TrimSpace(string(text))
		if s == "" || s[0] == '#' {
			continue
		}
		if msg := add(s); msg != "" {
			at.errorf(place{line, 1}, "%s", msg)
		}
		if len(at.errs) == maxErrors {
			break
		}
	}
	r.errs = append(r.errs, at.errs...)
}

// named reads the file that an item of a list names, and tells where it is named.
func (r *listReader) named(n ast.Node, limit int) (f listFile, at place, ok bool) {
	m, ok := r.mapping(n, "an item of a list", listKeys)
	if !ok || m["file"] == nil {
		return f, at, false
	}
	v, ok := r.scalar(m["file"], "the name of a file")
	if !ok {
		return f, at, false
	}
	f = r.read(v.text, limit)
	if f.err != nil {
		r.errorf(v.at, "%v", f.err)
	}
	return f, v.at, f.err == nil
}

// read reads a file of a list, each once, and remembers which it were.
func (r *listReader) read(name string, limit int) listFile {
	if !filepath.IsAbs(name) {
		name = filepath.Join(r.dir, name)
	}
	for _, f := range r.files {
		if f.path == name {
			return f
		}
	}
	f := listFile{path: name}
	f.data, f.err = readListFile(name, limit)
	f.sum = sha256.Sum256(fmt.Appendf(nil, "%s\n%v\n%s", f.path, f.err, f.data))
	r.files = append(r.files, f)
	return f
}

// ReadRegular reads a file, but no more than a byte above the limit: who gets more than the limit was not given
// all. What is no regular file is an error: a pipe would be waited for.
func ReadRegular(name string, limit int) ([]byte, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no regular file", name)
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, int64(limit)+1))
}

func readListFile(name string, limit int) ([]byte, error) {
	data, err := ReadRegular(name, limit)
	switch {
	case err != nil:
		return nil, err
	case len(data) > limit:
		return nil, fmt.Errorf("%s has more than %d bytes", name, limit)
	case !utf8.Valid(data), bytes.IndexByte(data, 0) >= 0:
		return nil, errors.New(name + " is no text in UTF-8")
	}
	return data, nil
}
