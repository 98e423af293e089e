package rig

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// ClamdOptions say how a clamd is set up.
type ClamdOptions struct {
	// TCP makes it listen on a TCP port too.
	TCP bool
	// Lines are more lines of clamd.conf, such as "StreamMaxLength 1M".
	Lines []string
	// Malware are contents that it knows, by the name of their signature. It always knows EICAR
	// as Eicar-Test, and nothing else.
	Malware map[string][]byte
	// Texts are texts that it finds wherever they stand in a file, by the name of their signature.
	Texts map[string]string
	// More is how many signatures it has besides, of nothing that anybody sends: loading them takes
	// time (150,000 some two seconds).
	More int
	// Defaults leaves out AlertExceedsMax and AlertEncrypted, which an administrator is told to set.
	Defaults bool
}

// A Clamd is a ClamAV daemon with a signature database of a few lines.
type Clamd struct {
	Addr string // "unix:path"
	TCP  string // "tcp:host:port", or empty

	dir  string
	proc *process
}

// StartClamd starts a clamd and waits until it answers. The caller stops it.
func StartClamd(o ClamdOptions) (_ *Clamd, err error) {
	if err := require(NeedClamd); err != nil {
		return nil, err
	}
	c := &Clamd{}
	if c.dir, err = newDir("clamd"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("clamd: %w\n%s", err, logTail(c.logFile()))
			os.RemoveAll(c.dir)
		}
	}()
	c.Addr = "unix:" + c.socket()
	if err := c.configure(o); err != nil {
		return nil, err
	}
	return c, c.Start()
}

// Start starts it again after Kill, at the same addresses, and waits until it answers.
func (c *Clamd) Start() error {
	path, err := program("clamd")
	if err != nil {
		return err
	}
	cmd := exec.Command(path, "--foreground", "--config-file="+filepath.Join(c.dir, "clamd.conf"))
	if c.proc, err = startProcess(cmd, filepath.Join(c.dir, "out")); err != nil {
		return err
	}
	if err = c.Wait(); err != nil {
		c.proc.kill()
		return fmt.Errorf("%w\n%s", err, logTail(filepath.Join(c.dir, "out")))
	}
	return nil
}

// Stop ends it and removes all that it kept. It is an error if it had ended before, unless by
// Kill.
func (c *Clamd) Stop() error {
	err := c.proc.stop()
	if errors.Is(err, errKilled) {
		err = nil
	}
	return errors.Join(err, os.RemoveAll(c.dir))
}

// Kill ends it at once (SIGKILL); its socket stays behind.
func (c *Clamd) Kill() { c.proc.kill() }

// Signal sends it a signal: SIGSTOP and SIGCONT make it deaf for a time.
func (c *Clamd) Signal(sig syscall.Signal) error { return c.proc.signal(sig) }

// Reload makes it read its database again, and waits until it has.
func (c *Clamd) Reload() error {
	before := c.reloads()
	if err := c.expect("RELOAD", "RELOADING"); err != nil {
		return err
	}
	return poll(startTimeout, c.proc.ended, func() error {
		if c.reloads() == before {
			return errors.New("no reload in its log")
		}
		return nil
	})
}

// Wait waits until it answers: it does not while it loads its database, if its configuration says
// "ConcurrentDatabaseReload no".
func (c *Clamd) Wait() error {
	return poll(startTimeout, c.proc.ended, func() error { return c.expect("PING", "PONG") })
}

func (c *Clamd) reloads() int { return strings.Count(c.Log(), "Database correctly reloaded") }

// Log is what it logged so far.
func (c *Clamd) Log() string {
	text, _ := os.ReadFile(c.logFile()) // no file: nothing was logged
	return string(text)
}

// Scan has clamd examine content as one file, such as a whole message. It gives the name of the
// signature that was found; empty if none was.
func (c *Clamd) Scan(content []byte) (string, error) {
	conn, err := net.Dial("unix", c.socket())
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(scanTimeout)); err != nil {
		return "", err
	}
	request := append([]byte("nINSTREAM\n"), binary.BigEndian.AppendUint32(nil, uint32(len(content)))...)
	request = append(append(request, content...), 0, 0, 0, 0)
	if _, err := conn.Write(request); err != nil {
		return "", err
	}
	reply, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		return "", fmt.Errorf("INSTREAM: %w", err)
	}
	reply = strings.TrimSpace(strings.TrimPrefix(reply, "stream:"))
	if name, ok := strings.CutSuffix(reply, " FOUND"); ok {
		return name, nil
	}
	if reply != "OK" {
		return "", fmt.Errorf("INSTREAM: reply %q", reply)
	}
	return "", nil
}

const scanTimeout = 2 * time.Minute

func (c *Clamd) socket() string  { return filepath.Join(c.dir, "clamd.sock") }
func (c *Clamd) logFile() string { return filepath.Join(c.dir, "log") }

// expect sends a command and compares the reply.
func (c *Clamd) expect(command, want string) error {
	conn, err := net.Dial("unix", c.socket())
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return err
	}
	if _, err := io.WriteString(conn, "n"+command+"\n"); err != nil {
		return err
	}
	got, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		return fmt.Errorf("%s: %w", command, err)
	}
	if got != want+"\n" {
		return fmt.Errorf("%s: reply %q", command, got)
	}
	return nil
}

// configure writes clamd.conf and the database. Without the alerts clamd says nothing about what it
// did not look into.
func (c *Clamd) configure(o ClamdOptions) error {
	conf := []string{
		"LocalSocket " + c.socket(), "FixStaleSocket yes", "DatabaseDirectory " + filepath.Join(c.dir, "db"),
		"TemporaryDirectory " + c.dir, "LogFile " + c.logFile(), "LogFileMaxSize 0",
		"Bytecode no",
	}
	if !o.Defaults {
		conf = append(conf, "AlertExceedsMax yes", "AlertEncrypted yes")
	}
	if os.Geteuid() == 0 {
		conf = append(conf, "User root") // otherwise it looks for the user clamav
	}
	if o.TCP {
		addr, err := FreeAddr()
		if err != nil {
			return err
		}
		c.TCP = "tcp:" + addr
		conf = append(conf, "TCPAddr "+host(addr), "TCPSocket "+port(addr))
	}
	return writeFiles(c.dir, map[string]string{
		"clamd.conf": strings.Join(append(conf, o.Lines...), "\n") + "\n",
		"db/rig.ndb": "Eicar-Test:0:0:" + hex.EncodeToString(EICAR()) + "\n" + texts(o.Texts),
		"db/rig.hsb": hashes(o.Malware) + more(o.More),
	})
}

// texts are lines of a .ndb file: name, any type of file, anywhere, the text.
func texts(list map[string]string) string {
	var b strings.Builder
	for name, text := range list {
		fmt.Fprintf(&b, "%s:0:*:%x\n", name, text)
	}
	return b.String()
}

// more are lines of a .hsb file for nothing.
func more(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "%x:%d:Rig-More-%d\n", sha256.Sum256([]byte(strconv.Itoa(i))), 1000+i, i)
	}
	return b.String()
}

// hashes are lines of a .hsb file: SHA256:size:name.
func hashes(malware map[string][]byte) string {
	if len(malware) == 0 { // clamd does not take an empty file
		malware = map[string][]byte{"Rig-Nothing": []byte("nobody sends this")}
	}
	var b strings.Builder
	for name, content := range malware {
		fmt.Fprintf(&b, "%x:%d:%s\n", sha256.Sum256(content), len(content), name)
	}
	return b.String()
}
