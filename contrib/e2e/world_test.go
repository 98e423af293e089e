package e2e

import (
	"slices"
	"testing"
	"time"

	"rastel/contrib/rig"
)

const (
	sender    = "alice@sender.test"
	recipient = "bob@" + rig.Domain

	// deliveryTimeout is how long a message may take from the client to the sink.
	deliveryTimeout = 30 * time.Second
)

// A setup says what a test needs; the zero value is what an administrator would have.
type setup struct {
	mta           string        // one of mtas; empty means Postfix
	noFilter      bool          // the MTA alone
	defaultAction string        // of Postfix, when the filter fails
	filterTimeout time.Duration // how long the MTA waits for the filter
	policy        string        // text of a policy; empty means the built-in one
	dns           string        // verifies DKIM with keys from there; empty means that it does not
	domainList    string        // asked of the same server about domains
	icap          bool          // a c-icap examines; rastel does not know of the clamd that it asks
	clamd         rig.ClamdOptions
	clamdTimeout  time.Duration // how long a scan may take; zero means rastel's default
	postfix       []string      // lines of its main.cf
	config        string        // lines of rastel.yaml
	quarantine    string        // more of its quarantine, in braces, after a comma
	release       string        // more of its release, likewise
	virtualUsers  string        // of Sendmail
}

// A world is an MTA with its filter, a clamd, and the sink that everything is delivered to.
type world struct {
	t      *testing.T
	mta    rig.MTA
	sink   *rig.Sink
	tap    *tap
	clamd  *rig.Clamd
	icap   *rig.ICAP // nil: there is none
	rastel *rastel
}

// newWorld starts what a test needs. All of it ends with the test.
func newWorld(t *testing.T, s setup) *world {
	t.Helper()
	needServers(t)
	w := &world{t: t}
	var err error
	if w.sink, err = rig.StartSink(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.stopped("sink", w.sink.Stop()) })
	if s.noFilter {
		w.startMTA(s, "")
		return w
	}
	if w.clamd, err = rig.StartClamd(s.clamd); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.stopped("clamd", w.clamd.Stop()) })
	if s.icap {
		if w.icap, err = rig.StartICAP(rig.ICAPOptions{Clamd: w.clamd}); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { w.stopped("c-icap", w.icap.Stop()) })
	}
	network := s.network()
	front, milter := freeAddress(t, network), freeAddress(t, network)
	w.tap = startTap(t, front, milter)
	w.startMTA(s, front.String())
	w.rastel = newRastel(w, milter, s)
	w.rastel.start()
	return w
}

// network is that of the milter: Sendmail, which is slow to send small packets by TCP, has unix
// sockets, and Postfix TCP.
func (s setup) network() string {
	if s.mta == rig.NeedSendmail {
		return "unix"
	}
	return "tcp"
}

// in is the same world, for a subtest.
func (w *world) in(t *testing.T) *world {
	c := *w
	c.t = t
	if w.rastel != nil {
		c.rastel = w.rastel.in(t)
	}
	return &c
}

func (w *world) startMTA(s setup, milter string) {
	w.t.Helper()
	var err error
	if s.mta == rig.NeedSendmail {
		w.mta, err = rig.StartSendmail(rig.SendmailOptions{Milter: milter, Sink: w.sink.Addr, ReplyTimeout: s.filterTimeout, VirtualUsers: s.virtualUsers})
	} else {
		w.mta, err = rig.StartPostfix(rig.PostfixOptions{
			Milter: milter, Sink: w.sink.Addr, DefaultAction: s.defaultAction, ContentTimeout: s.filterTimeout, Lines: s.postfix,
		})
	}
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		if w.t.Failed() {
			w.t.Logf("log of the MTA:\n%s", w.mta.Log())
		}
		w.stopped("MTA", w.mta.Stop())
	})
}

func (w *world) stopped(what string, err error) {
	if err != nil {
		w.t.Errorf("stop %s: %v", what, err)
	}
}

// send sends a message in a session of its own and returns the reply.
func (w *world) send(to string, raw []byte) rig.Reply {
	w.t.Helper()
	r, err := rig.Send(w.mta.SMTP(), sender, []string{to}, raw)
	if err != nil {
		w.t.Fatalf("send to %s: %v", to, err)
	}
	return r
}

// mustTake sends a message that the MTA must take.
func (w *world) mustTake(to string, raw []byte) {
	w.t.Helper()
	if r := w.send(to, raw); r.Code != 250 || r.Verb != "." {
		w.t.Fatalf("reply to a message for %s: %v, want 250", to, r)
	}
}

// delivered waits until the MTA has nothing more to hand on, and returns what was delivered.
func (w *world) delivered() []rig.Delivery {
	w.t.Helper()
	if left, err := rig.WaitIdle(w.mta, deliveryTimeout); err != nil || len(left) > 0 {
		w.t.Errorf("left in the queue: %v, %v, want nothing", left, err)
	}
	return w.sink.Deliveries()
}

// deliveredTo is delivered for one recipient.
func (w *world) deliveredTo(to string) []rig.Delivery {
	w.t.Helper()
	return slices.DeleteFunc(w.delivered(), func(d rig.Delivery) bool { return !slices.Contains(d.Recipients, to) })
}

// only is the one delivery to a recipient.
func (w *world) only(to string) rig.Delivery {
	w.t.Helper()
	got := w.deliveredTo(to)
	if len(got) != 1 {
		w.t.Fatalf("%d messages delivered to %s, want 1", len(got), to)
	}
	return got[0]
}

// wantNothing reports whatever was delivered to a recipient.
func (w *world) wantNothing(to string) {
	w.t.Helper()
	for _, d := range w.deliveredTo(to) {
		w.t.Errorf("delivered to %s, want nothing:\n%.1000q", to, d.Raw)
	}
}
