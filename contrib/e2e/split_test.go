package e2e

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"rastel/contrib/rig"
)

// splitting does something else for each recipient: the message is delivered as it is, with a banner of its
// own, or held. And somebody is told.
const splitting = `rules:
  - {name: private, for: recipient, when: 'recipient startsWith "held"', then: quarantine}
  - {name: marked, for: recipient, when: 'recipient startsWith "marked"', do: [{banner: {text: "Marked for you."}}]}
  - {name: told, when: 'subject contains "split"', do: [{notify: told@` + rig.Domain + `}]}
`

const markedText = "Marked for you."

// splitSteps are where the filter is killed: before or after a call that stores something (the held copy, the
// copy with the banner, the notice), which the program itself sees to (cmd/rastel/crash.go), or when it sends a
// packet, of the message itself or of what the filter sends.
var splitSteps = []struct{ name, at, packet, sent string }{
	{name: "not at all"},
	{name: "before anything is stored", at: "before 1"},
	{name: "between held and queued", at: "after 1"},
	{name: "between copy and notice", at: "after 2"},
	{name: "all is stored", at: "after 3"},
	{name: "at the verdict", packet: "<a"},
	{name: "while the copy is sent", sent: ">E"},
	{name: "at the verdict about the copy", sent: "<a"},
}

// Whatever moment the filter dies at: a sender that tries again gets the message to each recipient once, as it
// is for that one.
func TestSplitRecipientsLoseNothingAndGetItOnce(t *testing.T) {
	eachMTA(t, func(t *testing.T, mta string) {
		w := newWorld(t, setup{mta: mta, filterTimeout: 10 * time.Second, policy: splitting})
		for i, s := range splitSteps {
			t.Run(s.name, func(t *testing.T) {
				w := w.in(t)
				w.killInSplit(s.at, s.packet, s.sent)
				raw := rig.Text(fmt.Sprint("split ", i), "good\r\n")
				killed := w.sendSplit(i, raw)
				if want := s.name != "not at all"; killed != want {
					t.Errorf("killed: %v, want %v", killed, want)
				}
				w.wantSplit(i, raw)
			})
		}
	})
}

// splitTo are the recipients of one message.
func splitTo(i int) (plain, marked, kept string) {
	return fmt.Sprintf("plain%d@%s", i, rig.Domain), fmt.Sprintf("marked%d@%s", i, rig.Domain), fmt.Sprintf("held%d@%s", i, rig.Domain)
}

// killInSplit has the program killed once, at one of three kinds of moments.
func (w *world) killInSplit(at, packetKind, sentKind string) {
	w.t.Helper()
	if at != "" {
		if err := w.rastel.terminate(); err != nil {
			w.t.Fatal(err)
		}
		w.rastel.start("RASTEL_CRASH_AT=" + at)
	}
	var mu sync.Mutex
	done, sending := false, false
	w.tap.onPacket(func(p packet) {
		mu.Lock()
		defer mu.Unlock()
		if p.String() == ">L" && strings.HasPrefix(strings.ToLower(string(p.data)), strings.ToLower(tokenField)+"\x00") {
			sending = true
		}
		kind := packetKind
		if sentKind != "" && sending {
			kind = sentKind
		}
		if !done && kind != "" && p.String() == kind {
			done = true
			w.rastel.kill()
			w.tap.hangUp()
		}
	})
}

// sendSplit sends until the MTA has taken the message, and starts the program again when it was killed. It
// waits until the filter has sent all that it had to.
func (w *world) sendSplit(i int, raw []byte) (killed bool) {
	w.t.Helper()
	plain, marked, kept := splitTo(i)
	taken := false
	for range 5 {
		if !taken {
			r, err := rig.Send(w.mta.SMTP(), sender, []string{plain, marked, kept}, raw)
			if err != nil {
				w.t.Fatal(err)
			}
			if taken = r.Code == 250; !taken && !r.Temporary() {
				w.t.Fatalf("reply %v, want 250 or 4xx", r)
			}
		}
		if w.drained() && taken {
			return killed
		}
		if w.rastel.dead() {
			killed = true
			w.rastel.start()
		}
	}
	w.t.Fatal("not taken, or not sent, after five tries")
	return killed
}

