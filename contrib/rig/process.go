package rig

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"time"
)

// stopTimeout is how long a server may take to end before it is killed.
const stopTimeout = 10 * time.Second

// A process is a server that runs in the foreground, as the leader of a process group of its
// own. It and its children are ended by that group's number, never by name.
type process struct {
	pid    int
	ended  chan struct{} // closed when it has ended
	err    error         // how, once ended is closed
	killed bool          // by kill
}

// errKilled is returned by stop for a process that kill has ended before.
var errKilled = errors.New("it was killed before")

// startProcess starts a server whose output goes to a file.
func startProcess(cmd *exec.Cmd, output string) (*process, error) {
	out, err := os.OpenFile(output, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return nil, err
	}
	cmd.Stdout, cmd.Stderr = out, out
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid = true
	cmd.SysProcAttr.Pdeathsig = syscall.SIGTERM
	p := &process{ended: make(chan struct{})}
	started := make(chan error)
	go p.run(cmd, out, started)
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", filepath.Base(cmd.Path), err)
	}
	return p, nil
}

// run starts the server and waits for it, all on one thread: the server gets its signal of our
// death when the thread that started it ends (prctl(2), PR_SET_PDEATHSIG).
func (p *process) run(cmd *exec.Cmd, out *os.File, started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer out.Close()
	if err := cmd.Start(); err != nil {
		started <- err
		return
	}
	p.pid = cmd.Process.Pid
	started <- nil
	p.err = cmd.Wait()
	_ = syscall.Kill(-p.pid, syscall.SIGKILL) // its children, now that the group is still theirs
	close(p.ended)
}

// signal sends a signal to the server itself, unless it has ended.
func (p *process) signal(sig syscall.Signal) error {
	select {
	case <-p.ended:
		return os.ErrProcessDone
	default:
		return syscall.Kill(p.pid, sig)
	}
}

// kill ends the server and its children at once.
func (p *process) kill() {
	p.killed = true
	_ = p.signal(syscall.SIGKILL) // has ended: so much the better
	<-p.ended
}

// stop asks the server to end, and kills it if it does not. It is an error if it had ended
// before.
func (p *process) stop() error {
	if p.killed {
		return errKilled
	}
	if err := p.signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("it had ended before: %w", errors.Join(err, p.err))
	}
	_ = p.signal(syscall.SIGCONT) // a stopped process cannot end
	select {
	case <-p.ended:
		return nil
	case <-time.After(stopTimeout):
		p.kill()
		return fmt.Errorf("it does not end within %v of SIGTERM", stopTimeout)
	}
}
