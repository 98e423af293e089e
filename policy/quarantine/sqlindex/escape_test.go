package sqlindex

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func FuzzEscape(f *testing.F) {
	for _, s := range []string{"", "Jörg", "\x00", "\xff\xfe", "\x1a", "\x1a00", "\x1a\x1a1", "a\x1a", "\ufffd\xed\xa0\x80"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		e := escape(s)
		if !utf8.ValidString(e) || strings.ContainsRune(e, 0) {
			t.Errorf("escape(%q) = %q, which PostgreSQL does not take", s, e)
		}
		if got := unescape(e); got != s {
			t.Errorf("unescape(escape(%q)) = %q", s, got)
		}
		unescape(s)
	})
}

func TestNumbersThePlaces(t *testing.T) {
	const query, want = `SELECT '?', a FROM b WHERE c = ? AND d LIKE ? ESCAPE '\'`, `SELECT '?', a FROM b WHERE c = $1 AND d LIKE $2 ESCAPE '\'`
	if got := numbered(query); got != want {
		t.Errorf("numbered(%s) = %s, want %s", query, got, want)
	}
}
