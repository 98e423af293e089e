package browser

import (
	"bytes"
	"compress/gzip"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"
)

// ownFiles has one attack a file: what is attached to a message, saved under its name, and opened
// from the disk. The header is that of ownFragments and
//
//	name: a.svg                  under which it is saved
//	type: image/svg+xml          the label in the message
//	encode: utf-16le, gzip ...   what is done to the text that follows; may be missing
//
// fires is what it does in Chromium, where the same file in another client may do more.
const ownFiles = "../../testdata/attached"

// An attackFile is one of our own attachments.
type attackFile struct {
	file, fires string
	attachment
}

func attackFiles(t *testing.T) []*attackFile {
	t.Helper()
	names, err := filepath.Glob(ownFiles + "/*.txt")
	if err != nil || len(names) < 50 {
		t.Fatalf("%d files in %s, %v", len(names), ownFiles, err)
	}
	var all []*attackFile
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		a, err := parseAttack(data)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		a.file = filepath.Base(name)
		all = append(all, a)
	}
	return all
}

func parseAttack(data []byte) (*attackFile, error) {
	header, text, ok := bytes.Cut(data, []byte("\n\n"))
	if !ok {
		return nil, errors.New("no header")
	}
	fields := map[string]string{}
	for line := range strings.SplitSeq(string(header), "\n") {
		name, value, ok := strings.Cut(line, ": ")
		if !ok || !slices.Contains([]string{"why", "fires", "name", "type", "encode"}, name) {
			return nil, fmt.Errorf("line %q", line)
		}
		fields[name] = value
	}
	a := &attackFile{fires: fields["fires"], attachment: attachment{fields["name"], fields["type"], bytes.TrimSuffix(text, []byte("\n"))}}
	if fields["why"] == "" || a.fires == "" || a.name == "" || a.label == "" {
		return nil, errors.New("why, fires, name and type are needed")
	}
	for how := range strings.FieldsSeq(fields["encode"]) {
		encode := encodings[how]
		if encode == nil {
			return nil, fmt.Errorf("encode: %q", how)
		}
		a.content = encode(a.content)
	}
	return a, nil
}

// encodings are what may be done to the text of an attack.
var encodings = map[string]func([]byte) []byte{
	"bom":      func(b []byte) []byte { return append([]byte("\xef\xbb\xbf"), b...) },
	"utf-16le": func(b []byte) []byte { return inUTF16("\ufeff"+string(b), 0, 1) },
	"utf-16be": func(b []byte) []byte { return inUTF16("\ufeff"+string(b), 1, 0) },
	"utf-16":   func(b []byte) []byte { return inUTF16(string(b), 0, 1) }, // little-endian, and no mark
	"gzip":     gzipped,
	"crlf":     func(b []byte) []byte { return bytes.ReplaceAll(b, []byte("\n"), []byte("\r\n")) },
}

func inUTF16(s string, low, high int) []byte {
	var out []byte
	for _, u := range utf16.Encode([]rune(s)) {
		var c [2]byte
		c[low], c[high] = byte(u), byte(u>>8) //nolint:gosec // the two bytes of it
		out = append(out, c[:]...)
	}
	return out
}

func gzipped(b []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, _ = w.Write(b) // into memory
	_ = w.Close()
	return out.Bytes()
}

// page is the attachment as it is opened if nothing is done to it.
func (a *attachment) page() Page { return Page{Type: a.label, Content: a.content, File: a.name} }

// TestOwnFilesDoWhatTheySay shows that the files are attacks, and that the check sees them.
func TestOwnFilesDoWhatTheySay(t *testing.T) {
	needBrowser(t)
	all := attackFiles(t)
	pages := make([]Page, len(all))
	for i, a := range all {
		pages[i] = a.page()
	}
	records, errs := visitAll(t, pages)
	for i, a := range all {
		if got := did(records[i]); errs[i] != nil || got != a.fires {
			t.Errorf("%s: %v: it does %q, want %q\n%v\n%v\n%.1000s", a.file, errs[i], got, a.fires, records[i], records[i].Passive, a.content)
		}
	}
}

// TestOwnFilesDoNothing shows what all modes make of the files at once: most of it is the same.
func TestOwnFilesDoNothing(t *testing.T) {
	needBrowser(t)
	var all []*attachment
	files := attackFiles(t)
	for _, a := range files {
		all = append(all, &a.attachment)
	}
	r := row{mode: "any"}
	var show []Page
	var names, before []string
	for _, m := range modes {
		out, held := deliverAll(t, &m, all)
		gone := 0
		for i, d := range out {
			names, before, show = append(names, files[i].file+", mode "+m.name), append(before, string(all[i].content)), append(show, d.Page)
			if d.patched {
				r.changed++
			}
			if d.File == "" {
				gone++
			}
		}
		r.held += held
		t.Logf("mode %s: %d of %d attachments were stripped, %d held by the default policy", m.name, gone, len(out), held)
	}
	checkShown(t, &r, names, before, show)
	report(t, []row{r})
}

// deliverAll sends attachments through the program in a mode.
func deliverAll(t *testing.T, m *mode, all []*attachment) ([]delivered, int) {
	t.Helper()
	messages := make([][]byte, len(all))
	for i, a := range all {
		messages[i] = attach(*a)
	}
	return m.apply(t, messages, saved)
}

// wellFormed reports whether a browser reads XML to its end.
func wellFormed(content []byte) bool {
	d := xml.NewDecoder(bytes.NewReader(content))
	d.Entity = xml.HTMLEntity
	for {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			return true
		} else if err != nil {
			return false
		}
	}
}
