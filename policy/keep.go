package policy

import (
	"cmp"
	"regexp"
	"strconv"
	"time"

	"github.com/goccy/go-yaml/ast"
)

// maxClass is how long the class of what is held may be.
const maxClass = 30

// sampleClass is that of the quarantine for samples (quarantine.SampleClass, which this package cannot know).
const sampleClass = "sample"

// className is what a class may be called.
var className = regexp.MustCompile(`^[a-z][a-z0-9-]*$`)

// Limits of a retention.
const (
	minRetention = time.Hour
	maxRetention = 10 * 366 * 24 * time.Hour
)

// units of a retention.
var units = map[byte]time.Duration{'h': time.Hour, 'd': 24 * time.Hour, 'w': 7 * 24 * time.Hour}

// ruleKeep reads how what a rule holds is kept.
func (s *source) ruleKeep(r *rule, m map[string]ast.Node) {
	for _, key := range []string{"class", "retention"} {
		if m[key] != nil && r.then != Quarantine && !r.holdsCopy() {
			s.errorf(nodePlace(m[key]), "%q is for rules that hold: with \"then: quarantine\" or \"do: [hold]\"", key)
			return
		}
	}
	if n := m["class"]; n != nil {
		v, ok := s.scalar(n, "a class")
		if r.class = v.text; ok && (len(v.text) > maxClass || !className.MatchString(v.text)) {
			s.errorf(v.at, "a class is a word of at most %d letters from a to z, digits and hyphens", maxClass)
		} else if r.class == sampleClass {
			s.errorf(v.at, "the class %q is for samples of delivered mail, which lists do not show", sampleClass)
		}
	}
	if n := m["retention"]; n != nil {
		v, ok := s.scalar(n, "a retention")
		if r.retention = retention(v.text); ok && r.retention < minRetention {
			s.errorf(v.at, "a retention is from 1h to ten years, in hours, days or weeks: 12h, 30d, 8w")
		}
	}
}

// holdsCopy reports whether the rule keeps a copy of what is delivered.
func (r *rule) holdsCopy() bool {
	for i := range r.do {
		if k := r.do[i].kind; k != nil && k.name == wordHold {
			return true
		}
	}
	return false
}

// retention reads a number and a unit; 0 if it is neither.
func retention(s string) time.Duration {
	if s == "" || len(s) > 6 {
		return 0
	}
	n, err := strconv.ParseUint(s[:len(s)-1], 10, 32)
	unit := units[s[len(s)-1]]
	if err != nil || unit == 0 || n > uint64(maxRetention/unit) {
		return 0
	}
	return time.Duration(n) * unit
}

// keep says how what is held is kept: as the rule says that decided, or else the first one that held it.
func (d *decision) keep() {
	v := d.verdict
	if v.Action != Quarantine && !v.Hold {
		return
	}
	v.Class, v.Retention = d.changes.class, d.changes.retention
	if d.final != nil && v.Action == Quarantine && v.Rule == d.final.name {
		v.Class, v.Retention = cmp.Or(d.final.class, v.Class), cmp.Or(d.final.retention, v.Retention)
	}
}
