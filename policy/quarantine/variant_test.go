package quarantine_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/emersion/go-smtp"

	"rastel/policy/quarantine"
)

// A released copy is known again by its own content; neither the original nor another copy is by its token.
func TestReleaseOfACopy(t *testing.T) {
	const form = "Subject: copy\r\nMIME-Version: 1.0\r\n\r\nother body\r\n"
	var s *setup
	var verify func(raw string, change func(e *envelopeOf)) error
	var errs []error
	sink := startSink(t, func(sink *sink, _ *smtp.Server) {
		sink.onData = func(d delivery) error { // while it is being released
			token, raw := splitToken(t, d.raw)
			verify = func(raw string, change func(e *envelopeOf)) error {
				e := envelopeOf{d.from, d.to, token}
				if change != nil {
					change(&e)
				}
				env := envelope()
				env.Sender, env.Recipients = e.sender, e.recipients
				_, err := s.Verify(context.Background(), e.token, env, strings.NewReader(raw))
				return err
			}
			errs = []error{
				verify(raw, nil),
				verify(message, nil),
				verify(raw+"more\r\n", nil),
				verify(raw, func(e *envelopeOf) { e.recipients = []string{"other@example.com"} }),
				verify(raw, func(e *envelopeOf) { e.sender = "other@example.com" }),
				verify(raw, func(e *envelopeOf) { e.token = strings.Replace(e.token, "v2.", "v1.", 1) }),
				verify(raw, func(e *envelopeOf) {
					f := strings.Split(e.token, ".")
					e.token = strings.Join([]string{"v1", f[1], f[2], f[4]}, ".")
				}),
				verify(raw, func(e *envelopeOf) {
					f := strings.Split(e.token, ".")
					f[3] = strings.Repeat("A", len(f[3]))
					e.token = strings.Join(f, ".")
				}),
			}
			return nil
		}
	})
	s = newStore(t, releaseTo(sink.addr))
	done := false
	s.SetRenderer(func(_ context.Context, it *quarantine.Item, req quarantine.ReleaseRequest, raw io.Reader) (*quarantine.Copy, error) {
		if b, err := io.ReadAll(raw); err != nil || string(b) != message || req.As != quarantine.AsZip || len(req.Recipients) != len(it.Recipients) {
			t.Errorf("Render of %q, %v as %+v", b, err, req)
		}
		return &quarantine.Copy{Content: strings.NewReader(form), Size: int64(len(form)), Password: "xyz", Done: func() { done = true }}, nil
	})
	it := s.hold(t, message)
	got, err := s.Release(t.Context(), it.ID, quarantine.ReleaseRequest{As: quarantine.AsZip})
	if err != nil || got.Password != "xyz" || got.Note != "released as zip" || !done {
		t.Fatalf("Release = %+v, %v; want it released as zip, with the password, and the copy done with", got, err)
	}
	if d := sink.deliveries(); len(d) != 1 || !strings.HasSuffix(d[0].raw, form) || strings.Contains(d[0].raw, "xyz") {
		t.Errorf("sent %+v, want the copy", d)
	}
	for i, err := range errs {
		if (i == 0) != (err == nil) || err != nil && !errors.Is(err, quarantine.ErrToken) {
			t.Errorf("Verify %d = %v, want nil for the first and ErrToken for the others", i, err)
		}
	}
	if raw := "Subject: copy\r\nMIME-Version: 1.0\r\n\r\nother body\r\n"; !errors.Is(verify(raw, nil), quarantine.ErrToken) {
		t.Error("the token is good after the release")
	}
	if stored := s.wantState(t, it.ID, quarantine.Released); stored.Password != "" {
		t.Error("the password is stored")
	}
}

type envelopeOf struct {
	sender     string
	recipients []string
	token      string
}

func TestReleaseRefusesFormsThatItCannot(t *testing.T) {
	sink := startSink(t, nil)
	s := newStore(t, releaseTo(sink.addr))
	it := s.hold(t, message)
	for _, req := range []quarantine.ReleaseRequest{
		{As: "other"}, {As: quarantine.AsZip, Parts: []string{"1"}}, {Parts: []string{"1"}}, {As: quarantine.AsZip},
		{As: quarantine.AsWithout, Parts: make([]string, 101)},
	} {
		if _, err := s.Release(t.Context(), it.ID, req); !errors.Is(err, quarantine.ErrVariant) {
			t.Errorf("Release of %+v = %v, want ErrVariant", req, err)
		}
	}
	s.SetRenderer(func(context.Context, *quarantine.Item, quarantine.ReleaseRequest, io.Reader) (*quarantine.Copy, error) {
		return nil, errors.New("disk")
	})
	if _, err := s.Release(t.Context(), it.ID, quarantine.ReleaseRequest{As: quarantine.AsZip}); err == nil || !strings.Contains(err.Error(), "disk") {
		t.Errorf("Release = %v, want what the renderer says", err)
	}
	s.wantState(t, it.ID, quarantine.Held)
	if n := len(sink.deliveries()); n > 0 {
		t.Errorf("%d messages were sent, want none", n)
	}
}
