// Package rig runs the real servers that rastel works with, privately: Postfix, Sendmail and
// clamd on loopback ports or sockets of their own, a [Sink] that keeps what is delivered, and
// a [Client] that speaks SMTP step by step. Tests and the demonstration use it.
//
// Each server has a directory of its own and touches nothing of the system's installation, so
// any number can run side by side, whether the system's own servers run or not. A server ends
// with Stop, and at the latest with the process that started it. Postfix and Sendmail need
// root, because they change to other users.
//
// Nothing leaves the machine: the MTAs hand everything, bounces too, to their sink.
package rig

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"text/template"
	"time"
)

// Domain is the one that the MTAs accept mail for.
const Domain = "example.test"

// startTimeout is how long a server may take to answer after its start. On an idle machine
// all of them answer within two seconds.
const startTimeout = 60 * time.Second

// pollInterval is how often is looked whether something has come about.
const pollInterval = 10 * time.Millisecond

// maxLogTail is how much of a log an error quotes.
const maxLogTail = 2000

// EICAR is the anti-virus test file of eicar.org. It is put together here so that no scanner
// that looks at the source finds it.
func EICAR() []byte {
	return []byte(`X5O!P%@AP[4\PZX54(P^)7CC)7}` + "$EICAR-STANDARD" + "-ANTIVIRUS-TEST-FILE!" + "$H+H*")
}

// newDir makes a directory for a server. Sockets lie in it, and the path of a socket has room
// for 108 bytes only (unix(7)), so a long TMPDIR is not used.
func newDir(name string) (string, error) {
	parent := os.TempDir()
	if len(parent) > 40 {
		parent = "/tmp"
	}
	dir, err := os.MkdirTemp(parent, "rig-"+name+"-")
	if err != nil {
		return "", err
	}
	// Servers that change to another user must get in.
	return dir, os.Chmod(dir, 0o755)
}

// FreeAddr is an address on loopback that nobody listens on at the moment.
func FreeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

//go:embed conf
var conf embed.FS

// render fills in a file of the folder conf.
func render(name string, data any) (string, error) {
	t, err := template.ParseFS(conf, "conf/"+name)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	err = t.Execute(&b, data)
	return b.String(), err
}

// writeFiles writes small files below dir. They look a minute old: Postfix waits until main.cf
// is older than two seconds, as someone could be writing it.
func writeFiles(dir string, files map[string]string) error {
	old := time.Now().Add(-time.Minute)
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		err := errors.Join(os.WriteFile(path, []byte(text), 0o644), os.Chtimes(path, old, old))
		if err != nil {
			return err
		}
	}
	return nil
}

// logTail is the end of a log, to be quoted.
func logTail(path string) string {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "(no log)"
	}
	if err != nil {
		return err.Error()
	}
	return string(bytes.TrimSpace(text[max(0, len(text)-maxLogTail):]))
}

// poll calls f until it returns nil, or reports its last error when the time is over or ended
// is closed. A nil channel never is.
func poll(timeout time.Duration, ended <-chan struct{}, f func() error) error {
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	giveUp := time.After(timeout)
	for {
		err := f()
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ended:
			return fmt.Errorf("it has ended: %w", err)
		case <-giveUp:
			return fmt.Errorf("gave up after %v: %w", timeout, err)
		}
	}
}

// answers reports an error unless an SMTP server greets at the address.
func answers(addr string) error {
	c, err := Dial(addr)
	if err != nil {
		return err
	}
	defer c.Close()
	if c.Greeting.Code != 220 {
		return fmt.Errorf("greeting %v", c.Greeting)
	}
	_, err = c.Cmd("QUIT")
	return err
}
