// Package quarantinetest has the tests that every implementation of quarantine.Index and
// quarantine.Blobs must pass.
package quarantinetest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/oklog/ulid/v2"

	"rastel/policy/quarantine"
)

// start is when the items of the suite begin.
var start = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

// ID is an id for an item made at t.
func ID(t time.Time) string { return ulid.MustNew(ulid.Timestamp(t), rand.Reader).String() }

// Item is a held item, made n minutes after the first, that differs from others in every
// field that should not be equal by chance.
func Item(n int) *quarantine.Item {
	created := start.Add(time.Duration(n) * time.Minute)
	return &quarantine.Item{
		ID: ID(created), Created: created, Expires: created.Add(time.Hour),
		QueueID: fmt.Sprintf("4Q%d", n), Session: "s1", Client: netip.MustParseAddr("192.0.2.7"), ClientName: "mx.example.org",
		Helo: "mx", AuthUser: "bob", Sender: fmt.Sprintf("sender%d@example.org", n), SenderArgs: []string{"SIZE=1", "BODY=8BITMIME"},
		Recipients: []string{fmt.Sprintf("to%d@example.net", n), "all@example.com"},
		Subject:    fmt.Sprintf("message %d", n), From: "A <a@example.org>", MessageID: fmt.Sprintf("<%d@example.org>", n),
		Rule: "malware", Policy: "ab12", Reason: "because", Class: "viruses", Findings: []quarantine.Finding{{Check: "clamd/malware", Part: "1.2/3", Detail: "Eicar"}},
		Names: []string{fmt.Sprintf("invoice%d.pdf", n)},
		Size:  42, SHA256: "aa", Digest: "dd", Key: fmt.Sprintf("key%d", n),
		Stored: true, State: quarantine.Held, Changed: created,
	}
}

// hostile is what a sender may write.
const hostile = "\x00\xff\xfe'; DROP TABLE items; --\r\n\x1b[31m%_\\\"<script>\u202e\U0001F4A3"

// TestIndex tests an Index. Open opens the one in that directory, or makes it; the suite
// closes it.
func TestIndex(t *testing.T, open func(t *testing.T, dir string) quarantine.Index) {
	tests := map[string]func(*testing.T, quarantine.Index){
		"GivesBackWhatWasPut":       testRoundTrip,
		"TellsWhatIsNotThere":       testNotFound,
		"KeepsEvidence":             testEvidence,
		"TakesRetryForTheSame":      testRetry,
		"TakesWhatIsSentOnce":       testSentOnce,
		"ListsWhatIsToBeTried":      testToBeTried,
		"Counts":                    testCount,
		"ForgetsWhatWasSent":        testForget,
		"ListsNewestFirst":          testOrder,
		"ListsByFilter":             testFilter,
		"UpdatesAll":                testUpdate,
		"FailedUpdateChangesNone":   testFailedUpdate,
		"LetsOneOfManyUpdatesWin":   testConcurrentUpdates,
		"LetsOneOfManyRetriesWin":   testConcurrentPuts,
		"RefusesAfterContextEnded":  testContext,
		"KeepsListsApartFromCommas": testLists,
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			x := open(t, t.TempDir())
			defer closeIt(t, x)
			test(t, x)
		})
	}
	t.Run("KeepsItemsWhenReopened", func(t *testing.T) { testReopen(t, open) })
}

func closeIt(t *testing.T, c interface{ Close() error }) {
	t.Helper()
	if err := c.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
}

func put(t *testing.T, x quarantine.Index, items ...*quarantine.Item) {
	t.Helper()
	for _, it := range items {
		if got, err := x.Put(t.Context(), it, it.Created); err != nil || got.ID != it.ID {
			t.Fatalf("Put(%s) = %v, %v; want the item itself", it.ID, got, err)
		}
	}
}

func wantItem(t *testing.T, x quarantine.Index, want *quarantine.Item) {
	t.Helper()
	got, err := x.Get(t.Context(), want.ID)
	if err != nil {
		t.Fatalf("Get(%s): %v", want.ID, err)
	}
	same := cmp.Options{cmpopts.EquateEmpty(), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })}
	if d := cmp.Diff(want, got, same); d != "" {
		t.Errorf("Get(%s) differs (-want +got):\n%s", want.ID, d)
	}
}

