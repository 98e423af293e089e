package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"rastel/contrib/rig"
)

// program is the path of the binary under test; TestMain builds it.
var program string

func TestMain(m *testing.M) { os.Exit(testMain(m)) }

func testMain(m *testing.M) int {
	if !wanted() {
		return m.Run() // each test says why it skips
	}
	if missing := rig.Missing(); len(missing) > 0 {
		fmt.Fprintf(os.Stderr, "end-to-end tests need what is missing (contrib/test installs it): %q\n", missing)
		return 1
	}
	dir, err := os.MkdirTemp("", "e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	program = filepath.Join(dir, "rastel")
	args := append([]string{"build", "-tags", "crashpoints"}, raceFlag...)
	if out, err := exec.Command("go", append(args, "-o", program, "rastel/cmd/rastel")...).CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build rastel: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

func wanted() bool { return os.Getenv("RASTEL_E2E") == "1" }

// needServers skips a test where the servers are not asked for.
func needServers(t *testing.T) {
	t.Helper()
	if !wanted() {
		t.Skip("needs root, Postfix, Sendmail and clamd: run contrib/test, or set RASTEL_E2E=1")
	}
}

// mtas are the kinds of MTA that each test of the wire runs with.
var mtas = []string{rig.NeedPostfix, rig.NeedSendmail}

// eachMTA runs a test with each kind of MTA.
func eachMTA(t *testing.T, test func(t *testing.T, mta string)) {
	needServers(t)
	for _, mta := range mtas {
		t.Run(mta, func(t *testing.T) { test(t, mta) })
	}
}
