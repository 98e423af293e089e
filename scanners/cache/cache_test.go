package cache

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"rastel/sanitize/eml"
	"rastel/scanners"
	"rastel/scanners/scannertest"
)

// fake is an engine at our command.
type fake struct {
	version atomic.Pointer[string]
	scans   atomic.Int32
	scan    func(ctx context.Context, p *eml.Part) ([]eml.Finding, error) // nil: finds the word "bad"
	leaves  func(p *eml.Part) bool                                        // what it does not examine
}

func newFake() *fake {
	f := &fake{}
	f.is("v1")
	return f
}

func (f *fake) is(version string) { f.version.Store(&version) }
func (f *fake) Version() string   { return *f.version.Load() }
func (*fake) Checks() []eml.Check { return []eml.Check{{ID: "fake/malware", Doc: "It is bad."}} }
func (f *fake) Passes(p *eml.Part) string {
	if f.leaves != nil && f.leaves(p) {
		return "as fakes do"
	}
	return ""
}

func (f *fake) Scan(ctx context.Context, p *eml.Part) ([]eml.Finding, error) {
	if !scanners.Examines(f, p) {
		return nil, nil
	}
	f.scans.Add(1)
	if f.scan != nil {
		return f.scan(ctx, p)
	}
	if string(p.Head(3)) == "bad" {
		return []eml.Finding{{Check: "fake/malware", Part: p, Detail: "Bad\xff.Thing"}}, nil
	}
	return nil, ctx.Err()
}

