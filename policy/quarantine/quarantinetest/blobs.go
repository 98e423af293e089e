package quarantinetest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/iotest"
	"time"

	"rastel/policy/quarantine"
)

// TestBlobs tests Blobs. Open opens those in that directory, or makes them; the suite closes
// them.
func TestBlobs(t *testing.T, open func(t *testing.T, dir string) quarantine.Blobs) {
	tests := map[string]func(*testing.T, quarantine.Blobs){
		"GivesBackWhatWasPut":      testBytes,
		"TellsWhatIsNotThere":      testNoBlob,
		"KeepsNothingOfAFailedPut": testFailedPut,
		"RefusesOtherIDs":          testOtherIDs,
		"RemovesOne":               testRemove,
		"WalksOverAll":             testWalk,
		"TakesManyAtATime":         testConcurrentBlobs,
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			b := open(t, t.TempDir())
			defer closeIt(t, b)
			test(t, b)
		})
	}
	t.Run("KeepsBlobsWhenReopened", func(t *testing.T) {
		dir, id := t.TempDir(), ID(start)
		b := open(t, dir)
		putBlob(t, b, id, []byte("kept"))
		closeIt(t, b)
		b = open(t, dir)
		defer closeIt(t, b)
		wantBlob(t, b, id, []byte("kept"))
	})
}

func putBlob(t *testing.T, b quarantine.Blobs, id string, data []byte) {
	t.Helper()
	if err := b.Put(t.Context(), id, bytes.NewReader(data)); err != nil {
		t.Fatalf("Put(%s) of %d bytes: %v", id, len(data), err)
	}
}

func wantBlob(t *testing.T, b quarantine.Blobs, id string, want []byte) {
	t.Helper()
	r, err := b.Open(t.Context(), id)
	if err != nil {
		t.Fatalf("Open(%s): %v", id, err)
	}
	defer closeIt(t, r)
	got, err := io.ReadAll(r)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("blob %s = %d bytes %.60q, %v; want %d bytes %.60q", id, len(got), got, err, len(want), want)
	}
}

// noise cannot be packed.
func noise(n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{1})
	_, _ = r.Read(b)
	return b
}

func testBytes(t *testing.T, b quarantine.Blobs) {
	for _, data := range [][]byte{
		{}, {0}, []byte("a"), []byte("no line end"), []byte("bare\rCR\nbare LF\r\r\n\x00\xff"), []byte(".\r\n..\r\n"),
		bytes.Repeat([]byte("abc\r\n"), 1<<20), noise(3 << 20),
	} {
		id := ID(start)
		putBlob(t, b, id, data)
		wantBlob(t, b, id, data)
	}
}

func testNoBlob(t *testing.T, b quarantine.Blobs) {
	id := ID(start)
	if _, err := b.Open(t.Context(), id); !errors.Is(err, quarantine.ErrNotFound) {
		t.Errorf("Open = %v, want ErrNotFound", err)
	}
	if err := b.Remove(t.Context(), id); err != nil {
		t.Errorf("Remove of none = %v, want nil", err)
	}
}

func testFailedPut(t *testing.T, b quarantine.Blobs) {
	ctx, cancel := context.WithCancel(t.Context())
	broken := errors.New("broken")
	half := bytes.NewReader(noise(1 << 20))
	tests := []struct {
		name string
		ctx  context.Context //nolint:containedctx // of one row
		r    io.Reader
		want error
	}{
		{"reader fails", t.Context(), io.MultiReader(half, iotest.ErrReader(broken)), broken},
		{"context ends", ctx, io.MultiReader(bytes.NewReader(noise(1<<20)), readerFunc(func() { cancel() }), bytes.NewReader(noise(9))), context.Canceled},
	}
	for _, tt := range tests {
		id := ID(start)
		if err := b.Put(tt.ctx, id, tt.r); !errors.Is(err, tt.want) {
			t.Errorf("%s: Put = %v, want %v", tt.name, err, tt.want)
		}
		if _, err := b.Open(t.Context(), id); !errors.Is(err, quarantine.ErrNotFound) {
			t.Errorf("%s: Open = %v, want ErrNotFound", tt.name, err)
		}
	}
	if left := walk(t, b); len(left) > 0 {
		t.Errorf("after failures Walk finds %v, want none", left)
	}
}