func testRoundTrip(t *testing.T, x quarantine.Index) {
	plain, bad, bare := Item(1), Item(2), &quarantine.Item{ID: ID(start), State: quarantine.Held}
	for _, s := range []*string{&bad.Sender, &bad.Subject, &bad.From, &bad.Helo, &bad.ClientName, &bad.MessageID, &bad.Note, &bad.AuthUser, &bad.Class} {
		*s = hostile
	}
	bad.Recipients, bad.SenderArgs = []string{hostile, ""}, []string{hostile}
	bad.Findings = []quarantine.Finding{{Check: "a/b", Part: "", Detail: hostile}, {}}
	bad.Held, bad.Client = true, netip.MustParseAddr("2001:db8::1%eth0")
	put(t, x, plain, bad, bare)
	wantItem(t, x, plain)
	wantItem(t, x, bad)
	wantItem(t, x, bare)
}

func testLists(t *testing.T, x quarantine.Index) {
	it := Item(1)
	it.Recipients = []string{"a,b", "1:x,", ",", "", strings.Repeat("x", 5000)}
	put(t, x, it)
	wantItem(t, x, it)
}

func testNotFound(t *testing.T, x quarantine.Index) {
	put(t, x, Item(1))
	for _, id := range []string{ID(start), "", "x' OR 1=1 --", "%"} {
		if _, err := x.Get(t.Context(), id); !errors.Is(err, quarantine.ErrNotFound) {
			t.Errorf("Get(%q) = %v, want ErrNotFound", id, err)
		}
		change := func(*quarantine.Item) error { t.Errorf("Update(%q) calls change", id); return nil }
		if _, err := x.Update(t.Context(), id, change); !errors.Is(err, quarantine.ErrNotFound) {
			t.Errorf("Update(%q) = %v, want ErrNotFound", id, err)
		}
	}
}

func testRetry(t *testing.T, x quarantine.Index) {
	first := Item(1)
	put(t, x, first)
	again := Item(2)
	again.Key = first.Key
	got, err := x.Put(t.Context(), again, first.Created)
	if err != nil || got.ID != first.ID || !got.Expires.Equal(again.Expires) {
		t.Fatalf("Put of a retry = %+v, %v; want item %s that expires %v", got, err, first.ID, again.Expires)
	}
	if _, err := x.Get(t.Context(), again.ID); !errors.Is(err, quarantine.ErrNotFound) {
		t.Errorf("Get of a retry = %v, want ErrNotFound", err)
	}
	first.Expires = again.Expires
	wantItem(t, x, first)

	late := Item(3)
	late.Key = first.Key
	if got, err := x.Put(t.Context(), late, first.Created.Add(time.Millisecond)); err != nil || got.ID != late.ID {
		t.Errorf("Put after the time for retries = %v, %v; want a new item", got, err)
	}
	for n, state := range []quarantine.State{quarantine.Releasing, quarantine.Released, quarantine.Deleted, quarantine.Expired} {
		done, next := Item(10+n), Item(20+n)
		done.State, next.Key = state, done.Key
		put(t, x, done)
		if got, err := x.Put(t.Context(), next, done.Created); err != nil || got.ID != next.ID {
			t.Errorf("Put of a message that was %s = %v, %v; want a new item", state, got, err)
		}
	}
}

// queued is an item that is to be sent.
func queued(n int) *quarantine.Item {
	it := Item(n)
	it.State, it.Purpose, it.Next, it.ReleaseTo = quarantine.Queued, quarantine.ForCopy, it.Created, it.Recipients
	return it
}

// Whatever became of what the filter itself sends: it is not made a second time.
func testSentOnce(t *testing.T, x quarantine.Index) {
	for n, state := range quarantine.States {
		first, again := queued(10+n), queued(30+n)
		first.State, again.Key = state, first.Key
		put(t, x, first)
		got, err := x.Put(t.Context(), again, first.Created)
		if err != nil || got.ID != first.ID {
			t.Errorf("Put of what is %s already = %v, %v; want item %s", state, got, err, first.ID)
		}
		wantItem(t, x, first)
		held := Item(50 + n)
		held.Key = first.Key
		if got, err := x.Put(t.Context(), held, first.Created); err != nil || state != quarantine.Held && got.ID != held.ID {
			t.Errorf("Put of a message to be held beside one that is %s = %v, %v; want a new item", state, got, err)
		}
	}
	held, sent := Item(1), queued(2)
	sent.Key = held.Key
	put(t, x, held)
	if got, err := x.Put(t.Context(), sent, held.Created); err != nil || got.ID != sent.ID {
		t.Errorf("Put of what is to be sent beside a held message = %v, %v; want a new item", got, err)
	}
	late := queued(3)
	late.Key = sent.Key
	if got, err := x.Put(t.Context(), late, sent.Created.Add(time.Millisecond)); err != nil || got.ID != late.ID {
		t.Errorf("Put after the time for retries = %v, %v; want a new item", got, err)
	}
}