func newCache(t testing.TB, cfg Config) *Cache {
	t.Helper()
	c, err := New(cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// expect scans a part and fails unless the engine has been asked so many times then.
func expect(t *testing.T, s scanners.Scanner, f *fake, p *eml.Part, findings, scans int) {
	t.Helper()
	got, err := s.Scan(t.Context(), p)
	if err != nil || len(got) != findings {
		t.Errorf("got %v, %v; want %d findings", got, err, findings)
	}
	for _, g := range got {
		if g.Part != p || g.Check != "fake/malware" || g.Detail != "Bad\xff.Thing" {
			t.Errorf("got %+v", g)
		}
	}
	if n := int(f.scans.Load()); n != scans {
		t.Errorf("the engine was asked %d times, want %d", n, scans)
	}
}

func part(t testing.TB, content string) *eml.Part { return scannertest.Part(t, []byte(content)) }

func TestKeepsTheContractOfScanners(t *testing.T) {
	scannertest.Run(t, newCache(t, Config{}).Wrap("fake", newFake(), nil))
}

func TestSameContentIsExaminedOncePerVersion(t *testing.T) {
	f := newFake()
	s := newCache(t, Config{}).Wrap("fake", f, nil)
	expect(t, s, f, part(t, "good"), 0, 1)
	expect(t, s, f, part(t, "good"), 0, 1)
	expect(t, s, f, part(t, "bad"), 1, 2)
	expect(t, s, f, part(t, "bad"), 1, 2)
	f.is("v2")
	expect(t, s, f, part(t, "good"), 0, 3)
	expect(t, s, f, part(t, "bad"), 1, 4)
	f.is("") // nobody knows what it is
	expect(t, s, f, part(t, "good"), 0, 5)
	expect(t, s, f, part(t, "good"), 0, 6)
	f.is("v1") // back again, as with two daemons in turn
	expect(t, s, f, part(t, "good"), 0, 6)
}

func TestEnginesDoNotTakeEachOthersVerdicts(t *testing.T) {
	c, one, two := newCache(t, Config{}), newFake(), newFake()
	two.scan = func(context.Context, *eml.Part) ([]eml.Finding, error) { return nil, nil }
	expect(t, c.Wrap("two", two, nil), two, part(t, "bad"), 0, 1)
	expect(t, c.Wrap("one", one, nil), one, part(t, "bad"), 1, 1)
	// Names and versions that read the same one behind the other.
	one.is("x")
	two.is("2x")
	expect(t, c.Wrap("e", two, nil), two, part(t, "bad"), 0, 2)
	expect(t, c.Wrap("e2", one, nil), one, part(t, "bad"), 1, 2)
}

// What an engine leaves to ScanMessage in one message may come as a file in the next.
func TestSilenceAboutWhatIsNotExaminedIsNotKept(t *testing.T) {
	f := newFake()
	inline, attached := part(t, "bad"), part(t, "bad")
	f.leaves = func(p *eml.Part) bool { return p == inline }
	s := newCache(t, Config{}).Wrap("fake", f, nil)
	expect(t, s, f, inline, 0, 0)
	expect(t, s, f, attached, 1, 1)
	expect(t, s, f, inline, 0, 1) // and no finding is told twice
}

// The account of what was examined is the same with the cache.
func TestTellsWhyAPartIsNotExamined(t *testing.T) {
	f := newFake()
	p := part(t, "bad")
	f.leaves = func(*eml.Part) bool { return true }
	c := newCache(t, Config{})
	for _, engine := range []scanners.Engine{f, messageFake{f}} {
		e, ok := c.Wrap("fake", engine, nil).(scanners.Engine)
		if !ok || scanners.Examines(e, p) || e.Version() != "v1" || e.Passes(p) != "as fakes do" {
			t.Errorf("%T: %v", engine, e)
		}
	}
	if _, ok := c.Wrap("fake", messageFake{f}, nil).(scanners.MessageScanner); !ok {
		t.Error("whole messages are not examined any more")
	}
	if _, ok := c.Wrap("fake", f, nil).(scanners.MessageScanner); ok {
		t.Error("a MessageScanner that is none")
	}
}

type messageFake struct{ *fake }

func (messageFake) ScanMessage(context.Context, *eml.Message) ([]eml.Finding, error) { return nil, nil }

func TestFailuresAreNotKept(t *testing.T) {
	f := newFake()
	down := errors.New("down")
	f.scan = func(context.Context, *eml.Part) ([]eml.Finding, error) { return nil, down }
	s := newCache(t, Config{}).Wrap("fake", f, nil)
	if _, err := s.Scan(t.Context(), part(t, "bad")); !errors.Is(err, down) {
		t.Errorf("got %v", err)
	}
	f.scan = func(_ context.Context, p *eml.Part) ([]eml.Finding, error) { // finds something and fails
		return []eml.Finding{{Check: "fake/malware", Part: p}}, down
	}
	if _, err := s.Scan(t.Context(), part(t, "bad")); !errors.Is(err, down) {
		t.Errorf("got %v", err)
	}
	f.scan = nil
	expect(t, s, f, part(t, "bad"), 1, 3)
}

func TestVerdictsOfAChangingEngineAreNotKept(t *testing.T) {
	f := newFake()
	f.scan = func(context.Context, *eml.Part) ([]eml.Finding, error) {
		f.is("v2") // a new database came in between
		return nil, nil
	}
	s := newCache(t, Config{}).Wrap("fake", f, nil)
	expect(t, s, f, part(t, "good"), 0, 1)
	f.scan = nil
	expect(t, s, f, part(t, "good"), 0, 2)
	f.is("v1")
	expect(t, s, f, part(t, "good"), 0, 3)
}

func TestWhatBelongsToOneMessageIsNotKept(t *testing.T) {
	p := part(t, "x")
	for name, finding := range map[string]eml.Finding{
		"a fix":          {Check: "fake/malware", Part: p, Fix: []eml.Edit{{Part: p}}},
		"another part":   {Check: "fake/malware", Part: part(t, "y")},
		"a large detail": {Check: "fake/malware", Part: p, Detail: string(make([]byte, maxDetail+1))},
	} {
		f := newFake()
		f.scan = func(context.Context, *eml.Part) ([]eml.Finding, error) { return []eml.Finding{finding}, nil }
		s := newCache(t, Config{}).Wrap("fake", f, nil)
		for range 2 {
			if got, err := s.Scan(t.Context(), p); err != nil || len(got) != 1 {
				t.Errorf("%s: got %v, %v", name, got, err)
			}
		}
		if f.scans.Load() != 2 {
			t.Errorf("%s: kept", name)
		}
	}
}

func TestVerdictsExpire(t *testing.T) {
	for name, c := range map[string]struct {
		content    string
		unexamined bool
		age        time.Duration
	}{
		"clean": {content: "good", age: defaultClean}, "found": {content: "bad", age: defaultFound},
		"not looked into": {content: "bad", unexamined: true, age: unexaminedAge},
	} {
		t.Run(name, func(t *testing.T) {
			p := part(t, c.content)
			synctest.Test(t, func(t *testing.T) {
				f := newFake()
				f.scan = func(context.Context, *eml.Part) ([]eml.Finding, error) {
					if c.content == "good" {
						return nil, nil
					}
					return []eml.Finding{{Check: "fake/malware", Part: p, Detail: "Bad\xff.Thing", Unexamined: c.unexamined}}, nil
				}
				s := newCache(t, Config{}).Wrap("fake", f, nil)
				n := len(c.content) % 2 // "bad" has a finding
				expect(t, s, f, p, n, 1)
				time.Sleep(c.age - time.Second)
				expect(t, s, f, p, n, 1)
				time.Sleep(time.Second)
				expect(t, s, f, p, n, 2)
			})
		})
	}
}

func TestForgetsWhenTold(t *testing.T) {
	f := newFake()
	c := newCache(t, Config{})
	s := c.Wrap("fake", f, nil)
	expect(t, s, f, part(t, "good"), 0, 1)
	c.Forget()
	expect(t, s, f, part(t, "good"), 0, 2)
	f.scan = func(context.Context, *eml.Part) ([]eml.Finding, error) {
		c.Forget() // while the scan is in work
		return nil, nil
	}
	expect(t, s, f, part(t, "other"), 0, 3)
	f.scan = nil
	expect(t, s, f, part(t, "other"), 0, 4)
}

// together scans the same content in n messages at once; the first is begun before the others.
func together(t *testing.T, s scanners.Scanner, ctxs []context.Context, parts []*eml.Part) []error {
	errs := make([]error, len(parts))
	var wg sync.WaitGroup
	for i := range parts {
		wg.Go(func() { _, errs[i] = s.Scan(ctxs[i], parts[i]) })
		synctest.Wait()
	}
	wg.Wait()
	return errs
}

func messages(t *testing.T, n int) (parts []*eml.Part) {
	for range n {
		parts = append(parts, part(t, "good"))
	}
	return parts
}

func contexts(ctx context.Context, n int) (ctxs []context.Context) {
	for range n {
		ctxs = append(ctxs, ctx)
	}
	return ctxs
}

func TestSameContentAtOnceIsExaminedOnce(t *testing.T) {
	parts := messages(t, 50)
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.scan = func(context.Context, *eml.Part) ([]eml.Finding, error) { time.Sleep(time.Second); return nil, nil }
		c := newCache(t, Config{})
		for i, err := range together(t, c.Wrap("fake", f, nil), contexts(t.Context(), 50), parts) {
			if err != nil {
				t.Errorf("message %d: %v", i, err)
			}
		}
		if n, st := f.scans.Load(), c.Stats(); n != 1 || st.Waits != 49 || st.Misses != 1 {
			t.Errorf("%d scans, %+v", n, st)
		}
	})
}

