package quarantine_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-smtp"

	"rastel/policy/quarantine"
	"rastel/sanitize/eml"
)

// queue queues a message for the envelope of all tests.
func (s *setup) queue(t *testing.T, raw string, change func(*quarantine.Item)) *quarantine.Item {
	t.Helper()
	it := quarantine.NewItem(envelope())
	it.Purpose, it.Of = quarantine.ForCopy, "original"
	if change != nil {
		change(it)
	}
	if err := s.Queue(t.Context(), it, strings.NewReader(raw)); err != nil {
		t.Fatalf("Queue(%.100q): %v", raw, err)
	}
	s.Send()
	return it
}

// running runs the outbox until the function is called.
func (s *setup) running(t *testing.T) (end func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); s.RunOutbox(ctx) }()
	end = func() { cancel(); <-done }
	t.Cleanup(end)
	return end
}

// await waits until an item is in a state.
func (s *setup) await(t *testing.T, id string, want quarantine.State) *quarantine.Item {
	t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(2 * time.Millisecond) {
		it, err := s.Get(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		if it.State == want {
			return it
		}
		if time.Now().After(end) {
			t.Fatalf("item %+v, want it %s", it, want)
		}
	}
}

func TestQueueIsDurableAndSentOnce(t *testing.T) {
	w := startWire(t)
	var mu sync.Mutex
	var seen []string
	w.onData = func(commands []string, raw string) {
		mu.Lock()
		defer mu.Unlock()
		seen = append(seen, raw)
	}
	cfg := quarantine.Config{Release: quarantine.ReleaseConfig{SMTP: w.addr}}
	s := newStore(t, cfg)
	it := s.queue(t, message, nil)
	s.wantState(t, it.ID, quarantine.Queued)
	s.wantRaw(t, it.ID, message)
	if held, err := s.List(t.Context(), quarantine.Filter{State: quarantine.Held}); err != nil || len(held) > 0 {
		t.Errorf("held: %+v, %v", held, err)
	}
	if again := s.queue(t, "another form of it", nil); again.ID != it.ID {
		t.Errorf("a second try makes item %s, want %s", again.ID, it.ID)
	}
	if st, err := s.Outbox(t.Context()); err != nil || st.Queued != 1 || !st.Oldest.Equal(it.Created) {
		t.Errorf("Outbox = %+v, %v", st, err)
	}
	end := s.running(t)
	got := s.await(t, it.ID, quarantine.Sent)
	if got.Stored || got.Tries != 1 || len(got.ReleaseTo) > 0 || !got.Next.IsZero() {
		t.Errorf("sent item %+v", got)
	}
	commands, raw := w.last()
	if _, body := splitToken(t, raw); body != strings.TrimSuffix(message, "\r\n") && body != message {
		t.Errorf("sent %q, want %q", body, message)
	}
	want := []string{"MAIL FROM:<Alice@Example.org> BODY=8BITMIME SIZE=", "RCPT TO:<bob@example.com>", "RCPT TO:<carol@example.com>"}
	for _, c := range want {
		if !slices.ContainsFunc(commands, func(s string) bool { return strings.HasPrefix(s, c) }) {
			t.Errorf("commands %q lack %q", commands, c)
		}
	}
	end()
	if again := s.queue(t, message, nil); again.ID != it.ID {
		t.Errorf("a try after it was sent makes item %s, want %s", again.ID, it.ID)
	}
	if other := s.queue(t, message, func(it *quarantine.Item) { it.Recipients = it.Recipients[:1] }); other.ID == it.ID {
		t.Error("other recipients are the same item")
	}
	if other := s.queue(t, message, func(it *quarantine.Item) { it.Of = "" }); other.ID == it.ID {
		t.Error("what is made of nothing known is the same item")
	}
	if files := s.blobFiles(t); len(files) != 2 {
		t.Errorf("messages left: %q, want those that are not sent", files)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(seen) != 1 {
		t.Errorf("sent %d times: %q", len(seen), seen)
	}
	if st, err := s.Outbox(t.Context()); err != nil || st.Sent != 1 || st.Failed != 0 || st.Queued != 2 {
		t.Errorf("Outbox = %+v, %v", st, err)
	}
}

func TestQueueWantsAPurposeAndRecipients(t *testing.T) {
	s := newStore(t, quarantine.Config{})
	for _, it := range []*quarantine.Item{quarantine.NewItem(envelope()), {Purpose: quarantine.ForCopy}} {
		if err := s.Queue(t.Context(), it, strings.NewReader(message)); err == nil {
			t.Errorf("Queue(%+v) = nil, want an error", it)
		}
	}
	if files := s.blobFiles(t); len(files) > 0 {
		t.Errorf("messages %q, want none", files)
	}
}

// A fickle is an MTA that refuses some recipients for a time.
type fickle struct {
	mu      sync.Mutex
	refuse  map[string]*smtp.SMTPError
	content *smtp.SMTPError
	got     map[string]int // messages, by recipient
	tokens  []string
}

// A fickleSession is one connection.
type fickleSession struct {
	*fickle
	to []string
}

func (f *fickleSession) Mail(string, *smtp.MailOptions) error { f.to = nil; return nil }
func (f *fickleSession) Rcpt(to string, _ *smtp.RcptOptions) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.refuse[to]; err != nil {
		return err
	}
	f.to = append(f.to, to)
	return nil
}
func (f *fickleSession) Reset()        {}
func (f *fickleSession) Logout() error { return nil }
func (f *fickleSession) Data(r io.Reader) error {
	raw, err := io.ReadAll(r)
	f.mu.Lock()
	defer f.mu.Unlock()
	if err != nil {
		return err
	}
	if f.content != nil {
		return f.content
	}
	field, _, _ := strings.Cut(string(raw), "\r\n")
	f.tokens = append(f.tokens, strings.TrimPrefix(field, quarantine.TokenField+": "))
	for _, to := range f.to {
		f.got[to]++
	}
	return nil
}

func (f *fickle) set(change func()) { f.mu.Lock(); defer f.mu.Unlock(); change() }

func (f *fickle) count(to string) int { f.mu.Lock(); defer f.mu.Unlock(); return f.got[to] }

func startFickle(t *testing.T) (*fickle, quarantine.Config) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return serveFickle(t, l)
}

