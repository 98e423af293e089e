package journal_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"rastel/contrib/rig"
	"rastel/policy/quarantine"
	"rastel/policy/quarantine/blob"
	"rastel/policy/quarantine/journal"
	"rastel/policy/quarantine/quarantinetest"
	"rastel/policy/quarantine/sqlindex"
	"rastel/sanitize/eml"
)

// What happens to what is shared.
const (
	up   = iota
	away // nothing can be done
	lost // it is done, and the answer is lost
)

var errAway = errors.New("away")

// A fault is what happens now.
type fault struct{ atomic.Int32 }

// do calls f as the fault lets it.
func (x *fault) do(f func() error) error {
	if x.Load() == away {
		return errAway
	}
	if err := f(); err != nil || x.Load() == up {
		return err
	}
	return errAway
}

// A sharedIndex is one that others share.
type sharedIndex struct {
	quarantine.Index
	fault *fault
}

func (s sharedIndex) Put(ctx context.Context, it *quarantine.Item, since time.Time) (stored *quarantine.Item, err error) {
	if it.Subject == refused {
		return nil, errors.New("not this one")
	}
	err = s.fault.do(func() error { stored, err = s.Index.Put(ctx, it, since); return err })
	return stored, err
}

// refused is the subject of an item that the shared index never takes.
const refused = "refused"

func (s sharedIndex) Get(ctx context.Context, id string) (it *quarantine.Item, err error) {
	err = s.fault.do(func() error { it, err = s.Index.Get(ctx, id); return err })
	return it, err
}

func (s sharedIndex) List(ctx context.Context, f quarantine.Filter) (items []quarantine.Item, err error) {
	err = s.fault.do(func() error { items, err = s.Index.List(ctx, f); return err })
	return items, err
}

func (s sharedIndex) Update(ctx context.Context, id string, change func(*quarantine.Item) error) (it *quarantine.Item, err error) {
	err = s.fault.do(func() error { it, err = s.Index.Update(ctx, id, change); return err })
	return it, err
}

// sharedBlobs are messages that others share.
type sharedBlobs struct {
	quarantine.Blobs
	fault *fault
}

func (s sharedBlobs) Put(ctx context.Context, id string, r io.Reader) error {
	return s.fault.do(func() error { return s.Blobs.Put(ctx, id, r) })
}

func (s sharedBlobs) Open(ctx context.Context, id string) (r io.ReadCloser, err error) {
	err = s.fault.do(func() error { r, err = s.Blobs.Open(ctx, id); return err })
	return r, err
}

// A setup is a store with a journal, and what it shares with others.
type setup struct {
	*quarantine.Store
	journal     *journal.Journal
	index       quarantine.Index // shared, without faults
	messages    quarantine.Blobs // likewise
	indexFault  fault
	blobFault   fault
	cannotDrop  atomic.Bool
	journalOpts quarantine.JournalConfig
}

// A localIndex is that of the journal.
type localIndex struct {
	*sqlindex.Index
	s *setup
}

func (l localIndex) Drop(ctx context.Context, id string) error {
	if l.s.cannotDrop.Load() {
		return errors.New("killed")
	}
	return l.Index.Drop(ctx, id)
}

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func newSetup(t *testing.T, dir string, smtp string, cfg quarantine.JournalConfig) *setup {
	t.Helper()
	s := &setup{journalOpts: cfg}
	s.index = must[*sqlindex.Index](t)(sqlindex.Open(filepath.Join(dir, "shared", "index.db")))
	s.open(t, dir, smtp, sharedIndex{s.index, &s.indexFault})
	return s
}

// open opens the node's own part; the index may be any.
func (s *setup) open(t *testing.T, dir, smtp string, index quarantine.Index) {
	t.Helper()
	s.messages = must[*blob.Dir](t)(blob.Open(filepath.Join(dir, "shared", "messages"), blob.Options{}))
	own := filepath.Join(dir, "own")
	opt := journal.Options{
		Config: s.journalOpts, Dir: filepath.Join(own, "journal"), Index: index, Blobs: sharedBlobs{s.messages, &s.blobFault},
		LocalIndex: localIndex{must[*sqlindex.Index](t)(sqlindex.Open(filepath.Join(own, "journal", "index.db"))), s},
		LocalBlobs: must[*blob.Dir](t)(blob.Open(filepath.Join(own, "journal", "messages"), blob.Options{})),
	}
	s.journal = must[*journal.Journal](t)(journal.Open(opt))
	s.Store = must[*quarantine.Store](t)(quarantine.New(quarantine.Options{
		Config: quarantine.Config{Dir: own, Release: quarantine.ReleaseConfig{SMTP: smtp, Timeout: 10 * time.Second}},
		Index:  s.journal.Index(), Blobs: s.journal.Blobs(),
	}))
	t.Cleanup(func() { s.Close() })
}

