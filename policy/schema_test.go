package policy

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// schema is the schema as an editor reads it.
func schema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	var b bytes.Buffer
	if err := WriteSchema(&b); err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(&b)
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("policy.schema.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("policy.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestPoliciesAgreeWithTheSchema(t *testing.T) {
	s := schema(t)
	files, err := filepath.Glob("../contrib/policy/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("there are no policies: %v", err)
	}
	files = append(files, "default.yaml")
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := agrees(s, data); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
	for _, text := range []string{manyChanges, insidePolicy + "- {name: x, when: true, then: accept}", testLists + "rules: []", manyRules(10), tested, "tests: a.case\nrules: []"} {
		if err := agrees(s, []byte(text)); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func agrees(s *jsonschema.Schema, data []byte) error {
	var v any
	if err := yaml.Unmarshal(data, &v); err != nil {
		return err
	}
	return s.Validate(v)
}

func TestSchemaFindsErrors(t *testing.T) {
	s := schema(t)
	for _, text := range []string{
		"rulez: []",
		"rules: {}",
		"rules: [{name: a}]",
		"rules: [{name: a, when: true, then: quarantin}]",
		"rules: [{name: a, when: true, do: [defanged]}]",
		"rules: [{name: a, when: true, do: [add_header]}]",
		"rules: [{name: a, when: true, do: [{add_header: {name: X}}]}]",
		"rules: [{name: a, when: true, do: [{banner: {txt: x}}]}]",
		"rules: [{name: a, when: true, do: hold}]",
		"rules: [{name: a, when: true, then: reject, reply: {txt: no}}]",
		"rules: [{name: a, when: [x], then: reject}]",
		"rules: []\ninside: {domain: []}",
		"rules: []\nlists: {a: b}",
		"rules: []\nlists: {a: [{fil: b}]}",
		"rules: []\nsignatures: [{match: Win.Packed}]",
	} {
		if agrees(s, []byte(text)) == nil {
			t.Errorf("%s agrees with the schema", text)
		}
	}
}
