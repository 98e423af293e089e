package engine_test

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"rastel/policy/quarantine"
)

func TestRescanFindsWhatJudgeFinds(t *testing.T) {
	w := newWorld(t, quarantine.Config{}, nil)
	w.store.SetExaminer(w.Rescan)
	w.judge(t, mail("x", "bad"))
	w.judge(t, mail("copy", "broken bad"))
	items := w.held(t)
	if len(items) == 0 {
		t.Fatal("nothing is held")
	}
	for _, it := range items {
		r, err := w.store.Rescan(t.Context(), it.ID)
		if err != nil || len(r.Findings) != len(it.Findings) {
			t.Fatalf("Rescan = %+v, %v; want %+v", r, err, it.Findings)
		}
		for i, f := range r.Findings {
			if f != it.Findings[i] {
				t.Errorf("found %+v, want %+v", f, it.Findings[i])
			}
		}
	}
	found, err := w.Rescan(t.Context(), &items[0], strings.NewReader(mail("x", "broken")))
	if err != nil || len(found) != 1 || found[0].Check != "scan/failed" {
		t.Errorf("Rescan of what a scanner fails at = %+v, %v; want scan/failed", found, err)
	}
	unread := errors.New("disk")
	if _, err := w.Rescan(t.Context(), &items[0], io.MultiReader(strings.NewReader("A: b\r\n"), iotest.ErrReader(unread))); !errors.Is(err, unread) {
		t.Errorf("Rescan of what cannot be read = %v, want %v", err, unread)
	}
}
