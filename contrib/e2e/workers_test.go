package e2e

import (
	"archive/zip"
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"rastel/contrib/rig"
)

// Workers that are killed at random, whatever they do just then, cost their message a second try
// at most: none is lost, and none is delivered that was not opened.
func TestKilledWorkersLoseNothing(t *testing.T) {
	w := newWorld(t, setup{})
	const clients, each = 6, 40
	stop := make(chan struct{})
	var killing, sending sync.WaitGroup
	var killed, accepted, again atomic.Int64
	killing.Go(func() {
		tick := time.NewTicker(7 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
			}
			if killed.Load() > 2*accepted.Load()+clients {
				continue // a slow machine would never have a message examined
			}
			if list := workersOf(w.rastel.cmd.Process.Pid); len(list) > 0 && syscall.Kill(list[rand.IntN(len(list))], syscall.SIGKILL) == nil {
				killed.Add(1)
			}
		}
	})
	for i := range clients {
		sending.Go(func() {
			for n := range each {
				to, raw := workerMessage(t, i, n)
				for tries := 1; ; tries++ {
					r, err := rig.Send(w.mta.SMTP(), sender, []string{to}, raw)
					if err != nil || tries == 100 || r.Code != 250 && !r.Temporary() {
						t.Errorf("send to %s, try %d: %v, %v", to, tries, r, err)
						return
					}
					if r.Code == 250 {
						accepted.Add(1)
						break
					}
					again.Add(1)
				}
			}
		})
	}
	sending.Wait()
	close(stop)
	killing.Wait()
	t.Logf("%d workers killed, %d of %d messages sent again", killed.Load(), again.Load(), clients*each)
	if killed.Load() < 20 {
		t.Errorf("%d workers were killed, want many", killed.Load())
	}
	taken := map[string]bool{}
	for i := range clients {
		for n := range each {
			to, _ := workerMessage(t, i, n)
			taken[to] = !strings.HasPrefix(to, "malware") // delivered once, or not at all
		}
	}
	wantTakenDelivered(t, taken, w.delivered())
	held := map[string]int{}
	for _, h := range w.rastel.quarantine("held") {
		held[strings.Join(h.Recipients, " ")]++
	}
	for to, clean := range taken {
		if want := one(!clean); held[to] != want {
			t.Errorf("%s: %d times in quarantine, want %d", to, held[to], want)
		}
	}
}

func one(b bool) int {
	if b {
		return 1
	}
	return 0
}

// workerMessage is a message with a zip in a zip. Every second one has malware in it.
func workerMessage(t *testing.T, client, n int) (to string, raw []byte) {
	kind, name, content := "clean", "letter.txt", []byte("good\r\n")
	if n%2 == 1 {
		kind, name, content = "malware", "letter.dat", rig.EICAR()
	}
	to = fmt.Sprintf("%s%d.%d@%s", kind, client, n, rig.Domain)
	return to, rig.Attachment(to, "a.zip", "application/zip", zipOf(t, "b.zip", zipOf(t, name, content)))
}

func zipOf(t *testing.T, name string, content []byte) []byte {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	f, err := z.Create(name)
	if err == nil {
		_, err = f.Write(content)
	}
	if err == nil {
		err = z.Close()
	}
	if err != nil {
		t.Error(err)
	}
	return b.Bytes()
}

// workersOf are the children of a process.
func workersOf(pid int) (list []int) {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat") // the pattern is good
	for _, name := range stats {
		text, err := os.ReadFile(name)
		if err != nil {
			continue // it has ended
		}
		f := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
		if len(f) > 1 && f[1] == fmt.Sprint(pid) {
			var child int
			if _, err := fmt.Sscan(filepath.Base(filepath.Dir(name)), &child); err == nil {
				list = append(list, child)
			}
		}
	}
	return list
}
