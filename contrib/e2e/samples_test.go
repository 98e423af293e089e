package e2e

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"rastel/contrib/rig"
)

func samples(t *testing.T) []rig.Sample {
	t.Helper()
	all, err := rig.Samples()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestSamplesEndAsThePolicySays(t *testing.T) {
	eachMTA(t, func(t *testing.T, mta string) {
		w := newWorld(t, setup{mta: mta})
		for i, s := range samples(t) {
			to := fmt.Sprintf("sample%d@%s", i, rig.Domain)
			t.Run(s.Name, func(t *testing.T) {
				w := w.in(t)
				w.mustTake(to, s.Raw)
				switch s.Outcome {
				case rig.Quarantined:
					w.wantHeld(to)
				case rig.Defanged:
					w.wantDefanged(to, s.Raw)
				default:
					w.wantBody(to, s.Raw)
				}
			})
		}
	})
}

// wantHeld reports whatever is not as it should be when a message to one recipient was
// quarantined: held with its envelope, and not delivered.
func (w *world) wantHeld(to string) {
	w.t.Helper()
	w.wantNothing(to)
	var n int
	for _, h := range w.rastel.quarantine("held") {
		if strings.Join(h.Recipients, " ") != to {
			continue
		}
		n++
		if h.Sender != sender {
			w.t.Errorf("held with sender %q, want %q", h.Sender, sender)
		}
	}
	if n != 1 {
		w.t.Errorf("%d messages to %s in quarantine, want 1", n, to)
	}
}

// wantBody reports a message that was not delivered with the body that was sent.
func (w *world) wantBody(to string, raw []byte) {
	w.t.Helper()
	if got, want := body(w.only(to).Raw), body(raw); !bytes.Equal(got, want) {
		w.t.Errorf("body delivered\n%q\nwant\n%q", got, want)
	}
}

// wantDefanged reports active content that was delivered, or text that was lost.
func (w *world) wantDefanged(to string, raw []byte) {
	w.t.Helper()
	got := string(body(w.only(to).Raw))
	if got == string(body(raw)) {
		w.t.Error("delivered as it was sent")
	}
	for _, active := range []string{"<script", " onload=", "\"javascript:"} {
		if strings.Contains(strings.ToLower(got), active) {
			w.t.Errorf("%q was delivered in\n%s", active, got)
		}
	}
	if text := "Your parcel is waiting."; !strings.Contains(got, text) {
		w.t.Errorf("%q is not in what was delivered:\n%s", text, got)
	}
}

func body(raw []byte) []byte {
	_, b, _ := bytes.Cut(raw, []byte("\r\n\r\n"))
	return b
}

// clamavSamples is where Debian's package clamav-testfiles has one program in many containers.
const clamavSamples = "/usr/share/clamav-testfiles"

func TestClamAVTestFilesAreQuarantined(t *testing.T) {
	needServers(t)
	files, err := filepath.Glob(clamavSamples + "/*")
	if err != nil || len(files) < 20 {
		t.Fatalf("%d files in %s, want dozens (Debian package clamav-testfiles): %v", len(files), clamavSamples, err)
	}
	worm, err := os.ReadFile(clamavSamples + "/clam.exe")
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, setup{clamd: rig.ClamdOptions{Malware: map[string][]byte{"ClamAV-Test-File": worm}}})
	for i, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		// The name tells nothing: what it is must be seen in the content.
		to := fmt.Sprintf("file%d@%s", i, rig.Domain)
		t.Run(filepath.Base(file), func(t *testing.T) {
			w := w.in(t)
			w.mustTake(to, rig.Attachment("file", "file.bin", "application/octet-stream", content))
			w.wantHeld(to)
		})
	}
}
