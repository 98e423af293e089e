package e2e

import (
	"os/exec"
	"path/filepath"
	"testing"
)

// Two clamds under load, of which one fails in every way that matters: nothing is delivered unscanned,
// nothing is lost, nothing is refused. contrib/faults does it for longer, and with more faults.
func TestMailGoesOnWhileOneClamdFails(t *testing.T) {
	needServers(t)
	faults := filepath.Join(t.TempDir(), "faults")
	if out, err := exec.Command("go", "build", "-o", faults, "rastel/contrib/rig/faults").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	cmd := exec.Command(faults, "-rastel", program, "-short", "-rate", "10", "-untimed")
	cmd.Env = environment()
	out, err := cmd.CombinedOutput()
	t.Logf("\n%s", out)
	if err != nil {
		t.Errorf("faults: %v", err)
	}
}
