//go:build !race

package worker

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"rastel/scanners"
)

// overflowed is what is known of an overflow of the stack.
const overflowed = "fatal error: stack overflow"

// Whatever limits the memory of a worker, it never has more. The race detector has memory of its own.
func TestMemoryOfWorkersIsBounded(t *testing.T) {
	pl := newPool(t, Options{Workers: 1, Memory: 128 << 20})
	stop, most := make(chan struct{}), make(chan int64)
	go func() {
		var top int64
		for {
			select {
			case <-stop:
				most <- top
				return
			default:
				top = max(top, childMemory())
			}
		}
	}()
	for range 3 {
		if got := summary(examineWith(t, pl, scanners.BudgetLimits{ContainerTime: hang}, "do memory\r\n")); !strings.Contains(got, "scan/failed") {
			t.Errorf("got %s", got)
		}
	}
	close(stop)
	if top := <-most; top > 128<<20 || top < 32<<20 {
		t.Errorf("a worker had %d bytes, want at most 128 MiB, and some", top)
	} else {
		t.Logf("at most %d bytes", top)
	}
}

// childMemory is the resident size of all children.
func childMemory() (size int64) {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, name := range stats {
		text, _ := os.ReadFile(name)
		f := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
		if len(f) > 21 && f[1] == fmt.Sprint(os.Getpid()) {
			var pages int64
			fmt.Sscan(f[21], &pages)
			size += pages * int64(os.Getpagesize())
		}
	}
	return size
}
