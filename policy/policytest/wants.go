package policytest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"rastel/policy"
	"rastel/sanitize/eml"
	"rastel/scanners"
)

// An outcome is what has become of a case.
type outcome struct {
	verdict *policy.Verdict
	refused map[string]*policy.Verdict // recipients at RCPT
	message *eml.Message               // nil if it was refused before it was there
	report  scanners.Report
	out     []byte       // what is delivered; nil if nothing is
	again   *eml.Message // what is delivered, parsed; nil if nothing is, or nobody asks
}

// wanting are the keys of what is expected.
var wanting = []Key{
	{Name: "expect", Doc: "The action (`accept`, `quarantine`, `discard`, `tempfail`, `reject`), and `patched`, `unchanged`, `held` (a copy is kept), `notified` (somebody gets a notice), `mta-hold`; several with commas: `accept, patched`.",
		check: wordsOf(fateWords), got: gotExpect},
	{Name: "rule", Doc: "The rule that decides.", check: notEmpty, got: gotRule},
	{Name: "matched", Doc: "A rule whose condition holds, whether it decides or not. May be repeated.", check: notEmpty, got: gotMatched},
	{Name: "unmatched", Doc: "A rule whose condition does not hold, or that is not asked. May be repeated.", check: notEmpty, got: gotUnmatched},
	{Name: "watched", Doc: "A rule that only watches, and would have done something; behind a colon what: `malware: quarantine`. May be repeated.", check: notEmpty, got: gotWatched},
	{Name: "outcome", Doc: "What one recipient gets: `bob@example.net quarantine`, with the words of `expect`. May be repeated.", check: checkOutcome, got: gotOutcome},
	{Name: "added", Doc: "A recipient that the message gets besides. May be repeated.", check: notEmpty, got: gotAddress(func(v *policy.Verdict) []string { return v.Add })},
	{Name: "removed", Doc: "A recipient that does not get it by this transaction. May be repeated.", check: notEmpty, got: gotAddress(func(v *policy.Verdict) []string { return v.Remove })},
	{Name: "to", Doc: "Who gets the message in the end, those included to whom it is redirected, or who get a copy: all of them, with blanks between; `nobody`.", check: notEmpty, got: gotTo},
	{Name: "class", Doc: "The class of what is held in quarantine.", check: notEmpty, got: gotClass},
	{Name: "notice", Doc: "An address that gets a notice; `nobody`: there is none. May be repeated.", check: notEmpty, got: gotNotice},
	{Name: "reply", Doc: "A text in what the sender is told: `550 5.7.1 ...`.", check: notEmpty, got: gotReply},
	{Name: "finding", Doc: "What must be found, and where: `html/script 1.2`; without a part: anywhere. May be repeated.", check: notEmpty, got: gotFinding},
	{Name: "same", Doc: "Bytes that come out as they went in: `1.1 header`, `1.1 body`, `1.1 all`. May be repeated.", check: checkSame, got: gotSame},
	{Name: "gone", Doc: "A text that is not in what is delivered. May be repeated.", check: notEmpty, got: gotGone},
	{Name: "stays", Doc: "A text that is in what is delivered. May be repeated.", check: notEmpty, got: gotStays},
}

func notEmpty(value string) error {
	if value == "" {
		return errors.New("there is no value")
	}
	return nil
}

// fateWords are what expect may say.
var fateWords = []string{"accept", "quarantine", "discard", "tempfail", "reject", "patched", "unchanged", "held", "notified", "mta-hold"}

func wordsOf(known []string) func(string) error {
	return func(value string) error {
		for _, w := range strings.Split(value, ", ") {
			if !slices.Contains(known, w) {
				return errors.New(unknown("value", w, known))
			}
		}
		return nil
	}
}

// fate is what a verdict comes to, in the words of expect.
func fate(v *policy.Verdict) []string {
	out := []string{v.Action.String()}
	if v.Patch.Empty() {
		out = append(out, "unchanged")
	} else {
		out = append(out, "patched")
	}
	if v.Hold {
		out = append(out, "held")
	}
	if len(v.Notices) > 0 {
		out = append(out, "notified")
	}
	if v.MTAHold != "" {
		out = append(out, "mta-hold")
	}
	return out
}

