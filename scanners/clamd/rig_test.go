package clamd

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/baruwa-enterprise/clamd/protocol"

	"rastel/sanitize/eml"
)

// shortDir is a temporary directory whose path leaves room for a socket (108 bytes, unix(7)).
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "clamd")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// eicar is the test file of eicar.org, put together here so that no scanner that looks at the
// source finds it.
func eicar() string {
	return `X5O!P%@AP[4\PZX54(P^)7CC)7}$` + "EICAR-STANDARD-" + `ANTIVIRUS-TEST-FILE!$H+H*`
}

// phrase is found by the clamd of a rig wherever it stands in HTML or plain text.
const phrase = "rastel is not a phrase of any mail"

// A rig is a real clamd of our own.
type rig struct {
	unix, tcp string // addresses as in Config
	proc      *os.Process
	dir       string
}

// more adds signatures, lines of a .ndb file, and waits until clamd has them.
func (r *rig) more(t *testing.T, lines ...string) {
	t.Helper()
	write(t, filepath.Join(r.dir, "db", "more.ndb"), strings.Join(lines, "\n")+"\n")
	a, err := parseAddress(r.unix)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := inquire(t.Context(), a, protocol.Reload); err != nil {
		t.Fatal(err)
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	giveUp := time.After(time.Minute)
	for {
		log, err := os.ReadFile(filepath.Join(r.dir, "log"))
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(log, []byte("Database correctly reloaded")) && bytes.Contains(log, []byte("Activating the newly loaded database")) {
			return
		}
		select {
		case <-tick.C:
		case <-giveUp:
			t.Fatal("clamd does not load its database again")
		}
	}
}

// hexOf is text as signatures have it.
func hexOf(text string) string { return hex.EncodeToString([]byte(text)) }

// startClamd starts a clamd that knows nothing but EICAR and a phrase, with these lines in its
// configuration too. It ends with the test.
func startClamd(t *testing.T, lines ...string) *rig {
	t.Helper()
	path, err := exec.LookPath("/usr/sbin/clamd")
	if err != nil {
		path, err = exec.LookPath("clamd")
	}
	if err != nil {
		if os.Getenv("RASTEL_E2E") != "" {
			t.Fatal(err)
		}
		t.Skip("needs clamd (Debian package clamav-daemon)")
	}
	dir := shortDir(t)
	port := freePort(t)
	conf := append([]string{
		"Foreground yes", "User root", "DisableCache yes", "CommandReadTimeout 5",
		"LocalSocket " + filepath.Join(dir, "s"), "DatabaseDirectory " + filepath.Join(dir, "db"),
		"LogFile " + filepath.Join(dir, "log"), "TCPAddr 127.0.0.1", fmt.Sprint("TCPSocket ", port),
	}, lines...)
	if os.Getuid() != 0 {
		conf[1] = "" // it stays who it is
	}
	write(t, filepath.Join(dir, "conf"), strings.Join(conf, "\n")+"\n")
	write(t, filepath.Join(dir, "db", "test.ndb"), "Eicar-Test:0:0:"+hex.EncodeToString([]byte(eicar()))+"\n"+
		"HTML-Phrase:3:*:"+hex.EncodeToString([]byte(phrase))+"\n"+
		"Text-Phrase:7:*:"+hex.EncodeToString([]byte(phrase))+"\n")
	var out bytes.Buffer
	cmd := exec.Command(path, "--config-file="+filepath.Join(dir, "conf"))
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { cmd.Wait(); close(ended) }()
	t.Cleanup(func() { cmd.Process.Kill(); <-ended })
	r := &rig{"unix:" + filepath.Join(dir, "s"), fmt.Sprint("tcp:127.0.0.1:", port), cmd.Process, dir}
	for _, addr := range []string{r.unix, r.tcp} {
		awaitClamd(t, addr, ended, &out)
	}
	return r
}

// awaitClamd waits until clamd answers.
func awaitClamd(t *testing.T, addr string, ended <-chan struct{}, out *bytes.Buffer) {
	t.Helper()
	a, err := parseAddress(addr)
	if err != nil {
		t.Fatal(err)
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	giveUp := time.After(30 * time.Second)
	for ping(t.Context(), a) != nil {
		select {
		case <-tick.C:
		case <-ended:
			t.Fatalf("clamd ended: %s", out)
		case <-giveUp:
			t.Fatal("clamd does not answer after 30 s")
		}
	}
}

func write(t *testing.T, name, text string) {
	t.Helper()
	err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o700), os.WriteFile(name, []byte(text), 0o600))
	if err != nil {
		t.Fatal(err)
	}
}

func freePort(t *testing.T) int {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().(*net.TCPAddr).Port
}

// scanAll does with a message what a run does, members of containers aside.
func scanAll(t *testing.T, s *Scanner, m *eml.Message) (findings []eml.Finding, err error) {
	t.Helper()
	m.Root.Walk(func(p *eml.Part) bool {
		more, e := s.Scan(t.Context(), p)
		findings, err = append(findings, more...), errors.Join(err, e)
		return true
	})
	more, e := s.ScanMessage(t.Context(), m)
	return append(findings, more...), errors.Join(err, e)
}