// The message whose scan the others wait for is given up.
func TestWaitersDoNotShareTheFateOfTheFirst(t *testing.T) {
	parts := messages(t, 20)
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.scan = func(ctx context.Context, _ *eml.Part) ([]eml.Finding, error) {
			select {
			case <-time.After(time.Minute):
				return nil, nil
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		ctxs := contexts(t.Context(), 20)
		first, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		second, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		ctxs[0], ctxs[1] = first, second
		for i, err := range together(t, newCache(t, Config{}).Wrap("fake", f, nil), ctxs, parts) {
			if (err != nil) != (i < 2) {
				t.Errorf("message %d: %v", i, err)
			}
		}
		if n := f.scans.Load(); n > 3 {
			t.Errorf("%d scans for three that had to be begun", n)
		}
	})
}

func TestAFailureIsForNobodyElse(t *testing.T) {
	parts := messages(t, 10)
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		var n atomic.Int32
		f.scan = func(context.Context, *eml.Part) ([]eml.Finding, error) {
			time.Sleep(time.Second)
			if n.Add(1) == 1 {
				return nil, errors.New("hiccup")
			}
			return nil, nil
		}
		start := time.Now()
		for i, err := range together(t, newCache(t, Config{}).Wrap("fake", f, nil), contexts(t.Context(), 10), parts) {
			if (err != nil) != (i == 0) {
				t.Errorf("message %d: %v", i, err)
			}
		}
		if took := time.Since(start); took > 2*time.Second {
			t.Errorf("asked one after the other: %v", took)
		}
	})
}

func TestAWaiterEndsWithItsContext(t *testing.T) {
	parts := messages(t, 2)
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.scan = func(context.Context, *eml.Part) ([]eml.Finding, error) { time.Sleep(time.Hour); return nil, nil }
		ctxs := contexts(t.Context(), 2)
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		ctxs[1] = short
		errs := together(t, newCache(t, Config{}).Wrap("fake", f, nil), ctxs, parts)
		var temporary *scanners.Temporary
		if errs[0] != nil || !errors.As(errs[1], &temporary) {
			t.Errorf("got %v", errs)
		}
	})
}

