package e2e

import (
	"strings"
	"syscall"
	"testing"
	"time"

	"rastel/contrib/rig"
)

// wantLater sends a message that must be refused for now, and not be delivered.
func (w *world) wantLater(to string, raw []byte) {
	w.t.Helper()
	if r := w.send(to, raw); r.Code != 451 {
		w.t.Errorf("reply %v, want 451", r)
	}
	w.wantNothing(to)
}

func TestKilledClamdMeansTryAgainLater(t *testing.T) {
	eachMTA(t, func(t *testing.T, mta string) {
		w := newWorld(t, setup{mta: mta})
		w.clamd.Kill()
		w.wantLater("clean@"+rig.Domain, rig.Text("clean", "good\r\n"))
		w.wantLater("bad@"+rig.Domain, eicarMessage())
		if err := w.clamd.Start(); err != nil {
			t.Fatal(err)
		}
		// It is the same mail that comes again.
		w.mustTake("clean@"+rig.Domain, rig.Text("clean", "good\r\n"))
		w.mustTake("bad@"+rig.Domain, eicarMessage())
		w.only("clean@" + rig.Domain)
		w.wantHeld("bad@" + rig.Domain)
	})
}

func TestDeafClamdIsWaitedForNoLongerThanSaid(t *testing.T) {
	const timeout, patience = 2 * time.Second, 20 * time.Second
	w := newWorld(t, setup{clamdTimeout: timeout})
	if err := w.clamd.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	w.wantLater("clean@"+rig.Domain, rig.Text("clean", "good\r\n"))
	if took := time.Since(start); took < timeout || took > patience {
		t.Errorf("the reply took %v, want between %v and %v", took, timeout, patience)
	}
	if err := w.clamd.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	w.mustTake("clean@"+rig.Domain, rig.Text("clean", "good\r\n"))
	w.only("clean@" + rig.Domain)
}

// What clamd does not look at because it is too large was not examined.
func TestTooLargeForClamdIsNotClean(t *testing.T) {
	limits := rig.ClamdOptions{Lines: []string{"StreamMaxLength 1M", "MaxFileSize 1M", "MaxScanSize 1M"}}
	w := newWorld(t, setup{clamd: limits})
	large := []byte(strings.Repeat("0123456789abcdef", 128<<10) + string(rig.EICAR()))
	w.mustTake(recipient, rig.Attachment("large", "large.bin", "application/octet-stream", large))
	w.wantHeld(recipient)
}
