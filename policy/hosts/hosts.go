// Package hosts counts which hosts and users send messages that are infected or refused: within the
// last hour and the last day, in memory of a fixed size. It is the way to find a machine inside that
// sends spam. What was counted is lost when the program ends.
package hosts

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

const (
	// MaxTracked is how many hosts, and how many users, are counted; with 1 KB for each. If there are
	// more, those with the lowest counts are forgotten.
	MaxTracked = 10_000
	// sampled is how many are looked at for the one that is forgotten. Which they are is chance, so
	// nobody can plan what is.
	sampled = 20
	// maxName is how many bytes of a user's name are kept.
	maxName = 200
)

// By says by what is counted.
type By string

const (
	ByClient By = "client" // the address of the host; of IPv6 its network of 64 bits
	ByUser   By = "user"   // the authenticated user, whose mail goes out
)

// Within is the time that is looked back.
type Within string

const (
	WithinHour Within = "hour" // to within 150 seconds
	WithinDay  Within = "day"  // to within an hour
)

// Counts are of messages, and of what was refused before there was a message.
type Counts struct {
	Messages uint32 `json:"messages"` // infected or refused, or both
	Infected uint32 `json:"infected"`
	Refused  uint32 `json:"refused"` // by the policy: rejected, held or discarded
}

// An Entry is a host or a user with its counts.
type Entry struct {
	Name string    `json:"name"`
	Hour Counts    `json:"hour"`
	Day  Counts    `json:"day"`
	Last time.Time `json:"last"` // the last message that counts
}

func (e *Entry) within(w Within) Counts {
	if w == WithinHour {
		return e.Hour
	}
	return e.Day
}

// A Table counts. It is safe for concurrent use.
type Table struct {
	now   func() time.Time
	max   int
	since time.Time

	mu      sync.Mutex
	clients map[string]*counters
	users   map[string]*counters
}

// counters are those of one host or user.
type counters struct {
	hour, day window
	last      time.Time
}

// New makes a Table. Its metrics, which name nobody, are registered unless r is nil.
func New(r prometheus.Registerer) *Table {
	t := &Table{now: time.Now, max: MaxTracked, since: time.Now(), clients: map[string]*counters{}, users: map[string]*counters{}}
	if r != nil {
		for _, by := range []By{ByClient, ByUser} {
			r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
				Name: "rastel_hosts_top_messages", ConstLabels: prometheus.Labels{"by": string(by)},
				Help: "Messages of the last hour, infected or refused, of the host or user that sent most of them.",
			}, func() float64 { return float64(t.highest(by)) }))
		}
	}
	return t
}

// Since is when counting began.
func (t *Table) Since() time.Time { return t.since }

// Count counts a message. A client without an address, and an empty user, are not counted, and neither
// is a message that is neither infected nor refused.
func (t *Table) Count(client netip.Addr, user string, infected, refused bool) {
	if !infected && !refused {
		return
	}
	now := t.now()
	t.mu.Lock()
	defer t.mu.Unlock()
	if client.IsValid() {
		t.count(t.clients, clientName(client), now, infected, refused)
	}
	if user != "" {
		t.count(t.users, strings.Clone(user[:min(len(user), maxName)]), now, infected, refused)
	}
}

// clientName is what a client is counted as. A host has a whole network of 64 bits to choose its
// addresses from.
func clientName(a netip.Addr) string {
	a = a.Unmap().WithZone("")
	if a.Is4() {
		return a.String()
	}
	p, _ := a.Prefix(64) // cannot fail for IPv6
	return p.String()
}

func (t *Table) count(in map[string]*counters, name string, now time.Time, infected, refused bool) {
	c := in[name]
	if c == nil {
		if len(in) >= t.max {
			forgetOne(in, now)
		}
		c = &counters{}
		in[name] = c
	}
	c.last = now
	c.hour.add(now, hourSlot, infected, refused)
	c.day.add(now, daySlot, infected, refused)
}

// forgetOne makes room: of some it takes the one with the fewest messages, and of these the one that
// was not heard of for longest.
func forgetOne(in map[string]*counters, now time.Time) {
	var worst string
	var least uint32
	seen := 0
	for name, c := range in {
		n := c.day.sum(now, daySlot).Messages
		if seen == 0 || n < least || n == least && c.last.Before(in[worst].last) {
			worst, least = name, n
		}
		if seen++; seen == sampled {
			break
		}
	}
	delete(in, worst)
}

// Top gives those with the most messages within that time, at most n, the first one first.
func (t *Table) Top(by By, w Within, n int) []Entry {
	t.mu.Lock()
	now := t.now()
	out := []Entry{}
	for name, c := range t.table(by) {
		e := Entry{Name: name, Hour: c.hour.sum(now, hourSlot), Day: c.day.sum(now, daySlot), Last: c.last}
		if e.within(w).Messages > 0 {
			out = append(out, e)
		}
	}
	t.mu.Unlock()
	slices.SortFunc(out, func(a, b Entry) int {
		return cmp.Or(cmp.Compare(b.within(w).Messages, a.within(w).Messages), b.Last.Compare(a.Last), strings.Compare(a.Name, b.Name))
	})
	return out[:min(len(out), max(n, 0))]
}

func (t *Table) table(by By) map[string]*counters {
	if by == ByUser {
		return t.users
	}
	return t.clients
}

// highest is the count of the first one within the hour.
func (t *Table) highest(by By) (most uint32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	for _, c := range t.table(by) {
		most = max(most, c.hour.sum(now, hourSlot).Messages)
	}
	return most
}
