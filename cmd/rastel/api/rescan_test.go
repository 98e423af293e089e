package api_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"rastel/cmd/rastel/api"
	"rastel/policy/quarantine"
)

func TestReleaseAgainstTheRescanIsForced(t *testing.T) {
	r := newRig(t, "127.0.0.1:1") // where nobody listens
	found := quarantine.Finding{Check: "clamd/malware", Part: "2", Detail: "New"}
	r.store.SetExaminer(func(_ context.Context, _ *quarantine.Item, raw io.Reader) ([]quarantine.Finding, error) {
		_, err := io.Copy(io.Discard, raw)
		return []quarantine.Finding{found}, err
	})
	it := r.hold(t, message, nil)
	got, err := r.Rescan(t.Context(), it.ID)
	if err != nil || len(got.New) != 1 || got.New[0] != found {
		t.Errorf("Rescan = %+v, %v; want %+v", got, err, found)
	}
	var e *api.Error
	_, err = r.Release(t.Context(), it.ID, quarantine.ReleaseRequest{})
	if !errors.As(err, &e) || e.Status != http.StatusConflict || e.Code != "rescan" || !strings.Contains(e.Message, "clamd/malware") {
		t.Errorf("Release = %#v, want 409 rescan", err)
	}
	_, err = r.Release(t.Context(), it.ID, quarantine.ReleaseRequest{Force: true})
	if !errors.As(err, &e) || e.Code != "not_sent" {
		t.Errorf("Release with force = %#v, want that it was tried", err)
	}
	for as, code := range map[quarantine.Variant]string{"other": "variant", quarantine.AsZip: "variant"} { // nothing makes copies here
		if _, err = r.Release(t.Context(), it.ID, quarantine.ReleaseRequest{Force: true, As: as}); !errors.As(err, &e) || e.Code != code {
			t.Errorf("Release as %q = %v, want %s", as, err, code)
		}
	}
	if _, err := r.Rescan(t.Context(), "x"); !errors.As(err, &e) || e.Code != "bad_id" {
		t.Errorf("Rescan of no id = %v, want bad_id", err)
	}
}
