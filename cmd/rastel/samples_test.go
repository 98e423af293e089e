package main

import (
	"strings"
	"testing"

	"rastel/policy/quarantine"
)

// TestReplayTakesSamples, which lists do not show.
func TestReplayTakesSamples(t *testing.T) {
	config, _ := heldWorld(t, quarantine.Item{Rule: "malware", Findings: clamdFound}, quarantine.Item{Class: quarantine.SampleClass, Held: true})
	p := policyFileWith(t, malwareRule+"  - {name: all, when: 'true', then: reject}\n")
	for _, tt := range []struct {
		args []string
		want []string
		not  string
	}{
		{[]string{"policy", "replay", "-config", config, p}, []string{"2 messages, 1 changed", "number 1", "  accept -> reject: 1"}, "number 0"},
		{[]string{"quarantine", "list", "-config", config}, []string{"number 0"}, "number 1"},
		{[]string{"quarantine", "list", "-config", config, "-class", "sample"}, []string{"number 1"}, "number 0"},
		{[]string{"quarantine", "list", "-config", config, "-class", "*"}, []string{"number 1", "number 0"}, "nothing"},
	} {
		var out, errOut strings.Builder
		run(t.Context(), tt.args, nil, &out, &errOut)
		for _, want := range tt.want {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%q lacks %q\n%s%s", tt.args, want, &out, &errOut)
			}
		}
		if strings.Contains(out.String(), tt.not) {
			t.Errorf("%q has %q\n%s", tt.args, tt.not, &out)
		}
	}
}
