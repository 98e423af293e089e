package main

import (
	"errors"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rastel/policy"
	"rastel/policy/engine"
	"rastel/policy/quarantine"
	"rastel/sanitize/eml"
	"rastel/scanners"
)

const variantPayload = "RASTEL HARMLESS TEST PAYLOAD 5d1f8c72"

// variantMessage has a page with a script, a payload, and a text.
const variantMessage = "From: eve@example.org\r\nSubject: =?utf-8?q?f=C3=BCr_dich?=\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n" +
	"--b\r\nContent-Type: text/html\r\n\r\n<p onclick=\"evil()\">hello</p><script>evil()</script>\r\n" +
	"--b\r\nContent-Type: application/octet-stream; name=x.bin\r\nContent-Disposition: attachment; filename=x.bin\r\n\r\n" + variantPayload + "\r\n" +
	"--b\r\nContent-Type: text/plain; name=notes.txt\r\n\r\nharmless notes\r\n--b--\r\n"

// newVariants is the renderer of serve, with a scanner that knows the payload and this policy.
func newVariants(t *testing.T, rules string) *engine.Renderer {
	t.Helper()
	cfg, err := loadConfig("")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "policy.yaml")
	if err := os.WriteFile(file, []byte(rules), 0o600); err != nil {
		t.Fatal(err)
	}
	b := &built{cfg: cfg, log: slog.New(slog.DiscardHandler)}
	list := append(builtin(cfg), scanners.Named{Name: "payload", Scanner: payload{}})
	b.set = scanners.NewSet(scanners.Options{Budget: b.cfg.budget(), Spool: b.cfg.spool()}, list...)
	if b.policy, err = policy.NewLive(file, policyOptions(cfg), b.log); err != nil {
		t.Fatal(err)
	}
	r, err := engine.NewRenderer(b.engine(nil), func(text []byte) (*policy.Policy, error) { return policy.Load("release", text, policyOptions(cfg)) })
	if err != nil {
		t.Fatal(err)
	}
	return r
}

const quarantining = `rules: [{name: payload, when: 'has("clamd/malware")', then: quarantine}]`

func TestVariantsOfARelease(t *testing.T) {
	const delivering = `rules:
  - {name: payload, for: part, when: 'part.has("clamd/malware")', do: [{strip: "By our policy."}]}
  - {name: tag, when: true, do: [{tag_subject: "[checked]"}]}
`
	w := quarantine.AsWithout
	for _, tt := range []struct {
		name       string
		rules      string
		req        quarantine.ReleaseRequest
		want, none []string // in what is sent
		refused    string
	}{
		{"sanitised, by the policy in force", delivering, quarantine.ReleaseRequest{As: quarantine.AsSanitised},
			[]string{"[checked]", "By our policy.", "onclick", "harmless notes"}, []string{variantPayload}, ""},
		{"sanitised, of what the policy in force holds", quarantining, quarantine.ReleaseRequest{As: quarantine.AsSanitised},
			[]string{"hello", "harmless notes", "before the message was released", "01ARZ3NDEKTSV4RRFFQ69G5FAV"}, []string{variantPayload, "onclick", "<script"}, ""},
		{"without all that has findings", quarantining, quarantine.ReleaseRequest{As: w},
			[]string{"harmless notes", "before the message was released"}, []string{variantPayload, "onclick"}, ""},
		{"without one part", quarantining, quarantine.ReleaseRequest{As: w, Parts: []string{"1.2"}},
			[]string{"onclick", "harmless notes", "before the message was released"}, []string{variantPayload}, ""},
		{"without another part", quarantining, quarantine.ReleaseRequest{As: w, Parts: []string{"1.3"}}, nil, nil, "still has clamd/malware"},
		{"without another part, forced", quarantining, quarantine.ReleaseRequest{As: w, Parts: []string{"1.3"}, Force: true},
			[]string{variantPayload, "onclick"}, []string{"harmless notes"}, ""},
		{"without a part that is not there", quarantining, quarantine.ReleaseRequest{As: w, Parts: []string{"1.9"}}, nil, nil, "no part"},
		{"without a part whose id is a rule", quarantining, quarantine.ReleaseRequest{As: w, Parts: []string{`1"] or part.id in ["1.2`}}, nil, nil, "no part"},
		{"attached", quarantining, quarantine.ReleaseRequest{As: quarantine.AsAttached},
			[]string{"Content-Type: message/rfc822", variantMessage, "Message-ID: <01ARZ3NDEKTSV4RRFFQ69G5FAV.attached@", "Subject: =?utf-8?q?Released_from_quarantine:_f=C3=BCr_dich?="}, nil, ""},
		{"zip", quarantining, quarantine.ReleaseRequest{As: quarantine.AsZip}, []string{"Content-Type: application/zip"}, []string{variantPayload, "onclick"}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newVariants(t, tt.rules)
			it := quarantine.NewItem(&eml.Envelope{Sender: "eve@example.org", Recipients: []string{"bob@example.com"}})
			it.ID, it.Subject, it.Created = "01ARZ3NDEKTSV4RRFFQ69G5FAV", "für dich", time.Now()
			tt.req.Recipients = it.Recipients
			c, err := r.Render(t.Context(), it, tt.req, strings.NewReader(variantMessage))
			if tt.refused != "" {
				if !errors.Is(err, quarantine.ErrVariant) || !strings.Contains(err.Error(), tt.refused) {
					t.Errorf("Render = %v, want ErrVariant with %q", err, tt.refused)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer c.Done()
			raw, err := io.ReadAll(io.NewSectionReader(c.Content, 0, c.Size))
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range tt.want {
				if !strings.Contains(string(raw), s) {
					t.Errorf("%q is not in\n%s", s, raw)
				}
			}
			for _, s := range tt.none {
				if strings.Contains(string(raw), s) {
					t.Errorf("%q is in\n%s", s, raw)
				}
			}
			if tt.req.As == quarantine.AsZip {
				opensTo(t, raw, c.Password, variantMessage)
			}
		})
	}
}

// opensTo sees that the zip in a message opens to the text, with our own parser and 7-Zip if it is there.
func opensTo(t *testing.T, raw []byte, password, want string) {
	t.Helper()
	if len(password) < 20 || strings.Contains(string(raw), password) {
		t.Errorf("the password %q is short, or in the message", password)
	}
	spool := eml.NewSpool(eml.SpoolOptions{})
	defer spool.Close()
	if _, err := spool.Write(raw); err != nil {
		t.Fatal(err)
	}
	spool.CloseWrite(nil)
	m, _, err := eml.Parse(t.Context(), &eml.Envelope{}, spool, eml.Limits{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	var zip []byte
	m.Root.Walk(func(p *eml.Part) bool {
		if p.MediaType == "application/zip" {
			zip, err = io.ReadAll(p.Content())
		}
		return true
	})
	if err != nil || len(zip) == 0 {
		t.Fatalf("no zip in it: %v", err)
	}
	name := filepath.Join(t.TempDir(), "x.zip")
	if err := os.WriteFile(name, zip, 0o600); err != nil {
		t.Fatal(err)
	}
	path, err := exec.LookPath("7z")
	if err != nil {
		t.Log("7z is not there, so the zip was not opened")
		return
	}
	if out, err := exec.Command(path, "x", "-so", "-p"+password, name).Output(); err != nil || string(out) != want {
		t.Errorf("7z: %q, %v; want the message", out, err)
	}
}