func raw(n int) string { return fmt.Sprintf("Message-ID: <%d@example.org>\r\n\r\nbody %d\r\n", n, n) }

func (s *setup) hold(t *testing.T, n int) *quarantine.Item {
	t.Helper()
	it := quarantine.NewItem(&eml.Envelope{Sender: "a@example.org", Recipients: []string{"b@example.net"}})
	it.Evidence = []byte(`{"n":1}`)
	if err := s.Hold(t.Context(), it, strings.NewReader(raw(n))); err != nil {
		t.Fatalf("Hold: %v", err)
	}
	return it
}

// drain hands on all that waits.
func (s *setup) drain(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); s.journal.Run(ctx) }()
	defer func() { cancel(); <-done }()
	for giveUp := time.Now().Add(time.Minute); s.journal.Stats().Items > 0; {
		if time.Now().After(giveUp) {
			t.Fatalf("not handed on: %+v", s.journal.Stats())
		}
		time.Sleep(5 * time.Millisecond) // for another goroutine, with real files
	}
}

func (s *setup) wantRaw(t *testing.T, id, want string) {
	t.Helper()
	r, err := s.Store.Open(t.Context(), id)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	defer r.Close()
	if b, err := io.ReadAll(r); err != nil || string(b) != want {
		t.Errorf("message = %q, %v; want %q", b, err, want)
	}
}

// Whatever of the shared parts is away, and however: the message is held, listed, and handed on once.
func TestTakesWhatCannotBeStored(t *testing.T) {
	for _, tt := range []struct {
		name        string
		index, blob int32
	}{{"index away", away, up}, {"answer of the index lost", lost, up}, {"messages away", up, away}, {"answer of the messages lost", up, lost}, {"all away", away, away}} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSetup(t, t.TempDir(), "127.0.0.1:1", quarantine.JournalConfig{})
			before := s.hold(t, 0)
			s.indexFault.Store(tt.index)
			s.blobFault.Store(tt.blob)
			it := s.hold(t, 1)
			again := s.hold(t, 1)
			if again.ID != it.ID {
				t.Errorf("a retry is item %s, want %s", again.ID, it.ID)
			}
			got, err := s.Get(t.Context(), it.ID)
			if err != nil || !got.Journal || got.Note == "" || got.State != quarantine.Held {
				t.Errorf("Get = %+v, %v; want it in the journal", got, err)
			}
			s.wantRaw(t, it.ID, raw(1))
			list, err := s.List(t.Context(), quarantine.Filter{})
			if err != nil || len(list) == 0 || list[0].ID != it.ID || !list[0].Journal {
				t.Errorf("List = %+v, %v; want the item first", list, err)
			}
			if e, err := s.Evidence(t.Context(), it.ID); err != nil || string(e) != `{"n":1}` {
				t.Errorf("Evidence = %s, %v", e, err)
			}
			if err := s.Delete(t.Context(), it.ID, "ann"); !errors.Is(err, journal.ErrWaits) {
				t.Errorf("Delete = %v, want ErrWaits", err)
			}
			s.indexFault.Store(up)
			s.blobFault.Store(up)
			s.drain(t)
			all, err := s.index.List(t.Context(), quarantine.Filter{Limit: 10})
			if err != nil || len(all) != 2 || all[0].ID != it.ID || all[1].ID != before.ID || all[0].Journal || all[0].Note != "" {
				t.Errorf("the shared index has %+v, %v; want two items", all, err)
			}
			if e, err := s.index.Evidence(t.Context(), it.ID); err != nil || string(e) != `{"n":1}` {
				t.Errorf("Evidence in the shared index = %s, %v", e, err)
			}
			r, err := s.messages.Open(t.Context(), it.ID)
			if err != nil {
				t.Fatalf("the shared store: %v", err)
			}
			r.Close()
			s.wantRaw(t, it.ID, raw(1))
			if err := s.Delete(t.Context(), it.ID, "ann"); err != nil {
				t.Errorf("Delete: %v", err)
			}
		})
	}
}

