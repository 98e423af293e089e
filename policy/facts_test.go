package policy

import (
	"strings"
	"testing"
)

func TestPathsAreComparedWordByWord(t *testing.T) {
	for _, tc := range []struct {
		pattern, path string
		want          bool
	}{
		{"zip/iso/pe", "zip/iso/pe", true},
		{"zip/iso/pe", "zip/pe", false},
		{"zip/iso", "zip/iso/pe", false},
		{"iso/pe", "zip/iso/pe", false},
		{"zip/*/pe", "zip/iso/pe", true},
		{"zip/*/pe", "zip/pe", false},
		{"zip/**/pe", "zip/pe", true},
		{"**", "", true},
		{"*", "", false},
		{"**/lnk", "lnk", true},
		{"**/lnk", "zip/iso/lnk", true},
		{"**/lnk", "zip/lnk/iso", false},
		{"archive/**", "zip/iso/lnk", true},
		{"archive/**", "iso/zip/lnk", false},
		{"**/archive/**/archive/**/executable", "mail/zip/iso/rar/pe", true},
		{"**/archive/**/archive/**/executable", "zip/iso/pe", false},
		{"**/archive/**/archive/**/executable", "zip/zip/pe/zip", false},
		{"**/zip/zip/pe", "zip/zip/zip/pe", true},
	} {
		path := strings.Split(tc.path, "/")
		if tc.path == "" {
			path = nil
		}
		if got := pathMatches(strings.Split(tc.pattern, "/"), path); got != tc.want {
			t.Errorf("pattern %q, path %q: %v, want %v", tc.pattern, tc.path, got, tc.want)
		}
	}
}
