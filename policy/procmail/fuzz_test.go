package procmail_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"rastel/policy"
	"rastel/policy/procmail"
)

// FuzzImport: whatever the files hold, there are errors that name one of them, or a policy that
// loads.
func FuzzImport(f *testing.F) {
	files, err := filepath.Glob("testdata/*.rc")
	if err != nil || len(files) == 0 {
		f.Fatalf("no seeds: %v", err)
	}
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data, []byte("*.exe\n# x\nRe[1].com\na/b\n"))
	}
	f.Add([]byte("MANGLE_EXTENSIONS='(a|b[c-e]?)(.|f.*)\\.|g{2}'\nZIPPED_WARNING=\"a\nb: \\\"c\"\nPOISONED_EXECUTABLES=list"), []byte("\xff\xe4\"\\: {*\n? \"\n"))
	f.Fuzz(func(t *testing.T, rc, list []byte) {
		checks := []string{"html/script", "html/style", "page/web-bug"}
		var given []procmail.File
		if strings.Contains(string(rc), "list") {
			given = append(given, procmail.File{Name: "list", Data: list})
		}
		read := func(string) (procmail.File, error) { return procmail.File{Name: "list", Data: list}, nil }
		r, err := procmail.Import(procmail.File{Name: "rc", Data: rc}, given, procmail.Options{Checks: checks, Read: read})
		if err != nil {
			for line := range strings.Lines(err.Error()) {
				if !strings.HasPrefix(line, "rc:") && !strings.HasPrefix(line, "list:") {
					t.Errorf("the error does not name its file: %s", line)
				}
			}
			return
		}
		if _, err := policy.Load("made.yaml", r.Policy, policy.Options{}); err != nil && !tooLarge(err) {
			t.Errorf("the policy does not load: %v\n%s", err, r.Policy)
		}
	})
}

// tooLarge reports whether a policy has more than it may have, and nothing else is wrong with it.
func tooLarge(err error) bool {
	var list policy.Errors
	if !errors.As(err, &list) {
		return false
	}
	for _, e := range list {
		if !strings.Contains(e.Msg, " more than ") {
			return false
		}
	}
	return true
}