func testToBeTried(t *testing.T, x quarantine.Index) {
	a, b, c, later, held := queued(1), queued(2), queued(3), queued(4), Item(0)
	a.Next, later.Next = c.Created, later.Created.Add(time.Hour)
	put(t, x, c, held, a, later, b)
	f := quarantine.Filter{State: quarantine.Queued, TryBy: c.Created, Oldest: true, Limit: 100}
	if items, err := x.List(t.Context(), f); err != nil || !slices.Equal(ids(items), []string{a.ID, b.ID, c.ID}) {
		t.Errorf("List(%+v) = %v, %v; want the three that are due, oldest first", f, ids(items), err)
	}
	f.Limit = 2
	if items, err := x.List(t.Context(), f); err != nil || !slices.Equal(ids(items), []string{a.ID, b.ID}) {
		t.Errorf("List(%+v) = %v, %v; want the two oldest", f, ids(items), err)
	}
	f.TryBy = b.Created.Add(-time.Millisecond)
	if items, err := x.List(t.Context(), f); err != nil || len(items) > 0 {
		t.Errorf("List(%+v) = %v, %v; want none", f, ids(items), err)
	}
}

func testCount(t *testing.T, x quarantine.Index) {
	f := quarantine.Filter{State: quarantine.Queued}
	if n, oldest, err := x.Count(t.Context(), f); err != nil || n != 0 || !oldest.IsZero() {
		t.Errorf("Count of none = %d, %v, %v", n, oldest, err)
	}
	a, b := queued(3), queued(2)
	put(t, x, a, b, Item(1))
	f.Limit, f.Cursor = 1, b.ID
	if n, oldest, err := x.Count(t.Context(), f); err != nil || n != 2 || !oldest.Equal(b.Created) {
		t.Errorf("Count = %d, %v, %v; want 2 since %v", n, oldest, err, b.Created)
	}
}

func testForget(t *testing.T, x quarantine.Index) {
	const many = 1203
	for n := range many {
		it := queued(n)
		it.State, it.Stored, it.Evidence = quarantine.Sent, false, []byte("{}")
		put(t, x, it)
	}
	var kept []*quarantine.Item
	for n, state := range quarantine.States {
		it := Item(n)
		if it.State = state; state == quarantine.Sent {
			it.Created = start.Add(many * time.Minute) // not before
		}
		kept = append(kept, it)
	}
	put(t, x, kept...)
	if n, err := x.Forget(t.Context(), start.Add(many*time.Minute)); err != nil || n != many {
		t.Errorf("Forget = %d, %v; want %d", n, err, many)
	}
	for _, it := range kept {
		wantItem(t, x, it)
	}
	if n, _, err := x.Count(t.Context(), quarantine.Filter{}); err != nil || n != len(kept) {
		t.Errorf("%d items are left, %v; want %d", n, err, len(kept))
	}
	if n, err := x.Forget(t.Context(), start.Add(many*time.Minute)); err != nil || n != 0 {
		t.Errorf("Forget once more = %d, %v; want none", n, err)
	}
}

func ids(items []quarantine.Item) []string {
	var list []string
	for _, it := range items {
		list = append(list, it.ID)
	}
	return list
}

func testOrder(t *testing.T, x quarantine.Index) {
	var want []string
	for n := range 7 {
		it := Item(n)
		put(t, x, it)
		want = slices.Insert(want, 0, it.ID)
	}
	var got []string
	for page, cursor := 0, ""; page < 4; page++ {
		items, err := x.List(t.Context(), quarantine.Filter{Limit: 3, Cursor: cursor})
		if err != nil {
			t.Fatalf("List after %q: %v", cursor, err)
		}
		if len(items) == 0 {
			break
		}
		if len(items) > 3 {
			t.Fatalf("List with limit 3 gives %d items", len(items))
		}
		got, cursor = append(got, ids(items)...), items[len(items)-1].ID
	}
	if !slices.Equal(got, want) {
		t.Errorf("pages of 3 give %v, want %v", got, want)
	}
}

