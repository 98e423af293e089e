package disk

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
)

// A seen collects what a walk shows.
type seen struct {
	files []seenFile
	dirs  int
	notes []error
	max   int   // files and directories, after which it gives up; 0: none
	bytes int64 // of one file, which more than that is not read
}

type seenFile struct {
	names []string
	size  int64
	sum   string
	head  string
	err   error
	link  bool
}

var errEnough = errors.New("enough")

func (s *seen) File(f *File) error {
	e := seenFile{names: f.Names, err: f.Err, link: f.Link}
	if f.Err == nil && f.Size <= s.most() {
		h := sha256.New()
		var head bytes.Buffer
		e.size, e.err = io.Copy(io.MultiWriter(h, &limited{&head}), f)
		e.sum, e.head = hex.EncodeToString(h.Sum(nil)), head.String()
	} else if f.Err == nil {
		e.size = f.Size
	}
	s.files = append(s.files, e)
	return s.enough()
}

func (s *seen) most() int64 {
	if s.bytes == 0 {
		return 64 << 20
	}
	return s.bytes
}

func (s *seen) enough() error {
	if s.max > 0 && len(s.files)+s.dirs > s.max {
		return errEnough
	}
	return nil
}

func (s *seen) Passed() error  { s.dirs++; return s.enough() }
func (s *seen) Note(err error) { s.notes = append(s.notes, err) }

// limited keeps the first bytes.
type limited struct{ b *bytes.Buffer }

func (l *limited) Write(p []byte) (int, error) {
	l.b.Write(p[:min(len(p), max(200-l.b.Len(), 0))])
	return len(p), nil
}

func walkOf(t testing.TB, img []byte) *seen {
	t.Helper()
	s := &seen{max: 20000}
	if err := Walk(bytes.NewReader(img), int64(len(img)), s); err != nil {
		t.Fatal(err)
	}
	return s
}

// find is the file that has a name; nil if none.
func (s *seen) find(name string) *seenFile {
	for i := range s.files {
		if slices.Contains(s.files[i].names, name) {
			return &s.files[i]
		}
	}
	return nil
}

func (s *seen) String() string {
	var b strings.Builder
	for i, f := range s.files {
		if i == 30 {
			fmt.Fprintf(&b, "\n  and %d more", len(s.files)-i)
			break
		}
		fmt.Fprintf(&b, "\n  %q %d %.30q %v", f.names, f.size, f.head, f.err)
	}
	for i, n := range s.notes {
		if i == 20 {
			break
		}
		fmt.Fprintf(&b, "\n  note: %v", n)
	}
	return b.String()
}

// want fails unless a file has that name and content.
func (s *seen) want(t *testing.T, name, content string) {
	t.Helper()
	f := s.find(name)
	if sum := sha256.Sum256([]byte(content)); f == nil || f.err != nil || f.sum != hex.EncodeToString(sum[:]) {
		t.Errorf("no %q with its content in%s", name, s)
	}
}

// wantNotes fails unless each note wraps one of errs, and each of them is there.
func (s *seen) wantNotes(t *testing.T, errs ...error) {
	t.Helper()
	for _, n := range s.notes {
		if !slices.ContainsFunc(errs, func(e error) bool { return errors.Is(n, e) }) {
			t.Errorf("unexpected note %v in%s", n, s)
		}
	}
	for _, e := range errs {
		if !slices.ContainsFunc(s.notes, func(n error) bool { return errors.Is(n, e) }) {
			t.Errorf("want a note %q in%s", e, s)
		}
	}
}
