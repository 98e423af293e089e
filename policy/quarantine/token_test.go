package quarantine_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/klauspost/compress/zstd"

	"rastel/policy/quarantine"
	"rastel/sanitize/eml"
)

// overwrite puts another message into a file of the store.
func overwrite(t *testing.T, file, raw string) {
	t.Helper()
	enc, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, enc.EncodeAll([]byte(raw), nil), 0o600); err != nil {
		t.Fatal(err)
	}
}

// releasing is a store with an item that is being released, and the token of that.
func releasing(t *testing.T) (*setup, *quarantine.Item, string) {
	t.Helper()
	s := newStore(t, quarantine.Config{})
	it := s.hold(t, message)
	it, err := quarantine.BeginRelease(s.Store, t.Context(), it.ID, quarantine.ReleaseRequest{})
	if err != nil {
		t.Fatal(err)
	}
	return s, it, s.Token(it)
}

// A message that goes out with its token comes back through the filter as the MTA has it.
func TestVerifyKnowsAReleasedMessage(t *testing.T) {
	var s *setup
	var ids []string
	sink := startWire(t)
	sink.onData = func(_ []string, released string) {
		token, _ := splitToken(t, released)
		env := &eml.Envelope{Sender: envelope().Sender, Recipients: envelope().Recipients}
		raw := "Received: from x\r\nMessage-ID: <1@x>\r\n" + released
		it, err := s.Verify(t.Context(), token, env, strings.NewReader(raw))
		if err != nil {
			t.Errorf("Verify of %q: %v", raw, err)
			return
		}
		ids = append(ids, it.ID) // one message at a time
	}
	s = newStore(t, releaseTo(sink.addr))
	var want []string
	for _, raw := range []string{message, "", "no line end", "A: b\r\n\r\nx\ry\r\r\n.\r\n\x00", "A: b\r\n\r\nx\r", "A: b\r\n\r\n\r\r\n.\r\r\n", "Content-Type: multipart/mixed;\r\n boundary=\"a b\"\r\n\r\n--a b--", "A: b\n\nbare\nLF"} {
		it := s.hold(t, raw)
		if _, err := s.Release(t.Context(), it.ID, quarantine.ReleaseRequest{}); err != nil {
			t.Fatalf("Release of %q: %v", raw, err)
		}
		want = append(want, it.ID)
	}
	if !slices.Equal(ids, want) {
		t.Errorf("verified %v, want %v", ids, want)
	}
}

func TestVerifyRefusesForgeries(t *testing.T) {
	s, it, token := releasing(t)
	stranger := newStore(t, quarantine.Config{})
	raw := quarantine.TokenField + ": " + token + "\r\n" + message
	f := strings.Split(token, ".")
	other := s.hold(t, message+"other")
	tests := []struct {
		name  string
		token string
		env   func(*eml.Envelope)
		raw   string
		good  bool
	}{
		{name: "genuine", token: token, good: true},
		{name: "blanks around it", token: " " + token + "\r\n", good: true},
		{name: "sender in another case", token: token, env: func(e *eml.Envelope) { e.Sender = "Alice@example.ORG" }, good: true},
		{name: "fewer recipients", token: token, env: func(e *eml.Envelope) { e.Recipients = e.Recipients[1:] }, good: true},
		{name: "empty", token: ""},
		{name: "noise", token: "x"},
		{name: "very long", token: token + strings.Repeat("x", 1<<20)},
		{name: "only dots", token: "..."},
		{name: "other version", token: "v2" + token[2:]},
		{name: "no MAC", token: strings.Join(f[:3], ".") + "."},
		{name: "one field less", token: strings.Join(f[:3], ".")},
		{name: "one field more", token: token + ".x"},
		{name: "last character of the MAC", token: token[:len(token)-1] + string(token[len(token)-1]^1)},
		{name: "first character of the MAC", token: strings.Join(f[:3], ".") + "." + string(f[3][0]^1) + f[3][1:]},
		{name: "later expiry", token: strings.Join([]string{f[0], f[1], f[2] + "0", f[3]}, ".")},
		{name: "expiry spelled otherwise", token: strings.Join([]string{f[0], f[1], "0" + f[2], f[3]}, ".")},
		{name: "id of another item", token: strings.Join([]string{f[0], other.ID, f[2], f[3]}, ".")},
		{name: "id of none", token: strings.Join([]string{f[0], ulidAt(s.now), f[2], f[3]}, ".")},
		{name: "made with another key", token: stranger.Token(it)},
		{name: "other sender", token: token, env: func(e *eml.Envelope) { e.Sender = "mallory@example.org" }},
		{name: "null sender", token: token, env: func(e *eml.Envelope) { e.Sender = "" }},
		{name: "other recipient", token: token, env: func(e *eml.Envelope) { e.Recipients = []string{"eve@example.com"} }},
		{name: "one recipient more", token: token, env: func(e *eml.Envelope) { e.Recipients = append(e.Recipients, "eve@example.com") }},
		{name: "no recipient", token: token, env: func(e *eml.Envelope) { e.Recipients = nil }},
		{name: "other body", token: token, raw: strings.Replace(raw, "body", "evil", 1)},
		{name: "body with more", token: token, raw: raw + "--x\r\n"},
		{name: "other content type", token: token, raw: "Content-Type: text/html\r\n" + raw},
		{name: "no message", token: token, raw: "\r\n"},
	}
	for _, tt := range tests {
		env := envelope()
		if tt.env != nil {
			tt.env(env)
		}
		if tt.raw == "" {
			tt.raw = raw
		}
		got, err := s.Verify(t.Context(), tt.token, env, strings.NewReader(tt.raw))
		switch {
		case tt.good && (err != nil || got.ID != it.ID):
			t.Errorf("%s: Verify(%.200q) = %v, %v; want the item", tt.name, tt.token, got, err)
		case !tt.good && (!errors.Is(err, quarantine.ErrToken) || got != nil):
			t.Errorf("%s: Verify(%.200q) = %v, %v; want ErrToken", tt.name, tt.token, got, err)
		}
	}
	if _, err := stranger.Verify(t.Context(), token, envelope(), strings.NewReader(raw)); !errors.Is(err, quarantine.ErrToken) {
		t.Errorf("Verify by another installation = %v, want ErrToken", err)
	}
}

