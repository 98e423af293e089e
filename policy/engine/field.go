package engine

import (
	"fmt"
	"strings"

	"rastel/policy"
	"rastel/sanitize/eml"
)

// evidenceField is the field that tells of a message what was decided about it, for those who want it. Forged ones
// are removed with all others that begin so (header/forged-trace), and here, whatever the policy does about those.
const evidenceField = "X-Rastel-Evidence"

// Limits of the field.
const (
	maxFieldChecks = 400 // bytes of the checks that it names
	maxFieldRule   = 100
)

// tellEvidence puts the field into what is delivered, by the transaction or as a message of its own. A policy that
// watches changes nothing.
func (e *Engine) tellEvidence(x *Examination) error {
	if !e.opt.EvidenceField || x.policy.Watches() {
		return nil
	}
	for _, v := range x.verdicts() {
		if v.Action != policy.Accept {
			continue
		}
		patch, err := v.Patch.With(x.Message, x.fieldEdits(v)...)
		if err != nil {
			return fmt.Errorf("add %s: %w", evidenceField, err)
		}
		v.Patch = patch
	}
	return nil
}

// fieldEdits put the field behind all others, and take away what somebody else calls so.
func (x *Examination) fieldEdits(v *policy.Verdict) []eml.Edit {
	root := x.Message.Root
	end := int64(len(root.Header.Bytes()))
	edits := []eml.Edit{{Part: root, Region: eml.InHeader, Start: end, End: end, Text: []byte(x.field(v))}}
	for f := range root.Header.All(evidenceField) {
		edits = append(edits, eml.Edit{Part: root, Region: eml.InHeader, Start: f.Start, End: f.End})
	}
	return edits
}

// field is the field, with its line break. It is in ASCII, and its lines are short.
func (x *Examination) field(v *policy.Verdict) string {
	items := []string{x.Reference, "verdict=" + v.Action.String()}
	if !v.Patch.Empty() {
		items = append(items, "changed=yes")
	}
	if v.Rule != "" {
		items = append(items, `rule="`+plainASCII(v.Rule, maxFieldRule)+`"`)
	}
	if checks := checkIDs(x.Report.Findings); checks != "" {
		items = append(items, "checks="+strings.ReplaceAll(plainASCII(checks, maxFieldChecks), ",", ",\r\n\t "))
	}
	return evidenceField + ": " + strings.Join(append(items, "policy="+v.Policy), ";\r\n\t") + "\r\n"
}

// plainASCII is text that may stand between quotes.
func plainASCII(s string, n int) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' || r == '"' || r == '\\' {
			return '?'
		}
		return r
	}, s[:min(len(s), n)])
}

// The texts of replies that the policy gives none for.
var dataTexts = map[policy.Action]string{
	policy.TempFail: "The message could not be examined; try again later",
	policy.Reject:   "The message was refused because of its content",
}

// refer puts the reference into the reply of a message that is refused, so that whoever gets it can ask about it.
func (x *Examination) refer() {
	v := x.Verdict
	text, refused := dataTexts[v.Action]
	if !refused || x.released {
		return
	}
	if v.Reply.Text != "" { // where the item turned out to be that of a try before, the policy did not know
		text = strings.ReplaceAll(v.Reply.Text, x.told, x.Reference)
	}
	if !strings.Contains(text, x.Reference) {
		text += fmt.Sprintf(" (reference %s)", x.Reference)
	}
	v.Reply.Text = text
}
