package sanitize

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"
)

// listFiles are the lists of dangerous attachments. They are data, so that what changed in one
// is seen at a glance: comments "# key: value" say what it is, of when, and from where; then each
// line is an extension or a media type, the sources that name it, and what it is, with tabs
// between them.
//
//go:embed lists/*.tsv
var listFiles embed.FS

// A List is a list of extensions or media types of attachments that are dangerous in one way.
type List struct {
	Name, Doc string
	Date      time.Time // of the last look at its sources
	Sources   []Source
	Entries   []Entry
}

// A Source is where entries of a list come from.
type Source struct{ Word, Doc string }

// An Entry is an extension without dot, in lower case, or a media type.
type Entry struct {
	Text    string
	Sources []string // words of the list's sources
	What    string   // for people: what such a file is
}

// Pattern is the entry as policies compare attachments with it: "*.exe", or a media type.
func (e Entry) Pattern() string {
	if strings.Contains(e.Text, "/") {
		return e.Text
	}
	return "*." + e.Text
}

// Lists are all lists, by name. The caller must not change them.
func Lists() []List { return builtinLists }

var builtinLists = readLists()

// readLists reads the lists that are built in. That they can be read is tested.
func readLists() []List {
	files, err := fs.Glob(listFiles, "lists/*.tsv")
	var out []List
	for _, name := range files {
		data, e := fs.ReadFile(listFiles, name)
		l, wrong := readList(string(data))
		out = append(out, l)
		err = errors.Join(err, e, wrong)
	}
	if err != nil {
		panic(fmt.Errorf("sanitize: the built-in lists: %w", err))
	}
	return out
}

// readList reads one list. Its errors tell the line.
func readList(text string) (List, error) {
	var l List
	var errs []error
	n := 0
	for line := range strings.Lines(text) {
		n++
		line = strings.TrimRight(line, "\n")
		var err error
		if comment, ok := strings.CutPrefix(line, "# "); ok {
			err = l.setHead(comment)
		} else {
			err = l.addEntry(line)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("list %s, line %d: %w", l.Name, n, err))
		}
	}
	if l.Name == "" || l.Doc == "" || l.Date.IsZero() || len(l.Entries) == 0 {
		errs = append(errs, fmt.Errorf("list %q has no name, doc, date or entries", l.Name))
	}
	return l, errors.Join(errs...)
}

func (l *List) setHead(comment string) (err error) {
	key, value, _ := strings.Cut(comment, ": ")
	switch key {
	case "name":
		l.Name = value
	case "doc":
		l.Doc = value
	case "date":
		l.Date, err = time.Parse(time.DateOnly, value)
	case "source":
		word, doc, ok := strings.Cut(value, ": ")
		if !ok {
			return fmt.Errorf("source %q has no text", value)
		}
		l.Sources = append(l.Sources, Source{word, doc})
	default:
		return fmt.Errorf("unknown key %q", key)
	}
	return err
}

func (l *List) addEntry(line string) error {
	columns := strings.Split(line, "\t")
	if len(columns) != 3 {
		return fmt.Errorf("%d columns, want 3", len(columns))
	}
	e := Entry{columns[0], strings.Fields(columns[1]), columns[2]}
	switch {
	case e.Text == "" || e.Text != strings.ToLower(e.Text) || strings.ContainsAny(e.Text, " *?[\\") || e.Text[0] == '.':
		return fmt.Errorf("%q is neither an extension nor a media type", e.Text)
	case len(e.Sources) == 0 || e.What == "":
		return fmt.Errorf("%q has no source, or does not say what it is", e.Text)
	case slices.ContainsFunc(l.Entries, func(o Entry) bool { return o.Text == e.Text }):
		return fmt.Errorf("%q is there twice", e.Text)
	}
	for _, word := range e.Sources {
		if !slices.ContainsFunc(l.Sources, func(s Source) bool { return s.Word == word }) {
			return fmt.Errorf("%q has the unknown source %q", e.Text, word)
		}
	}
	l.Entries = append(l.Entries, e)
	return nil
}

// entriesOf are the entries of the lists with these names, each with what it is.
func entriesOf(names ...string) map[string]string {
	m := map[string]string{}
	for _, l := range builtinLists {
		if !slices.Contains(names, l.Name) {
			continue
		}
		for _, e := range l.Entries {
			m[e.Text] = e.What
		}
	}
	return m
}
