package main

import (
	"bytes"
	"os"
	"testing"

	"rastel/policy/procmail"
)

const contribPolicy = "../../contrib/policy/procmail-sanitizer.yaml"

// TestContribPolicyIsWhatAnEmptyRCFileMakes: one text serves both, so that what is tested with the one
// holds for the other.
func TestContribPolicyIsWhatAnEmptyRCFileMakes(t *testing.T) {
	want, err := procmail.Empty(checkIDs())
	if err != nil {
		t.Fatal(err)
	}
	if err := soundPolicy(want); err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(contribPolicy, want, 0o644); err != nil { //nolint:gosec // an example for everybody
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(contribPolicy)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is not what is made of an empty rc file; run: go test ./cmd/rastel -run ContribPolicy -update\n%s",
			contribPolicy, differentLines(string(got), string(want)))
	}
}
