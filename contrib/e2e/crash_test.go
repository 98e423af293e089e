package e2e

import (
	"bytes"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"rastel/contrib/rig"
)

// stages are the packets before which the filter is killed. Sendmail and Postfix send those
// of header and body only when they have the whole message.
var stages = []struct{ name, packet string }{
	{"connect", ">C"}, {"helo", ">H"}, {"mail", ">M"}, {"rcpt", ">R"},
	{"header", ">L"}, {"end of header", ">N"}, {"body", ">B"}, {"end of message", ">E"},
	{"negotiation", "<O"}, {"verdict", "<a"}, {"first change of the body", "<b"}, {"discard", "<d"},
}

// killAt kills the program when it sees a packet for the first time, which the other side
// never gets. The channel is closed when it is dead.
func (w *world) killAt(kind string) <-chan struct{} {
	dead := make(chan struct{})
	var once sync.Once
	w.tap.onPacket(func(p packet) {
		if p.String() == kind {
			once.Do(func() { w.rastel.kill(); w.tap.hangUp(); close(dead) })
		}
	})
	return dead
}

// crashMessages are mail that is changed, held, and neither.
func crashMessages(t *testing.T) map[string]rig.Sample {
	t.Helper()
	m := map[string]rig.Sample{}
	for _, s := range samples(t) {
		m[s.Outcome] = s // one of each is enough
	}
	return m
}

// crashOutcome is the outcome of the message that makes the filter send a packet.
func crashOutcome(packet string) string {
	switch packet {
	case "<a":
		return rig.Delivered
	case "<d":
		return rig.Quarantined
	}
	return rig.Defanged
}

// Whenever the filter is killed, the client is told to try again, and nothing is delivered
// that was not examined; when the filter is back, the same message goes its way.
func TestKilledFilterLosesNothing(t *testing.T) {
	eachMTA(t, func(t *testing.T, mta string) {
		w := newWorld(t, setup{mta: mta, filterTimeout: 10 * time.Second})
		messages := crashMessages(t)
		for i, s := range stages {
			to := fmt.Sprintf("crash%d@%s", i, rig.Domain)
			t.Run(s.name, func(t *testing.T) {
				w := w.in(t)
				sample := messages[crashOutcome(s.packet)]
				dead := w.killAt(s.packet)
				if r := w.send(to, sample.Raw); !r.Temporary() {
					t.Errorf("reply %v, want 4xx", r)
				}
				w.wait(dead)
				w.wantNothing(to)
				w.tap.onPacket(nil)
				w.rastel.start()
				w.mustTake(to, sample.Raw)
				w.wantOutcome(to, sample)
			})
		}
	})
}

// wait waits until the program was killed.
func (w *world) wait(dead <-chan struct{}) {
	w.t.Helper()
	select {
	case <-dead:
	case <-time.After(deliveryTimeout):
		w.t.Fatalf("the packet to kill the filter at did not come: %v", w.tap.counts())
	}
}

func (w *world) wantOutcome(to string, s rig.Sample) {
	w.t.Helper()
	switch s.Outcome {
	case rig.Quarantined: // once, even if it was held before the crash too
		w.wantHeld(to)
	case rig.Defanged:
		w.wantDefanged(to, s.Raw)
	default:
		w.wantBody(to, s.Raw)
	}
}

// With milter_default_action=accept a crash lets mail through unexamined, and one in the
// midst of a change loses mail that was answered with 250 (Postfix up to 3.11; fixed there
// on 2026-08-21) or delivers it as it came. This is the hazard that administrators are warned
// of: the test fails if it is gone, so that the warning can go too.
func TestDefaultActionAcceptIsAHazard(t *testing.T) {
	needServers(t)
	for _, c := range []struct{ name, packet string }{
		{"connect", ">C"}, {"mail", ">M"}, {"header", ">L"}, {"end of message", ">E"},
	} {
		t.Run("unexamined mail is delivered: "+c.name, func(t *testing.T) {
			w := newWorld(t, setup{defaultAction: "accept"})
			raw := eicarMessage()
			dead := w.killAt(c.packet)
			w.mustTake(recipient, raw)
			w.wait(dead)
			w.wantBody(recipient, raw)
		})
	}
	t.Run("changed mail is lost or delivered as it came", func(t *testing.T) {
		w := newWorld(t, setup{defaultAction: "accept"})
		raw := crashMessages(t)[rig.Defanged].Raw
		dead := w.killAfterFirstChange()
		w.mustTake(recipient, raw)
		w.wait(dead)
		left, err := rig.WaitIdle(w.mta, deliveryTimeout)
		if err != nil {
			t.Fatal(err)
		}
		if len(left) == 1 && left[0].Queue == "corrupt" {
			return // taken with 250, and never delivered
		}
		if d := w.only(recipient); !bytes.Contains(d.Raw, []byte("<script>")) {
			t.Errorf("delivered without the script:\n%s", d.Raw)
		}
	})
}

// killAfterFirstChange kills the program when the MTA has the first piece of a new body and
// not yet the verdict.
func (w *world) killAfterFirstChange() <-chan struct{} {
	dead := make(chan struct{})
	var once sync.Once
	var changed atomic.Bool
	w.tap.onPacket(func(p packet) {
		if p.way == toMTA && changed.Load() {
			once.Do(func() { w.rastel.kill(); w.tap.hangUp(); close(dead) })
		}
		if p.String() == "<b" {
			changed.Store(true)
		}
	})
	return dead
}
