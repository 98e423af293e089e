package eml

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// TestMessagesCutAnywhere: a message may end at any byte, and what is written anew of it then has one
// reading.
func TestMessagesCutAnywhere(t *testing.T) {
	files, err := filepath.Glob("../../testdata/cases/m*.case")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	if testing.Short() {
		files = files[:10]
	}
	for i, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		_, raw, _ := bytes.Cut(bytes.ReplaceAll(bytes.ReplaceAll(b, []byte("\r\n"), []byte("\n")), []byte("\n"), []byte("\r\n")), []byte("\r\n\r\n"))
		if len(raw) > 4<<10 {
			continue
		}
		for n := i % cutStep; n <= len(raw); n += cutStep {
			m, findings := parseBytes(t, raw[:n], Limits{})
			checkExtents(t, m.Root, 0, m.Size)
			unexamined := false
			for _, f := range findings {
				unexamined = unexamined || f.Unexamined
			}
			if !unexamined {
				checkUnambiguous(t, m, writeAnew(t, m, m.Root))
			}
			if t.Failed() {
				t.Fatalf("%s cut at %d: %q", name, n, raw[:n])
			}
		}
	}
}

// cutStep is how far the cuts are from each other; cases are much alike, so that together they are
// cut everywhere.
const cutStep = 29
