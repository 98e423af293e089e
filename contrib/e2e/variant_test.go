package e2e

import (
	"strings"
	"testing"
)

// A copy comes back through the filter like the original, and is known again by its own token: else what is
// attached would be found and held once more.
func TestReleasedCopiesAreNotHeldAgain(t *testing.T) {
	eachMTA(t, func(t *testing.T, mta string) {
		for as, want := range map[string]string{
			"attached":  "Content-Type: message/rfc822",
			"zip":       "Content-Type: application/zip",
			"sanitised": "before the message was released from",
		} {
			t.Run(as, func(t *testing.T) {
				w := newWorld(t, setup{mta: mta})
				w.mustTake(recipient, eicarMessage())
				id := w.onlyHeld()
				out, status := w.rastel.run("quarantine", "release", "-as", as, id, "-config", w.rastel.config)
				if status != 0 {
					t.Fatalf("release -as %s: status %d, %s", as, status, out)
				}
				if got := strings.Contains(out, "the password of the zip is "); got != (as == "zip") {
					t.Errorf("release -as %s prints a password: %v\n%s", as, got, out)
				}
				got := string(w.only(recipient).Raw)
				if !strings.Contains(got, want) || strings.Contains(got, "X-Rastel-Release") {
					t.Errorf("delivered, want %q in it and no token:\n%.2000s", want, got)
				}
			})
		}
	})
}
