package quarantine_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"rastel/policy/quarantine"
	"rastel/policy/quarantine/blob"
	"rastel/policy/quarantine/sqlindex"
	"rastel/sanitize/eml"
)

// A setup is a store in a directory, with a clock of its own.
type setup struct {
	*quarantine.Store
	cfg   quarantine.Config
	index quarantine.Index
	now   time.Time
}

func newStore(t testing.TB, cfg quarantine.Config) *setup {
	t.Helper()
	if cfg.Dir == "" {
		cfg.Dir = filepath.Join(t.TempDir(), "quarantine")
	}
	s, err := openStore(t, cfg)
	if err != nil {
		t.Fatalf("open store: %v", err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func openStore(t testing.TB, cfg quarantine.Config) (*setup, error) {
	t.Helper()
	index, err := sqlindex.Open(cfg.IndexFile())
	if err != nil {
		return nil, err
	}
	blobs, err := blob.Open(cfg.BlobDir(), blob.Options{})
	if err != nil {
		return nil, errors.Join(err, index.Close())
	}
	s := &setup{cfg: cfg, index: index, now: time.Now()}
	s.Store, err = quarantine.New(quarantine.Options{Config: cfg, Index: index, Blobs: blobs})
	if err != nil {
		return nil, errors.Join(err, index.Close())
	}
	s.SetNow(func() time.Time { return s.now })
	return s, nil
}

// envelope is that of every message of the tests that does not say otherwise.
func envelope() *eml.Envelope {
	return &eml.Envelope{
		QueueID: "4QX", Sender: "Alice@Example.org",
		SenderArgs: []string{"SIZE=10"}, Recipients: []string{"bob@example.com", "carol@example.com"},
	}
}

const message = "Subject: hello\r\n\r\nbody\r\n"

func (s *setup) hold(t *testing.T, raw string) *quarantine.Item {
	t.Helper()
	it := quarantine.NewItem(envelope())
	if err := s.Hold(t.Context(), it, strings.NewReader(raw)); err != nil {
		t.Fatalf("Hold(%.100q): %v", raw, err)
	}
	return it
}

func (s *setup) wantRaw(t *testing.T, id, want string) {
	t.Helper()
	r, err := s.Store.Open(t.Context(), id)
	if err != nil {
		t.Fatalf("Open(%s): %v", id, err)
	}
	defer r.Close()
	got, err := io.ReadAll(r)
	if err != nil || string(got) != want {
		t.Errorf("message of %s = %.100q, %v; want %.100q", id, got, err, want)
	}
}

func (s *setup) wantState(t *testing.T, id string, want quarantine.State) *quarantine.Item {
	t.Helper()
	it, err := s.Get(t.Context(), id)
	if err != nil || it.State != want {
		t.Fatalf("Get(%s) = %+v, %v; want state %s", id, it, err, want)
	}
	return it
}

// blobFiles are the messages on the disk.
func (s *setup) blobFiles(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(s.cfg.BlobDir(), "*", "*.zst"))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestHoldsByteForByte(t *testing.T) {
	s := newStore(t, quarantine.Config{})
	for _, raw := range []string{
		"", "\r\n", message, "Subject: x", "A: b\r\n\r\nno line end", "A: b\n\nbare\rCR \x00 NUL\r\r\n.\r\n..\r\n", strings.Repeat("x", 5<<20),
	} {
		it := s.hold(t, raw)
		if it.Size != int64(len(raw)) || it.State != quarantine.Held || !it.Stored || !quarantine.ValidID(it.ID) {
			t.Errorf("Hold(%.60q) = %+v", raw, it)
		}
		if want := it.Created.Add(30 * 24 * time.Hour); !it.Expires.Equal(want) {
			t.Errorf("Hold(%.60q) expires %v, want %v", raw, it.Expires, want)
		}
		s.wantRaw(t, it.ID, raw)
	}
}

func TestHoldTakesARetryForTheSameMessage(t *testing.T) {
	s := newStore(t, quarantine.Config{})
	first := s.hold(t, message)
	tests := []struct {
		name   string
		change func(*quarantine.Item)
		raw    string
		later  time.Duration
		same   bool
	}{
		{"retry", func(*quarantine.Item) {}, message, time.Hour, true},
		{"other queue id and client", func(it *quarantine.Item) { it.QueueID, it.Helo = "new", "mx2" }, message, time.Hour, true},
		{"recipients in another order", func(it *quarantine.Item) { slices.Reverse(it.Recipients) }, message, time.Hour, true},
		{"other recipients", func(it *quarantine.Item) { it.Recipients = it.Recipients[:1] }, message, time.Hour, false},
		{"other sender", func(it *quarantine.Item) { it.Sender = "" }, message, time.Hour, false},
		{"other message", func(*quarantine.Item) {}, message + " ", time.Hour, false},
		{"copy of a delivered message", func(it *quarantine.Item) { it.Held = true }, message, time.Hour, false},
		{"after five days", func(*quarantine.Item) {}, message, 5*24*time.Hour + time.Second, false},
	}
	for _, tt := range tests {
		it := quarantine.NewItem(envelope())
		tt.change(it)
		s.now = first.Created.Add(tt.later)
		if err := s.Hold(t.Context(), it, strings.NewReader(tt.raw)); err != nil {
			t.Fatalf("%s: Hold: %v", tt.name, err)
		}
		if same := it.ID == first.ID; same != tt.same {
			t.Errorf("%s: same item = %v, want %v", tt.name, same, tt.same)
		}
	}
	if got := len(s.blobFiles(t)); got != 6 {
		t.Errorf("%d messages on the disk, want 6: those of retries are not kept", got)
	}
}

func TestHoldRefusesWhatItCouldNotRelease(t *testing.T) {
	s := newStore(t, quarantine.Config{})
	long := strings.Repeat("x", quarantine.MaxAddress+1)
	for name, change := range map[string]func(*quarantine.Item){
		"sender":     func(it *quarantine.Item) { it.Sender = long },
		"recipient":  func(it *quarantine.Item) { it.Recipients[1] = long },
		"argument":   func(it *quarantine.Item) { it.SenderArgs[0] = long },
		"recipients": func(it *quarantine.Item) { it.Recipients = make([]string, quarantine.MaxRecipients+1) },
		"arguments":  func(it *quarantine.Item) { it.SenderArgs = make([]string, 1000) },
	} {
		it := quarantine.NewItem(envelope())
		change(it)
		if err := s.Hold(t.Context(), it, strings.NewReader(message)); !errors.Is(err, quarantine.ErrTooLarge) {
			t.Errorf("%s over its limit: Hold = %v, want ErrTooLarge", name, err)
		}
	}
	if files := s.blobFiles(t); len(files) > 0 {
		t.Errorf("messages on the disk: %v, want none", files)
	}
}

func TestHoldCutsWhatIsOnlyShown(t *testing.T) {
	s := newStore(t, quarantine.Config{})
	it := quarantine.NewItem(envelope())
	it.Subject = strings.Repeat("é", quarantine.MaxText)
	it.From = strings.Repeat("\xbf", 2*quarantine.MaxText) // never the start of a character
	it.Findings = slices.Repeat([]quarantine.Finding{{Detail: strings.Repeat("d", 1<<20)}}, 2*quarantine.MaxFindings)
	if err := s.Hold(t.Context(), it, strings.NewReader(message)); err != nil {
		t.Fatal(err)
	}
	got := s.wantState(t, it.ID, quarantine.Held)
	if want := strings.Repeat("é", quarantine.MaxText/2); got.Subject != want {
		t.Errorf("subject of %d bytes ends in %q, want whole characters in %d bytes", len(got.Subject), got.Subject[len(got.Subject)-3:], len(want))
	}
	if n := len(got.From); n > quarantine.MaxText || n < quarantine.MaxText-4 {
		t.Errorf("from has %d bytes, want about %d", n, quarantine.MaxText)
	}
	if len(got.Findings) != quarantine.MaxFindings || len(got.Findings[0].Detail) != quarantine.MaxText {
		t.Errorf("%d findings, the first of %d bytes; want %d of %d", len(got.Findings), len(got.Findings[0].Detail), quarantine.MaxFindings, quarantine.MaxText)
	}
}

func TestOpenReportsDamage(t *testing.T) {
	s := newStore(t, quarantine.Config{})
	one, other := s.hold(t, message), s.hold(t, message+"more\r\n")
	files := s.blobFiles(t)
	var src, dst string
	for _, f := range files {
		if strings.Contains(f, one.ID) {
			dst = f
		} else {
			src = f
		}
	}
	swap, err := os.ReadFile(src)
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{"another message": swap, "empty": {}, "noise": []byte("xxxxxxxx"), "half": swap[:len(swap)/2]} {
		if err := os.WriteFile(dst, data, 0o600); err != nil {
			t.Fatal(err)
		}
		r, err := s.Store.Open(t.Context(), one.ID)
		if err == nil {
			_, err = io.ReadAll(r)
			r.Close()
		}
		if !errors.Is(err, quarantine.ErrCorrupt) {
			t.Errorf("%s in place of the message: read = %v, want ErrCorrupt", name, err)
		}
	}
	s.wantRaw(t, other.ID, message+"more\r\n")
}

func TestDeleteRemovesTheMessageAndKeepsTheRecord(t *testing.T) {
	s := newStore(t, quarantine.Config{})
	it := s.hold(t, message)
	if err := s.Delete(t.Context(), it.ID, "root"); err != nil {
		t.Fatal(err)
	}
	got := s.wantState(t, it.ID, quarantine.Deleted)
	if got.ChangedBy != "root" || got.Stored || len(s.blobFiles(t)) != 0 {
		t.Errorf("after Delete: %+v, files %v; want it by root, and no file", got, s.blobFiles(t))
	}
	if _, err := s.Store.Open(t.Context(), it.ID); !errors.Is(err, quarantine.ErrNotFound) {
		t.Errorf("Open = %v, want ErrNotFound", err)
	}
	if err := s.Delete(t.Context(), it.ID, "root"); !errors.Is(err, quarantine.ErrState) {
		t.Errorf("second Delete = %v, want ErrState", err)
	}
	if _, err := s.Release(t.Context(), it.ID, quarantine.ReleaseRequest{}); !errors.Is(err, quarantine.ErrState) {
		t.Errorf("Release = %v, want ErrState", err)
	}
	if again := s.hold(t, message); again.ID == it.ID {
		t.Error("the same message again joins the deleted item, want a new one")
	}
}

func TestRefusesOtherIDs(t *testing.T) {
	s := newStore(t, quarantine.Config{})
	it := s.hold(t, message)
	for _, id := range []string{"", "x", "../../etc/passwd", it.ID + "0", strings.ToLower(it.ID), "' OR 1=1 --", "01BX5ZZKBKACTAV9WEVGEMMVRZ"} {
		_, getErr := s.Get(t.Context(), id)
		_, openErr := s.Store.Open(t.Context(), id)
		_, releaseErr := s.Release(t.Context(), id, quarantine.ReleaseRequest{})
		for call, err := range map[string]error{"Get": getErr, "Open": openErr, "Release": releaseErr, "Delete": s.Delete(t.Context(), id, "")} {
			if !errors.Is(err, quarantine.ErrNotFound) {
				t.Errorf("%s(%q) = %v, want ErrNotFound", call, id, err)
			}
		}
	}
}

func TestExpireRemovesWhatIsDue(t *testing.T) {
	s := newStore(t, quarantine.Config{Retention: time.Hour})
	old, freed := s.hold(t, "A: 1\r\n\r\n"), s.hold(t, "A: 2\r\n\r\n")
	_, err := s.index.Update(t.Context(), freed.ID, func(it *quarantine.Item) error { it.State = quarantine.Released; return nil })
	if err != nil {
		t.Fatal(err)
	}
	s.now = s.now.Add(30 * time.Minute)
	young := s.hold(t, "A: 3\r\n\r\n")

	if n, err := s.Expire(t.Context(), old.Expires.Add(-time.Millisecond)); n != 0 || err != nil {
		t.Errorf("Expire before the time = %d, %v; want 0", n, err)
	}
	if n, err := s.Expire(t.Context(), old.Expires); n != 2 || err != nil {
		t.Errorf("Expire = %d, %v; want 2", n, err)
	}
	s.wantState(t, old.ID, quarantine.Expired)
	s.wantState(t, freed.ID, quarantine.Released)
	s.wantState(t, young.ID, quarantine.Held)
	s.wantRaw(t, young.ID, "A: 3\r\n\r\n")
	if files := s.blobFiles(t); len(files) != 1 {
		t.Errorf("files = %v, want only that of %s", files, young.ID)
	}
}

func TestRetryMovesTheTimeOfExpiry(t *testing.T) {
	s := newStore(t, quarantine.Config{Retention: time.Hour})
	it := s.hold(t, message)
	s.now = s.now.Add(59 * time.Minute)
	s.hold(t, message)
	if n, err := s.Expire(t.Context(), it.Expires); n != 0 || err != nil {
		t.Errorf("Expire = %d, %v; want 0: the retry counts on it", n, err)
	}
	s.wantRaw(t, it.ID, message)
}

func TestExpireWorksThroughMoreThanOnePage(t *testing.T) {
	s := newStore(t, quarantine.Config{Retention: time.Hour})
	n := quarantine.PageSize + 7
	for i := range 2 * n {
		it := quarantine.Item{ID: ulidAt(s.now), Created: s.now, Expires: s.now, Stored: true, State: quarantine.Held, Key: ulidAt(s.now)}
		if i%2 == 0 { // these stay, so the page after them must be another
			it.State, it.Lease = quarantine.Releasing, s.now.Add(time.Hour)
		}
		if _, err := s.index.Put(t.Context(), &it, s.now); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if got, err := s.Expire(ctx, s.now); got != n || err != nil {
		t.Errorf("Expire = %d, %v; want %d", got, err, n)
	}
}

func TestSweepKeepsWhatMayBeNeeded(t *testing.T) {
	s := newStore(t, quarantine.Config{Retention: 24 * time.Hour})
	kept, gone := s.hold(t, message), s.hold(t, "A: 2\r\n\r\n")
	blobs, err := blob.Open(s.cfg.BlobDir(), blob.Options{})
	if err != nil {
		t.Fatal(err)
	}
	orphan := ulidAt(s.now)
	if err := blobs.Put(t.Context(), orphan, strings.NewReader("orphan")); err != nil {
		t.Fatal(err)
	}
	// As a crash between the index and the removal of the message leaves it.
	_, err = s.index.Update(t.Context(), gone.ID, func(it *quarantine.Item) error {
		it.State, it.Stored = quarantine.Deleted, false
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if n, err := s.Sweep(t.Context(), s.now.Add(23*time.Hour)); n != 1 || err != nil {
		t.Errorf("Sweep within the retention = %d, %v; want 1, the deleted one", n, err)
	}
	if files := s.blobFiles(t); len(files) != 2 {
		t.Errorf("files = %v, want those of %s and %s", files, kept.ID, orphan)
	}
	if n, err := s.Sweep(t.Context(), s.now.Add(25*time.Hour)); n != 1 || err != nil {
		t.Errorf("Sweep after the retention = %d, %v; want 1, the one without a record", n, err)
	}
	s.wantRaw(t, kept.ID, message)
}

// smallDisk is a file system of its own.
func smallDisk(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		if os.Getenv("RASTEL_E2E") == "1" {
			t.Fatalf("mount tmpfs: %v", err)
		}
		t.Skipf("needs root, to mount a small tmpfs: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	return dir
}

func TestHoldOnAFullDiskLeavesNothingHalf(t *testing.T) {
	s := newStore(t, quarantine.Config{Dir: filepath.Join(smallDisk(t, "1m"), "q")})
	held := map[string]string{}
	full := 0
	for n := range 200 {
		raw := "N: " + string(bytes.Repeat([]byte{byte('a' + n%26)}, 1+n)) + "\r\n\r\n" + randomText(60<<10)
		it := quarantine.NewItem(envelope())
		switch err := s.Hold(t.Context(), it, strings.NewReader(raw)); {
		case err == nil:
			held[it.ID] = raw
		default:
			full++
		}
	}
	if full == 0 || len(held) == 0 {
		t.Fatalf("%d held, %d refused; want some of both", len(held), full)
	}
	items := s.wantItems(t, held)
	// It recovers by itself once there is room.
	if err := s.Delete(t.Context(), items[0].ID, ""); err != nil {
		t.Fatalf("Delete on a full disk: %v", err)
	}
	s.hold(t, message)
}

func TestHoldFailsOnAReadOnlyDisk(t *testing.T) {
	dir := smallDisk(t, "4m")
	s := newStore(t, quarantine.Config{Dir: filepath.Join(dir, "q")})
	it := s.hold(t, message)
	if err := s.Close(); err != nil { // a file open for writing forbids the remount
		t.Fatal(err)
	}
	blobs, err := blob.Open(s.cfg.BlobDir(), blob.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatalf("remount read-only: %v", err)
	}
	if err := blobs.Put(t.Context(), ulidAt(time.Now()), strings.NewReader("x")); !errors.Is(err, unix.EROFS) {
		t.Errorf("Put = %v, want EROFS", err)
	}
	if r, err := blobs.Open(t.Context(), it.ID); err != nil {
		t.Errorf("Open = %v, want the message", err)
	} else {
		r.Close()
	}
}

func TestRefusesAConfigThatCannotWork(t *testing.T) {
	dir := t.TempDir()
	tests := []struct {
		cfg  quarantine.Config
		want string
	}{
		{quarantine.Config{}, "quarantine.dir"},
		{quarantine.Config{Dir: dir, Retention: -1}, "quarantine.retention"},
		{quarantine.Config{Dir: dir, Outbox: quarantine.OutboxConfig{GiveUp: -1}}, "quarantine.outbox.give_up"},
		{quarantine.Config{Dir: dir, Outbox: quarantine.OutboxConfig{GiveUp: 1000 * time.Hour}}, "quarantine.outbox.give_up"},
		{quarantine.Config{Dir: dir, Outbox: quarantine.OutboxConfig{Retry: 2 * time.Hour}}, "quarantine.outbox.retry"},
		{quarantine.Config{Dir: dir, Outbox: quarantine.OutboxConfig{Parallel: 101}}, "quarantine.outbox.parallel"},
		{quarantine.Config{Dir: dir, Release: quarantine.ReleaseConfig{Timeout: -1}}, "quarantine.release.timeout"},
		{quarantine.Config{Dir: dir, Release: quarantine.ReleaseConfig{Timeout: time.Hour}}, "quarantine.release.timeout"},
		{quarantine.Config{Dir: dir, Release: quarantine.ReleaseConfig{SMTP: "localhost"}}, "quarantine.release.smtp"},
		{quarantine.Config{Dir: dir, Release: quarantine.ReleaseConfig{SMTP: "localhost:"}}, "quarantine.release.smtp"},
		{quarantine.Config{Dir: dir, Release: quarantine.ReleaseConfig{Helo: "a\r\nb"}}, "quarantine.release.helo"},
		{quarantine.Config{Dir: dir, S3: quarantine.S3Config{Bucket: "b"}}, "quarantine.s3.endpoint"},
		{quarantine.Config{Dir: dir, S3: quarantine.S3Config{Endpoint: "localhost:9000", Bucket: "b"}}, "quarantine.s3.endpoint"},
		{quarantine.Config{Dir: dir, S3: quarantine.S3Config{Endpoint: "https://a:b@s3.example.org", Bucket: "b"}}, "quarantine.s3.endpoint"},
		{quarantine.Config{Dir: dir, S3: quarantine.S3Config{Endpoint: "https://s3.example.org/b"}}, "quarantine.s3.endpoint"},
		{quarantine.Config{Dir: dir, S3: quarantine.S3Config{Endpoint: "https://s3.example.org"}}, "quarantine.s3.bucket"},
		{quarantine.Config{Dir: dir, S3: quarantine.S3Config{Endpoint: "https://s3.example.org", Bucket: "b", Prefix: "/x"}}, "quarantine.s3.prefix"},
		{quarantine.Config{Dir: dir, S3: quarantine.S3Config{Endpoint: "https://s3.example.org", Bucket: "b", Timeout: time.Hour}}, "quarantine.s3.timeout"},
	}
	for _, tt := range tests {
		if _, err := quarantine.New(quarantine.Options{Config: tt.cfg}); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("New(%+v) = %v, want an error that names %s", tt.cfg, err, tt.want)
		}
	}
}
