package policy

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/expr-lang/expr/parser"
)

func formulaIn(t *testing.T, text string) *formula {
	t.Helper()
	tree, err := parser.ParseWithConfig(text, newLanguage())
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return formulaOf(tree.Node)
}

func TestWhatFollows(t *testing.T) {
	for _, tt := range []struct {
		a, b string // whether a is true whenever b is
		want bool
	}{
		{`true`, `size > 1`, true},
		{`size > 1`, `true`, false},
		{`size > 1`, `size > 1`, true},
		{`size > 1`, `size  >  1`, true},
		{`size > 1`, `size > 2`, false}, // true, but not looked for
		{`has("a/b")`, `has("a/b") and size > 1`, true},
		{`has("a/b")`, `size > 1 && (has("a/b") && sender == "")`, true},
		{`has("a/b") and size > 1`, `has("a/b")`, false},
		{`has("a/b") or size > 1`, `has("a/b")`, true},
		{`has("a/b")`, `has("a/b") or size > 1`, false},
		{`has("a/b", "c/d")`, `has("a/b") or has("c/d")`, true},
		{`has("a/b") or has("c/d")`, `has("c/d")`, true},
		{`has("a/*")`, `has("a/b", "a/c")`, true},
		{`has("a/b*")`, `has("a/b-*")`, true},
		{`has("a/b-*")`, `has("a/b*")`, false},
		{`has("*")`, `has("a/b")`, true},
		{`has("*")`, `has("a/*")`, true},
		{`has("a/*")`, `has("*")`, false},
		{`has("a/?")`, `has("a/*")`, false},
		{`has("a/b", "a/c")`, `has("a/*")`, false}, // there may be others one day
		{`has("a/b")`, `part.has("a/b")`, true},
		{`part.has("a/b")`, `has("a/b")`, false},
		{`part.has("a/*")`, `part.has("a/b") and part.member`, true},
		{`not has("a/*")`, `not has("a/b")`, false},
		{`not has("a/b")`, `not has("a/*")`, true},
		{`not has("a/b")`, `has("a/c")`, false},
		{`part.is("executable")`, `part.is("pe", "elf")`, true},
		{`part.is("pe", "elf")`, `part.is("executable")`, false},
		{`part.named("*.exe", "*.com")`, `part.named("*.com")`, true},
		{`part.inList("a")`, `part.inList("a", "b")`, false},
		{`clientIn("a", "b")`, `clientIn("b")`, true},
		{`clientIn("a")`, `hostIn("a")`, false},
		{`addressIn(sender, "a", "b")`, `addressIn(sender, "a")`, true},
		{`addressIn(sender, "a")`, `addressIn(from, "a")`, false},
		{`unexamined()`, `unexamined("temporary")`, true},
		{`unexamined("any")`, `unexamined("permanent")`, true},
		{`unexamined("permanent")`, `unexamined()`, false},
		{`unexamined()`, `part.unexamined("temporary")`, true},
		{`sender in ["a", "b"]`, `sender == "a"`, true},
		{`sender in ["a", "b"]`, `sender in ["b"]`, true},
		{`sender == "a"`, `sender in ["a", "b"]`, false},
		{`sender != "a"`, `sender != "a"`, true},
		{`sender not in ["a"]`, `sender not in ["a", "b"]`, true},
		{`sender != "a"`, `sender not in ["a", "b"]`, true},
		{`sender not in ["a", "b"]`, `sender != "a"`, false},
		{`sender == "b"`, `from == "b"`, false},
		{`any(parts, .has("a/b"))`, `any(parts, .has("a/b")) and size > 1`, true},
		{`any(parts, .has("a/b"))`, `any(parts, .has("a/c"))`, false},
		{`true`, `false`, true},
		{`size > 1 ? true : false`, `size > 1 ? true : false`, true},
	} {
		if got := new(prover).follows(formulaIn(t, tt.a), formulaIn(t, tt.b)); got != tt.want {
			t.Errorf("%s follows from %s: %v, want %v", tt.a, tt.b, got, tt.want)
		}
	}
}

// TestNoRuleIsCalledUnreachableFalsely: rules that look alike, each of which can act.
func TestNoRuleIsCalledUnreachableFalsely(t *testing.T) {
	for _, text := range []string{
		`[{name: a, when: false, then: accept}, {name: b, when: false, then: accept}]`,
		`[{name: a, when: true, do: [hold]}, {name: b, when: has("clamd/pua"), then: accept}]`,
		`[{name: a, stage: mail, when: true, then: accept}, {name: b, when: true, then: accept}]`,
		`[{name: a, for: part, when: has("clamd/pua") and part.member, then: accept}, {name: b, when: has("clamd/pua"), then: accept}]`,
		`[{name: a, for: part, when: part.has("clamd/pua"), then: accept}, {name: b, when: has("clamd/pua") and size > 1, then: accept}]`,
		`[{name: a, when: has("clamd/pua"), do: [hold]}, {name: b, when: has("clamd/pua"), then: accept}]`,
		`[{name: a, when: has("clamd/pua"), then: accept}, {name: b, when: true, then: accept}]`,
		`[{name: a, for: part, when: 'any(parts, .member)', then: accept}, {name: b, for: part, when: 'any(parts, .type == "pe")', then: accept}]`,
		`[{name: a, mode: watch, when: true, then: accept}, {name: b, when: has("clamd/pua"), then: accept}]`,
		`[{name: a, share: 10%, when: true, then: accept}, {name: b, when: has("clamd/pua"), then: accept}]`,
		`[{name: a, for: recipient, when: size > 10, then: accept}, {name: b, when: size > 10, then: accept}]`,
		`[{name: a, for: recipient, when: recipient == "a@b.example", then: accept}, {name: b, for: part, when: size > 10, then: accept}]`,
	} {
		load(t, "rules: "+text)
	}
}

// TestManyAlikeRulesAreLoadedQuickly: what is compared is bounded, however a policy is written.
func TestManyAlikeRulesAreLoadedQuickly(t *testing.T) {
	var b strings.Builder
	b.WriteString("rules:\n")
	for i := range 400 {
		fmt.Fprintf(&b, "- {name: r%d, then: accept, when: 'has(\"a/%d\"", i, i)
		for k := range 20 {
			fmt.Fprintf(&b, ",\"b%d/%d\"", k, i)
		}
		b.WriteString(")' }\n")
	}
	start := time.Now()
	if _, err := Load("x.yaml", []byte(b.String()), Options{}); err != nil {
		t.Fatal(err)
	}
	t.Logf("took %v", time.Since(start))
	p := &prover{compares: maxCompares}
	if p.follows(formulaIn(t, "size > 1"), formulaIn(t, "size > 1")) {
		t.Error("compares although the limit is reached")
	}
}
