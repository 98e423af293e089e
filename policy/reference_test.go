package policy

import (
	"bytes"
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
