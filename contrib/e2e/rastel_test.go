package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"rastel/contrib/rig"
)

const (
	// readyTimeout is how long the program may take to be ready, built with the race detector
	// and on a busy machine.
	readyTimeout = 30 * time.Second
	// endTimeout is how long it may take to end after SIGTERM.
	endTimeout = 60 * time.Second
)

// authserv is the name in the Authentication-Results fields of the program.
const authserv = "mx.example.test"

// A rastel is the program, with a state directory of its own. It can be killed and started
// again.
type rastel struct {
	t *testing.T
	*instance
}

// An instance is what all tests and subtests share that use the same program.
type instance struct {
	config string // name of rastel.yaml
	api    string // host:port
	log    string // name of the file
	cmd    *exec.Cmd
	ended  chan error // of cmd.Wait
}

// in is the same program, for a subtest.
func (r *rastel) in(t *testing.T) *rastel { return &rastel{t, r.instance} }

// newRastel writes a configuration for a filter at an address, for the MTA and the clamd of a
// world. The program is not started yet.
func newRastel(w *world, milter address, s setup) *rastel {
	t := w.t
	t.Helper()
	dir := t.TempDir()
	api, err := rig.FreeAddr()
	if err != nil {
		t.Fatal(err)
	}
	r := &rastel{t, &instance{config: filepath.Join(dir, "rastel.yaml"), api: api, log: filepath.Join(dir, "log")}}
	text := fmt.Sprintf("state_dir: %q\nmilter: {listen: [%q]}\napi: {listen: %q, socket: %q}\nquarantine: {release: {smtp: %q%s}%s}\n",
		filepath.Join(dir, "state"), milter, api, shortSocket(t), w.mta.SMTP(), s.release, s.quarantine)
	if w.icap != nil {
		text += fmt.Sprintf("icap: [{name: c-icap, url: %q}]\n", w.icap.URL("avscan"))
	} else {
		text += fmt.Sprintf("clamd: {addresses: [%q], timeout: %v}\n", w.clamd.Addr, s.clamdTimeout)
	}
	text += fmt.Sprintf("dkim: {enabled: %v, resolver: %q, authserv_id: %s}\n", s.dns != "", s.dns, authserv)
	if s.domainList != "" {
		text += fmt.Sprintf("dns: {resolver: %q, domains: [{zone: %s}]}\n", s.dns, s.domainList)
	}
	if s.policy != "" {
		name := filepath.Join(dir, "policy.yaml")
		text += fmt.Sprintf("policy: %q\n", name)
		writeFile(t, name, s.policy)
	}
	writeFile(t, r.config, text+s.config)
	t.Cleanup(r.finish)
	return r
}

// shortSocket is a path for a socket: those of t.TempDir can be longer than the 108 bytes that
// unix(7) allows.
func shortSocket(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "e2e-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, "socket")
}

func writeFile(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// start starts the program, with more in its environment, and waits until it is ready.
func (r *rastel) start(env ...string) {
	r.t.Helper()
	log, err := os.OpenFile(r.log, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		r.t.Fatal(err)
	}
	defer log.Close()
	r.cmd = exec.Command(program, "serve", "-config", r.config)
	r.cmd.Stdout, r.cmd.Stderr = log, log
	r.cmd.Env = append(environment(), env...)
	if err := r.cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	cmd, ended := r.cmd, make(chan error, 1)
	r.ended = ended
	go func() { ended <- cmd.Wait() }()
	r.await(func() error { return get("http://" + r.api + "/readyz") })
}

// environment tells the race detector not to wait a second at the end of each program.
func environment() []string { return append(os.Environ(), "GORACE=atexit_sleep_ms=0") }

// await polls until the program is as wanted.
func (r *rastel) await(f func() error) {
	r.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	giveUp := time.After(readyTimeout)
	for {
		err := f()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case err := <-r.ended:
			r.ended <- err
			r.t.Fatalf("rastel ended: %v", err)
		case <-giveUp:
			r.t.Fatalf("rastel is not ready after %v: %v", readyTimeout, err)
		}
	}
}

