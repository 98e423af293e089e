package sanitize

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"text/template"
	"unicode"

	"rastel/sanitize/eml"
)

// NoticeConfig is what an administrator may set for notices and banners.
type NoticeConfig struct {
	// Directory holds texts that take the place of the built-in ones: a file LANGUAGE.txt for
	// each language, with the texts that differ; all texts for a language that is not built in.
	Directory string `yaml:"directory"`
	// Contact is whom readers can ask, such as an address or a number; at most 200 bytes. It
	// stands behind the administrator in the built-in texts.
	Contact string `yaml:"contact"`
}

const maxContact = 200

func (c NoticeConfig) validate() error {
	bad := strings.ContainsFunc(c.Contact, func(r rune) bool { return !unicode.IsPrint(r) })
	if bad || len(c.Contact) > maxContact {
		return fmt.Errorf("notices.contact: want at most %d bytes of printable characters on one line", maxContact)
	}
	return nil
}

// defaultLanguage is that of notices for which no other is asked, and the one whose texts take
// the place of those that a language does not have.
const defaultLanguage = "en"

// foundClasses are what findings are told as, each with a text "found-..." in every language.
var foundClasses = []string{
	"malware", "program", "disguise", "type", "active", "macro", "encrypted", "archive", "damaged", "ambiguous",
	"elsewhere", "unexamined", "header", "deceptive", "other",
}

const (
	noticeText   = "notice"
	renamedText  = "renamed"
	foundPrefix  = "found-"
	bannerPrefix = "banner-"

	maxNoticeFile = 64 << 10 // bytes of a file of texts
	maxNoticeSize = 64 << 10 // bytes of what comes of a text
)

//go:embed notices/*.txt
var noticeFiles embed.FS

// Notices writes what the reader is told in the place of what was stripped, and banners, in several
// languages. It does not change, and is safe for concurrent use.
type Notices struct {
	contact   string
	languages map[string]*language
}

// A language is its texts.
type language struct {
	texts   *template.Template
	found   map[string]string // by class
	banners map[string]string
}

// NewNotices reads the built-in texts and those of the configured directory. Errors name the file
// and the line.
func NewNotices(c NoticeConfig) (*Notices, error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	sub, err := fs.Sub(noticeFiles, "notices")
	if err != nil {
		return nil, err
	}
	parsed := map[string]*template.Template{}
	if err := parseTexts(parsed, sub, ""); err != nil {
		return nil, err
	}
	if c.Directory != "" {
		if err := parseTexts(parsed, os.DirFS(c.Directory), c.Directory); err != nil {
			return nil, err
		}
	}
	n := &Notices{contact: c.Contact, languages: map[string]*language{}}
	for tag, texts := range parsed {
		l, err := newLanguage(texts, c.Contact)
		if err != nil {
			return nil, err
		}
		n.languages[tag] = l
	}
	return n, nil
}

// languageTag is the beginning of the name of a file of texts (RFC 5646 section 2.1, as far as
// names go).
var languageTag = regexp.MustCompile(`^[a-z]{2,3}(-[A-Za-z0-9]{1,8}){0,3}$`)

// parseTexts reads all files of a directory on top of what is parsed already. The directory is
// named in errors.
func parseTexts(parsed map[string]*template.Template, dir fs.FS, name string) error {
	files, err := fs.Glob(dir, "*.txt")
	if err == nil && len(files) == 0 {
		err = errors.New("there are no files LANGUAGE.txt")
		if _, no := fs.Stat(dir, "."); no != nil {
			err = no
		}
	}
	if err != nil {
		return fmt.Errorf("notices: %s: %w", name, err)
	}
	for _, file := range files {
		path := filepath.Join(name, file)
		tag := strings.TrimSuffix(file, ".txt")
		if !languageTag.MatchString(tag) {
			return fmt.Errorf("notices: %s: the name is not that of a language, such as de.txt", path)
		}
		text, err := readText(dir, file)
		if err != nil {
			return fmt.Errorf("notices: %s: %w", path, err)
		}
		t := template.New(path)
		if known := parsed[tag]; known != nil {
			t = known.New(path)
		}
		if parsed[tag], err = t.Option("missingkey=error").Parse(text); err != nil {
			return fmt.Errorf("notices: %w", err)
		}
	}
	return nil
}

