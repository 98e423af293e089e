package policy

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestReferenceIsWhatTheTablesSay(t *testing.T) {
	var b bytes.Buffer
	if err := WriteReference(&b); err != nil {
		t.Fatal(err)
	}
	golden(t, "../contrib/doc/policy.md", b.String())
}

func TestSchemaIsUpToDate(t *testing.T) {
	var b bytes.Buffer
	if err := WriteSchema(&b); err != nil {
		t.Fatal(err)
	}
	golden(t, "../contrib/doc/policy.schema.json", b.String())
}

// TestExamplesOfTheReferenceLoad: what the reference shows is right.
func TestExamplesOfTheReferenceLoad(t *testing.T) {
	var b bytes.Buffer
	if err := WriteReference(&b); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, text := range map[string]string{
		"stripped-files": "*.url\n", "drop.txt": "203.0.113.0/24 ; SBL1\n", "drop_v4.json": "{\"cidr\":\"203.0.113.0/24\"}\n{\"type\":\"metadata\",\"records\":1}\n",
		"partners.txt": "example.net\n", "blocked.sha256": strings.Repeat("0a", 32) + "  a.exe\n",
	} {
		write(t, filepath.Join(dir, name), text)
	}
	if err := os.Mkdir(filepath.Join(dir, "tests"), 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "tests", "a.case"), "why: x\nexpect: accept\n\n\n")
	examples := 0
	for i, block := range strings.Split(b.String(), "```yaml\n")[1:] {
		text, _, _ := strings.Cut(block, "```")
		if !strings.Contains(text, "rules:") {
			text += "rules: [{name: a, when: size > 0, then: accept}]\n"
		}
		if strings.Contains(text, `clientIn("drop")`) && !strings.Contains(text, "networks:") {
			text += "networks: {drop: []}\n" // that of an example before
		}
		examples++
		if _, err := Load("example.yaml", []byte(text), Options{Dir: dir, Lists: append(slices.Clone(builtinLists), List{Name: "core"}, List{Name: "second"}, List{Name: "disk-image"})}); err != nil {
			t.Errorf("example %d:\n%s\n%v", i+1, text, err)
		}
	}
	if examples < 8 {
		t.Errorf("%d examples, want more", examples)
	}
}
