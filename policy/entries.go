package policy

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// Limits of lists of addresses, hashes and texts. A million addresses of 33 bytes take about 100 MB, a
// million hashes 31; twice that while a policy is loaded anew.
const (
	maxEntryLists = 100       // of each kind
	maxEntryFile  = 80 << 20  // bytes: a million hashes with what sha256sum says of them, if that is short
	maxEntries    = 1_000_000 // of all lists of a kind
	maxEntry      = 320       // bytes; an address has at most 254
)

// Addresses are a list of addresses and domains that is ready to be asked.
type addresses struct {
	// whole has addresses as they are, domains behind "@", and those with all below them behind ".".
	whole map[string]struct{}
	globs []string
}

// add takes "ann@example.org", "example.org" or "@example.org" for a domain itself, ".example.org" for a
// domain and all below it, "<>" for the null sender, and patterns of these with "*" and "?". It tells what
// is wrong; nothing if nothing is.
func (l *addresses) add(text string) string {
	text = strings.ToLower(strings.TrimSuffix(text, "."))
	switch {
	case text == "":
		return "an address is empty"
	case strings.ContainsAny(text, " \t,;") || strings.Contains(text, "..") || strings.HasSuffix(text, "@") && text != "@":
		return fmt.Sprintf("%.80q is neither an address nor a domain", text)
	case isGlob(text):
		if _, err := path.Match(text, ""); err != nil {
			return fmt.Sprintf("%.80q is no pattern", text)
		}
		l.globs = append(l.globs, flat(text))
		return ""
	case text == "<>":
		text = ""
	case text[0] != '.' && !strings.Contains(text, "@"):
		text = "@" + text
	}
	if l.whole == nil {
		l.whole = map[string]struct{}{}
	}
	l.whole[text] = struct{}{}
	return ""
}

// flat makes a text one that path.Match takes for one word: to it "*" ends at a slash.
func flat(s string) string { return strings.ReplaceAll(s, "/", "\x00") }

// holds reports whether an address or a domain is in the list.
func (l *addresses) holds(text string) bool {
	address := addressOf(text)
	if _, ok := l.whole[address]; ok {
		return true
	}
	_, domain, ok := cutLast(address, "@")
	if !ok {
		domain = address
	}
	if domain == "" {
		return false
	}
	if _, ok := l.whole["@"+domain]; ok {
		return true
	}
	rest := "." + domain
	if len(rest) > maxEntry { // longer ones are in no list
		rest = rest[len(rest)-maxEntry:]
		rest = rest[max(0, strings.IndexByte(rest, '.')):] // from the beginning of a name on
	}
	for rest != "" {
		if _, ok := l.whole[rest]; ok {
			return true
		}
		i := strings.IndexByte(rest[1:], '.')
		if i < 0 {
			break
		}
		rest = rest[1+i:]
	}
	return slices.ContainsFunc(l.globs, func(g string) bool {
		what := address
		if !strings.Contains(g, "@") {
			what = domain
		}
		ok, err := path.Match(g, flat(what))
		return ok && err == nil
	})
}

// maxAddress is how many bytes of an address are looked at, from the end; it has at most 254 (RFC 5321 section
// 4.5.3.1).
const maxAddress = 1000