func serveFickle(t *testing.T, l net.Listener) (*fickle, quarantine.Config) {
	t.Helper()
	f := &fickle{got: map[string]int{}, refuse: map[string]*smtp.SMTPError{}}
	cfg := quarantine.Config{Outbox: quarantine.OutboxConfig{Retry: 5 * time.Millisecond, Parallel: 1}}
	srv := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return &fickleSession{fickle: f}, nil }))
	srv.Domain, srv.ErrorLog = "fickle", discardLogger{}
	cfg.Release.SMTP = l.Addr().String()
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(l) }()
	t.Cleanup(func() { srv.Close(); <-done })
	return f, cfg
}

var (
	later = &smtp.SMTPError{Code: 451, EnhancedCode: smtp.EnhancedCode{4, 7, 1}, Message: "later"}
	never = &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "never"}
)

func TestOutboxTriesAgain(t *testing.T) {
	f, cfg := startFickle(t)
	f.content = later
	s := newStore(t, cfg)
	s.SetNow(time.Now)
	s.running(t)
	it := s.queue(t, message, nil)
	for s.mustGet(t, it.ID).Tries < 3 {
		time.Sleep(2 * time.Millisecond)
	}
	got := s.mustGet(t, it.ID)
	if !strings.Contains(got.Note, "later") || !got.Stored {
		t.Errorf("after three tries %+v, want the error as its note", got)
	}
	f.set(func() { f.content = nil })
	s.await(t, it.ID, quarantine.Sent)
	if n := f.count("bob@example.com"); n != 1 {
		t.Errorf("delivered %d times, want once", n)
	}
}