func testFilter(t *testing.T, x quarantine.Index) {
	a, b, c := Item(0), Item(1), Item(2)
	a.Sender, a.Recipients, a.Subject = "Jörg@Example.ORG", []string{"x@a.example"}, "100% sure_thing"
	b.Sender, b.Recipients, b.State = "", []string{"y@b.example", "X@A.Example"}, quarantine.Released
	c.Sender, c.Recipients, c.Subject = "eve@example.org.evil", []string{"ax@a.example"}, hostile
	c.Stored = false
	a.Class, b.Class = "spam%", ""
	put(t, x, a, b, c)
	tests := []struct {
		name string
		f    quarantine.Filter
		want []string
	}{
		{"no filter", quarantine.Filter{}, ids([]quarantine.Item{*c, *b, *a})},
		{"limit", quarantine.Filter{Limit: 1}, []string{c.ID}},
		{"state", quarantine.Filter{State: quarantine.Released}, []string{b.ID}},
		{"state of none", quarantine.Filter{State: quarantine.Deleted}, nil},
		{"class", quarantine.Filter{Class: "viruses"}, []string{c.ID}},
		{"class with a wildcard", quarantine.Filter{Class: "spam%"}, []string{a.ID}},
		{"all but a class", quarantine.Filter{NotClass: "viruses"}, []string{b.ID, a.ID}},
		{"part of a class", quarantine.Filter{Class: "spam"}, nil},
		{"sender in another case", quarantine.Filter{Sender: "JÖRG@example.org"}, []string{a.ID}},
		{"domain of a sender", quarantine.Filter{Sender: "@example.org"}, []string{a.ID}},
		{"part of a sender", quarantine.Filter{Sender: "rg@example.org"}, nil},
		{"recipient", quarantine.Filter{Recipient: "x@a.example"}, []string{b.ID, a.ID}},
		{"domain of a recipient", quarantine.Filter{Recipient: "@a.example"}, []string{c.ID, b.ID, a.ID}},
		{"wildcard is no wildcard", quarantine.Filter{Recipient: "_@a.example"}, nil},
		{"text", quarantine.Filter{Text: "100% SURE_"}, []string{a.ID}},
		{"text with wildcards", quarantine.Filter{Text: "1%e_t"}, nil},
		{"text of a recipient", quarantine.Filter{Text: "b.example"}, []string{b.ID}},
		{"text of an attachment's name", quarantine.Filter{Text: "ICE1.P"}, []string{b.ID}},
		{"text of a finding", quarantine.Filter{Text: "eicar", Limit: 2}, []string{c.ID, b.ID}},
		{"two characters", quarantine.Filter{Text: "e_"}, []string{a.ID}},
		{"text across two values", quarantine.Filter{Text: "message 1 a"}, nil},
		{"hostile text", quarantine.Filter{Text: hostile}, []string{c.ID}},
		{"backslash", quarantine.Filter{Text: `_\"`}, []string{c.ID}},
		{"injection", quarantine.Filter{Text: "' OR '1'='1"}, nil},
		{"since", quarantine.Filter{Since: b.Created}, []string{c.ID, b.ID}},
		{"due", quarantine.Filter{Due: b.Expires}, []string{b.ID, a.ID}},
		{"due in between", quarantine.Filter{Due: b.Expires.Add(-time.Millisecond)}, []string{a.ID}},
		{"cursor", quarantine.Filter{Cursor: b.ID}, []string{a.ID}},
		{"all at once", quarantine.Filter{State: quarantine.Held, Sender: "@example.org", Recipient: "x@a.example", Since: start, Text: "sure"}, []string{a.ID}},
	}
	for _, tt := range tests {
		if tt.f.Limit == 0 {
			tt.f.Limit = 100
		}
		items, err := x.List(t.Context(), tt.f)
		if got := ids(items); err != nil || !slices.Equal(got, tt.want) {
			t.Errorf("%s: List(%+v) = %v, %v; want %v", tt.name, tt.f, got, err, tt.want)
		}
	}
}

