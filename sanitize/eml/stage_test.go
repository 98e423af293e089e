package eml

import "testing"

func TestStagesFollowEachOther(t *testing.T) {
	order := []Stage{AtConnect, AtMail, AtRcpt, AtData}
	for i, from := range order {
		for j, at := range order {
			if got := from.KnownAt(at); got != (i <= j) {
				t.Errorf("what is known from %s on is known at %s: %v", from, at, got)
			}
		}
	}
}