func get(url string) error {
	resp, err := http.Get(url)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 4096))
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", resp.Status, body)
	}
	return err
}

// kill ends it at once, as a crash or the kernel's want of memory does. It may be called from
// any goroutine, but by one at a time.
func (r *rastel) kill() {
	_ = r.cmd.Process.Kill() // has ended already: all the better
	ended := r.ended
	err := <-ended
	r.cmd = nil
	ended <- err // from here on dead reports it, and somebody may start it again
}

// dead reports whether it has been killed, by a test or by itself.
func (r *rastel) dead() bool {
	select {
	case err := <-r.ended:
		r.ended <- err
		return true
	default:
		return false
	}
}

// terminate sends SIGTERM and returns how it ended.
func (r *rastel) terminate() error {
	if err := r.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	return r.wait()
}

func (r *rastel) wait() error {
	select {
	case err := <-r.ended:
		r.ended <- err
		r.cmd = nil
		return err
	case <-time.After(endTimeout):
		r.kill()
		return fmt.Errorf("still there %v after SIGTERM", endTimeout)
	}
}

// finish ends it if a test has not, and sees that it ended well and logged no crash.
func (r *rastel) finish() {
	if r.cmd != nil {
		if err := r.terminate(); err != nil {
			r.t.Errorf("rastel ended with %v, want status 0", err)
		}
	}
	log, err := os.ReadFile(r.log)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		r.t.Error(err)
	}
	r.wantNoCrash(log)
	if r.t.Failed() {
		r.t.Logf("log of rastel:\n%s", log[max(0, len(log)-20000):])
	}
}

// wantNoCrash reports what the Go runtime prints of crashes and races.
func (r *rastel) wantNoCrash(output []byte) {
	r.t.Helper()
	for _, bad := range []string{"DATA RACE", "panic:", "fatal error:"} {
		if bytes.Contains(output, []byte(bad)) {
			r.t.Errorf("rastel printed %q", bad)
		}
	}
}

// run runs a command of the program with this configuration, and returns what it printed and
// its exit status.
func (r *rastel) run(args ...string) (stdout string, status int) {
	r.t.Helper()
	var out, errOut bytes.Buffer
	cmd := exec.Command(program, args...)
	cmd.Stdout, cmd.Stderr = &out, &errOut
	cmd.Env = environment()
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		r.t.Fatal(err)
	}
	r.wantNoCrash(errOut.Bytes())
	if errOut.Len() > 0 {
		r.t.Logf("rastel %s: %s", strings.Join(args, " "), errOut.String())
	}
	return out.String(), cmd.ProcessState.ExitCode()
}

// A held is what a test wants to know of an item in the quarantine.
type held struct {
	ID         string   `json:"id"`
	Sender     string   `json:"sender"`
	Recipients []string `json:"recipients"`
	Subject    string   `json:"subject"`
	Rule       string   `json:"rule"`
	State      string   `json:"state"`
	Note       string   `json:"note"`
	Journal    bool     `json:"journal"`
}

// quarantine lists the items in a state, "all" for all, newest first.
func (r *rastel) quarantine(state string) []held {
	r.t.Helper()
	out, status := r.run("quarantine", "list", "-json", "-state", state, "-limit", "1000", "-config", r.config)
	if status != 0 {
		r.t.Fatalf("quarantine list: status %d", status)
	}
	return decodeLines[held](r.t, out)
}

// decodeLines decodes one JSON object a line.
func decodeLines[T any](t *testing.T, text string) []T {
	t.Helper()
	var all []T
	for d := json.NewDecoder(strings.NewReader(text)); ; {
		var v T
		if err := d.Decode(&v); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatalf("%v in %.500q", err, text)
		}
		all = append(all, v)
	}
}
