package main

import (
	"encoding/base64"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rastel/policy"
	"rastel/policy/engine"
	"rastel/sanitize/eml"
)

// workerEngine is the engine of the configuration, with the default policy, and workers if there
// are any.
func workerEngine(t testing.TB, workers int, limits LimitsConfig) *engine.Engine {
	t.Helper()
	cfg, err := loadConfig("")
	if err != nil {
		t.Fatal(err)
	}
	cfg.Workers, cfg.Limits = &workers, limits
	b := &built{cfg: cfg, log: slog.New(slog.NewTextHandler(t.Output(), nil))}
	if b.policy, err = policy.NewLive("", policyOptions(cfg), b.log); err != nil {
		t.Fatal(err)
	}
	if b.pool, err = startWorkers(cfg, b.log); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.close)
	b.assemble(nil)
	return b.engine(nil)
}

// described is all that an examination says of a message.
func described(x *engine.Examination) string {
	var b strings.Builder
	x.Message.Root.Walk(func(p *eml.Part) bool {
		fmt.Fprintf(&b, "%s %q %s %s %d %d %x\n", p.ID, p.Names, p.MediaType, p.Type, p.Size, p.Depth, p.SHA256)
		return true
	})
	for _, f := range x.Report.Findings {
		fmt.Fprintf(&b, "%s %s %q %v\n", f.Part.ID, f.Check, f.Detail, f.Unexamined)
	}
	for _, u := range x.Report.Unexamined {
		fmt.Fprintf(&b, "%s %q %v\n", u.Part.ID, u.Why, u.Temporary)
	}
	return b.String() + x.Verdict.Action.String()
}

// containers are messages with files that something opens: the cases, and what the corpora have.
func containers(t *testing.T) map[string][]byte {
	t.Helper()
	messages := map[string][]byte{}
	cases, err := filepath.Glob("../../testdata/cases/*.case")
	if err != nil || len(cases) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, name := range cases {
		c, err := readCase(name)
		if err != nil {
			t.Fatal(err)
		}
		messages[caseName(c)] = c.Raw
	}
	for _, dir := range []string{"../../scanners/archive/testdata/archives", "../../../shared/corpus/archives", "../../../shared/corpus/office"} {
		err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
			if os.IsNotExist(err) {
				return fs.SkipAll
			}
			if err != nil || d.IsDir() {
				return err
			}
			if info, err := d.Info(); err != nil || info.Size() > 2<<20 || strings.Contains(name, "bomb") {
				return err
			}
			content, err := os.ReadFile(name)
			messages[name] = carrying(filepath.Base(name), content)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return messages
}

// carrying is a message with one file.
func carrying(name string, content []byte) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "Subject: a file\r\nMIME-Version: 1.0\r\nContent-Type: application/octet-stream; name=%q\r\nContent-Transfer-Encoding: base64\r\n\r\n", name)
	text := base64.StdEncoding.EncodeToString(content)
	for ; len(text) > 76; text = text[76:] {
		b.WriteString(text[:76] + "\r\n")
	}
	return []byte(b.String() + text + "\r\n")
}

// Where a container is opened makes no difference to what is found in it.
func TestCasesFindTheSameInWorkers(t *testing.T) {
	// A busy machine must not end what only takes time. The memory of the race detector counts too, and grows.
	patient := LimitsConfig{ExpandedTime: time.Hour, ContainerTime: time.Hour, PasswordTime: time.Hour, WorkerMemory: 2 << 30}
	within, without := workerEngine(t, 0, patient), workerEngine(t, 2, patient)
	n := 0
	for name, raw := range containers(t) {
		want, got := described(examined(t, within, raw)), described(examined(t, without, raw))
		if strings.Contains(want, "scan/limit") && strings.Contains(got, "scan/limit") {
			n++ // which of its members a bomb has examined before it bursts depends on who is first
			continue
		}
		if got != want {
			t.Errorf("%s: in a worker\n%s\nin this process\n%s", name, got, want)
		}
		n++
	}
	t.Logf("%d messages", n)
}

// examined examines a message that is there as a whole.
func examined(t testing.TB, e *engine.Engine, raw []byte) *engine.Examination {
	t.Helper()
	s := eml.NewSpool(eml.SpoolOptions{})
	if _, err := s.Write(raw); err != nil {
		t.Fatal(err)
	}
	s.CloseWrite(nil)
	x, err := e.Examine(t.Context(), &eml.Envelope{Sender: "a@example.org", Recipients: []string{"b@example.org"}}, s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { x.Message.Close(); s.Close() })
	return x
}

// BenchmarkWorkers is the examination of messages with and without workers: of text only, and with a
// small archive.
func BenchmarkWorkers(b *testing.B) {
	text := []byte("From: a@example.org\r\nTo: b@example.org\r\nSubject: hello\r\nMIME-Version: 1.0\r\nContent-Type: multipart/alternative; boundary=b\r\n\r\n" +
		"--b\r\nContent-Type: text/plain\r\n\r\n" + strings.Repeat("Some text, as there is in most mail.\r\n", 50) +
		"--b\r\nContent-Type: text/html\r\n\r\n<html><body>" + strings.Repeat("<p>Some text, as there is in <b>most</b> mail.</p>\r\n", 50) + "</body></html>\r\n--b--\r\n")
	zip, err := os.ReadFile("../../scanners/archive/testdata/archives/method-bzip2.zip")
	if err != nil {
		b.Fatal(err)
	}
	for _, kind := range []struct {
		name string
		raw  []byte
	}{{"text", text}, {"zip", carrying("a.zip", zip)}} {
		for _, workers := range []int{0, 2} {
			b.Run(fmt.Sprintf("%s/workers=%d", kind.name, workers), func(b *testing.B) {
				e := workerEngine(b, workers, LimitsConfig{})
				for b.Loop() {
					s := eml.NewSpool(eml.SpoolOptions{})
					s.Write(kind.raw)
					s.CloseWrite(nil)
					x, err := e.Examine(b.Context(), &eml.Envelope{Recipients: []string{"b@example.org"}}, s)
					if err != nil {
						b.Fatal(err)
					}
					x.Message.Close()
					s.Close()
				}
			})
		}
	}
}
