package e2e

import (
	"fmt"
	"sync"
	"syscall"
	"testing"

	"rastel/contrib/rig"
)

// A message that is in work when SIGTERM comes is finished.
func TestSIGTERMFinishesTheMessageInWork(t *testing.T) {
	eachMTA(t, func(t *testing.T, mta string) {
		w := newWorld(t, setup{mta: mta})
		var once sync.Once
		process := w.rastel.cmd.Process
		w.tap.onPacket(func(p packet) {
			if p.String() == ">B" {
				once.Do(func() { _ = process.Signal(syscall.SIGTERM) }) // if it is gone, the message tells
			}
		})
		clean := rig.Text("clean", "good\r\n")
		w.mustTake(recipient, clean)
		w.wantBody(recipient, clean)
		if err := w.rastel.wait(); err != nil {
			t.Errorf("rastel ended with %v, want status 0", err)
		}
		if r := w.send("late@"+rig.Domain, clean); !r.Temporary() {
			t.Errorf("reply without the filter: %v, want 4xx", r)
		}
	})
}

// Under load, each message that was answered with 250 when SIGTERM comes is delivered once,
// and no other is.
func TestSIGTERMUnderLoadLosesNothing(t *testing.T) {
	w := newWorld(t, setup{})
	const clients, before = 8, 40
	var mu sync.Mutex
	taken := map[string]bool{}
	enough := make(chan struct{})
	note := func(to string, r rig.Reply) {
		mu.Lock()
		defer mu.Unlock()
		if taken[to] = r.Code == 250; len(taken) == before {
			close(enough)
		}
	}
	var sending sync.WaitGroup
	for i := range clients {
		sending.Go(func() {
			for n := 0; ; n++ {
				to := fmt.Sprintf("load%d.%d@%s", i, n, rig.Domain)
				r, err := rig.Send(w.mta.SMTP(), sender, []string{to}, rig.Text(to, "good\r\n"))
				if err != nil {
					t.Errorf("send to %s: %v", to, err)
					return
				}
				if note(to, r); r.Code != 250 {
					return // the filter is gone
				}
			}
		})
	}
	<-enough
	if err := w.rastel.terminate(); err != nil {
		t.Errorf("rastel ended with %v, want status 0", err)
	}
	sending.Wait()
	wantTakenDelivered(t, taken, w.delivered())
}

func wantTakenDelivered(t *testing.T, taken map[string]bool, delivered []rig.Delivery) {
	t.Helper()
	times := map[string]int{}
	for _, d := range delivered {
		for _, to := range d.Recipients {
			times[to]++
		}
	}
	for to, ok := range taken {
		want := 0
		if ok {
			want = 1
		}
		if times[to] != want {
			t.Errorf("%s: delivered %d times, want %d", to, times[to], want)
		}
	}
}
