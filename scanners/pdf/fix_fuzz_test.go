package pdf

import (
	"bytes"
	"context"
	"slices"
	"testing"
	"time"

	"rastel/sanitize/eml"
	"rastel/scanners"
	"rastel/scanners/scannertest"
)

// FuzzFix holds the fixes of every input to what they promise: they lie within the document and keep its
// length, what they are for is gone when all of them are made, and then there is nothing left to fix.
func FuzzFix(f *testing.F) {
	for _, c := range deedCases {
		f.Add([]byte(c.content))
	}
	for _, h := range hostile {
		f.Add([]byte(h(5)))
	}
	for _, kind := range testLocks {
		f.Add(attached(newLock(f, kind, "", "owner")).Bytes())
	}
	f.Add(active())
	for _, filter := range []string{"", "/Filter/FlateDecode"} {
		b := newBuilder()
		dict, data := objStm(map[int]string{4: "<</S/JavaScript/JS(app.alert\\(1\\))/A#41 5 0 R>>", 5: "<</S/Launch/F(x.exe)/OpenAction 4 0 R>>"})
		if filter != "" {
			data = deflated(data)
		}
		b.stream(6, dict+filter, data)
		f.Add(b.end("").Bytes())
	}
	expand := func(t *testing.T, content []byte) ([]eml.Finding, error) {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		b := scanners.NewBudget(scanners.BudgetLimits{Bytes: 1 << 20, Members: 100, Depth: 2}, eml.SpoolOptions{})
		return Documents{}.Expand(ctx, scannertest.Part(t, content), b, func(m *eml.Part) error { m.Release(); return nil })
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		content = append([]byte("%PDF-1.4\n"), content...)
		before, err := expand(t, content)
		if err != nil {
			return
		}
		changed := apply(t, content, before)
		after, err := expand(t, changed)
		if err != nil {
			return
		}
		for _, found := range before {
			gone := !slices.ContainsFunc(after, func(g eml.Finding) bool { return g.Check == found.Check })
			if len(found.Fix) > 0 && !gone {
				t.Fatalf("%s is still there, was %q\nbefore %q\nafter  %q", found.Check, found.Detail, content, changed)
			}
		}
		if again := apply(t, changed, after); !bytes.Equal(again, changed) {
			t.Errorf("a second time changes it again:\nbefore %q\nafter  %q\nagain  %q", content, changed, again)
		}
	})
}
