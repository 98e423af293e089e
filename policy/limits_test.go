package policy

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"rastel/sanitize/eml"
)

// TestErrorsAboutLimitsNameThePlace: what is too long, too much or too many is told with its place, as all
// else. The policies are too long to be files.
func TestErrorsAboutLimitsNameThePlace(t *testing.T) {
	dir := t.TempDir()
	lines := func(n int, line string) string { return strings.Repeat(line+"\n", n) }
	for name, text := range map[string]string{
		"many-patterns": lines(maxPatterns+1, "a"), "many-globs": lines(maxGlobs+1, "?*"), "bad-pattern": "a\n[\n", "long-pattern": strings.Repeat("a", maxPattern+1),
		"bad-network": "192.0.2.1\n192.0.2.300\n", "cut-off": "{\"cidr\":\"192.0.2.0/24\"}\n", "no-json": "{cidr}\n",
		"many-globs-of-addresses": lines(maxGlobs+1, "*@a"), "long-address": strings.Repeat("a", maxEntry+1), "latin": "\xe9\n",
	} {
		write(t, filepath.Join(dir, name), text)
	}
	list := func(n int, item string) string { return "[" + strings.Repeat(item+",", n) + "]" }
	rule := "\nrules:\n- {name: a, when: true, then: accept}\n"
	when := func(cond string) string {
		return "rules:\n- name: a\n  for: part\n  then: accept\n  when: " + cond + "\n"
	}
	var b strings.Builder
	for _, tt := range []struct{ name, text string }{
		{"bytes", "rules: [] #" + strings.Repeat("x", maxFile)},
		{"not text", "rules: \xff"},
		{"NUL", "rules: \x00"},
		{"nesting", "rules: " + strings.Repeat("[", 100)},
		{"rules", "rules:" + lines(maxRules+1, "\n- {name: a, when: true, then: accept}")},
		{"condition", when(strings.Repeat("x", maxCondition+1))},
		{"nodes", when(strings.Repeat("true or ", maxNodes/2) + "true")},
		{"texts of a function", when("has(" + strings.Repeat(`"a/b",`, maxTexts) + `"a/b")`)},
		{"words of a path", when(`part.pathIs("` + strings.Repeat("zip/", maxPathWords) + `zip")`)},
		{"changes", "rules:\n- name: x\n  when: true\n  do: " + list(maxChanges+1, "hold") + "\n"},
		{"lists", "lists: {" + numbered(maxLists+1, "a%d: []") + "}" + rule},
		{"lists of addresses", "addresses: {" + numbered(maxEntryLists+1, "a%d: []") + "}" + rule},
		{"patterns of lists", "lists: {a: [{file: many-patterns}]}" + rule},
		{"globs of lists", "lists: {a: [{file: many-globs}]}" + rule},
		{"a pattern in a file", "lists: {a: [{file: bad-pattern}, {file: long-pattern}, {file: latin}, {file: .}]}" + rule},
		{"networks in files", "networks: {a: [{file: bad-network}, {file: cut-off}, {file: no-json}, " + strings.Repeat("1", maxNetwork+1) + "]}" + rule},
		{"patterns of addresses", "addresses: {a: [{file: many-globs-of-addresses}, {file: long-address}]}" + rule},
		{"listeners", "inside: {listeners: " + list(maxInside+1, "a") + "}" + rule},
		{"signatures", "signatures: " + list(maxSignatures+1, "a") + rule},
		{"no rules", "lists: {a: []}"},
	} {
		file := filepath.Join(dir, "policy.yaml")
		write(t, file, tt.text)
		_, err := LoadFile(file, Options{Checks: knownChecks})
		msg := "is loaded"
		if err != nil {
			msg = strings.NewReplacer(dir+"/", "", dir, "(directory)").Replace(err.Error())
		}
		fmt.Fprintf(&b, "%s\n%s\n\n", tt.name, msg)
	}
	_, err := Load("policy.yaml", []byte(when(`has("b/late")`)+"  stage: mail\n"), Options{Checks: []eml.Check{{ID: "b/late"}}})
	fmt.Fprintf(&b, "a check that is known later\n%v\n", err)
	golden(t, "testdata/limits.err", b.String())
}

// numbered are items with numbers.
func numbered(n int, item string) string {
	var list []string
	for i := range n {
		list = append(list, fmt.Sprintf(item, i))
	}
	return strings.Join(list, ", ")
}