// An item that was handed on, but not removed here because of a crash, is handed on again: nothing that others
// did meanwhile is undone.
func TestHandsOnAgainAfterACrash(t *testing.T) {
	dir := t.TempDir()
	sink := must[*rig.Sink](t)(rig.StartSink())
	defer sink.Stop() // nothing depends on it
	s := newSetup(t, dir, sink.Addr, quarantine.JournalConfig{})
	s.indexFault.Store(away)
	it := s.hold(t, 1)
	s.indexFault.Store(up)
	s.cannotDrop.Store(true)
	if _, err := s.Release(t.Context(), it.ID, quarantine.ReleaseRequest{}); !errors.Is(err, journal.ErrWaits) {
		t.Fatalf("Release = %v, want ErrWaits", err)
	}
	// Another node sees it, and releases it.
	released, err := s.index.Update(t.Context(), it.ID, func(it *quarantine.Item) error { it.State = quarantine.Released; return nil })
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = newSetup(t, dir, sink.Addr, quarantine.JournalConfig{})
	if n := s.journal.Stats().Items; n != 1 {
		t.Fatalf("%d items wait after the crash, want 1", n)
	}
	if _, err := s.Release(t.Context(), it.ID, quarantine.ReleaseRequest{}); !errors.Is(err, quarantine.ErrState) {
		t.Errorf("Release = %v, want ErrState: it is released", err)
	}
	if got, err := s.Get(t.Context(), it.ID); err != nil || got.State != released.State || got.Journal {
		t.Errorf("Get = %+v, %v; want it released", got, err)
	}
	if d := sink.Deliveries(); len(d) > 0 {
		t.Errorf("%d deliveries, want none", len(d))
	}
}

func TestIsBounded(t *testing.T) {
	for _, cfg := range []quarantine.JournalConfig{{Items: 3}, {Bytes: int64(3 * len(raw(1)))}} {
		s := newSetup(t, t.TempDir(), "127.0.0.1:1", cfg)
		s.indexFault.Store(away)
		for n := range 3 {
			s.hold(t, n)
		}
		it := quarantine.NewItem(&eml.Envelope{Recipients: []string{"b@example.net"}})
		if err := s.Hold(t.Context(), it, strings.NewReader(raw(9))); !errors.Is(err, journal.ErrFull) {
			t.Errorf("Hold with a full journal = %v, want ErrFull", err)
		}
		if st := s.journal.Stats(); !st.Full || st.Items != 3 || st.Refused == 0 || st.Trouble == nil || st.Oldest.IsZero() {
			t.Errorf("Stats = %+v", st)
		}
		s.indexFault.Store(up)
		s.drain(t)
		if st := s.journal.Stats(); st.Items != 0 || st.Bytes != 0 || st.Drained != 3 || st.Trouble != nil {
			t.Errorf("Stats after it = %+v", st)
		}
		s.hold(t, 9)
	}
}

func TestOneThatIsRefusedKeepsNoOther(t *testing.T) {
	s := newSetup(t, t.TempDir(), "127.0.0.1:1", quarantine.JournalConfig{})
	bad := quarantine.NewItem(&eml.Envelope{Recipients: []string{"b@example.net"}})
	bad.Subject = refused
	if err := s.Hold(t.Context(), bad, strings.NewReader(raw(0))); err != nil {
		t.Fatal(err)
	}
	for n := range 5 {
		s.hold(t, 1+n)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); s.journal.Run(ctx) }()
	defer func() { cancel(); <-done }()
	for giveUp := time.Now().Add(time.Minute); s.journal.Stats().Items > 1; {
		if time.Now().After(giveUp) {
			t.Fatalf("not handed on: %+v", s.journal.Stats())
		}
		time.Sleep(5 * time.Millisecond) // for another goroutine, with real files
	}
	if got, err := s.Get(t.Context(), bad.ID); err != nil || !got.Journal {
		t.Errorf("Get of the one that is refused = %+v, %v; want it in the journal", got, err)
	}
}

func TestOneProcessHasTheJournal(t *testing.T) {
	dir := t.TempDir()
	newSetup(t, dir, "127.0.0.1:1", quarantine.JournalConfig{})
	if _, err := journal.Open(journal.Options{Dir: filepath.Join(dir, "own", "journal")}); err == nil || !strings.Contains(err.Error(), "another process") {
		t.Errorf("a second Open = %v, want that another process has it", err)
	}
}

func TestPagesGoThroughBoth(t *testing.T) {
	s := newSetup(t, t.TempDir(), "127.0.0.1:1", quarantine.JournalConfig{})
	var want []string
	for n := range 9 {
		s.indexFault.Store(int32(n % 2 * away))
		want = slices.Insert(want, 0, s.hold(t, n).ID)
		s.journal.Retry()
	}
	s.indexFault.Store(up)
	slices.SortFunc(want, func(a, b string) int { return strings.Compare(b, a) })
	var got []string
	for f := (quarantine.Filter{Limit: 2}); len(got) < 20; {
		page, err := s.List(t.Context(), f)
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			break
		}
		for _, it := range page {
			got = append(got, it.ID)
		}
		f.Cursor = got[len(got)-1]
	}
	if !slices.Equal(got, want) {
		t.Errorf("pages give %v, want %v", got, want)
	}
}

