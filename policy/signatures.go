package policy

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"

	"rastel/sanitize/eml"
)

const (
	maxSignatures = 1000
	// minLiteral is how many letters of a pattern must not be wildcards, so that nobody ignores
	// everything by a slip.
	minLiteral = 4
	// ignoreSignature is what a signature counts as that does not count.
	ignoreSignature = "ignore"
	stepSignatures  = "(signatures)"
)

// An exception says that what engines find by certain signatures counts as something else, or not at
// all. It has an owner, a reason and an end, because nobody remembers why it was made.
type exception struct {
	match, as     string
	owner, reason string
	until         time.Time // exclusive
	check         *pattern  // of the findings that it is for
}

// String names it in a trace and in the log.
func (e *exception) String() string {
	return fmt.Sprintf("%s as %s (%s, until %s)", e.match, e.as, e.owner, e.until.AddDate(0, 0, -1).Format(time.DateOnly))
}

// signatures reads the exceptions of a policy.
func (s *source) signatures(n ast.Node, vocab *vocabulary) []*exception {
	if n == nil {
		return nil
	}
	items := s.list(n, "signatures")
	if len(items) > maxSignatures {
		s.errorf(nodePlace(n), "more than %d signatures", maxSignatures)
		return nil
	}
	var out []*exception
	for _, item := range items {
		if e := s.signature(item, vocab); e != nil {
			out = append(out, e)
		}
	}
	return out
}

func (s *source) signature(n ast.Node, vocab *vocabulary) *exception {
	m, ok := s.mapping(n, "a signature", signatureKeys)
	if !ok {
		return nil
	}
	e := &exception{}
	text := func(key string) (v scalar) {
		if m[key] == nil {
			s.errorf(nodePlace(n), "a signature has no %q", key)
			return v
		}
		v, ok := s.scalar(m[key], key)
		if ok && strings.TrimSpace(v.text) == "" || len(v.text) > maxPattern {
			s.errorf(v.at, "%q must have from 1 to %d bytes", key, maxPattern)
		}
		return v
	}
	match, as, until := text("match"), text("as"), text("until")
	e.match, e.as, e.owner, e.reason = match.text, as.text, text("owner").text, text("reason").text
	if e.match != "" && !goodMatch(e.match) {
		s.errorf(match.at, "%.80q is no pattern, or has fewer than %d letters that are not wildcards", e.match, minLiteral)
	}
	if e.as != "" && e.as != ignoreSignature {
		if p, wrong := vocab.pattern(e.as); wrong != "" || p.glob {
			s.errorf(as.at, "%.80q is neither %q nor a check", e.as, ignoreSignature)
		}
	}
	if until.text != "" {
		day, err := time.ParseInLocation(time.DateOnly, until.text, time.Local)
		if err != nil {
			s.errorf(until.at, "%.80q is no day such as 2027-03-31", until.text)
		}
		e.until = day.AddDate(0, 0, 1)
	}
	e.check = &pattern{text: "clamd/*", glob: true}
	if m["check"] != nil {
		if v, ok := s.scalar(m["check"], "check"); ok {
			var wrong string
			if e.check, wrong = vocab.pattern(v.text); wrong != "" {
				s.errorf(v.at, "%s", wrong)
			}
		}
	}
	return e
}

func goodMatch(match string) bool {
	_, err := path.Match(match, "")
	return err == nil && len(strings.Map(func(r rune) rune {
		if strings.ContainsRune(`*?[]\.-_`, r) {
			return -1
		}
		return r
	}, match)) >= minLiteral
}

// takes reports whether the exception is for a finding. What says that something was not examined is
// never taken: it says nothing about what that is.
func (e *exception) takes(f *eml.Finding) bool {
	if f.Unexamined || !e.check.match(f.Check) {
		return false
	}
	name := f.Detail
	if i := strings.LastIndexByte(name, '('); i > 0 && strings.HasSuffix(name, ")") {
		name = name[:i] // "Name(md5:size)", by ExtendedDetectionInfo of clamd
	}
	flat := func(s string) string { return strings.ReplaceAll(s, "/", "\x00") } // to path.Match "*" ends at a slash
	for _, n := range []string{name, strings.TrimSuffix(name, ".UNOFFICIAL")} {
		if ok, err := path.Match(flat(e.match), flat(n)); ok && err == nil {
			return true
		}
	}
	return false
}

// except is what a finding counts as: nil if it does not count. The second result is how the trace
// tells of it; empty if it stays as it is.
//
// An engine that stops at the first signature has not looked for any other, so whoever ignores that one
// would pass over all that it hides. Unless the engine says that it has told all (the check area/all), what
// is left is "not examined": the check area/ignored if it was to be ignored, or the other check.
func (p *Policy) except(f *eml.Finding, complete bool, now time.Time) (*eml.Finding, string) {
	for _, e := range p.signatures {
		switch {
		case !e.takes(f):
			continue
		case !now.Before(e.until):
			return f, "does not hold any more: " + e.String()
		case complete && e.as == ignoreSignature:
			return nil, e.String()
		}
		g := *f
		g.Check, g.Fix, g.Unexamined = e.as, nil, !complete
		if e.as == ignoreSignature {
			area, _, _ := strings.Cut(f.Check, "/")
			g.Check = area + "/ignored"
		}
		why := e.String()
		if !complete {
			why += ", and not examined any further: the engine stops at the first signature"
		}
		return &g, why
	}
	return f, ""
}

// told reports whether an engine says of a part that it has told all signatures.
func told(findings []eml.Finding, f *eml.Finding) bool {
	area, _, _ := strings.Cut(f.Check, "/")
	return slices.ContainsFunc(findings, func(g eml.Finding) bool { return g.Part == f.Part && g.Check == area+"/all" })
}

// Expired tells of each exception for signatures that does not hold any more at that time.
func (p *Policy) Expired(now time.Time) (list []string) {
	for _, e := range p.signatures {
		if !now.Before(e.until) {
			list = append(list, e.String())
		}
	}
	return list
}
