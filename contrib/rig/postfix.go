package rig

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// PostfixOptions say how a Postfix is set up.
type PostfixOptions struct {
	// Milter is where the filter listens, "inet:host:port" or "unix:path"; empty for none.
	Milter string
	// DefaultAction is milter_default_action: what becomes of mail when the filter fails. Empty
	// means tempfail.
	DefaultAction string
	// Sink is the address that all mail is handed to.
	Sink string
	// CommandTimeout and ContentTimeout are how long Postfix waits for the filter. Zero means 30
	// seconds.
	CommandTimeout, ContentTimeout time.Duration
	// Lines go into main.cf, behind all others.
	Lines []string
}

// A Postfix runs until Stop.
type Postfix struct {
	Addr string // where it takes mail

	dir  string
	proc *process
}

// StartPostfix starts a Postfix and waits until it answers. The caller stops it.
func StartPostfix(o PostfixOptions) (_ *Postfix, err error) {
	if err := require(NeedPostfix); err != nil {
		return nil, err
	}
	p := &Postfix{}
	if p.dir, err = newDir("postfix"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("postfix: %w\n%s", err, p.Log())
			os.RemoveAll(p.dir)
		}
	}()
	if p.Addr, err = FreeAddr(); err != nil {
		return nil, err
	}
	if err := p.configure(o); err != nil {
		return nil, err
	}
	if err := makeQueue(p.queueDir()); err != nil {
		return nil, err
	}
	return p, p.start()
}

// Stop ends Postfix and removes all that it kept. It is an error if it had ended before.
func (p *Postfix) Stop() error { return errors.Join(p.proc.stop(), os.RemoveAll(p.dir)) }

// Log is what Postfix logged so far.
func (p *Postfix) Log() string {
	text, _ := os.ReadFile(p.logFile()) // no file: nothing was logged
	return string(text)
}

// start runs master as our own child. The command "postfix start" would put it into the
// background, and check the installation for seconds.
func (p *Postfix) start() error {
	dir, err := postfixSetting("daemon_directory")
	if err != nil {
		return err
	}
	cmd := exec.Command(filepath.Join(dir, "master"), "-c", p.confDir(), "-d")
	cmd.Env = append(os.Environ(), "MAIL_CONFIG="+p.confDir())
	if p.proc, err = startProcess(cmd, filepath.Join(p.dir, "out")); err != nil {
		return err
	}
	if err := poll(startTimeout, p.proc.ended, func() error { return answers(p.Addr) }); err != nil {
		p.proc.kill()
		return fmt.Errorf("%w\n%s", err, logTail(filepath.Join(p.dir, "out")))
	}
	return nil
}

func (p *Postfix) confDir() string  { return filepath.Join(p.dir, "conf") }
func (p *Postfix) queueDir() string { return filepath.Join(p.dir, "queue") }
func (p *Postfix) logFile() string  { return filepath.Join(p.dir, "log") }

// postfixSetting is a default that was compiled in.
func postfixSetting(name string) (string, error) {
	path, err := program("postconf")
	if err != nil {
		return "", err
	}
	out, err := exec.Command(path, "-d", "-h", name).Output()
	if err != nil {
		return "", fmt.Errorf("postconf -d %s: %w", name, err)
	}
	return strings.TrimSpace(string(out)), nil
}

// makeQueue makes the directories of a queue, as "postfix check" would, with the owners that
// the Debian package makes.
func makeQueue(dir string) error {
	postfix, err := lookupID(user.Lookup("postfix"))
	if err != nil {
		return err
	}
	group, err := user.LookupGroup("postdrop")
	if err != nil {
		return err
	}
	postdrop, err := strconv.Atoi(group.Gid)
	if err != nil {
		return err
	}
	errs := []error{os.MkdirAll(filepath.Join(dir, "pid"), 0o755)}
	for _, q := range []struct {
		name string
		mode os.FileMode
		gid  int
	}{
		{"active", 0o700, 0}, {"bounce", 0o700, 0}, {"corrupt", 0o700, 0}, {"defer", 0o700, 0}, {"deferred", 0o700, 0},
		{"flush", 0o700, 0}, {"hold", 0o700, 0}, {"incoming", 0o700, 0}, {"private", 0o700, 0}, {"saved", 0o700, 0},
		{"trace", 0o700, 0}, {"maildrop", 0o730, postdrop}, {"public", 0o710, postdrop}, {"../data", 0o700, 0},
	} {
		path := filepath.Join(dir, q.name)
		errs = append(errs, os.Mkdir(path, q.mode), os.Chmod(path, q.mode), os.Chown(path, postfix, q.gid))
	}
	return errors.Join(errs...)
}

func lookupID(u *user.User, err error) (int, error) {
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(u.Uid)
}

// configure writes main.cf and master.cf.
func (p *Postfix) configure(o PostfixOptions) error {
	o.setDefaults()
	data := struct {
		PostfixOptions
		Addr, Dir, Queue, Log, Domain, SinkHost, SinkPort string
		Command, Content                                  int // seconds
	}{
		o, p.Addr, p.dir, p.queueDir(), p.logFile(), Domain, host(o.Sink), port(o.Sink),
		int(o.CommandTimeout.Seconds()), int(o.ContentTimeout.Seconds()),
	}
	main, err := render("main.cf.tmpl", data)
	if err != nil {
		return err
	}
	master, err := render("master.cf.tmpl", data)
	if err != nil {
		return err
	}
	return writeFiles(p.confDir(), map[string]string{"main.cf": main, "master.cf": master})
}

func (o *PostfixOptions) setDefaults() {
	if o.DefaultAction == "" {
		o.DefaultAction = "tempfail"
	}
	if o.CommandTimeout == 0 {
		o.CommandTimeout = 30 * time.Second
	}
	if o.ContentTimeout == 0 {
		o.ContentTimeout = 30 * time.Second
	}
}
