package quarantine_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"rastel/policy/quarantine"
	"rastel/policy/quarantine/blob"
)

// A wrappedIndex does something around each Put.
type wrappedIndex struct {
	quarantine.Index
	put func(put func() (*quarantine.Item, error)) (*quarantine.Item, error)
}

func (w *wrappedIndex) Put(ctx context.Context, it *quarantine.Item, since time.Time) (*quarantine.Item, error) {
	return w.put(func() (*quarantine.Item, error) { return w.Index.Put(ctx, it, since) })
}

// Whatever happens at the index, there is either a whole item or nothing.
func TestHoldIsAllOrNothing(t *testing.T) {
	broken := errors.New("broken")
	tests := []struct {
		name   string
		put    func(cancel func(), put func() (*quarantine.Item, error)) (*quarantine.Item, error)
		want   error
		stored bool
	}{
		{"index fails", func(_ func(), _ func() (*quarantine.Item, error)) (*quarantine.Item, error) { return nil, broken }, broken, false},
		{"index fails after it has written", func(_ func(), put func() (*quarantine.Item, error)) (*quarantine.Item, error) {
			_, err := put()
			return nil, errors.Join(err, broken)
		}, broken, true},
		{"message is given up meanwhile", func(cancel func(), put func() (*quarantine.Item, error)) (*quarantine.Item, error) {
			cancel()
			return put()
		}, nil, true},
	}
	for _, tt := range tests {
		s := newStore(t, quarantine.Config{})
		blobs, err := blob.Open(s.cfg.BlobDir(), blob.Options{})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		index := &wrappedIndex{Index: s.index, put: func(put func() (*quarantine.Item, error)) (*quarantine.Item, error) { return tt.put(cancel, put) }}
		store, err := quarantine.New(quarantine.Options{Config: s.cfg, Index: index, Blobs: blobs})
		if err != nil {
			t.Fatal(err)
		}
		if err := store.Hold(ctx, quarantine.NewItem(envelope()), strings.NewReader(message)); !errors.Is(err, tt.want) {
			t.Errorf("%s: Hold = %v, want %v", tt.name, err, tt.want)
		}
		cancel()
		items, err := s.List(t.Context(), quarantine.Filter{})
		if err != nil || (len(items) == 1) != tt.stored || (len(s.blobFiles(t)) == 1) != tt.stored {
			t.Errorf("%s: items %v, files %v, %v; want both or none: %v", tt.name, items, s.blobFiles(t), err, tt.stored)
		}
		for _, it := range items {
			s.wantRaw(t, it.ID, message)
		}
	}
}

func TestHoldKeepsAsLongAsTheItemSays(t *testing.T) {
	s := newStore(t, quarantine.Config{Retention: 48 * time.Hour})
	for retention, want := range map[time.Duration]time.Duration{0: 48 * time.Hour, time.Hour: time.Hour, 1000 * time.Hour: 1000 * time.Hour, -time.Hour: 48 * time.Hour} {
		it := quarantine.NewItem(envelope())
		it.Class, it.Retention = "spam", retention
		if err := s.Hold(t.Context(), it, strings.NewReader(retention.String())); err != nil {
			t.Fatal(err)
		}
		got := s.wantState(t, it.ID, quarantine.Held)
		if !got.Expires.Equal(got.Created.Add(want)) || got.Class != "spam" || got.Retention != 0 {
			t.Errorf("retention %v: created %v, expires %v, class %q; want it kept %v", retention, got.Created, got.Expires, got.Class, want)
		}
	}
	if _, err := s.Expire(t.Context(), s.now.Add(2*time.Hour)); err != nil {
		t.Fatal(err)
	}
	if items, err := s.List(t.Context(), quarantine.Filter{State: quarantine.Held, Class: "spam"}); err != nil || len(items) != 3 {
		t.Errorf("after two hours %d are held, %v; want 3", len(items), err)
	}
}

func TestHoldStoresNothingOfAMessageGivenUp(t *testing.T) {
	s := newStore(t, quarantine.Config{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Hold(ctx, quarantine.NewItem(envelope()), strings.NewReader(message)); !errors.Is(err, context.Canceled) {
		t.Errorf("Hold = %v, want context.Canceled", err)
	}
	if files := s.blobFiles(t); len(files) > 0 {
		t.Errorf("files = %v, want none", files)
	}
}

func TestRunExpiresFromTimeToTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t, quarantine.Config{Retention: time.Hour})
		s.SetNow(time.Now)
		it := s.hold(t, message)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); s.Run(ctx) }()
		time.Sleep(59 * time.Minute)
		synctest.Wait()
		s.wantState(t, it.ID, quarantine.Held)
		time.Sleep(11 * time.Minute)
		synctest.Wait()
		s.wantState(t, it.ID, quarantine.Expired)
		cancel()
		<-done
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
}