// While there is no server, nothing is given up; it is also tried again by the next process.
func TestOutboxWaitsForTheServer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	cfg := quarantine.Config{Release: quarantine.ReleaseConfig{SMTP: addr}, Outbox: quarantine.OutboxConfig{Retry: 5 * time.Millisecond}}
	s := newStore(t, cfg)
	s.SetNow(time.Now)
	end := s.running(t)
	it := s.queue(t, message, nil)
	for s.mustGet(t, it.ID).Tries < 2 {
		time.Sleep(2 * time.Millisecond)
	}
	end()
	s.await(t, it.ID, quarantine.Queued)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if l, err = net.Listen("tcp", addr); err != nil {
		t.Fatalf("listen once more: %v", err)
	}
	f, _ := serveFickle(t, l)
	next := newStore(t, s.cfg)
	next.SetNow(time.Now)
	next.running(t)
	next.await(t, it.ID, quarantine.Sent)
	if n := f.count("bob@example.com"); n != 1 {
		t.Errorf("delivered %d times, want once", n)
	}
}

func (s *setup) mustGet(t *testing.T, id string) *quarantine.Item {
	t.Helper()
	it, err := s.Get(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return it
}

// Who is taken by the server gets the message at once, and once; who is refused for good is left for somebody
// to look at.
func TestOutboxServesEachRecipientOnce(t *testing.T) {
	f, cfg := startFickle(t)
	f.refuse["bob@example.com"], f.refuse["dan@example.com"] = later, never
	s := newStore(t, cfg)
	s.SetNow(time.Now)
	s.running(t)
	it := s.queue(t, message, func(it *quarantine.Item) { it.Recipients = append(it.Recipients, "dan@example.com") })
	for f.count("carol@example.com") == 0 {
		time.Sleep(2 * time.Millisecond)
	}
	f.set(func() { delete(f.refuse, "bob@example.com") })
	got := s.await(t, it.ID, quarantine.Held)
	if !slices.Equal(got.ReleaseTo, []string{"dan@example.com"}) || !strings.Contains(got.Note, "never") || !got.Stored || len(got.Recipients) != 3 {
		t.Errorf("held %+v, want it for dan", got)
	}
	for to, want := range map[string]int{"bob@example.com": 1, "carol@example.com": 1, "dan@example.com": 0} {
		if n := f.count(to); n != want {
			t.Errorf("%s got it %d times, want %d", to, n, want)
		}
	}
	// A release is for who has not got it, also after one for somebody else that failed.
	f.set(func() { f.refuse["root@example.com"] = never })
	if _, err := s.Release(t.Context(), it.ID, quarantine.ReleaseRequest{Recipients: []string{"root@example.com"}}); err == nil {
		t.Error("a release to a recipient who is refused succeeds")
	}
	f.set(func() { clear(f.refuse) })
	if _, err := s.Release(t.Context(), it.ID, quarantine.ReleaseRequest{}); err != nil {
		t.Fatal(err)
	}
	for _, to := range it.Recipients {
		if n := f.count(to); n != 1 {
			t.Errorf("after the release %s has got it %d times, want once", to, n)
		}
	}
	if st, err := s.Outbox(t.Context()); err != nil || st.Held != 1 {
		t.Errorf("Outbox = %+v, %v", st, err)
	}
}

func TestOutboxGivesUpAndHolds(t *testing.T) {
	for name, tt := range map[string]struct {
		content *smtp.SMTPError
		giveUp  time.Duration
		note    string
	}{
		"for good": {never, time.Hour, "not sent: send to"},
		"too late": {later, 20 * time.Millisecond, "not sent: given up after"},
	} {
		f, cfg := startFickle(t)
		f.content, cfg.Outbox.GiveUp, cfg.Retention = tt.content, tt.giveUp, 7*time.Hour
		s := newStore(t, cfg)
		s.SetNow(time.Now)
		s.running(t)
		it := s.queue(t, message, nil)
		got := s.await(t, it.ID, quarantine.Held)
		if !strings.HasPrefix(got.Note, tt.note) || !got.Expires.Equal(got.Changed.Add(7*time.Hour)) || got.Purpose != quarantine.ForCopy {
			t.Errorf("%s: held %+v", name, got)
		}
		s.wantRaw(t, it.ID, message)
		if again := s.queue(t, message, nil); again.ID != it.ID {
			t.Errorf("%s: another try makes item %s, want %s", name, again.ID, it.ID)
		}
	}
}

// A message that cannot be read, because its store is away or another node has it, is tried again.
func TestOutboxWaitsForTheMessage(t *testing.T) {
	f, cfg := startFickle(t)
	s := newStore(t, cfg)
	s.SetNow(time.Now)
	it := s.queue(t, message, nil)
	name := s.blobFiles(t)[0]
	if err := os.Rename(name, name+".away"); err != nil {
		t.Fatal(err)
	}
	s.running(t)
	for s.mustGet(t, it.ID).Tries < 2 {
		time.Sleep(2 * time.Millisecond)
	}
	if err := os.Rename(name+".away", name); err != nil {
		t.Fatal(err)
	}
	s.await(t, it.ID, quarantine.Sent)
	if n := f.count("bob@example.com"); n != 1 {
		t.Errorf("delivered %d times, want once", n)
	}
}

// What waits to be sent is never removed by its time.
func TestQueuedItemsDoNotExpire(t *testing.T) {
	s := newStore(t, quarantine.Config{Retention: time.Hour})
	it := s.queue(t, message, nil)
	for _, after := range []time.Duration{2 * time.Hour, 1000 * time.Hour} {
		if n, err := s.Expire(t.Context(), s.now.Add(after)); err != nil || n != 0 {
			t.Errorf("Expire after %v = %d, %v; want none", after, n, err)
		}
	}
	if n, err := s.Sweep(t.Context(), s.now.Add(1000*time.Hour)); err != nil || n != 0 {
		t.Errorf("Sweep = %d, %v; want none", n, err)
	}
	s.wantRaw(t, it.ID, message)
}

// What was being sent when the process ended is sent again at once, not when its lease is over.
func TestOutboxTakesBackWhatWasCutOff(t *testing.T) {
	f, cfg := startFickle(t)
	s := newStore(t, cfg)
	it := s.queue(t, message, nil)
	other := s.queue(t, message, func(it *quarantine.Item) { it.Of = "other" })
	if _, err := quarantine.BeginSend(s.Store, t.Context(), it.ID, quarantine.Owner(t, s.cfg.Dir)); err != nil {
		t.Fatal(err)
	}
	if _, err := quarantine.BeginSend(s.Store, t.Context(), other.ID, "another node"); err != nil {
		t.Fatal(err)
	}
	if err := s.Delete(t.Context(), it.ID, "root"); !errors.Is(err, quarantine.ErrState) {
		t.Errorf("Delete while it is being sent = %v, want ErrState", err)
	}
	if _, err := s.Release(t.Context(), it.ID, quarantine.ReleaseRequest{}); !errors.Is(err, quarantine.ErrState) {
		t.Errorf("Release while it is being sent = %v, want ErrState", err)
	}
	s.running(t)
	if got := s.await(t, it.ID, quarantine.Sent); got.Note != "delivered, perhaps twice, with the same Message-ID: before, sending was cut off; the message may have been delivered" {
		t.Errorf("the note is %q", got.Note)
	}
	if f.count("bob@example.com") != 1 {
		t.Errorf("delivered %d times, want once", f.count("bob@example.com"))
	}
	s.wantState(t, other.ID, quarantine.Sending) // its lease is not over
}

// Somebody may not want it sent.
func TestDeletedItemIsNotSent(t *testing.T) {
	f, cfg := startFickle(t)
	s := newStore(t, cfg)
	it, last := s.queue(t, message, nil), s.queue(t, message, func(it *quarantine.Item) { it.Of = "last" })
	if err := s.Delete(t.Context(), it.ID, "root"); err != nil {
		t.Fatal(err)
	}
	s.running(t)
	s.await(t, last.ID, quarantine.Sent)
	s.wantState(t, it.ID, quarantine.Deleted)
	if n := f.count("bob@example.com"); n != 1 {
		t.Errorf("%d delivered, want the other one", n)
	}
}

// The token of what is sent is good while it is being sent, and for nothing else.
func TestTokenOfWhatIsSent(t *testing.T) {
	s := newStore(t, quarantine.Config{})
	it := s.queue(t, message, nil)
	sending, err := quarantine.BeginSend(s.Store, t.Context(), it.ID, "me")
	if err != nil {
		t.Fatal(err)
	}
	token := s.Token(sending)
	env := envelope()
	raw := quarantine.TokenField + ": " + token + "\r\n" + message
	if got, err := s.Verify(t.Context(), token, env, strings.NewReader(raw)); err != nil || got.ID != it.ID {
		t.Errorf("Verify = %v, %v; want the item", got, err)
	}
	if _, err := s.Verify(t.Context(), token, env, strings.NewReader(raw+"more")); !errors.Is(err, quarantine.ErrToken) {
		t.Errorf("Verify of another content = %v, want ErrToken", err)
	}
	stranger := &eml.Envelope{Sender: env.Sender, Recipients: []string{"eve@example.com"}}
	if _, err := s.Verify(t.Context(), token, stranger, strings.NewReader(raw)); !errors.Is(err, quarantine.ErrToken) {
		t.Errorf("Verify for another recipient = %v, want ErrToken", err)
	}
	if _, err := quarantine.EndSend(s.Store, t.Context(), sending, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Verify(t.Context(), token, env, strings.NewReader(raw)); !errors.Is(err, quarantine.ErrToken) {
		t.Errorf("Verify after it was sent = %v, want ErrToken", err)
	}
}

// One process sends at a time; when it ends, the next one does.
func TestOneProcessSends(t *testing.T) {
	f, cfg := startFickle(t)
	a := newStore(t, cfg)
	b, err := openStore(t, a.cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	a.SetNow(time.Now)
	b.SetNow(time.Now)
	a.running(t)
	b.running(t)
	var all []*quarantine.Item
	for n := range 20 {
		all = append(all, b.queue(t, message, func(it *quarantine.Item) { it.Of = strings.Repeat("x", n+1) }))
	}
	for _, it := range all {
		a.await(t, it.ID, quarantine.Sent)
	}
	if n := f.count("bob@example.com"); n != len(all) {
		t.Errorf("%d delivered, want %d", n, len(all))
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	slices.Sort(f.tokens)
	if n := len(slices.Compact(f.tokens)); n != len(all) {
		t.Errorf("%d tokens, want %d", n, len(all))
	}
}

// What was sent is known as long as its sender may try again, and then forgotten.
func TestRecordsOfWhatWasSentGo(t *testing.T) {
	f, cfg := startFickle(t)
	s := newStore(t, cfg)
	it := s.queue(t, message, nil)
	s.drain(t)
	s.wantState(t, it.ID, quarantine.Sent)
	for _, days := range []int{4, 6} {
		after, want := time.Duration(days)*24*time.Hour, days < 5
		s.now = it.Created.Add(after)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); s.Run(ctx) }()
		gone := func() bool { _, err := s.Get(t.Context(), it.ID); return errors.Is(err, quarantine.ErrNotFound) }
		for end := time.Now().Add(time.Minute); !want && !gone() && time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		}
		cancel()
		<-done
		if gone() == want {
			t.Errorf("after %v the record is there: %v, want %v", after, !want, want)
		}
	}
	if n := f.count("bob@example.com"); n != 1 {
		t.Errorf("delivered %d times", n)
	}
}

// drain sends what is due.
func (s *setup) drain(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s.RunOutbox(ctx) // it has the lock at once
}

// What is due is sent before RunOutbox returns.
func TestOutboxDrains(t *testing.T) {
	f, cfg := startFickle(t)
	cfg.Outbox.Parallel = 3
	s := newStore(t, cfg)
	for n := range 10 {
		s.queue(t, message, func(it *quarantine.Item) { it.Of = strings.Repeat("x", n+1) })
	}
	s.drain(t)
	if n := f.count("bob@example.com"); n != 10 {
		t.Errorf("%d of 10 delivered when it ended", n)
	}
}

func TestBackoff(t *testing.T) {
	s := newStore(t, quarantine.Config{})
	for tries, most := range map[int]time.Duration{1: 30 * time.Second, 2: time.Minute, 5: 8 * time.Minute, 8: time.Hour, 1000: time.Hour} {
		for range 100 {
			if d := quarantine.Backoff(s.Store, tries); d < most/2 || d > most {
				t.Fatalf("after %d tries it waits %v, want from %v to %v", tries, d, most/2, most)
			}
		}
	}
}
