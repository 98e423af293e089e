package browser

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// rastel is the path of the binary under test, and chromium the browser that all tests share.
// TestMain makes both.
var (
	rastel   string
	chromium *Browser
)

func TestMain(m *testing.M) { os.Exit(testMain(m)) }

func testMain(m *testing.M) int {
	if !wanted() {
		return m.Run() // each test says why it skips
	}
	if missing := Missing(); len(missing) > 0 {
		fmt.Fprintf(os.Stderr, "tests in a browser need what is missing (contrib/test installs it): %q\n", missing)
		return 1
	}
	dir, err := os.MkdirTemp("", "browser-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	rastel = filepath.Join(dir, "rastel")
	if out, err := exec.Command("go", "build", "-o", rastel, "rastel/cmd/rastel").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build rastel: %v\n%s", err, out)
		return 1
	}
	if chromium, err = Start(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer chromium.Close()
	return m.Run()
}

func wanted() bool { return os.Getenv("RASTEL_E2E") == "1" }

// needBrowser skips a test where the browser is not asked for.
func needBrowser(t *testing.T) {
	t.Helper()
	if !wanted() {
		t.Skip("needs Chromium: run contrib/test, or set RASTEL_E2E=1")
	}
}
