package hosts

import (
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// A clock stands still until it is moved.
type clock struct{ t time.Time }

func newTable(max int) (*Table, *clock) {
	c := &clock{time.Date(2024, 1, 1, 12, 0, 0, 0, time.UTC)}
	t := New(nil)
	t.now, t.max = func() time.Time { return c.t }, max
	return t, c
}

func top(t *Table, by By, w Within) string {
	var out []string
	for _, e := range t.Top(by, w, 10) {
		c := e.within(w)
		out = append(out, fmt.Sprintf("%s %d/%d/%d", e.Name, c.Messages, c.Infected, c.Refused))
	}
	return strings.Join(out, ", ")
}

func TestCountsByHostAndUser(t *testing.T) {
	tab, _ := newTable(100)
	a, b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("::ffff:192.0.2.2")
	tab.Count(a, "", true, true)
	tab.Count(a, "", true, false)
	tab.Count(a, "", false, false)
	for range 3 {
		tab.Count(b, "ann", false, true)
	}
	tab.Count(netip.Addr{}, "bob", true, false)
	for _, x := range []string{"2001:db8::1", "2001:db8::2", "2001:db8:0:0:ffff::1", "2001:db8:0:1::1"} {
		tab.Count(netip.MustParseAddr(x), "", false, true)
	}
	if got, want := top(tab, ByClient, WithinHour), "192.0.2.2 3/0/3, 2001:db8::/64 3/0/3, 192.0.2.1 2/2/1, 2001:db8:0:1::/64 1/0/1"; got != want {
		t.Errorf("clients: %s, want %s", got, want)
	}
	if got, want := top(tab, ByUser, WithinDay), "ann 3/0/3, bob 1/1/0"; got != want {
		t.Errorf("users: %s, want %s", got, want)
	}
	if n := len(tab.Top(ByClient, WithinHour, 1)); n != 1 {
		t.Errorf("%d hosts, want 1", n)
	}
}

func TestTimePasses(t *testing.T) {
	tab, c := newTable(100)
	a := netip.MustParseAddr("192.0.2.1")
	for range 6 { // one in ten minutes
		tab.Count(a, "", true, false)
		c.t = c.t.Add(10 * time.Minute)
	}
	for _, step := range []struct {
		after     time.Duration
		hour, day uint32
	}{
		{0, 5, 6}, // the first was an hour ago
		{30 * time.Minute, 2, 6}, {time.Hour, 0, 6}, {20 * time.Hour, 0, 6}, {2 * time.Hour, 0, 0}, {time.Hour, 0, 0}, {100 * time.Hour, 0, 0},
	} {
		c.t = c.t.Add(step.after)
		var hour, day uint32
		for _, e := range tab.Top(ByClient, WithinDay, 1) {
			hour, day = e.Hour.Messages, e.Day.Messages
		}
		if hour != step.hour || day != step.day {
			t.Errorf("at %v: %d within the hour, %d within the day; want %d, %d", c.t, hour, day, step.hour, step.day)
		}
	}
	tab.Count(a, "", true, false)
	c.t = c.t.Add(-1000 * time.Hour) // the clock is put back
	tab.Count(a, "", true, false)
	if got := top(tab, ByClient, WithinHour); got != "192.0.2.1 1/1/0" {
		t.Errorf("got %s", got)
	}
}

// A flood of hosts that come once does not drive out the one that comes again and again.
func TestMemoryIsBoundedAndTheWorstStay(t *testing.T) {
	tab, c := newTable(500)
	worst := netip.MustParseAddr("192.0.2.1")
	for range 50 {
		tab.Count(worst, "ann", true, true)
	}
	for i := range 50_000 {
		c.t = c.t.Add(time.Millisecond)
		tab.Count(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), fmt.Sprint("user", i), false, true)
	}
	if len(tab.clients) > 500 || len(tab.users) > 500 {
		t.Errorf("%d hosts and %d users are counted, want at most 500", len(tab.clients), len(tab.users))
	}
	if got := top(tab, ByClient, WithinHour); !strings.HasPrefix(got, "192.0.2.1 50/50/50, ") {
		t.Errorf("got %s", got)
	}
	tab.Count(worst, strings.Repeat("x", 2*maxName), true, true)
	for name := range tab.users {
		if len(name) > maxName {
			t.Errorf("a name of %d bytes is kept", len(name))
		}
	}
}

func TestIsSafeForConcurrentUse(t *testing.T) {
	r := prometheus.NewRegistry()
	tab := New(r)
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for range 200 {
				tab.Count(netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}), "ann", true, true)
				tab.Top(ByUser, WithinDay, 3)
			}
		})
	}
	all.Wait()
	families, err := r.Gather()
	if err != nil || len(families) != 1 || len(families[0].Metric) != 2 {
		t.Fatalf("metrics: %v, %v", families, err)
	}
	if got := families[0].Metric[0].GetGauge().GetValue(); got != 200 {
		t.Errorf("the first host has %v messages by the metric, want 200", got)
	}
	if got := tab.Top(ByUser, WithinHour, 1)[0].Hour.Messages; got != 1600 {
		t.Errorf("the user has %d messages, want 1600", got)
	}
}

func BenchmarkCountWhenFull(b *testing.B) {
	tab := New(nil)
	i := uint32(0)
	for b.Loop() {
		i++
		tab.Count(netip.AddrFrom4([4]byte{byte(i >> 24), byte(i >> 16), byte(i >> 8), byte(i)}), "", true, true)
	}
}
