package e2e

import (
	"bytes"
	"strings"
	"sync"
	"testing"

	"rastel/contrib/rig"
)

const tokenField = "X-Rastel-Release"

func TestReleaseDeliversOnceWithTheOriginalEnvelope(t *testing.T) {
	eachMTA(t, func(t *testing.T, mta string) {
		w, without := newWorld(t, setup{mta: mta}), newWorld(t, setup{mta: mta, noFilter: true})
		raw := eicarMessage()
		to := []string{"bob@example.test", "carol@example.test"}
		for _, w := range []*world{w, without} {
			if r, err := rig.Send(w.mta.SMTP(), sender, to, raw); err != nil || r.Code != 250 {
				t.Fatalf("reply %v, %v, want 250", r, err)
			}
		}
		if got := w.delivered(); len(got) > 0 {
			t.Fatalf("delivered before the release: %q", got)
		}
		w.release(w.onlyHeld())
		got := w.delivered()
		if len(got) != 1 {
			t.Fatalf("%d messages delivered after the release, want 1", len(got))
		}
		wantEnvelope(t, got[0], to...)
		if header, _ := splitHeader(got[0].Raw); hasField(header, tokenField) {
			t.Errorf("the token was delivered:\n%s", header)
		}
		wantSameReleased(t, got[0].Raw, without.delivered()[0].Raw, raw)
		if items := w.rastel.quarantine("held"); len(items) != 0 {
			t.Errorf("still held after the release: %+v", items)
		}
		if items := w.rastel.quarantine("all"); len(items) != 1 || items[0].State != "released" {
			t.Errorf("items after the release: %+v, want one that is released", items)
		}
	})
}

// wantSameReleased compares a released message with what the MTA would have delivered in the
// first place.
func wantSameReleased(t *testing.T, released, direct, sent []byte) {
	t.Helper()
	wantSame(t, released, direct, sent)
	if !bytes.Contains(released, body(sent)) {
		t.Errorf("body released\n%q\nwant\n%q", body(released), body(sent))
	}
}

// onlyHeld is the id of the one item in quarantine.
func (w *world) onlyHeld() string {
	w.t.Helper()
	items := w.rastel.quarantine("held")
	if len(items) != 1 {
		w.t.Fatalf("%d messages in quarantine, want 1: %+v", len(items), items)
	}
	return items[0].ID
}

func (w *world) release(id string) {
	w.t.Helper()
	if out, status := w.rastel.run("quarantine", "release", id, "-config", w.rastel.config); status != 0 {
		w.t.Fatalf("quarantine release %s: status %d, %s", id, status, out)
	}
}

func TestSecondReleaseDeliversNothing(t *testing.T) {
	w := newWorld(t, setup{})
	w.mustTake(recipient, eicarMessage())
	id := w.onlyHeld()
	w.release(id)
	if _, status := w.rastel.run("quarantine", "release", id, "-config", w.rastel.config); status == 0 {
		t.Error("a second release succeeds")
	}
	w.only(recipient)
}

// A token is good for one release: whoever saw it, in a log or on the wire, cannot use it.
func TestForgedAndUsedTokensAreNotBelieved(t *testing.T) {
	eachMTA(t, func(t *testing.T, mta string) {
		w := newWorld(t, setup{mta: mta})
		seen := w.watchToken()
		w.mustTake(recipient, eicarMessage())
		id := w.onlyHeld()
		w.release(id)
		w.only(recipient)
		used := seen()
		if !strings.HasPrefix(used, "v1."+id) {
			t.Fatalf("token on the wire %q, want one for %s", used, id)
		}
		for name, token := range map[string]string{
			"used": used, "empty": "", "nonsense": "v1.x.y.z", "id": id,
			"other-mac": used[:strings.LastIndexByte(used, '.')] + ".AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
		} {
			t.Run(name, func(t *testing.T) {
				w := w.in(t)
				to := name + "@" + rig.Domain
				w.mustTake(to, append([]byte(tokenField+": "+token+"\r\n"), eicarMessage()...))
				w.wantHeld(to)
			})
		}
	})
}

// A token that somebody adds to clean mail is not delivered either: it could be ours.
func TestForeignTokenIsRemoved(t *testing.T) {
	w := newWorld(t, setup{})
	clean := rig.Text("clean", "good\r\n")
	w.mustTake(recipient, append([]byte(tokenField+": v1.a.b.c\r\n"), clean...))
	d := w.only(recipient)
	if header, _ := splitHeader(d.Raw); hasField(header, tokenField) {
		t.Errorf("the field was delivered:\n%s", header)
	}
	w.wantBody(recipient, clean)
}

// watchToken remembers the token that goes by on its way to the filter.
func (w *world) watchToken() (seen func() string) {
	var mu sync.Mutex
	var token string
	w.tap.onPacket(func(p packet) {
		name, value, _ := strings.Cut(string(p.data), "\x00")
		if p.String() == ">L" && strings.EqualFold(name, tokenField) {
			mu.Lock()
			defer mu.Unlock()
			token = strings.TrimSpace(strings.TrimRight(value, "\x00"))
		}
	})
	return func() string {
		mu.Lock()
		defer mu.Unlock()
		return token
	}
}