func readText(dir fs.FS, file string) (string, error) {
	info, err := fs.Stat(dir, file)
	if err != nil {
		return "", err
	}
	if info.Size() > maxNoticeFile {
		return "", fmt.Errorf("more than %d bytes", maxNoticeFile)
	}
	b, err := fs.ReadFile(dir, file)
	return string(b), err
}

// newLanguage tries all texts, so that none fails when it is needed.
func newLanguage(texts *template.Template, contact string) (*language, error) {
	l := &language{texts: texts, found: map[string]string{}, banners: map[string]string{}}
	for _, class := range foundClasses {
		text, err := l.line(foundPrefix+class, nil)
		if err != nil {
			return nil, err
		}
		l.found[class] = text
	}
	for _, t := range texts.Templates() {
		name, ok := strings.CutPrefix(t.Name(), bannerPrefix)
		if !ok {
			continue
		}
		text, err := l.execute(t.Name(), bannerData{contact})
		if err != nil {
			return nil, err
		}
		if l.banners[name] = trimmed(text); len(l.banners[name]) > maxBannerText {
			return nil, fmt.Errorf("notices: %s: %s is longer than %d bytes", texts.Name(), t.Name(), maxBannerText)
		}
	}
	full := noticeData{
		Names: []string{"a", "b"}, More: 1, Type: "a/b", Size: "1 KB", Findings: []toldFinding{{"a/b", "c"}, {"d/e", "f"}},
		Reason: []string{"a", "b"}, Item: "0123456789", Contact: contact,
	}
	for _, data := range []noticeData{full, {}} {
		if _, err := l.execute(noticeText, data); err != nil {
			return nil, err
		}
	}
	one := renamedFile{[]string{"a", "b"}, "c", []string{"d", "e"}}
	for _, data := range []renamedData{{[]renamedFile{one, one}, 1, "0123456789", contact}, {}} {
		if _, err := l.execute(renamedText, data); err != nil {
			return nil, err
		}
	}
	return l, nil
}

// execute gives what comes of a text; never nothing.
func (l *language) execute(name string, data any) (string, error) {
	var b limitedBuilder
	if l.texts.Lookup(name) == nil {
		return "", fmt.Errorf("notices: %s: there is no text %q", l.texts.Name(), name)
	}
	if err := l.texts.ExecuteTemplate(&b, name, data); err != nil {
		return "", fmt.Errorf("notices: %w", err)
	}
	text := b.String()
	if strings.TrimSpace(text) == "" {
		return "", fmt.Errorf("notices: %s: the text %q is empty", l.texts.Name(), name)
	}
	if i := strings.IndexFunc(text, func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) && !unicode.IsSpace(r) }); i >= 0 {
		return "", fmt.Errorf("notices: %s: the text %q holds a character that does not print: %q", l.texts.Name(), name, []rune(text[i:])[0])
	}
	return text, nil
}

// line is execute for a text of one line.
func (l *language) line(name string, data any) (string, error) {
	text, err := l.execute(name, data)
	return strings.Join(strings.Fields(text), " "), err
}

var errLongNotice = errors.New("the text comes to more than is allowed")

// A limitedBuilder takes maxNoticeSize bytes.
type limitedBuilder struct{ strings.Builder }

func (b *limitedBuilder) Write(p []byte) (int, error) {
	if b.Len()+len(p) > maxNoticeSize {
		return 0, errLongNotice
	}
	return b.Builder.Write(p)
}

// Languages are all that there are texts in.
func (n *Notices) Languages() []string { return slices.Sorted(maps.Keys(n.languages)) }

