package policy

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"rastel/scanners"
)

// FuzzLoad: loading never panics, an error has a place, and what loads can decide.
func FuzzLoad(f *testing.F) {
	files, err := filepath.Glob("testdata/bad/*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add(defaultFile)
	f.Add([]byte(manyChanges))
	m := parse(f, threeParts)
	r := report(f, m, "+html/script 1.2", "clamd/pua 1.3")
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := Load("x.yaml", data, Options{Checks: knownChecks, Editor: fakeEditor{}})
		if err != nil {
			var list Errors
			if !errors.As(err, &list) || len(list) == 0 || list[0].Line < 1 || list[0].Column < 1 {
				t.Errorf("%q: the error is %#v", data, err)
			}
			return
		}
		for _, report := range []scanners.Report{{}, r} {
			v := p.Decide(m, report)
			if v.Action == Undecided || len(v.Trace) < len(p.rules) {
				t.Errorf("%q: %s after %d steps", data, v.Action, len(v.Trace))
			}
		}
	})
}