func TestAPanicLeavesNobodyWaiting(t *testing.T) {
	parts := messages(t, 5)
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		var n atomic.Int32
		f.scan = func(context.Context, *eml.Part) ([]eml.Finding, error) {
			time.Sleep(time.Second)
			if n.Add(1) == 1 {
				panic("first")
			}
			return nil, nil
		}
		s := newCache(t, Config{}).Wrap("fake", f, nil)
		caught := scannerFunc{s, func(ctx context.Context, p *eml.Part) (_ []eml.Finding, err error) {
			defer func() {
				if v := recover(); v != nil {
					err = fmt.Errorf("panic: %v", v)
				}
			}()
			return s.Scan(ctx, p)
		}}
		for i, err := range together(t, caught, contexts(t.Context(), 5), parts) {
			if (err != nil) != (i == 0) {
				t.Errorf("message %d: %v", i, err)
			}
		}
	})
}

type scannerFunc struct {
	scanners.Scanner
	scan func(context.Context, *eml.Part) ([]eml.Finding, error)
}

func (s scannerFunc) Scan(ctx context.Context, p *eml.Part) ([]eml.Finding, error) {
	return s.scan(ctx, p)
}

func TestKeepsWithinItsBytes(t *testing.T) {
	var m memory
	m.max = 100 * entrySize
	now := time.Now()
	k := func(i int) key { return key{byte(i), byte(i >> 8)} }
	for i := range 1000 {
		m.put(k(i), verdict{}, now.Add(time.Hour))
		if _, ok := m.get(k(0), now); !ok { // what is asked for again and again stays
			t.Fatalf("the first is gone after %d", i)
		}
	}
	if len(m.by) != 100 || m.size != m.max {
		t.Errorf("%d entries, %d bytes", len(m.by), m.size)
	}
	for i := range 1000 {
		if _, ok := m.get(k(i), now); ok != (i == 0 || i > 900) {
			t.Errorf("%d is there: %v", i, ok)
		}
	}
	m.put(k(1), verdict{found: []found{{Detail: make([]byte, 200*entrySize)}}}, now.Add(time.Hour))
	if len(m.by) != 0 || m.size != 0 {
		t.Errorf("what does not fit is kept: %d entries, %d bytes", len(m.by), m.size)
	}
}

// TestCountsItsBytes holds what is counted to what is allocated.
func TestCountsItsBytes(t *testing.T) {
	const n = 50_000
	for name, v := range map[string]verdict{"clean": {}, "found": {found: []found{{Check: "fake/malware", Detail: []byte("Win.Test.EICAR_HDB-1")}}}} {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		m := memory{max: 1 << 40}
		for i := range n {
			w := verdict{}
			for _, f := range v.found {
				w.found = append(w.found, found{f.Check, append([]byte(nil), f.Detail...), false})
			}
			m.put(key{byte(i), byte(i >> 8), byte(i >> 16)}, w, time.Now())
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		used := int64(after.HeapAlloc - before.HeapAlloc)
		t.Logf("%s: %d bytes an entry, counted as %d", name, used/n, m.size/n)
		if used > m.size*5/4 {
			t.Errorf("%s: %d entries take %d bytes and count as %d", name, n, used, m.size)
		}
		runtime.KeepAlive(&m)
	}
}

func TestConfig(t *testing.T) {
	if c, err := New(Config{Bytes: -1}, nil); c != nil || err != nil {
		t.Errorf("got %v, %v", c, err)
	}
	var none *Cache
	f := newFake()
	if s := none.Wrap("fake", f, nil); s != scanners.Scanner(f) {
		t.Error("a cache that is off wraps")
	}
	none.Forget()
	none.Close()
	for _, c := range []Config{
		{Bytes: -2}, {Clean: -1}, {Found: maxAge + 1}, {Bytes: -1, Shared: &SharedConfig{}},
		{Shared: &SharedConfig{Address: "tcp:127.0.0.1:6379"}}, {Shared: &SharedConfig{Address: "127.0.0.1", KeyFile: "k"}},
		{Shared: &SharedConfig{Address: "tcp:127.0.0.1:6379", KeyFile: "k", Timeout: time.Minute}},
	} {
		if c.Validate() == nil {
			t.Errorf("%+v is valid", c)
		}
	}
}

func BenchmarkHit(b *testing.B) {
	f := newFake()
	s := newCache(b, Config{}).Wrap("fake", f, nil)
	p := part(b, "good")
	for b.Loop() {
		if _, err := s.Scan(b.Context(), p); err != nil {
			b.Fatal(err)
		}
	}
	if f.scans.Load() != 1 {
		b.Fatal("scanned again")
	}
}
