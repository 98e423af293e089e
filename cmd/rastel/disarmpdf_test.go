package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"rastel/policy"
	"rastel/sanitize/eml"
)

// TestDisarmsPDF runs the cases about PDF documents with a policy that takes everything out of them that it
// can: what is delivered has none of it any more, and what cannot be changed is held.
func TestDisarmsPDF(t *testing.T) {
	name := filepath.Join(t.TempDir(), "disarm.yaml")
	const checks = `"pdf/javascript", "pdf/open-action", "pdf/launch", "pdf/server", "pdf/name-disguise", "pdf/uri-executable"`
	rules := "rules:\n- {name: without scripts, for: part, when: 'part.has(" + checks + ")', do: [disarm]}\n- {name: rest, when: true, then: accept}\n"
	if err := os.WriteFile(name, []byte(rules), 0o600); err != nil {
		t.Fatal(err)
	}
	e := policyEngine(t, name)
	files, err := filepath.Glob("../../testdata/cases/*-pdf-*.case")
	if err != nil || len(files) < 10 {
		t.Fatalf("cases: %q, %v", files, err)
	}
	taken := []string{"pdf/javascript", "pdf/open-action", "pdf/launch", "pdf/server", "pdf/name-disguise", "pdf/uri-executable"}
	changed, held := 0, 0
	for _, file := range files {
		c, err := readCase(file)
		if err != nil {
			t.Fatal(err)
		}
		x, out := deliver(t, e, c.Raw)
		unfixed := slices.ContainsFunc(x.Report.Findings, func(f eml.Finding) bool {
			return slices.Contains(taken, f.Check) && (len(f.Fix) == 0 || f.Part.Member())
		})
		if unfixed {
			held++
			if x.Verdict.Action != policy.Quarantine {
				t.Errorf("%s: %s, want quarantine: %+v", caseName(c), x.Verdict.Action, x.Verdict.Trace)
			}
			continue
		}
		again, twice := deliver(t, e, out)
		for _, f := range again.Report.Findings {
			if slices.Contains(taken, f.Check) {
				t.Errorf("%s: still has %s: %s", caseName(c), f.Check, f.Detail)
			}
		}
		if !bytes.Equal(out, twice) {
			t.Errorf("%s: a second pass changes it again", caseName(c))
		}
		if !bytes.Equal(out, c.Raw) {
			changed++
		}
	}
	t.Logf("%d documents, %d changed, %d held", len(files), changed, held)
	if changed < 5 || held < 1 {
		t.Errorf("%d documents changed, %d held", changed, held)
	}
}
