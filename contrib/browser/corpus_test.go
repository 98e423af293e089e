package browser

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
)

// corpus is third-party test data beside the project; it is no part of it.
const corpus = "../../../shared/corpus/html"

// A fragment is a piece of HTML to be put into a page.
type fragment struct {
	ID    string
	Class string `json:"cls"` // "xss" or "benign-fragment"
	HTML  string
	Fires bool `json:"fires_chromium156"` // it ran a script in Chromium 156 when the corpus was made
}

// page is a page with a fragment in it, as the corpus was tried.
func (f *fragment) page() []byte { return inBody(f.HTML) }

func inBody(s string) []byte {
	return []byte("<!DOCTYPE html>\n<html><head><meta charset=\"utf-8\"><title>test</title></head><body>" + s + "</body></html>\n")
}

func needCorpus(t *testing.T) {
	t.Helper()
	needBrowser(t)
	if _, err := os.Stat(corpus); err != nil {
		t.Skipf("needs the third-party pages in ../shared/corpus/html beside the project: %v", err)
	}
}

// fragments are the fragments of a class, at least as many as the corpus has.
func fragments(t *testing.T, class string, atLeast int) []*fragment {
	t.Helper()
	var all []*fragment
	for _, f := range readLines[fragment](t, filepath.Join(corpus, "payloads.jsonl")) {
		if f.Class == class {
			all = append(all, &f)
		}
	}
	if len(all) < atLeast {
		t.Fatalf("%d fragments of class %s, want %d", len(all), class, atLeast)
	}
	return all
}

// A template is a newsletter, or another page that nothing is wrong with.
type template struct {
	File    string
	Content []byte
}

func templates(t *testing.T) []*template {
	t.Helper()
	var all []*template
	for _, f := range readLines[template](t, filepath.Join(corpus, "benign.jsonl")) {
		b, err := os.ReadFile(filepath.Join(corpus, "benign", f.File))
		if err != nil {
			t.Fatal(err)
		}
		f.Content = b
		all = append(all, &f)
	}
	if len(all) < 35 {
		t.Fatalf("%d templates, want 35", len(all))
	}
	return all
}

func readLines[T any](t *testing.T, name string) []T {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var all []T
	for d := json.NewDecoder(bytes.NewReader(data)); ; {
		var v T
		if err := d.Decode(&v); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		all = append(all, v)
	}
}
