package policy

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// An Error is something that is wrong in a policy file, and where.
type Error struct {
	File   string
	Line   int // from 1
	Column int // in characters, from 1
	Msg    string
}

// Error gives one line: "policy.yaml:12:9: unknown key ...".
func (e *Error) Error() string {
	return fmt.Sprintf("%s:%d:%d: %s", e.File, e.Line, e.Column, e.Msg)
}

// Errors are all that is wrong in a policy file and the files of its lists, in the order of their places. What Load
// returns holds at least one.
type Errors []*Error

// Error gives one line for each.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, err := range e {
		lines[i] = err.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap gives them for errors.As.
func (e Errors) Unwrap() []error {
	list := make([]error, len(e))
	for i, err := range e {
		list[i] = err
	}
	return list
}

// maxErrors is how many errors are reported at once; further ones mostly follow from these.
const maxErrors = 20

// sorted gives them in the order of their places, each place and message once.
func (e Errors) sorted() Errors {
	slices.SortStableFunc(e, func(a, b *Error) int {
		return cmp.Or(strings.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column), strings.Compare(a.Msg, b.Msg))
	})
	e = slices.CompactFunc(e, func(a, b *Error) bool { return *a == *b })
	return e[:min(len(e), maxErrors)]
}

// unknown says that there is no such thing, and which one was probably meant.
func unknown(what, word string, known []string) string {
	msg := fmt.Sprintf("unknown %s %.80q", what, word)
	if near := Nearest(word, known); near != "" {
		return fmt.Sprintf("%s; did you mean %q?", msg, near)
	}
	if len(known) <= maxListed {
		return fmt.Sprintf("%s; there are %s", msg, strings.Join(known, ", "))
	}
	return msg
}

// maxListed is how many known words are listed where none is near.
const maxListed = 16

// Nearest is the known word that is so near to word that it was probably meant; empty if
// there is none.
func Nearest(word string, known []string) string {
	best, limit := "", max(1, len(word)/3)
	if len(word) > maxWord {
		return ""
	}
	for _, k := range known {
		if n := distance(strings.ToLower(word), k); n <= limit && k != word {
			best, limit = k, n-1
		}
	}
	return best
}

// maxWord is the longest word for which a near one is looked for.
const maxWord = 80

// distance is how many letters must be changed, added, left out, or swapped with their
// neighbour, to make b of a (optimal string alignment).
func distance(a, b string) int {
	var before []int
	last := make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row := make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			change := last[j-1]
			if a[i-1] != b[j-1] {
				change++
			}
			row[j] = min(change, last[j]+1, row[j-1]+1)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}
