package quarantine_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"unicode/utf8"

	"rastel/policy/quarantine"
)

// examiner finds what it is told to, in messages that it has read to their end.
func examiner(t *testing.T, err error, list ...quarantine.Finding) quarantine.Examiner {
	return func(_ context.Context, it *quarantine.Item, raw io.Reader) ([]quarantine.Finding, error) {
		b, readErr := io.ReadAll(raw)
		if readErr != nil {
			return nil, readErr
		}
		if string(b) != message {
			t.Errorf("examined %q, want %q", b, message)
		}
		return list, err
	}
}

func TestReleaseExaminesAgain(t *testing.T) {
	known := quarantine.Finding{Check: "clamd/malware", Part: "2", Detail: "Eicar"}
	moved := quarantine.Finding{Check: "clamd/malware", Part: "1.2", Detail: "Eicar"}
	other := quarantine.Finding{Check: "hash/malware", Part: "2", Detail: "\x1b[31mTrojan\n"}
	harmless := quarantine.Finding{Check: "html/script", Part: "2"}
	failed := quarantine.Finding{Check: "scan/failed", Part: "2", Detail: "clamd: down"}
	for _, tt := range []struct {
		name    string
		err     error
		found   []quarantine.Finding
		refused string // what the error says; empty: it is released
	}{
		{"nothing", nil, nil, ""},
		{"what was known", nil, []quarantine.Finding{known, moved, harmless}, ""},
		{"malware that was not known", nil, []quarantine.Finding{known, other}, `hash/malware in part 2 ("\x1b[31mTrojan\n")`},
		{"an engine that failed", nil, []quarantine.Finding{known, failed}, "could not be examined again: clamd: down"},
		{"an error", errors.New("no memory"), nil, "could not be examined again: no memory"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			sink := startSink(t, nil)
			s := newStore(t, releaseTo(sink.addr))
			s.SetExaminer(examiner(t, tt.err, tt.found...))
			it := quarantine.NewItem(envelope())
			it.Findings = []quarantine.Finding{known}
			if err := s.Hold(t.Context(), it, strings.NewReader(message)); err != nil {
				t.Fatal(err)
			}
			_, err := s.Release(t.Context(), it.ID, quarantine.ReleaseRequest{By: "ann"})
			if tt.refused == "" {
				if got := s.wantState(t, it.ID, quarantine.Released); err != nil || got.Note != "" {
					t.Errorf("Release = %v with note %q, want nil and none", err, got.Note)
				}
				return
			}
			if !errors.Is(err, quarantine.ErrRescan) || !strings.Contains(err.Error(), tt.refused) {
				t.Fatalf("Release = %v, want ErrRescan with %q", err, tt.refused)
			}
			if got := s.wantState(t, it.ID, quarantine.Held); got.ChangedBy != "ann" || !strings.Contains(got.Note, tt.refused) {
				t.Errorf("note %q by %q, want %q by ann", got.Note, got.ChangedBy, tt.refused)
			}
			if n := len(sink.deliveries()); n > 0 {
				t.Fatalf("%d messages were sent, want none", n)
			}
			done, err := s.Release(t.Context(), it.ID, quarantine.ReleaseRequest{By: "bob", Force: true})
			if err != nil || done.State != quarantine.Released || done.ChangedBy != "bob" || !strings.Contains(done.Note, "in spite of this: ") || !strings.Contains(done.Note, tt.refused) {
				t.Errorf("Release with Force = %+v, %v; want it released, and the note to tell", done, err)
			}
			if n := len(sink.deliveries()); n != 1 {
				t.Errorf("%d messages were sent, want one", n)
			}
		})
	}
}

// The note that a message may have been delivered already outlives a refusal, and a release in spite of it.
func TestRefusalKeepsThatTheMessageMayHaveBeenDelivered(t *testing.T) {
	const before = "send to x: EOF; the message may have been delivered"
	sink := startSink(t, nil)
	s := newStore(t, releaseTo(sink.addr))
	it := s.hold(t, message)
	if _, err := s.index.Update(t.Context(), it.ID, func(it *quarantine.Item) error { it.Note = before; return nil }); err != nil {
		t.Fatal(err)
	}
	long := quarantine.Finding{Check: "x/malware", Part: "1", Detail: strings.Repeat("ä", 450)}
	s.SetExaminer(examiner(t, errors.New(strings.Repeat("long ", 500))))
	for range 3 {
		if _, err := s.Release(t.Context(), it.ID, quarantine.ReleaseRequest{}); !errors.Is(err, quarantine.ErrRescan) {
			t.Fatalf("Release = %v, want ErrRescan", err)
		}
	}
	s.SetExaminer(examiner(t, nil, long, long, long, long))
	if _, err := s.Release(t.Context(), it.ID, quarantine.ReleaseRequest{}); !errors.Is(err, quarantine.ErrRescan) {
		t.Fatalf("Release = %v, want ErrRescan", err)
	}
	if got := s.wantState(t, it.ID, quarantine.Held); !strings.HasSuffix(got.Note, "the message may have been delivered") {
		t.Errorf("note = %q, want it to end with that the message may have been delivered", got.Note)
	}
	if got := s.wantState(t, it.ID, quarantine.Held); !utf8.ValidString(got.Note) || len(got.Note) >= quarantine.MaxText {
		t.Errorf("note of %d bytes, %q; want it short and whole", len(got.Note), got.Note)
	}
	done, err := s.Release(t.Context(), it.ID, quarantine.ReleaseRequest{Force: true})
	if err != nil || !strings.Contains(done.Note, "in spite of") || !strings.HasSuffix(done.Note, "the message may have been delivered") {
		t.Errorf("Release = %q, %v; want the note to tell both", done.Note, err)
	}
}

func TestRescanChangesNothing(t *testing.T) {
	s := newStore(t, releaseTo("127.0.0.1:1"))
	it := s.hold(t, message)
	before := s.wantState(t, it.ID, quarantine.Held)
	found := quarantine.Finding{Check: "x/malware", Part: "1", Detail: "y"}
	s.SetExaminer(examiner(t, nil, found))
	r, err := s.Rescan(t.Context(), it.ID)
	if err != nil || len(r.New) != 1 || r.New[0] != found || len(r.Findings) != 1 || r.Failed != "" {
		t.Errorf("Rescan = %+v, %v; want the finding, and that it is new", r, err)
	}
	if after := s.wantState(t, it.ID, quarantine.Held); after.Note != before.Note || !after.Changed.Equal(before.Changed) {
		t.Errorf("the item is %+v after it, want %+v", after, before)
	}
	overwrite(t, s.blobFiles(t)[0], "evil")
	if r, err := s.Rescan(t.Context(), it.ID); err != nil || r.Failed == "" {
		t.Errorf("Rescan of a damaged message = %+v, %v; want that it failed", r, err)
	}
	if err := s.Delete(t.Context(), it.ID, ""); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Rescan(t.Context(), it.ID); !errors.Is(err, quarantine.ErrState) {
		t.Errorf("Rescan of a deleted item = %v, want ErrState", err)
	}
	if _, err := s.Rescan(t.Context(), "x"); !errors.Is(err, quarantine.ErrNotFound) {
		t.Errorf("Rescan of no item = %v, want ErrNotFound", err)
	}
}
