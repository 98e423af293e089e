package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"rastel/cmd/rastel/api"
	"rastel/policy"
	"rastel/policy/engine"
	"rastel/policy/quarantine"
	"rastel/sanitize/eml"
)

// program is a message with a file that the policy that is built in quarantines.
const program = "From: a@example.org\r\nSubject: %s\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nhello\r\n--b\r\n" +
	"Content-Type: application/octet-stream; name=setup.exe\r\nContent-Disposition: attachment\r\n\r\nMZ RASTEL HARMLESS TEST PAYLOAD 5d1f8c72\r\n--b--\r\n"

// A gateway is all of serve but its listeners for mail, and the command line beside it.
type gateway struct {
	engine *engine.Engine
	config string
}

func newGateway(t *testing.T) *gateway {
	t.Helper()
	dir := t.TempDir()
	g := &gateway{config: filepath.Join(dir, "rastel.yaml")}
	if err := os.WriteFile(g.config, []byte("state_dir: "+dir+"/state\nevidence_field: true\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := loadConfig(g.config)
	if err != nil {
		t.Fatal(err)
	}
	log := newLogger(LogConfig{Level: "error"}, os.Stderr)
	b, err := build(cfg, log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.close)
	store, book, err := openQuarantine(cfg.Quarantine, log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { book.Close(); store.Close() })
	b.exceptions = book
	g.engine = b.engine(store)
	l, err := api.ListenUnix(cfg.API.Socket)
	if err != nil {
		t.Fatal(err)
	}
	srv := api.NewServer(api.New(api.Options{Store: store, Exceptions: book, Policy: b.policy.Load, Log: log}), log)
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(l) }()
	t.Cleanup(func() { srv.Close(); <-done })
	return g
}

func (g *gateway) judge(t *testing.T, raw string) (*policy.Verdict, string) {
	t.Helper()
	s := eml.NewSpool(eml.SpoolOptions{})
	defer s.Close()
	if _, err := io.WriteString(s, raw); err != nil {
		t.Fatal(err)
	}
	s.CloseWrite(nil)
	v, err := g.engine.Judge(t.Context(), &eml.Envelope{QueueID: "Q1", Sender: "a@example.org", Recipients: []string{"bob@example.net"}}, s)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if !v.Patch.Empty() {
		if _, err := v.Patch.WriteTo(&out); err != nil {
			t.Fatal(err)
		}
	}
	return v, out.String()
}

// run calls the command line.
func (g *gateway) run(t *testing.T, want int, args ...string) string {
	t.Helper()
	var out, errOut bytes.Buffer
	args = append(args[:1:1], append([]string{"-config", g.config}, args[1:]...)...)
	if got := run(t.Context(), args, strings.NewReader(""), &out, &errOut); got != want {
		t.Fatalf("rastel %s = %d, want %d\n%s%s", strings.Join(args, " "), got, want, &out, &errOut)
	}
	return out.String() + errOut.String()
}

// TestFromAHeldMessageToAnException: the record of a held message is shown, explained, and its hash taken for an exception;
// then the same file passes, and no other.
func TestFromAHeldMessageToAnException(t *testing.T) {
	g := newGateway(t)
	if v, _ := g.judge(t, fmt.Sprintf(program, "one")); v.Action != policy.Quarantine {
		t.Fatalf("got %v", v.Action)
	}
	var it quarantine.Item
	if err := json.Unmarshal([]byte(g.run(t, exitOK, "quarantine", "list", "-json")), &it); err != nil {
		t.Fatal(err)
	}
	var e engine.Evidence
	if err := json.Unmarshal([]byte(g.run(t, exitOK, "quarantine", "show", "-evidence", it.ID)), &e); err != nil || e.Reference != it.ID || len(e.Parts) != 3 || e.Verdicts[0].Action != "quarantine" {
		t.Errorf("evidence %+v, %v", e, err)
	}
	text := g.run(t, exitActed, "explain", it.ID)
	for _, want := range []string{it.ID, "1.2", "name \"setup.exe\"", "name/executable", "* program [1.2]: quarantine", "Verdict: quarantine by rule \"program\""} {
		if !strings.Contains(text, want) {
			t.Errorf("explain does not tell %q:\n%s", want, text)
		}
	}
	for _, args := range [][]string{{"-item", it.ID}, {"-item", it.ID, "-part", "1"}, {"-item", it.ID, "-part", "1.7"}, {"-item", "01BX5ZZKBKACTAV9WEVGEMMVRZ", "-part", "1.2"}} {
		g.run(t, exitActed, append([]string{"exception", "add", "-reason", "x", "-until", "30d"}, args...)...)
	}
	added := g.run(t, exitOK, "exception", "add", "-item", it.ID, "-part", "1.2", "-recipient", "bob@example.net", "-reason", "our setup", "-until", "30d")
	if !strings.Contains(added, "sha256 "+e.Parts[2].SHA256) {
		t.Errorf("added %s", added)
	}
	v, out := g.judge(t, fmt.Sprintf(program, "two"))
	if v.Action != policy.Accept || !strings.Contains(out, "\r\nX-Rastel-Evidence: 01") || !strings.Contains(out, "name/executable") {
		t.Errorf("with the exception: %v\n%s", v.Action, out)
	}
	if v, _ := g.judge(t, strings.Replace(fmt.Sprintf(program, "three"), "MZ", "MZ another", 1)); v.Action != policy.Quarantine {
		t.Errorf("another file: %v", v.Action)
	}
	if list := g.run(t, exitOK, "exception", "list", "-json"); !strings.Contains(list, `"hits":1`) {
		t.Errorf("list: %s", list)
	}
	g.run(t, exitUsage, "explain", "01BX5ZZKBKACTAV9WEVGEMMVRZ")
}

// TestMacrosAreExceptedByTheirHash: in documents of Office 2007 and later the macros are a part of their own.
func TestMacrosAreExceptedByTheirHash(t *testing.T) {
	g := newGateway(t)
	data, err := os.ReadFile("../../testdata/cases/o-disarm-docm.case")
	if err != nil {
		t.Fatal(err)
	}
	_, raw, _ := strings.Cut(strings.ReplaceAll(string(data), "\r\n", "\n"), "\n\n")
	raw = strings.ReplaceAll(raw, "\n", "\r\n")
	if v, _ := g.judge(t, raw); v.Action != policy.Quarantine {
		t.Fatalf("got %v", v.Action)
	}
	var it quarantine.Item
	if err := json.Unmarshal([]byte(g.run(t, exitOK, "quarantine", "list", "-json")), &it); err != nil {
		t.Fatal(err)
	}
	text := g.run(t, exitActed, "explain", it.ID)
	if !strings.Contains(text, `name "word/vbaProject.bin"`) {
		t.Fatalf("no macros in it:\n%s", text)
	}
	g.run(t, exitOK, "exception", "add", "-item", it.ID, "-part", "1.2/6", "-check", "office/macro*", "-rule", "document that acts by itself", "-reason", "our letters", "-until", "30d")
	if v, _ := g.judge(t, raw); v.Action != policy.Accept {
		t.Errorf("with the exception: %v by %q", v.Action, v.Rule)
	}
}
