package e2e

import (
	"fmt"
	"slices"
	"testing"

	"rastel/contrib/rig"
)

// rejecting refuses what the built-in policy would quarantine.
const rejecting = `rules:
  - name: refused
    when: has("clamd/malware")
    then: reject
    reply: {text: "no malware, please"}
`

// eicarMessage is malware under a harmless name: nothing but clamd has something against it.
func eicarMessage() []byte {
	return rig.Attachment("bad", "notes.txt", "application/octet-stream", rig.EICAR())
}

// dial opens a session and says EHLO.
func (w *world) dial() *rig.Client {
	w.t.Helper()
	c, err := rig.Dial(w.mta.SMTP())
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { c.Close() })
	w.do(c, 250, "EHLO client.test")
	return c
}

// do sends commands; the last reply must have this code.
func (w *world) do(c *rig.Client, code int, lines ...string) {
	w.t.Helper()
	r, err := c.Do(lines...)
	if err != nil || r.Code != code {
		w.t.Fatalf("reply to %q: %v, %v, want %d", lines, r, err, code)
	}
}

// message sends a message in a session; the reply to it must have this code.
func (w *world) message(c *rig.Client, code int, to string, raw []byte) {
	w.t.Helper()
	r, err := c.Message(sender, []string{to}, raw)
	if err != nil || r.Code != code {
		w.t.Fatalf("reply to a message for %s: %v, %v, want %d", to, r, err, code)
	}
}

// wantEnvelope reports a delivery that does not have exactly these recipients.
func wantEnvelope(t *testing.T, d rig.Delivery, recipients ...string) {
	t.Helper()
	slices.Sort(d.Recipients)
	if d.Sender != sender || !slices.Equal(d.Recipients, recipients) {
		t.Errorf("envelope %q -> %q, want %q -> %q", d.Sender, d.Recipients, sender, recipients)
	}
}

func TestCleanMessageAfterRejectedOneInTheSameSession(t *testing.T) {
	eachMTA(t, func(t *testing.T, mta string) {
		w := newWorld(t, setup{mta: mta, policy: rejecting})
		c := w.dial()
		clean := rig.Text("clean", "good\r\n")
		w.message(c, 550, "first@"+rig.Domain, eicarMessage())
		w.message(c, 250, "second@"+rig.Domain, clean)
		w.message(c, 550, "third@"+rig.Domain, eicarMessage())
		w.message(c, 250, "fourth@"+rig.Domain, clean)
		if got := w.delivered(); len(got) != 2 {
			t.Errorf("%d messages delivered, want 2", len(got))
		}
		for _, to := range []string{"second@" + rig.Domain, "fourth@" + rig.Domain} {
			wantEnvelope(t, w.only(to), to)
			w.wantBody(to, clean)
		}
	})
}

func TestResetForgetsTheMessage(t *testing.T) {
	eachMTA(t, func(t *testing.T, mta string) {
		w := newWorld(t, setup{mta: mta})
		c := w.dial()
		w.do(c, 250, "MAIL FROM:<mallory@sender.test>", "RCPT TO:<forgotten@example.test>", "RSET")
		w.message(c, 250, "bad@"+rig.Domain, eicarMessage())
		w.do(c, 250, "MAIL FROM:<mallory@sender.test>", "RCPT TO:<forgotten@example.test>", "RSET")
		clean := rig.Text("clean", "good\r\n")
		w.message(c, 250, "good@"+rig.Domain, clean)
		w.wantHeld("bad@" + rig.Domain)
		wantEnvelope(t, w.only("good@"+rig.Domain), "good@"+rig.Domain)
		w.wantNothing("forgotten@" + rig.Domain)
	})
}

func TestInterleavedSessionsKeepTheirMessages(t *testing.T) {
	eachMTA(t, func(t *testing.T, mta string) {
		w := newWorld(t, setup{mta: mta})
		good, bad := w.dial(), w.dial()
		for i := range 3 {
			w.do(good, 250, "MAIL FROM:<"+sender+">")
			w.do(bad, 250, "MAIL FROM:<mallory@sender.test>")
			w.do(good, 250, "RCPT TO:<good1@example.test>")
			w.do(bad, 250, "RCPT TO:<bad1@example.test>")
			w.do(good, 250, "RCPT TO:<good2@example.test>")
			w.do(bad, 250, "RCPT TO:<bad2@example.test>")
			w.do(good, 354, "DATA")
			w.do(bad, 354, "DATA")
			w.interleaved(good, bad, rig.Text("good", "good\r\n"),
				rig.Attachment(fmt.Sprint("bad ", i), "notes.txt", "text/plain", rig.EICAR()))
		}
		got := w.delivered()
		if len(got) != 3 {
			t.Errorf("%d messages delivered, want 3", len(got))
		}
		for _, d := range got {
			wantEnvelope(t, d, "good1@example.test", "good2@example.test")
		}
		w.wantThreeHeld()
	})
}

// interleaved sends two messages half by half, and reads both replies.
func (w *world) interleaved(a, b *rig.Client, rawA, rawB []byte) {
	w.t.Helper()
	for _, part := range []struct {
		c     *rig.Client
		bytes []byte
	}{
		{a, rig.DotStuffed(rawA)[:len(rawA)/2]}, {b, rig.DotStuffed(rawB)[:len(rawB)/2]},
		{a, rig.DotStuffed(rawA)[len(rawA)/2:]}, {b, rig.DotStuffed(rawB)[len(rawB)/2:]},
	} {
		if _, err := part.c.Write(part.bytes); err != nil {
			w.t.Fatal(err)
		}
	}
	for _, c := range []*rig.Client{a, b} {
		if r, err := c.Reply("."); err != nil || r.Code != 250 {
			w.t.Fatalf("reply %v, %v, want 250", r, err)
		}
	}
}

// wantThreeHeld reports items in quarantine that are not those of the bad session.
func (w *world) wantThreeHeld() {
	w.t.Helper()
	items := w.rastel.quarantine("held")
	if len(items) != 3 {
		w.t.Errorf("%d messages in quarantine, want 3", len(items))
	}
	for i, h := range items { // newest first
		got := fmt.Sprintf("%s %q %s", h.Sender, h.Recipients, h.Subject)
		want := fmt.Sprintf("mallory@sender.test %q bad %d", []string{"bad1@example.test", "bad2@example.test"}, 2-i)
		if got != want {
			w.t.Errorf("held %s, want %s", got, want)
		}
	}
}
