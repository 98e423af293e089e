package command

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// maxOutput bounds what is read of what a program writes. A program that writes more is not stopped.
	maxOutput = 64 << 10
	// drainTime is how long the output is read after the program has ended, if a process that it left
	// behind keeps it open.
	drainTime = time.Second
)

// environment is all that a program finds there, so that nothing that rastel was started with changes
// what it does.
func environment() []string { return []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C"} }

// An output keeps the beginning of what is written to it.
type output struct {
	buf  bytes.Buffer // not embedded: io.Copy would use its ReadFrom, which knows no bound
	more bool         // not all of it was kept
}

func (o *output) Write(p []byte) (int, error) {
	if room := maxOutput - o.buf.Len(); len(p) > room {
		o.more = true
		o.buf.Write(p[:room])
		return len(p), nil
	}
	return o.buf.Write(p)
}

// A result is how a program ended.
type result struct {
	status int // its exit status
	output string
	more   bool // it wrote more than that
}

// limits of a program; zero means none.
type limits struct {
	memory int64
	cpu    time.Duration
}

// run runs a program without a shell and waits for it. The file is its standard input, or its
// descriptor 3 if asFile. When ctx ends, it is killed with all that it started, and the error is that
// of ctx; a program that is ended by a signal is an error too.
func run(ctx context.Context, argv []string, f *os.File, asFile bool, lim limits) (result, error) {
	if err := ctx.Err(); err != nil {
		return result{}, err
	}
	var out output
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir, cmd.Env = "/", environment()
	cmd.Stdout, cmd.Stderr = &out, &out // the same writer, so only one goroutine writes
	cmd.WaitDelay = drainTime
	if asFile {
		cmd.ExtraFiles = []*os.File{f}
	} else if f != nil {
		cmd.Stdin = f
	}
	// A group of its own, to be killed as a whole. If rastel itself dies, so does the program.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	done := make(chan error, 1)
	go func() { done <- watched(ctx, cmd, lim) }()
	if err := <-done; err != nil {
		return result{output: out.buf.String()}, err
	}
	return result{cmd.ProcessState.ExitCode(), out.buf.String(), out.more}, nil
}

// watched runs the program from start to end on one thread: it gets its signal of our death when the
// thread that started it ends (prctl(2), PR_SET_PDEATHSIG).
func watched(ctx context.Context, cmd *exec.Cmd, lim limits) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start: %w", err)
	}
	g := &group{pid: cmd.Process.Pid}
	stop := context.AfterFunc(ctx, g.kill)
	limitErr := lim.apply(g.pid)
	if limitErr != nil {
		g.kill()
	}
	waitErr := awaitEnd(g.pid)
	ended := !stop()
	g.kill() // what it left behind
	g.leave()
	err := cmd.Wait()
	switch {
	case limitErr != nil:
		return fmt.Errorf("limit it: %w", limitErr)
	case ended || ctx.Err() != nil:
		return fmt.Errorf("killed: %w", ctx.Err())
	case waitErr != nil:
		return fmt.Errorf("wait for it: %w", waitErr)
	}
	return endOf(cmd.ProcessState, err)
}

// endOf is the error of how a program ended, whatever its exit status.
func endOf(state *os.ProcessState, err error) error {
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return fmt.Errorf("read its output: %w", err) // such as exec.ErrWaitDelay
	}
	if status, ok := state.Sys().(syscall.WaitStatus); !ok || !status.Exited() {
		return fmt.Errorf("ended by %s", state)
	}
	return nil
}

// awaitEnd waits until the process has ended, and leaves it to be waited for.
func awaitEnd(pid int) error {
	for {
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if err != unix.EINTR {
			return err
		}
	}
}

// A group is the process group of a program. Its number is the program's for as long as nobody has waited
// for it; later it could be that of others.
type group struct {
	mu   sync.Mutex
	pid  int
	left bool
}

// kill ends all that is in the group.
func (g *group) kill() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.left {
		_ = syscall.Kill(-g.pid, syscall.SIGKILL) // nobody is there: all the better
	}
}

// leave is before the program is waited for.
func (g *group) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.left = true
}

// apply sets the limits of a process that runs already: it has them from its first milliseconds on.
func (l limits) apply(pid int) error {
	var errs []error
	if l.memory > 0 {
		errs = append(errs, limit(pid, unix.RLIMIT_AS, uint64(l.memory)))
	}
	if l.cpu > 0 {
		errs = append(errs, limit(pid, unix.RLIMIT_CPU, uint64((l.cpu+time.Second-1)/time.Second)))
	}
	return errors.Join(errs...)
}

func limit(pid, resource int, n uint64) error {
	err := unix.Prlimit(pid, resource, &unix.Rlimit{Cur: n, Max: n}, nil)
	if err == unix.ESRCH { // it has ended
		return nil
	}
	return err
}