// unlike is what a verdict is instead of what is wanted; empty if it is that.
func unlike(v *policy.Verdict, value string) string {
	got := fate(v)
	for _, w := range strings.Split(value, ", ") {
		if !slices.Contains(got, w) {
			return strings.Join(got, ", ") + by(v)
		}
	}
	return ""
}

// by names the rule that decided.
func by(v *policy.Verdict) string {
	if v.Rule == "" {
		return ", and no rule decides"
	}
	return fmt.Sprintf(" by rule %q", v.Rule)
}

// gotNotice is who gets a notice instead.
func gotNotice(o *outcome, value string) (string, error) {
	var to []string
	for _, v := range append([]*policy.Verdict{o.verdict}, o.verdict.Others...) {
		for _, n := range v.Notices {
			to = append(to, n.To...)
		}
	}
	if slices.Contains(to, value) || value == "nobody" && len(to) == 0 {
		return "", nil
	}
	if len(to) == 0 {
		return "nobody", nil
	}
	return strings.Join(to, ", "), nil
}

func gotExpect(o *outcome, value string) (string, error) {
	got := unlike(o.verdict, value)
	if got != "" {
		got += "; findings: " + orNothing(strings.Join(o.findings(), ", "))
	}
	return got, nil
}

func gotRule(o *outcome, value string) (string, error) {
	switch o.verdict.Rule {
	case value:
		return "", nil
	case "":
		return o.verdict.Action.String() + ", and no rule decides; findings: " + orNothing(strings.Join(o.findings(), ", ")), nil
	}
	return fmt.Sprintf("%s by rule %q", o.verdict.Action, o.verdict.Rule), nil
}

func gotMatched(o *outcome, value string) (string, error) {
	known := ""
	for _, s := range o.steps() {
		if s.Rule == value && s.Matched {
			return "", nil
		}
		if s.Rule == value {
			known = "it does not hold: " + s.Why
		}
	}
	if known == "" {
		return "", fmt.Errorf("there is no rule %q", value)
	}
	return known, nil
}

func gotUnmatched(o *outcome, value string) (string, error) {
	known := false
	for _, s := range o.steps() {
		if s.Rule == value && s.Matched {
			return "it holds: " + s.Why, nil
		}
		known = known || s.Rule == value
	}
	if !known {
		return "", fmt.Errorf("there is no rule %q", value)
	}
	return "", nil
}

func gotWatched(o *outcome, value string) (string, error) {
	rule, did, _ := strings.Cut(value, ": ")
	var all []string
	for _, w := range o.verdict.Watched {
		if w.Rule == rule && (did == "" || slices.ContainsFunc(w.Did, func(s string) bool { return strings.HasPrefix(s, did) })) {
			return "", nil
		}
		all = append(all, w.Rule+": "+strings.Join(w.Did, ", "))
	}
	return orNothing(strings.Join(all, "; ")), nil
}

// steps are those of all verdicts.
func (o *outcome) steps() []policy.Step {
	out := slices.Clone(o.verdict.Trace)
	for _, v := range o.verdict.Others {
		out = append(out, v.Trace...)
	}
	return out
}

func checkOutcome(value string) error {
	_, words, ok := strings.Cut(value, " ")
	if !ok {
		return fmt.Errorf("%.80q is not \"recipient outcome\"", value)
	}
	return wordsOf(fateWords)(words)
}

func gotOutcome(o *outcome, value string) (string, error) {
	recipient, words, _ := strings.Cut(value, " ")
	v := o.verdictFor(recipient)
	if v == nil {
		return "", fmt.Errorf("%q is no recipient of the case", recipient)
	}
	return unlike(v, words), nil
}

// verdictFor is the verdict for one recipient; nil if there is no such recipient.
func (o *outcome) verdictFor(recipient string) *policy.Verdict {
	if v := o.refused[recipient]; v != nil {
		return v
	}
	for _, v := range o.verdict.Others {
		if slices.Contains(v.Recipients, recipient) {
			return v
		}
	}
	if o.verdict.Recipients == nil && o.message != nil && !slices.Contains(o.message.Envelope.Recipients, recipient) {
		return nil
	}
	if o.verdict.Recipients != nil && !slices.Contains(o.verdict.Recipients, recipient) {
		return nil
	}
	return o.verdict
}

