package archive

import (
	"bufio"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"rastel/scanners"
)

// An expectation is a line of expect.jsonl.
type expectation struct {
	File     string
	Property string
	Members  []struct {
		Name, SHA256, Link string
		Size               int64
	}
	Decoded string `json:"decoded_sha256"`
}

func expectations(t *testing.T) (out []expectation) {
	t.Helper()
	f, err := os.Open(filepath.Join(corpus, "archives", "expect.jsonl"))
	if err != nil {
		t.Skipf("the corpus of archives is not there: %v", err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var e expectation
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			t.Fatal(err)
		}
		out = append(out, e)
	}
	return out
}

func TestCorpusOfArchives(t *testing.T) {
	for _, e := range expectations(t) {
		t.Run(e.File, func(t *testing.T) {
			content, err := os.ReadFile(filepath.Join(corpus, "archives", e.File))
			if err != nil {
				t.Fatal(err)
			}
			r := expandIn(t.Context(), t, New(Config{}), filepath.Base(e.File), content, scanners.BudgetLimits{})
			e.verify(t, r)
		})
	}
}

// notDamaged are files of the corpus that are there for faults of one decoder: every other
// reads them to their end, or sees no archive in them at all.
var notDamaged = []string{
	"go-tar/gnu-nil-sparse-data.tar", "go-tar/gnu-nil-sparse-hole.tar", "go-tar/pax-nil-sparse-data.tar", "go-tar/pax-nil-sparse-hole.tar",
	"go-tar/invalid-go17.tar", "go-tar/nil-uid.tar", "go-tar/issue10968.tar", "go-tar/issue12435.tar", "sevenzip/issue87.7z",
	"xz/bad-0-header_magic.xz", "xz/bad-1-v1-magic-1.lz", "xz/bad-1-v1-magic-2.lz",
}

// plainName makes names of the oracle and ours comparable.
func plainName(name string) string {
	return strings.TrimPrefix(strings.TrimPrefix(name, "./"), "/")
}

func (e expectation) verify(t *testing.T, r result) {
	flagged := func(want ...string) bool {
		return slices.ContainsFunc(r.checks(), func(c string) bool { return slices.Contains(want, c) })
	}
	switch e.Property {
	case "members", "good", "traversal":
		if !e.found(r) && !flagged(unsupported, limit, "scan/limit") {
			t.Errorf("want members %+v, got%s", e.Members, r)
		}
	case "encrypted":
		if !flagged(encrypted, known) {
			t.Errorf("want %s or %s, got%s", encrypted, known, r)
		}
	case "multivolume-part":
		if !flagged(multivolume) {
			t.Errorf("want %s, got%s", multivolume, r)
		}
	case "malformed", "bomb":
		if len(r.report.Findings) == 0 && !slices.Contains(notDamaged, e.File) {
			t.Errorf("%s came out clean:%s", e.Property, r)
		}
	}
}

// unescape finds the bytes that the oracle could not print.
var unescape = regexp.MustCompile(`\\x[0-9a-f]{2}`)

// isLink reports whether the members of a file are, but for the first, hard links to it, which
// the oracle has followed.
func isLink(file string) bool { return strings.Contains(file, "link") }

// found reports whether all members are there.
func (e expectation) found(r result) bool {
	for _, m := range e.Members {
		name := plainName(unescape.ReplaceAllStringFunc(m.Name, func(s string) string {
			b, _ := hex.DecodeString(s[2:])
			return string(b)
		}))
		if !slices.ContainsFunc(r.members, func(s seenMember) bool {
			same := m.Link != "" || s.size == m.Size && s.sha256 == m.SHA256 || s.size == 0 && isLink(e.File)
			return same && (e.Decoded != "" || slices.ContainsFunc(s.names, func(n string) bool { return plainName(n) == name }))
		}) {
			return false
		}
	}
	return true
}

func TestDamagedSamplesEndInAFindingWithinASecond(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(corpus, "damaged", "panic-*"))
	if err != nil || len(files) == 0 {
		t.Skip("the corpus of damaged archives is not there")
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		r := expand(t, content, scanners.BudgetLimits{})
		if took := time.Since(start); took > hang || len(r.report.Findings) == 0 {
			t.Errorf("%s took %v, got%s", filepath.Base(file), took, r)
		}
	}
}
