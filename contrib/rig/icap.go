package rig

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// ICAPOptions say how a c-icap is set up.
type ICAPOptions struct {
	// Clamd is the one that its module asks.
	Clamd *Clamd
	// Lines are more lines of c-icap.conf, such as "virus_scan.MaxObjectSize 1M".
	Lines []string
}

// An ICAP is a c-icap with its module for ClamAV.
type ICAP struct {
	Addr string // "host:port"

	dir  string
	proc *process
}

// URL is that of a service, such as "avscan", or "echo", which sends back what it gets.
func (c *ICAP) URL(service string) string { return "icap://" + c.Addr + "/" + service }

// StartICAP starts a c-icap and waits until it answers. The caller stops it.
func StartICAP(o ICAPOptions) (_ *ICAP, err error) {
	if err := require(NeedICAP); err != nil {
		return nil, err
	}
	c := &ICAP{}
	if c.dir, err = newDir("icap"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("c-icap: %w\n%s", err, logTail(c.logFile()))
			os.RemoveAll(c.dir)
		}
	}()
	if c.Addr, err = FreeAddr(); err != nil {
		return nil, err
	}
	modules := filepath.Dir(icapModule())
	text, err := render("c-icap.conf.tmpl", map[string]any{
		"Dir": c.dir, "Addr": c.Addr, "Log": c.logFile(), "Modules": modules, "Clamd": o.Clamd.socket(), "Lines": o.Lines,
	})
	if err != nil {
		return nil, err
	}
	if err := writeFiles(c.dir, map[string]string{"c-icap.conf": text}); err != nil {
		return nil, err
	}
	return c, c.Start()
}

// Start starts it again after Kill, at the same address, and waits until it answers.
func (c *ICAP) Start() error {
	path, err := program("c-icap")
	if err != nil {
		return err
	}
	cmd := exec.Command(path, "-N", "-f", filepath.Join(c.dir, "c-icap.conf"))
	if c.proc, err = startProcess(cmd, filepath.Join(c.dir, "out")); err != nil {
		return err
	}
	if err := poll(startTimeout, c.proc.ended, c.options); err != nil {
		c.proc.kill()
		return fmt.Errorf("%w\n%s", err, logTail(filepath.Join(c.dir, "out")))
	}
	return nil
}

// options asks the service what it can do.
func (c *ICAP) options() error {
	conn, err := net.Dial("tcp", c.Addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(conn, "OPTIONS %s ICAP/1.0\r\nHost: %s\r\n\r\n", c.URL("avscan"), c.Addr); err != nil {
		return err
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err == nil && !strings.HasPrefix(line, "ICAP/1.0 200 ") {
		err = fmt.Errorf("OPTIONS: reply %q", line)
	}
	return err
}

// Stop ends it and removes all that it kept. It is an error if it had ended before, unless by
// Kill.
func (c *ICAP) Stop() error {
	err := c.proc.stop()
	if errors.Is(err, errKilled) {
		err = nil
	}
	return errors.Join(err, os.RemoveAll(c.dir))
}

// Kill ends it at once (SIGKILL).
func (c *ICAP) Kill() { c.proc.kill() }

// Signal sends a signal to it and its children: SIGSTOP and SIGCONT make it deaf for a time.
func (c *ICAP) Signal(sig syscall.Signal) error { return syscall.Kill(-c.proc.pid, sig) }

func (c *ICAP) logFile() string { return filepath.Join(c.dir, "log") }

// icapModule is the module of c-icap that scans; empty if there is none.
func icapModule() string {
	if found, _ := filepath.Glob("/usr/lib/*/c_icap/virus_scan.so"); len(found) > 0 {
		return found[0]
	}
	return ""
}