// gotAddress compares with addresses of the verdicts.
func gotAddress(of func(*policy.Verdict) []string) func(*outcome, string) (string, error) {
	return func(o *outcome, value string) (string, error) {
		var all []string
		for _, v := range append([]*policy.Verdict{o.verdict}, o.verdict.Others...) {
			all = append(all, of(v)...)
		}
		if slices.Contains(all, value) {
			return "", nil
		}
		return orNothing(strings.Join(all, ", ")), nil
	}
}

func gotTo(o *outcome, value string) (string, error) {
	var all []string
	for _, v := range append([]*policy.Verdict{o.verdict}, o.verdict.Others...) {
		if v.Action == policy.Accept && o.message != nil {
			all = append(all, v.To(o.message.Envelope)...)
		}
	}
	want := strings.Fields(value)
	if value == "nobody" {
		want = nil
	}
	slices.Sort(all)
	if slices.Sort(want); slices.Equal(all, want) {
		return "", nil
	}
	if len(all) == 0 {
		return "nobody" + by(o.verdict), nil
	}
	return strings.Join(all, " "), nil
}

func gotClass(o *outcome, value string) (string, error) {
	for _, v := range append([]*policy.Verdict{o.verdict}, o.verdict.Others...) {
		if v.Class == value {
			return "", nil
		}
	}
	return orNothing(o.verdict.Class), nil
}

func gotReply(o *outcome, value string) (string, error) {
	r := o.verdict.Reply
	got := strings.TrimSpace(fmt.Sprintf("%d %s %s", r.Code, r.Enhanced, r.Text))
	if r.Code != 0 && strings.Contains(got, value) {
		return "", nil
	}
	if r.Code == 0 {
		got = "the reply that " + o.verdict.Action.String() + " has by default"
	}
	return got, nil
}

// findings are what was found, with the part.
func (o *outcome) findings() []string {
	out := make([]string, len(o.report.Findings))
	for i, f := range o.report.Findings {
		out[i] = f.Check + " " + f.Part.ID
	}
	return out
}

func gotFinding(o *outcome, value string) (string, error) {
	found := o.findings()
	if slices.ContainsFunc(found, func(f string) bool { return f == value || strings.HasPrefix(f, value+" ") }) {
		return "", nil
	}
	return orNothing(strings.Join(found, ", ")), nil
}

func orNothing(s string) string {
	if s == "" {
		return "nothing"
	}
	return s
}

func checkSame(value string) error {
	part, what, _ := strings.Cut(value, " ")
	if p, _ := partAndText(part); p == "" {
		return fmt.Errorf("%.80q does not begin with a part, such as 1.1", value)
	}
	return wordsOf([]string{"header", "body", "all"})(what)
}

// gotSame compares with what is delivered, if anything is.
func gotSame(o *outcome, value string) (string, error) {
	id, what, _ := strings.Cut(value, " ")
	if o.message == nil || o.verdict.Action != policy.Accept {
		return "", nil
	}
	before, ok := bytesOf(o.message, id, what)
	if !ok {
		return "", fmt.Errorf("there is no part %q in the message", id)
	}
	if after, _ := bytesOf(o.again, id, what); !bytes.Equal(before, after) {
		return fmt.Sprintf("%.500q, it was %.500q", after, before), nil
	}
	return "", nil
}

// bytesOf are the bytes of a part, and whether there is one.
func bytesOf(m *eml.Message, id, what string) (b []byte, ok bool) {
	p := partOf(m, id)
	if p == nil {
		return nil, false
	}
	switch what {
	case "header":
		return p.Header.Bytes(), true
	case "body":
		b, _ = io.ReadAll(p.RawBody())
	default:
		b, _ = io.ReadAll(p.Raw())
	}
	return b, true
}

// partOf is the part of that ID; nil if there is none.
func partOf(m *eml.Message, id string) (found *eml.Part) {
	m.Root.Walk(func(p *eml.Part) bool {
		if p.ID == id {
			found = p
		}
		return found == nil
	})
	return found
}

func gotGone(o *outcome, value string) (string, error) {
	if bytes.Contains(o.out, []byte(value)) {
		return "it is still delivered" + by(o.verdict), nil
	}
	return "", nil
}

func gotStays(o *outcome, value string) (string, error) {
	switch {
	case bytes.Contains(o.out, []byte(value)):
		return "", nil
	case o.verdict.Action != policy.Accept:
		return fmt.Sprintf("%s%s, so nothing is delivered", o.verdict.Action, by(o.verdict)), nil
	}
	return "it is not in what is delivered" + by(o.verdict), nil
}