// A readerFunc does something when it is reached, and is empty.
type readerFunc func()

func (f readerFunc) Read([]byte) (int, error) { f(); return 0, io.EOF }

func testOtherIDs(t *testing.T, b quarantine.Blobs) {
	good := ID(start)
	for _, id := range []string{
		"", ".", "..", "../../etc/passwd", "/etc/passwd", good[:25], good + "0", good[:25] + "/", "tmp",
		good[:25] + "\x00", "%2e%2e%2fetc", "8" + good[1:], good[:25] + "i", "0" + good[1:24] + "U" + good[25:],
	} {
		if err := b.Put(t.Context(), id, bytes.NewReader(nil)); err == nil {
			t.Errorf("Put(%q) = nil, want an error", id)
		}
		if r, err := b.Open(t.Context(), id); err == nil {
			t.Errorf("Open(%q) = nil, want an error", id)
			closeIt(t, r)
		}
		if err := b.Remove(t.Context(), id); err == nil {
			t.Errorf("Remove(%q) = nil, want an error", id)
		}
	}
}

func testRemove(t *testing.T, b quarantine.Blobs) {
	gone, kept := ID(start), ID(start)
	putBlob(t, b, gone, []byte("gone"))
	putBlob(t, b, kept, []byte("kept"))
	for range 2 {
		if err := b.Remove(t.Context(), gone); err != nil {
			t.Errorf("Remove: %v", err)
		}
	}
	if _, err := b.Open(t.Context(), gone); !errors.Is(err, quarantine.ErrNotFound) {
		t.Errorf("Open after Remove = %v, want ErrNotFound", err)
	}
	wantBlob(t, b, kept, []byte("kept"))
	putBlob(t, b, gone, []byte("again"))
	wantBlob(t, b, gone, []byte("again"))
}

func walk(t *testing.T, b quarantine.Blobs) []string {
	t.Helper()
	var list []string
	err := b.Walk(t.Context(), func(id string, stored time.Time) error {
		if age := time.Since(stored); age < -time.Minute || age > time.Hour {
			t.Errorf("Walk says that %s was stored %v ago", id, age)
		}
		list = append(list, id)
		return nil
	})
	if err != nil {
		t.Errorf("Walk: %v", err)
	}
	slices.Sort(list)
	return list
}

func testWalk(t *testing.T, b quarantine.Blobs) {
	var want []string
	for n := range 50 {
		id := ID(start.Add(time.Duration(n) * 5 * time.Hour))
		putBlob(t, b, id, []byte("x"))
		want = append(want, id)
	}
	slices.Sort(want)
	if got := walk(t, b); !slices.Equal(got, want) {
		t.Errorf("Walk visits %v, want %v", got, want)
	}
	broken := errors.New("broken")
	if err := b.Walk(t.Context(), func(string, time.Time) error { return broken }); !errors.Is(err, broken) {
		t.Errorf("Walk = %v, want the error of visit", err)
	}
	err := b.Walk(t.Context(), func(id string, _ time.Time) error { return b.Remove(t.Context(), id) })
	if left := walk(t, b); err != nil || len(left) > 0 {
		t.Errorf("Walk that removes all = %v, leaves %v", err, left)
	}
}

// testConcurrentBlobs lets directories come and go while others enter them.
func testConcurrentBlobs(t *testing.T, b quarantine.Blobs) {
	parallel(8, func(n int) {
		for range 10 {
			id := ID(start)
			data := noise(100 * (n + 1))
			if err := b.Put(t.Context(), id, bytes.NewReader(data)); err != nil {
				t.Errorf("Put: %v", err)
				return
			}
			wantBlob(t, b, id, data)
			if err := b.Remove(t.Context(), id); err != nil {
				t.Errorf("Remove: %v", err)
			}
		}
	})
}
