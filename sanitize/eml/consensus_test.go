package eml

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// An expectation is what two parsers agree on that share nothing.
type expectation struct {
	File      string `json:"file"`
	Consensus string `json:"consensus"`
	Leaves    []struct {
		Type    string  `json:"type"`
		Name    *string `json:"filename"`
		NameAlt *string `json:"filename_alt"`
		SHA256  string  `json:"sha256_lf"`
	} `json:"consensus_leaves"`
}

func TestLeavesAreThoseThatAllParsersSee(t *testing.T) {
	f, err := os.Open(filepath.Join(corpus, "expect.jsonl"))
	if err != nil {
		t.Skip("needs ../shared/corpus/mime beside the project")
	}
	defer f.Close()
	n := 0
	for r := bufio.NewScanner(f); r.Scan(); {
		var e expectation
		if err := json.Unmarshal(r.Bytes(), &e); err != nil {
			t.Fatal(err)
		}
		if e.Consensus != "full" {
			continue
		}
		n++
		raw, err := os.ReadFile(filepath.Join(corpus, e.File))
		if err != nil {
			t.Fatal(err)
		}
		m, findings := parseBytes(t, raw, Limits{})
		if m.Ambiguous {
			continue // the default policy holds it, and it is read in other ways too
		}
		if got, want := leavesOf(m), e.leaves(); !slices.Equal(got, want) {
			t.Errorf("%s (findings %q)\n got %s\nwant %s", e.File, checksOf(findings), strings.Join(got, "\n     "), strings.Join(want, "\n     "))
		}
	}
	if n == 0 {
		t.Error("no messages with a consensus")
	}
}

func (e *expectation) leaves() []string {
	var out []string
	for _, l := range e.Leaves {
		out = append(out, l.Type+" "+l.SHA256)
	}
	return out
}

// leavesOf are the leaves of the first reading, their content with LF for all line ends.
func leavesOf(m *Message) []string {
	var out []string
	m.Root.Walk(func(p *Part) bool {
		if p.Leaf() && p.Reading == "" {
			sum := sha256.Sum256(bytes.ReplaceAll([]byte(content(p)), []byte("\r\n"), []byte("\n")))
			out = append(out, fmt.Sprintf("%s %s", p.MediaType, hex.EncodeToString(sum[:])))
		}
		return true
	})
	return out
}
