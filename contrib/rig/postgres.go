package rig

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// PostgresPassword is what the server asks of its user "rastel".
const PostgresPassword = "p@ss word/:1"

// A Postgres is a cluster of its own, on a loopback port, with a superuser "rastel" and its databases.
type Postgres struct {
	Addr string // host:port

	dir   string
	bin   string // the directory of its programs
	owner *syscall.Credential
	proc  *process
}

// StartPostgres makes a cluster, starts it and waits until it answers. The caller stops it. Root becomes the
// user "postgres" for it, because the server refuses to run as root. Settings go onto the server's command line,
// "name=value".
func StartPostgres(settings ...string) (_ *Postgres, err error) {
	if err := require(NeedPostgres); err != nil {
		return nil, err
	}
	p := &Postgres{bin: postgresBin()}
	if p.dir, err = newDir("postgres"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("postgres: %w\n%s", err, logTail(p.logFile()))
			os.RemoveAll(p.dir)
		}
	}()
	if err := p.own(); err != nil {
		return nil, err
	}
	if err := p.makeCluster(); err != nil {
		return nil, err
	}
	if p.Addr, err = FreeAddr(); err != nil {
		return nil, err
	}
	return p, p.Start(settings...)
}

// own gives the directory to the user that the server runs as.
func (p *Postgres) own() error {
	if os.Geteuid() != 0 {
		return nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return err
	}
	uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
	gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	p.owner = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	return os.Chown(p.dir, int(uid), int(gid))
}

func (p *Postgres) command(program string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(p.bin, program), args...)
	cmd.Dir = p.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: p.owner}
	return cmd
}

func (p *Postgres) makeCluster() error {
	password := filepath.Join(p.dir, "password")
	if err := os.WriteFile(password, []byte(PostgresPassword+"\n"), 0o644); err != nil { //nolint:gosec // the server's user reads it
		return err
	}
	cmd := p.command("initdb", "--no-sync", "--username=rastel", "--auth=scram-sha-256", "--pwfile="+password, "--encoding=UTF8", "--locale=C.UTF-8", p.dataDir())
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, out)
	}
	return nil
}

// Start starts a server that was stopped or killed, at the address that it had, and waits until it answers.
func (p *Postgres) Start(settings ...string) (err error) {
	args := []string{"-D", p.dataDir(), "-p", port(p.Addr), "-c", "listen_addresses=" + host(p.Addr), "-k", p.dir}
	for _, s := range settings {
		args = append(args, "-c", s)
	}
	if p.proc, err = startProcess(p.command("postgres", args...), p.logFile()); err != nil {
		return err
	}
	ready := func() error {
		return p.command("pg_isready", "-q", "-h", host(p.Addr), "-p", port(p.Addr), "-U", "rastel", "-d", "postgres").Run()
	}
	if err := poll(startTimeout, p.proc.ended, ready); err != nil {
		p.proc.kill()
		return fmt.Errorf("%w\n%s", err, logTail(p.logFile()))
	}
	return nil
}

// Kill ends the server as a crash would: no session is ended in order.
func (p *Postgres) Kill() { p.proc.kill() }

// Restart ends all sessions (what PostgreSQL calls an immediate shutdown) and starts the server again.
func (p *Postgres) Restart() error {
	if err := p.proc.signal(syscall.SIGQUIT); err != nil {
		return err
	}
	<-p.proc.ended
	return p.Start()
}

// Pause and Resume make the server hang, and go on.
func (p *Postgres) Pause() error { return p.signalAll(syscall.SIGSTOP) }

// Resume is the end of Pause.
func (p *Postgres) Resume() error { return p.signalAll(syscall.SIGCONT) }

// signalAll reaches the processes of the sessions too, which have groups of their own.
func (p *Postgres) signalAll(sig syscall.Signal) error {
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", p.proc.pid, p.proc.pid))
	if err != nil {
		return err
	}
	pids := []int{p.proc.pid}
	for _, f := range strings.Fields(string(children)) {
		if pid, err := strconv.Atoi(f); err == nil {
			pids = append(pids, pid)
		}
	}
	for _, pid := range pids {
		if err := syscall.Kill(pid, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
			return err
		}
	}
	return nil
}

// Stop ends the server and removes all that it kept.
func (p *Postgres) Stop() error {
	var err error
	if !p.proc.killed {
		err = p.proc.signal(syscall.SIGINT) // ends the sessions; SIGTERM would wait for them
		<-p.proc.ended
	}
	return errors.Join(err, os.RemoveAll(p.dir))
}

// CreateDatabase makes an empty database.
func (p *Postgres) CreateDatabase(name string) error {
	cmd := p.command("createdb", "-h", host(p.Addr), "-p", port(p.Addr), "-U", "rastel", name)
	cmd.Env = append(os.Environ(), "PGPASSWORD="+PostgresPassword)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("createdb: %w\n%s", err, out)
	}
	return nil
}

// URL is that of a database, without the password.
func (p *Postgres) URL(database string) string {
	u := url.URL{Scheme: "postgres", User: url.User("rastel"), Host: p.Addr, Path: database, RawQuery: "sslmode=disable"}
	return u.String()
}

// Log is what the server logged so far.
func (p *Postgres) Log() string {
	text, _ := os.ReadFile(p.logFile()) // no file: nothing was logged
	return string(text)
}

func (p *Postgres) dataDir() string { return filepath.Join(p.dir, "data") }
func (p *Postgres) logFile() string { return filepath.Join(p.dir, "log") }

// postgresBin is where Debian puts the programs of the newest version that is installed; empty: there is none.
func postgresBin() string {
	dirs, _ := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if len(dirs) == 0 {
		return ""
	}
	version := func(path string) int {
		n, _ := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(path))))
		return n
	}
	return filepath.Dir(slices.MaxFunc(dirs, func(a, b string) int { return version(a) - version(b) }))
}

func missingPostgres() []string {
	if postgresBin() == "" {
		return []string{"postgres: Debian package postgresql"}
	}
	return nil
}