func TestVerifyRefusesATokenThatIsOver(t *testing.T) {
	ends := map[string]func(*setup, *quarantine.Item) error{
		"released": func(s *setup, it *quarantine.Item) error { return set(t, s, it, quarantine.Released) },
		"held":     func(s *setup, it *quarantine.Item) error { return set(t, s, it, quarantine.Held) },
		"deleted":  func(s *setup, it *quarantine.Item) error { return set(t, s, it, quarantine.Deleted) },
		"lease at its end": func(s *setup, it *quarantine.Item) error {
			s.now = it.Lease
			return nil
		},
		"another attempt": func(s *setup, it *quarantine.Item) error {
			if err := set(t, s, it, quarantine.Held); err != nil {
				return err
			}
			_, err := quarantine.BeginRelease(s.Store, t.Context(), it.ID, quarantine.ReleaseRequest{})
			return err
		},
	}
	for name, end := range ends {
		s, it, token := releasing(t)
		if _, err := s.Verify(t.Context(), token, envelope(), strings.NewReader(message)); err != nil {
			t.Fatalf("%s: Verify before = %v, want nil", name, err)
		}
		if err := end(s, it); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if _, err := s.Verify(t.Context(), token, envelope(), strings.NewReader(message)); !errors.Is(err, quarantine.ErrToken) {
			t.Errorf("%s: Verify = %v, want ErrToken", name, err)
		}
	}
}

func set(t *testing.T, s *setup, it *quarantine.Item, state quarantine.State) error {
	t.Helper()
	_, err := s.index.Update(t.Context(), it.ID, func(it *quarantine.Item) error {
		it.State = state
		return nil
	})
	return err
}

// Reading the whole message is the dear part, and any sender can write a token.
func TestVerifyReadsTheMessageOnlyForGenuineTokens(t *testing.T) {
	s, _, token := releasing(t)
	broken := errors.New("broken")
	forged := token[:strings.LastIndex(token, ".")+1] + strings.Repeat("A", 43)
	if _, err := s.Verify(t.Context(), forged, envelope(), iotest.ErrReader(broken)); errors.Is(err, broken) {
		t.Error("Verify of a forged token reads the message")
	}
	_, err := s.Verify(t.Context(), token, envelope(), iotest.ErrReader(broken))
	if !errors.Is(err, broken) || errors.Is(err, quarantine.ErrToken) {
		t.Errorf("Verify = %v, want the error of the reader and not ErrToken", err)
	}
}

func TestKeyIsMadeOnceAndKept(t *testing.T) {
	s, it, token := releasing(t)
	name := filepath.Join(s.cfg.Dir, "release.key")
	info, err := os.Stat(name)
	if err != nil || info.Mode().Perm() != 0o600 || info.Size() != 32 {
		t.Fatalf("key file = %v, %v; want 32 bytes with mode 0600", info, err)
	}
	again := newStore(t, s.cfg)
	if got, err := again.Verify(t.Context(), token, envelope(), strings.NewReader(message)); err != nil || got.ID != it.ID {
		t.Errorf("Verify after a restart = %v, %v; want the item", got, err)
	}
	if left, err := filepath.Glob(filepath.Join(s.cfg.Dir, ".key*")); err != nil || len(left) > 0 {
		t.Errorf("temporary files %v, %v; want none", left, err)
	}
}

func TestStartersAtOnceShareOneKey(t *testing.T) {
	dir := t.TempDir()
	index := newStore(t, quarantine.Config{}).index
	var wg sync.WaitGroup
	tokens := make([]string, 8)
	for n := range tokens {
		wg.Go(func() {
			s, err := quarantine.New(quarantine.Options{Config: quarantine.Config{Dir: dir}, Index: index})
			if err != nil {
				t.Errorf("New: %v", err)
				return
			}
			tokens[n] = s.Token(&quarantine.Item{Lease: time.Unix(1, 0)})
		})
	}
	wg.Wait()
	if one := slices.Compact(tokens); len(one) != 1 {
		t.Errorf("tokens differ: %q", one)
	}
}

func TestRefusesAKeyThatIsNoSecret(t *testing.T) {
	key := bytes.Repeat([]byte{7}, 32)
	for name, tt := range map[string]struct {
		data []byte
		mode os.FileMode
	}{
		"others may read it": {key, 0o644},
		"the group may":      {key, 0o640},
		"empty":              {nil, 0o600},
		"short":              {key[:31], 0o600},
		"long":               {append(key, 1), 0o600},
	} {
		cfg := quarantine.Config{Dir: t.TempDir()}
		file := filepath.Join(cfg.Dir, "release.key")
		if err := errors.Join(os.WriteFile(file, tt.data, tt.mode), os.Chmod(file, tt.mode)); err != nil {
			t.Fatal(err)
		}
		if _, err := quarantine.New(quarantine.Options{Config: cfg}); err == nil || !strings.Contains(err.Error(), file) {
			t.Errorf("%s: New = %v, want an error that names %s", name, err, file)
		}
		if got, err := os.ReadFile(file); err != nil || !bytes.Equal(got, tt.data) {
			t.Errorf("%s: the file was changed: %q, %v", name, got, err)
		}
	}
}
