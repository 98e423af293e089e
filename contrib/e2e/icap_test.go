package e2e

import (
	"testing"

	"rastel/contrib/rig"
)

// An engine of another vendor is all there is, and without it nothing passes.
func TestICAPAloneFindsAndIsMissed(t *testing.T) {
	w := newWorld(t, setup{icap: true})
	w.mustTake("clean@"+rig.Domain, rig.Text("clean", "good\r\n"))
	w.mustTake("bad@"+rig.Domain, eicarMessage())
	w.only("clean@" + rig.Domain)
	w.wantHeld("bad@" + rig.Domain)
	w.icap.Kill()
	w.wantLater("late@"+rig.Domain, rig.Text("late", "also good\r\n"))
	w.wantLater("worse@"+rig.Domain, rig.Attachment("worse", "a.bin", "application/octet-stream", append(rig.EICAR(), "\r\n"...)))
	if err := w.icap.Start(); err != nil {
		t.Fatal(err)
	}
	w.mustTake("late@"+rig.Domain, rig.Text("late", "also good\r\n"))
	w.only("late@" + rig.Domain)
}