// addressOf is the address in a text, in lower case: what is in angle brackets, if there are any.
func addressOf(text string) string {
	if i := strings.LastIndexByte(text, '<'); i >= 0 {
		text = text[i+1:]
		if j := strings.IndexByte(text, '>'); j >= 0 {
			text = text[:j]
		}
	}
	text = strings.TrimSuffix(strings.ToLower(strings.TrimSpace(text)), ".")
	return text[max(0, len(text)-maxAddress):]
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

// domain is what follows the last @ of an address, in lower case; empty if there is none.
func domain(address string) string {
	_, d, _ := cutLast(addressOf(address), "@")
	return d
}

// Hashes are a list of SHA-256 that is ready to be asked.
type hashes struct{ sorted [][32]byte }

// add takes 64 hexadecimal digits; what follows a blank is for people.
func (l *hashes) add(text string) string {
	digits, _, _ := strings.Cut(text, " ")
	var sum [32]byte
	if n, err := hex.Decode(sum[:], []byte(digits[:min(len(digits), 64)])); err != nil || n != len(sum) || len(digits) != 64 {
		return fmt.Sprintf("%.80q is no SHA-256: want 64 hexadecimal digits", text)
	}
	l.sorted = append(l.sorted, sum)
	return ""
}

func (l *hashes) sort() {
	slices.SortFunc(l.sorted, func(a, b [32]byte) int { return bytes.Compare(a[:], b[:]) })
	l.sorted = slices.Clip(slices.Compact(l.sorted))
}

func (l *hashes) holds(text string) bool {
	var sum [32]byte
	if n, err := hex.Decode(sum[:], []byte(text[:min(len(text), 64)])); err != nil || n != len(sum) || len(text) != 64 {
		return false
	}
	_, ok := slices.BinarySearchFunc(l.sorted, sum, func(a, b [32]byte) int { return bytes.Compare(a[:], b[:]) })
	return ok
}

// Texts are a list of texts, without regard to case, that is ready to be asked.
type texts struct {
	whole map[string]struct{}
	globs []string
}

// add takes a text, or a pattern with "*" and "?". Each run of blanks is one.
func (l *texts) add(text string) string {
	text = strings.ToLower(strings.TrimSpace(oneBlank(text)))
	switch _, err := path.Match(text, ""); {
	case text == "":
		return "a text is empty"
	case err != nil:
		return fmt.Sprintf("%.80q is no pattern", text)
	case isGlob(text):
		l.globs = append(l.globs, flat(text))
		return ""
	}
	if l.whole == nil {
		l.whole = map[string]struct{}{}
	}
	l.whole[text] = struct{}{}
	return ""
}

func (l *texts) holds(text string) bool {
	text = strings.ToLower(strings.TrimSpace(oneBlank(text)))
	if _, ok := l.whole[text]; ok {
		return true
	}
	text = flat(text)
	return slices.ContainsFunc(l.globs, func(g string) bool {
		ok, err := path.Match(g, text)
		return ok && err == nil
	})
}

// An entryReader reads the lists of one kind.
type entryReader struct {
	listReader
	count int // so far
}

// entries reads the items of a list, from files too. It tells what is wrong with each.
func (r *entryReader) entries(n ast.Node, name, what string, add func(text string) (wrong string)) {
	one := func(text string) string {
		if r.count++; r.count > maxEntries {
			if r.full {
				return ""
			}
			r.full = true
			return fmt.Sprintf("the lists have more than %d entries", maxEntries)
		}
		if text = strings.TrimSpace(text); len(text) > maxEntry {
			return fmt.Sprintf("%.80q... has more than %d bytes", text, maxEntry)
		}
		return add(text)
	}
	r.items(n, name, what, func(file ast.Node) { r.file(file, maxEntryFile, one) }, one)
}

// checkGlobs reports lists with too many patterns, each of which is compared with what is looked for.
func (r *entryReader) checkGlobs(n ast.Node, globs int) {
	if r.globs += globs; r.globs > maxGlobs && !r.full {
		r.full = true
		r.errorf(nodePlace(n), "the lists have more than %d patterns", maxGlobs)
	}
}

// entryLists reads the lists of addresses, hashes and texts.
func (s *source) entryLists(m map[string]ast.Node, vocab *vocabulary, opt Options) {
	vocab.addresses, vocab.hashes, vocab.texts = map[string]*addresses{}, map[string]*hashes{}, map[string]*texts{}
	each := func(key, what string, read func(r *entryReader, name string, n ast.Node)) {
		r := &entryReader{listReader: listReader{source: s, dir: opt.Dir}}
		s.eachList(m[key], key, what, maxEntryLists, func(name string, n ast.Node) { read(r, name, n) })
	}
	each("addresses", "lists of addresses", func(r *entryReader, name string, n ast.Node) {
		l := &addresses{}
		r.entries(n, name, "an address", l.add)
		r.checkGlobs(n, len(l.globs))
		vocab.addresses[name] = l
	})
	each("hashes", "lists of hashes", func(r *entryReader, name string, n ast.Node) {
		l := &hashes{}
		r.entries(n, name, "a hash", l.add)
		l.sort()
		vocab.hashes[name] = l
	})
	each("texts", "lists of texts", func(r *entryReader, name string, n ast.Node) {
		l := &texts{}
		r.entries(n, name, "a text", l.add)
		r.checkGlobs(n, len(l.globs))
		vocab.texts[name] = l
	})
}

// listOf finds a list of a kind by its name. The second result says what is wrong.
func listOf[T any](lists map[string]*T, what, text string) (*T, string) {
	if l := lists[text]; l != nil {
		return l, ""
	}
	known := slices.Sorted(maps.Keys(lists))
	if len(known) == 0 {
		return nil, fmt.Sprintf("there is no %s %.80q", what, text)
	}
	return nil, unknown(what, text, known)
}

func (v *vocabulary) addressList(text string) (*addresses, string) {
	return listOf(v.addresses, "list of addresses", text)
}

func (v *vocabulary) hashList(text string) (*hashes, string) {
	return listOf(v.hashes, "list of hashes", text)
}

func (v *vocabulary) textList(text string) (*texts, string) {
	return listOf(v.texts, "list of texts", text)
}

// compare counts comparisons of a text with patterns, like those of names, and of each domain that it is in
// with a list.
func (f *facts) compare(text string, patterns int) error {
	if f.compared += patterns * (1 + len(text)/8); f.compared > maxCompared {
		return errCompared
	}
	return f.spend(len(text) + perMatch*(1+strings.Count(text, ".")))
}

func (l *addresses) patterns() int { return len(l.globs) }

func (l *texts) patterns() int { return len(l.globs) }

func (f *facts) addressIn(text string, lists []*addresses) (bool, error) {
	return inLists(f, text, lists)
}

func (f *facts) textIn(text string, lists []*texts) (bool, error) { return inLists(f, text, lists) }

// inLists reports whether one of the lists has the text.
func inLists[L interface {
	holds(text string) bool
	patterns() int
}](f *facts, text string, lists []L) (bool, error) {
	for _, l := range lists {
		if err := f.compare(text, l.patterns()); err != nil {
			return false, err
		}
		if l.holds(text) {
			return true, nil
		}
	}
	return false, nil
}

func (f *facts) hashIn(text string, lists []*hashes) (bool, error) {
	return slices.ContainsFunc(lists, func(l *hashes) bool { return l.holds(text) }), f.spend(perMatch * 20 * len(lists))
}
