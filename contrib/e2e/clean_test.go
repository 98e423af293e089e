package e2e

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"rastel/contrib/rig"
)

// cleanMessages are innocent, and have what a filter that writes messages anew would change.
func cleanMessages(t *testing.T) map[string][]byte {
	messages := map[string][]byte{
		"blanks in fields": []byte("From:alice@sender.test\r\nTo:  bob@example.test\r\nSubject:\ttab \t \r\n" +
			"Date: Mon, 23 Nov 2026 10:00:00 +0000\r\nMessage-ID: <blanks@sender.test>\r\nX-Folded: a\r\n\tb\r\n  c\r\nX-Empty:\r\n" +
			"x-case: 1\r\nX-CASE: 2\r\nX-Case: 3\r\n\r\ntext\r\n"),
		"8-bit header": []byte("From: alice@sender.test\r\nTo: bob@example.test\r\nSubject: na\xc3\xafve \xff\r\n" +
			"Date: Mon, 23 Nov 2026 10:00:00 +0000\r\nMessage-ID: <8bit@sender.test>\r\n\r\n\xe9\r\n"),
		"dots and blank lines": rig.Text("dots", "\r\n\r\n.\r\n..\r\n.x\r\n \t\r\n\r\n\r\n"),
		"empty body":           rig.Text("empty", ""),
		"no last line end":     rig.Text("no last line end", "text"),
		"long line":            rig.Text("long line", strings.Repeat("0123456789", 90)+"\r\n"),
		"large":                rig.Attachment("large", "large.txt", "text/plain", bytes.Repeat([]byte("nothing but text in here\n"), 100_000)),
	}
	for _, s := range samples(t) {
		if s.Outcome == rig.Delivered {
			messages[s.Name] = s.Raw
		}
	}
	return messages
}

func TestCleanMailIsByteIdentical(t *testing.T) {
	eachMTA(t, func(t *testing.T, mta string) {
		with, without := newWorld(t, setup{mta: mta}), newWorld(t, setup{mta: mta, noFilter: true})
		i := 0
		for name, raw := range cleanMessages(t) {
			to := fmt.Sprintf("clean%d@%s", i, rig.Domain)
			i++
			t.Run(name, func(t *testing.T) {
				with, without := with.in(t), without.in(t)
				without.mustTake(to, raw)
				with.mustTake(to, raw)
				wantSame(t, with.only(to).Raw, without.only(to).Raw, raw)
				wantNoEdits(t, with.tap.counts())
			})
		}
	})
}

// wantNoEdits reports packets that change a message: all but the answer to the negotiation,
// continue, skip, progress and accept.
func wantNoEdits(t *testing.T, seen map[string]int) {
	t.Helper()
	for k, n := range seen {
		if strings.HasPrefix(k, "<") && !strings.Contains("Ocspa", k[1:]) {
			t.Errorf("the filter sent %d packets %q for a clean message", n, k)
		}
	}
	if seen["<a"]+seen["<c"] == 0 {
		t.Errorf("the filter was not asked: %v", seen)
	}
}
