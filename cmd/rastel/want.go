package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// A tally counts what a replay has seen.
type tally struct {
	messages, changed, failed int
	moves                     map[string]int // "accept->quarantine", also for those that stay what they are
}

// count gives the number that a want is about: messages, changed, failed, an action of the new policy, or
// "old->new", where "*" stands for any action.
func (t *tally) count(what string) int {
	switch what {
	case "messages":
		return t.messages
	case "changed":
		return t.changed
	case "failed":
		return t.failed
	}
	from, to, ok := strings.Cut(what, "->")
	if !ok {
		from, to = "*", what
	}
	n := 0
	for move, k := range t.moves {
		a, b, _ := strings.Cut(move, "->")
		if (from == "*" || from == a) && (to == "*" || to == b) && (!ok || from == to || a != b) {
			n += k
		}
	}
	return n
}

// A wanted is one "-want": a count, and what it is to be.
type wanted struct {
	text, what, op string
	n              int
}

// countable are the words that a want may be about, besides "old->new".
var countable = []string{"messages", "changed", "failed", "accept", "quarantine", "discard", "tempfail", "reject"}

// parseWanted reads a want, such as "changed=0" or "accept->quarantine<=3".
func parseWanted(s string) (w wanted, err error) {
	w.text = s
	rest := strings.TrimRight(s, "0123456789")
	if w.n, err = strconv.Atoi(s[len(rest):]); err != nil {
		return w, fmt.Errorf("%q does not end in a number", s)
	}
	for _, op := range []string{"<=", ">=", "=", "<", ">"} {
		if what, ok := strings.CutSuffix(rest, op); ok {
			w.what, w.op = strings.TrimSpace(what), op
			break
		}
	}
	from, to, move := strings.Cut(w.what, "->")
	actions := append([]string{"*"}, countable[3:]...)
	switch {
	case w.op == "":
		return w, fmt.Errorf("%q has none of =, <, >, <=, >= before its number", s)
	case move && slices.Contains(actions, from) && slices.Contains(actions, to):
	case !move && slices.Contains(countable, w.what):
	default:
		return w, fmt.Errorf("%q is about none of %s, or \"accept->quarantine\" and the like", s, strings.Join(countable, ", "))
	}
	return w, nil
}

// holds reports whether it is as wanted.
func (w wanted) holds(t *tally) bool {
	switch n := t.count(w.what); w.op {
	case "=":
		return n == w.n
	case "<":
		return n < w.n
	case ">":
		return n > w.n
	case "<=":
		return n <= w.n
	case ">=":
		return n >= w.n
	}
	return false
}
