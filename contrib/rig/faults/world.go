package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"rastel/contrib/rig"
)

// A world is a Postfix with rastel, two clamds, a proxy before the second one, and the sink that
// everything is delivered to.
type world struct {
	dir           string
	sink          *rig.Sink
	postfix       *rig.Postfix
	first, second *rig.Clamd
	proxy         *proxy
	rastel        string // the program
	config, log   string // names of files
	api           string
	filter        *exec.Cmd
	ended         chan error
	seen          int // deliveries of faults before
	leftBefore    int // how often a clamd was left then
}

func startWorld(rastel string, signatures int, lines ...string) (_ *world, err error) {
	w := &world{rastel: rastel}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.stop())
		}
	}()
	if w.dir, err = os.MkdirTemp("", "faults-"); err != nil {
		return nil, err
	}
	if w.sink, err = rig.StartSink(); err != nil {
		return nil, err
	}
	lines = append(lines, "ConcurrentDatabaseReload no")
	if w.first, err = rig.StartClamd(rig.ClamdOptions{Lines: lines, More: signatures}); err != nil {
		return nil, err
	}
	if w.second, err = rig.StartClamd(rig.ClamdOptions{Lines: lines, More: signatures, TCP: true}); err != nil {
		return nil, err
	}
	if w.proxy, err = startProxy(strings.TrimPrefix(w.second.TCP, "tcp:")); err != nil {
		return nil, err
	}
	milter, err := rig.FreeAddr()
	if err != nil {
		return nil, err
	}
	if w.postfix, err = rig.StartPostfix(rig.PostfixOptions{Milter: "inet:" + milter, Sink: w.sink.Addr, ContentTimeout: 300 * time.Second}); err != nil {
		return nil, err
	}
	return w, w.startFilter(milter)
}

// startFilter starts rastel with all at its default but where the others are, and the cache: each
// message is to be scanned.
func (w *world) startFilter(milter string) (err error) {
	if w.api, err = rig.FreeAddr(); err != nil {
		return err
	}
	w.config, w.log = filepath.Join(w.dir, "rastel.yaml"), filepath.Join(w.dir, "log")
	config := fmt.Sprintf("state_dir: %q\nmilter: {listen: [\"inet:%s\"]}\napi: {listen: %q}\nclamd: {addresses: [%q, \"tcp:%s\"]}\nlog: {format: json}\n",
		filepath.Join(w.dir, "state"), milter, w.api, w.first.Addr, w.proxy.addr)
	if err := os.WriteFile(w.config, []byte(config), 0o600); err != nil {
		return err
	}
	log, err := os.Create(w.log)
	if err != nil {
		return err
	}
	defer log.Close()
	w.filter = exec.Command(w.rastel, "serve", "-config", w.config)
	w.filter.Stdout, w.filter.Stderr = log, log
	if err := w.filter.Start(); err != nil {
		return err
	}
	w.ended = make(chan error, 1)
	go func() { w.ended <- w.filter.Wait() }()
	return w.ready()
}

// ready waits until rastel says that it is.
func (w *world) ready() error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	giveUp := time.After(time.Minute)
	for {
		if r, err := http.Get("http://" + w.api + "/readyz"); err == nil {
			r.Body.Close()
			if r.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-tick.C:
		case err := <-w.ended:
			w.ended <- err
			return fmt.Errorf("rastel ended: %w\n%s", err, w.logTail())
		case <-giveUp:
			return fmt.Errorf("rastel is not ready\n%s", w.logTail())
		}
	}
}

// stop ends everything that was started.
func (w *world) stop() error {
	var errs []error
	if w.filter != nil && w.ended != nil {
		_ = w.filter.Process.Signal(syscall.SIGTERM) // has ended: that shows
		select {
		case err := <-w.ended:
			if err != nil {
				errs = append(errs, fmt.Errorf("rastel: %w\n%s", err, w.logTail()))
			}
		case <-time.After(time.Minute):
			_ = w.filter.Process.Kill()
			errs = append(errs, errors.New("rastel does not end within a minute"))
		}
	}
	if w.postfix != nil {
		errs = append(errs, w.postfix.Stop())
	}
	if w.proxy != nil {
		errs = append(errs, w.proxy.stop())
	}
	for _, c := range []*rig.Clamd{w.first, w.second} {
		if c != nil {
			errs = append(errs, c.Stop())
		}
	}
	if w.sink != nil {
		errs = append(errs, w.sink.Stop())
	}
	return errors.Join(append(errs, os.RemoveAll(w.dir))...)
}

func (w *world) logTail() []byte {
	b, _ := os.ReadFile(w.log) // only quoted in an error
	return b[max(0, len(b)-4000):]
}

// held counts what is in quarantine, by recipient.
func (w *world) held() (map[string]int, error) {
	out, err := exec.Command(w.rastel, "quarantine", "list", "-json", "-state", "all", "-limit", "100000", "-config", w.config).Output()
	if err != nil {
		return nil, fmt.Errorf("quarantine list: %w", err)
	}
	n := map[string]int{}
	for line := range bytes.Lines(out) {
		var h struct{ Recipients []string }
		if err := json.Unmarshal(line, &h); err != nil {
			return nil, err
		}
		for _, to := range h.Recipients {
			n[to]++
		}
	}
	return n, nil
}

// A story is what the log tells of the clamds.
type story struct {
	left    int       // how often one was left for another, or taken for hung or down
	upAgain time.Time // when one was last said to be up again
	away    bool      // one is not up
}

func (w *world) story() (s story, err error) {
	log, err := os.ReadFile(w.log)
	if err != nil {
		return s, err
	}
	away := map[string]bool{}
	for line := range bytes.Lines(log) {
		var l struct {
			Time         time.Time
			Msg, Address string
		}
		if json.Unmarshal(line, &l) != nil {
			continue // of the Go runtime
		}
		switch l.Msg {
		case "clamd is silent", "clamd is down":
			s.left++
			away[l.Address] = true
		case "clamd failed, another is asked":
			s.left++
		case "clamd is up again":
			delete(away, l.Address)
			s.upAgain = l.Time
		}
	}
	s.away = len(away) > 0
	return s, nil
}
