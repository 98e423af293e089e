package e2e

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"rastel/contrib/rig"
)

// What is known to be malware only after a message was held speaks against its release.
func TestReleaseAsksAgainAboutWhatIsKnownByNow(t *testing.T) {
	const content = "RASTEL HARMLESS TEST PAYLOAD 5d1f8c72\r\n"
	list := filepath.Join(t.TempDir(), "block.txt")
	writeFile(t, list, "# nothing yet\n")
	w := newWorld(t, setup{
		policy: "rules: [{name: all, when: 'subject == \"held\"', then: quarantine}]\n",
		config: fmt.Sprintf("hashes: {block: [%q], interval: 1s}\n", list),
	})
	w.mustTake(recipient, rig.Text("held", content))
	id := w.onlyHeld()
	cli := func(args ...string) (string, int) {
		return w.rastel.run(append(append([]string{"quarantine"}, args...), "-config", w.rastel.config)...)
	}
	if out, status := cli("rescan", id); status != 0 || !strings.Contains(out, "nothing is against its release") {
		t.Fatalf("rescan: status %d, %s; want nothing against it", status, out)
	}
	writeFile(t, list, fmt.Sprintf("%x  Test.New\n", sha256.Sum256([]byte(content))))
	w.rastel.await(func() error {
		if out, _ := cli("rescan", id); !strings.Contains(out, "! hash/malware") {
			return errors.New("rescan finds nothing: " + out)
		}
		return nil
	})
	if out, status := cli("release", id); status != 1 {
		t.Errorf("release: status %d, %s; want 1", status, out)
	}
	w.wantNothing(recipient)
	if out, _ := cli("show", id); !strings.Contains(out, "not released: today's engines find") || !strings.Contains(out, "Test.New") {
		t.Errorf("show does not tell why it was not released: %s", out)
	}
	if out, status := cli("release", "-force", id); status != 0 {
		t.Errorf("release -force: status %d, %s; want 0", status, out)
	}
	w.only(recipient)
	if out, _ := cli("show", id); !strings.Contains(out, "released in spite of this") {
		t.Errorf("show does not tell that it was forced: %s", out)
	}
}