// drained waits until the filter has nothing left to send; false if it died meanwhile.
func (w *world) drained() bool {
	w.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(deliveryTimeout); time.Now().Before(end); {
		if w.rastel.dead() {
			return false
		}
		if left, err := w.rastel.outbox(); err == nil && left == 0 {
			return !w.rastel.dead()
		}
		<-tick.C
	}
	if !w.rastel.dead() {
		w.t.Errorf("the filter has not sent all within %v", deliveryTimeout)
	}
	return false
}

// wantSplit reports what is not as it should be for one of the recipients.
func (w *world) wantSplit(i int, raw []byte) {
	w.t.Helper()
	plain, marked, kept := splitTo(i)
	if d := w.only(plain); bytes.Contains(d.Raw, []byte(markedText)) || slices.Contains(d.Recipients, marked) || slices.Contains(d.Recipients, kept) {
		w.t.Errorf("delivered to %q:\n%s", d.Recipients, d.Raw)
	}
	w.wantBody(plain, raw)
	d := w.only(marked)
	if !bytes.Contains(d.Raw, []byte(markedText)) || !bytes.Contains(d.Raw, []byte("good\r\n")) || bytes.Contains(d.Raw, []byte(tokenField)) || d.Sender != sender || len(d.Recipients) != 1 {
		w.t.Errorf("delivered to %q:\n%s", d.Recipients, d.Raw)
	}
	w.wantNothing(kept)
	items := slices.DeleteFunc(w.rastel.quarantine("held"), func(h held) bool { return !slices.Contains(h.Recipients, kept) })
	if len(items) != 1 || !slices.Equal(items[0].Recipients, []string{kept}) || items[0].Rule != "private" {
		w.t.Errorf("held: %+v, want it for %s once", items, kept)
	}
	told := slices.DeleteFunc(w.deliveredTo("told@"+rig.Domain), func(d rig.Delivery) bool { return !bytes.Contains(d.Raw, []byte(fmt.Sprintf("split %d", i))) })
	if len(told) != 1 || told[0].Sender != "" {
		w.t.Errorf("%d notices, want one with the null sender: %+v", len(told), told)
	}
}

// tellsTwice reports whether the note of an item for a recipient says that it was delivered twice, perhaps.
func (r *rastel) tellsTwice(to string) bool {
	r.t.Helper()
	return slices.ContainsFunc(r.quarantine("sent"), func(h held) bool {
		return slices.Contains(h.Recipients, to) && strings.HasPrefix(h.Note, "delivered, perhaps twice")
	})
}

// outbox is how many messages the filter itself has to send.
func (r *rastel) outbox() (int, error) {
	resp, err := http.Get("http://" + r.api + "/metrics")
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(text), "\nrastel_outbox_messages ")
	n, _, _ := strings.Cut(rest, "\n")
	return strconv.Atoi(n)
}

// Killed at any moment, the filter loses nothing either. Then what it sends itself may be sent twice: once
// more for each time that it dies between the answer of the MTA and its own note of it.
func TestSplitRecipientsUnderRandomKillsLoseNothing(t *testing.T) {
	const messages, most = 12, 60 * time.Millisecond
	eachMTA(t, func(t *testing.T, mta string) {
		w := newWorld(t, setup{mta: mta, filterTimeout: 10 * time.Second, policy: splitting})
		twice := 0
		for i := range messages {
			raw := rig.Text(fmt.Sprint("split ", i), "good\r\n")
			dead := make(chan struct{})
			time.AfterFunc(rand.N(most), func() { defer close(dead); w.rastel.kill() })
			w.sendSplit(i, raw)
			<-dead
			if w.rastel.dead() { // after all was sent
				w.rastel.start()
				w.drained()
			}
			plain, marked, kept := splitTo(i)
			w.wantBody(plain, raw)
			w.wantNothing(kept)
			n := len(w.deliveredTo(marked))
			if n < 1 || n > 2 {
				t.Errorf("%d messages delivered to %s, want 1, or 2 for one death", n, marked)
			}
			if n == 2 && !w.rastel.tellsTwice(marked) {
				t.Errorf("no item tells that %s may have got it twice", marked)
			}
			twice += n - 1
		}
		if items := w.rastel.quarantine("held"); len(items) != messages {
			t.Errorf("%d messages are held, want %d: %+v", len(items), messages, items)
		}
		t.Logf("%d messages, %d kills, %d copies sent twice", messages, messages, twice)
	})
}