func testUpdate(t *testing.T, x quarantine.Index) {
	it, other := Item(1), Item(2)
	put(t, x, it, other)
	change := func(it *quarantine.Item) error {
		it.Expires, it.Changed, it.Lease = start, start.Add(1*time.Millisecond), start.Add(2*time.Millisecond)
		it.Stored, it.State, it.ChangedBy, it.Note = false, quarantine.Releasing, hostile, hostile
		it.ReleaseTo, it.Attempt = []string{hostile, "b"}, "a1"
		it.Tries, it.Next = 7, start.Add(3*time.Millisecond)
		return nil
	}
	got, err := x.Update(t.Context(), it.ID, change)
	if err != nil {
		t.Fatalf("Update: %v", err)
	}
	_ = change(it)
	if got.State != it.State || got.Attempt != it.Attempt {
		t.Errorf("Update returns %+v, want the changed item", got)
	}
	wantItem(t, x, it)
	wantItem(t, x, other)
}

func testFailedUpdate(t *testing.T, x quarantine.Index) {
	it, broken := Item(1), errors.New("broken")
	put(t, x, it)
	_, err := x.Update(t.Context(), it.ID, func(it *quarantine.Item) error {
		it.State = quarantine.Deleted
		return broken
	})
	if !errors.Is(err, broken) {
		t.Errorf("Update = %v, want the error of change", err)
	}
	wantItem(t, x, it)
}

func testConcurrentUpdates(t *testing.T, x quarantine.Index) {
	it := Item(1)
	put(t, x, it)
	var won atomic.Int32
	parallel(16, func(n int) {
		_, err := x.Update(t.Context(), it.ID, func(it *quarantine.Item) error {
			if it.State != quarantine.Held {
				return quarantine.ErrState
			}
			it.State, it.Attempt = quarantine.Releasing, fmt.Sprint(n)
			return nil
		})
		if err == nil {
			won.Add(1)
		} else if !errors.Is(err, quarantine.ErrState) {
			t.Errorf("Update: %v", err)
		}
	})
	if won.Load() != 1 {
		t.Errorf("%d of 16 updates found the item held, want 1", won.Load())
	}
}

func testConcurrentPuts(t *testing.T, x quarantine.Index) {
	var mu sync.Mutex
	got := map[string]bool{}
	parallel(16, func(n int) {
		it := Item(n)
		it.Key = "same"
		stored, err := x.Put(t.Context(), it, start)
		if err != nil {
			t.Errorf("Put: %v", err)
			return
		}
		mu.Lock()
		got[stored.ID] = true
		mu.Unlock()
	})
	if len(got) != 1 {
		t.Errorf("16 retries at a time give %d items, want 1", len(got))
	}
}

func parallel(n int, do func(n int)) {
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { do(i) })
	}
	wg.Wait()
}

func testContext(t *testing.T, x quarantine.Index) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	it := Item(1)
	if _, err := x.Put(ctx, it, start); !errors.Is(err, context.Canceled) {
		t.Errorf("Put = %v, want context.Canceled", err)
	}
	if _, err := x.Get(t.Context(), it.ID); !errors.Is(err, quarantine.ErrNotFound) {
		t.Errorf("Get after a cancelled Put = %v, want ErrNotFound", err)
	}
}

func testReopen(t *testing.T, open func(t *testing.T, dir string) quarantine.Index) {
	dir, it := t.TempDir(), Item(1)
	x := open(t, dir)
	put(t, x, it)
	closeIt(t, x)
	x = open(t, dir)
	defer closeIt(t, x)
	wantItem(t, x, it)
	second := open(t, dir) // as a second process would
	defer closeIt(t, second)
	put(t, second, Item(2))
	wantItem(t, x, it)
}

// testEvidence: the record of a message comes back as it was put, and that of a retry is the first one's.
func testEvidence(t *testing.T, x quarantine.Index) {
	one, none := Item(1), Item(2)
	one.Evidence = []byte(`{"rule": "it's \u0000 \"quoted\""}`)
	for _, it := range []*quarantine.Item{one, none} {
		if _, err := x.Put(t.Context(), it, start); err != nil {
			t.Fatal(err)
		}
	}
	again := *one
	again.ID, again.Evidence = ID(start), []byte("{}")
	if got, err := x.Put(t.Context(), &again, start); err != nil || got.ID != one.ID {
		t.Fatalf("Put of a retry = %v, %v", got, err)
	}
	if got, err := x.Evidence(t.Context(), one.ID); err != nil || string(got) != string(one.Evidence) {
		t.Errorf("Evidence = %q, %v; want %q", got, err, one.Evidence)
	}
	for _, id := range []string{none.ID, again.ID, ID(start)} {
		if got, err := x.Evidence(t.Context(), id); !errors.Is(err, quarantine.ErrNotFound) {
			t.Errorf("Evidence of none = %q, %v; want ErrNotFound", got, err)
		}
	}
}