// BannerNames are the names of all banners, those of the configured directory among them.
func (n *Notices) BannerNames() []string {
	names := map[string]bool{}
	for _, l := range n.languages {
		for name := range l.banners {
			names[name] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}

// banner is the text of a banner in a language, or in another if it has none in that.
func (n *Notices) banner(tag, name string) string {
	for _, t := range append([]string{tag, defaultLanguage}, n.Languages()...) {
		if l := n.languages[t]; l != nil && l.banners[name] != "" {
			return l.banners[name]
		}
	}
	return ""
}

// in gives the languages of that list that there are; the default if there is none.
func (n *Notices) in(tags []string) []string {
	var out []string
	for _, t := range tags {
		if n.languages[t] != nil {
			out = append(out, t)
		}
	}
	if len(out) == 0 {
		out = []string{defaultLanguage}
	}
	return out
}

// Words tells in words what a check stands for.
func (n *Notices) Words(language, check string) string {
	return n.languages[n.in([]string{language})[0]].found[foundClass(check)]
}

// foundClassOf says as what the checks of an area, or one of them, are told.
var foundClassOf = map[string]string{
	"clamd": "malware", "hash": "malware", "clamd/encrypted": "encrypted", "clamd/limit": "unexamined", "clamd/macro": "macro",
	"name": "disguise", "name/executable": "program", "name/listed": "other", "type": "type", "type/executable": "program",
	"html": "active", "html/limit": "unexamined", "html/charset": "unexamined", "calendar": "active", "calendar/limit": "unexamined",
	"calendar/charset": "unexamined", "calendar/ambiguous": "ambiguous", "calendar/damaged": "damaged",
	"card": "active", "card/limit": "unexamined", "card/charset": "unexamined", "card/ambiguous": "ambiguous", "card/damaged": "damaged",
	"page": "deceptive", "page/remote-image": "active", "page/remote-style": "active", "page/remote-hint": "active", "page/web-bug": "active", "pdf": "active", "office": "macro",
	"pdf/encrypted": "encrypted", "pdf/password-in-message": "encrypted", "pdf/password-known": "encrypted", "pdf/password-listed": "encrypted", "pdf/damaged": "damaged", "pdf/limit": "unexamined",
	"archive": "archive", "archive/encrypted": "encrypted", "crypto": "encrypted", "crypto/damaged": "damaged", "signed": "other",
	"hidden": "damaged", "ole": "damaged", "mime": "ambiguous", "mime/partial": "elsewhere", "mime/external-body": "elsewhere",
	"mime/limit-depth": "unexamined", "mime/limit-parts": "unexamined", "mime/limit-readings": "unexamined",
	"mime/limit-header": "unexamined", "mime/limit-fields": "unexamined", "mime/limit-parameters": "unexamined",
	"mime/limit-names": "unexamined", "header": "header", "scan": "unexamined",
}

func foundClass(check string) string {
	if c := foundClassOf[check]; c != "" {
		return c
	}
	area, _, _ := strings.Cut(check, "/")
	if c := foundClassOf[area]; c != "" {
		return c
	}
	return "other"
}

// A Removal is what a notice tells of the part in whose place it stands.
type Removal struct {
	Reason    string        // why, for people
	Findings  []eml.Finding // what it was stripped for
	Item      string        // what the original is called in quarantine; empty if it is not kept
	Languages []string      // of the notice, one after the other; none means the default
}

// noticeData are the fields that the text of a notice can use. All of them can be shown as they
// are.
type noticeData struct {
	Names    []string // file names of the part, at most maxNoticeNames
	More     int      // how many names more it has
	Type     string   // its type as it says, and the type by its content if that differs
	Size     string   // of its content, with a unit
	Findings []toldFinding
	Reason   []string // lines
	Item     string   // of the quarantine; empty if the original is not kept
	Contact  string   // whom to ask, as configured; may be empty
}

// A toldFinding is a finding in words.
type toldFinding struct {
	Check string // its ID
	Words string
}

// bannerData are the fields that the text of a banner can use: nothing that differs from message to
// message, or a banner that is there already would not be known.
type bannerData struct{ Contact string }
