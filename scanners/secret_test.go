package scanners

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestReadSecret(t *testing.T) {
	for _, c := range []struct {
		text string
		mode os.FileMode
		want string // empty: an error
	}{
		{" abc\n", 0o600, "abc"}, {"abc", 0o640, "abc"}, {"abc", 0o400, "abc"}, {"abc", 0o644, ""}, {"abc", 0o660, ""}, {"abc", 0o604, ""},
		{"", 0o600, ""}, {"\n", 0o600, ""}, {"a\nb", 0o600, ""}, {"a\x00b", 0o600, ""}, {strings.Repeat("x", maxSecret+1), 0o600, ""},
	} {
		name := filepath.Join(t.TempDir(), "secret")
		if err := os.WriteFile(name, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(name, c.mode); err != nil {
			t.Fatal(err)
		}
		got, err := ReadSecret(name)
		if got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%.20q, %#o: got %q, %v", c.text, c.mode, got, err)
		}
		if err != nil && !strings.Contains(err.Error(), name) {
			t.Errorf("%v does not name the file", err)
		}
	}
}
