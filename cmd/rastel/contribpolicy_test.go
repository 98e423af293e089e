package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"rastel/policy"
)

// TestCopiesOfTheBuiltInPolicy: from "rules:" on, the ready policies that are copies of the one that is
// built in have its text.
func TestCopiesOfTheBuiltInPolicy(t *testing.T) {
	const begin = "\nrules:\n"
	_, want, ok := strings.Cut(string(policy.DefaultFile()), begin)
	if !ok {
		t.Fatal("the policy that is built in has no rules")
	}
	for _, name := range []string{"default", "monitor-only"} {
		file := filepath.Join("../../contrib/policy", name+".yaml")
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		head, rules, ok := strings.Cut(string(data), begin)
		if !ok {
			t.Fatalf("%s has no rules", file)
		}
		if *update {
			if err := os.WriteFile(file, []byte(head+begin+want), 0o644); err != nil { //nolint:gosec // an example for everybody
				t.Fatal(err)
			}
		} else if rules != want {
			t.Errorf("%s is not the policy that is built in; run: go test ./cmd/rastel -run CopiesOf -update\n%s", file, differentLines(rules, want))
		}
	}
}

// TestReadyPoliciesPassTheirTests: each names its own, has a section in the page about them, and passes.
func TestReadyPoliciesPassTheirTests(t *testing.T) {
	page, err := os.ReadFile("../../contrib/doc/policies.md")
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("../../contrib/policy/*.yaml")
	if err != nil || len(files) < 6 {
		t.Fatalf("ready policies: %q, %v", files, err)
	}
	for _, file := range files {
		var out, errOut strings.Builder
		if status := run(t.Context(), []string{"policy", "test", file}, strings.NewReader(""), &out, &errOut); status != exitOK {
			t.Errorf("%s: status %d\n%s%s", file, status, &out, &errOut)
		}
		if name := strings.TrimSuffix(filepath.Base(file), ".yaml"); !strings.Contains(string(page), "\n## "+name+"\n") {
			t.Errorf("contrib/doc/policies.md has no section about %s", name)
		}
	}
}
