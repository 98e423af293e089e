package rig

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Where things are in the unpacked packages.
const (
	sendmailDaemon = "usr/libexec/sendmail/sendmail"
	sendmailCF     = "usr/share/sendmail/cf/m4/cf.m4"
)

// SendmailDir is where contrib/test unpacks Sendmail, which as a package excludes Postfix:
// $RASTEL_SENDMAIL_DIR, or rastel/sendmail in the user's cache directory.
func SendmailDir() string {
	if dir := os.Getenv("RASTEL_SENDMAIL_DIR"); dir != "" {
		return dir
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	return filepath.Join(cache, "rastel", "sendmail")
}

// SendmailOptions say how a Sendmail is set up.
type SendmailOptions struct {
	// Milter is where the filter listens, "inet:host:port" or "unix:path"; empty for none.
	Milter string
	// Flags are the F= of the filter: what becomes of mail when it fails. Empty means T (try
	// again later).
	Flags string
	// Sink is the address that all mail is handed to.
	Sink string
	// ReplyTimeout is the R in the filter's T=: how long Sendmail waits for each reply. Zero
	// means 30 seconds. ContentTimeout is E, the whole end of a message; zero means one minute.
	ReplyTimeout, ContentTimeout time.Duration
	// VirtualUsers are addresses of Domain and what they stand for: lines of two words, for FEATURE(virtusertable).
	VirtualUsers string
}

// A Sendmail runs until Stop.
type Sendmail struct {
	Addr string // where it takes mail

	dir  string
	proc *process
}

// StartSendmail starts a Sendmail and waits until it answers. The caller stops it.
func StartSendmail(o SendmailOptions) (_ *Sendmail, err error) {
	if err := require(NeedSendmail); err != nil {
		return nil, err
	}
	s := &Sendmail{}
	if s.dir, err = newDir("sendmail"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("sendmail: %w\n%s", err, s.Log())
			os.RemoveAll(s.dir)
		}
	}()
	if s.Addr, err = FreeAddr(); err != nil {
		return nil, err
	}
	if err := s.configure(o); err != nil {
		return nil, err
	}
	if err := os.Mkdir(s.queueDir(), 0o700); err != nil {
		return nil, err
	}
	return s, s.start()
}

// Stop ends Sendmail and removes all that it kept. It is an error if it had ended before.
func (s *Sendmail) Stop() error { return errors.Join(s.proc.stop(), os.RemoveAll(s.dir)) }

// Log is what Sendmail printed so far. It logs by syslog, which a rig does not have, so this
// is little.
func (s *Sendmail) Log() string {
	text, _ := os.ReadFile(filepath.Join(s.dir, "out")) // no file: nothing was printed
	return string(text)
}

func (s *Sendmail) queueDir() string { return filepath.Join(s.dir, "queue") }

// start runs the daemon in the foreground, on a host with another name: without a dot in its
// name Sendmail asks the DNS, for a minute, what the rest may be.
func (s *Sendmail) start() (err error) {
	cmd := exec.Command("sh", "-c", `hostname mx.test && exec "$@"`, "sh",
		filepath.Join(SendmailDir(), sendmailDaemon), "-bD", "-C", filepath.Join(s.dir, "sendmail.cf"))
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUTS}
	if s.proc, err = startProcess(cmd, filepath.Join(s.dir, "out")); err != nil {
		return err
	}
	if err := poll(startTimeout, s.proc.ended, func() error { return answers(s.Addr) }); err != nil {
		s.proc.kill()
		return err
	}
	return nil
}

// configure makes sendmail.cf with m4, as an administrator does.
func (s *Sendmail) configure(o SendmailOptions) error {
	o.setDefaults()
	mc, err := render("sendmail.mc.tmpl", struct {
		SendmailOptions
		Dir, Host, Port, SinkHost, SinkPort, Socket, Domain string
		Reply, Content                                      int // seconds
	}{
		o, s.dir, host(s.Addr), port(s.Addr), host(o.Sink), port(o.Sink), sendmailSocket(o.Milter), Domain,
		int(o.ReplyTimeout.Seconds()), int(o.ContentTimeout.Seconds()),
	})
	if err != nil {
		return err
	}
	if err := writeFiles(s.dir, map[string]string{"sendmail.mc": mc, "names": "mx.test\n", "virtual": o.VirtualUsers}); err != nil {
		return err
	}
	return s.compile()
}

func (o *SendmailOptions) setDefaults() {
	if o.Flags == "" {
		o.Flags = "T"
	}
	if o.ReplyTimeout == 0 {
		o.ReplyTimeout = 30 * time.Second
	}
	if o.ContentTimeout == 0 {
		o.ContentTimeout = time.Minute
	}
}

func (s *Sendmail) compile() error {
	m4, err := program("m4")
	if err != nil {
		return err
	}
	cf := filepath.Join(SendmailDir(), "usr/share/sendmail/cf") + "/"
	cmd := exec.Command(m4, "-D_CF_DIR_="+cf, "sendmail.mc")
	cmd.Dir = s.dir
	var diagnosis strings.Builder
	cmd.Stderr = &diagnosis
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("m4: %w: %s", err, diagnosis.String())
	}
	return os.WriteFile(filepath.Join(s.dir, "sendmail.cf"), out, 0o644)
}

// sendmailSocket is an address in Sendmail's notation: inet:port@host, local:path.
func sendmailSocket(addr string) string {
	if path, ok := strings.CutPrefix(addr, "unix:"); ok {
		return "local:" + path
	}
	addr = strings.TrimPrefix(addr, "inet:")
	return "inet:" + port(addr) + "@" + host(addr)
}