func TestIndexAndBlobs(t *testing.T) {
	t.Run("index", func(t *testing.T) {
		quarantinetest.TestIndex(t, func(t *testing.T, dir string) quarantine.Index {
			local := must[*sqlindex.Index](t)(sqlindex.Open(filepath.Join(t.TempDir(), "journal.db")))
			shared := must[*sqlindex.Index](t)(sqlindex.Open(filepath.Join(dir, "index.db")))
			return must[*journal.Journal](t)(journal.Open(journal.Options{Dir: t.TempDir(), Index: shared, LocalIndex: local})).Index()
		})
	})
	for name, mode := range map[string]int32{"messages": up, "messages away": away} {
		t.Run(name, func(t *testing.T) {
			quarantinetest.TestBlobs(t, func(t *testing.T, dir string) quarantine.Blobs {
				local := must[*sqlindex.Index](t)(sqlindex.Open(filepath.Join(t.TempDir(), "journal.db")))
				t.Cleanup(func() { local.Close() })
				b := sharedBlobs{must[*blob.Dir](t)(blob.Open(filepath.Join(dir, "shared"), blob.Options{})), &fault{}}
				j := must[*journal.Journal](t)(journal.Open(journal.Options{
					Dir: t.TempDir(), LocalIndex: local, LocalBlobs: must[*blob.Dir](t)(blob.Open(filepath.Join(dir, "own"), blob.Options{})), Blobs: putless{b, mode},
				}))
				return j.Blobs()
			})
		})
	}
}

// putless are blobs that take no new ones, if they are away.
type putless struct {
	quarantine.Blobs
	mode int32
}

func (p putless) Put(ctx context.Context, id string, r io.Reader) error {
	if p.mode == away {
		return errAway
	}
	return p.Blobs.Put(ctx, id, r)
}

// The database ends amid the holding of messages, hangs, and comes back: all that was answered to be held is
// there, once, and nobody waited long.
func TestPostgresIsAway(t *testing.T) {
	if os.Getenv("RASTEL_E2E") != "1" {
		t.Skip("needs a PostgreSQL; run contrib/test")
	}
	p := must[*rig.Postgres](t)(rig.StartPostgres())
	defer p.Stop() // nothing depends on it
	dir := t.TempDir()
	password := filepath.Join(dir, "password")
	if err := os.WriteFile(password, []byte(rig.PostgresPassword), 0o600); err != nil {
		t.Fatal(err)
	}
	s := &setup{}
	s.index = must[*sqlindex.Index](t)(sqlindex.OpenPostgres(quarantine.IndexConfig{Postgres: p.URL("postgres"), PasswordFile: password}.WithDefaults()))
	s.open(t, dir, "127.0.0.1:1", s.index)
	var slowest time.Duration
	for n := range 60 {
		for at, do := range map[int]func() error{10: p.Pause, 20: p.Resume, 30: func() error { p.Kill(); return nil }, 50: func() error { return p.Start() }} {
			if at == n {
				if err := do(); err != nil {
					t.Fatal(err)
				}
			}
		}
		begin := time.Now()
		it := s.hold(t, n)
		slowest = max(slowest, time.Since(begin))
		if got, err := s.Get(t.Context(), it.ID); err != nil || got.State != quarantine.Held {
			t.Errorf("Get %d = %+v, %v", n, got, err)
		}
	}
	waiting := s.journal.Stats().Items
	t.Logf("the slowest hold took %v; %d messages wait in the journal", slowest, waiting)
	if waiting < 20 {
		t.Errorf("%d messages wait in the journal, want most of the 30 that were held meanwhile", waiting)
	}
	s.drain(t)
	items, err := s.index.List(t.Context(), quarantine.Filter{Limit: 100})
	if err != nil || len(items) != 60 {
		t.Errorf("the index has %d items, %v; want 60", len(items), err)
	}
	var seen [][]byte
	for _, it := range items {
		r, err := s.messages.Open(t.Context(), it.ID)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r)
		if err = errors.Join(err, r.Close()); err != nil {
			t.Fatal(err)
		}
		seen = append(seen, b)
	}
	slices.SortFunc(seen, bytes.Compare)
	if n := len(slices.CompactFunc(seen, bytes.Equal)); n != 60 {
		t.Errorf("%d different messages, want 60", n)
	}
}
