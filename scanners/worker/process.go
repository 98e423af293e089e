package worker

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"rastel/sanitize/eml"
	"rastel/scanners"
)

const (
	// scratchFiles is how many large members an expander may hold at a time.
	scratchFiles = 2
	// startTime is how long a worker may take to begin.
	startTime = 30 * time.Second
	// beginTime is how long it may take to begin a job.
	beginTime = 5 * time.Second
	// watchEvery is how often the memory of a worker at work is looked at.
	watchEvery = 50 * time.Millisecond
	// maxErrors is how much is kept of what a worker prints.
	maxErrors = 8 << 10
)

// A process is one worker. One goroutine uses it; kill may be called by any.
type process struct {
	pool    *Pool
	cmd     *exec.Cmd
	conn    *conn
	scratch []*os.File
	statm   *os.File     // its memory; opened while that is allowed, or nil
	end     func() error // kills it
	ready   ready
	printed printed
	jobs    int

	dead chan struct{} // closed when it has ended

	mu     sync.Mutex
	killed error // why it was killed by us
}

// start starts a worker and waits until it can begin. It is called on the thread of the pool: the
// kernel ends the worker when that thread ends.
func (pl *Pool) start() (*process, error) {
	ours, theirs, err := socketPair()
	if err != nil {
		return nil, err
	}
	w := &process{pool: pl, conn: newConn(ours), dead: make(chan struct{})}
	argv := pl.opt.Command
	w.cmd = &exec.Cmd{
		Path: argv[0], Args: argv[1:], Env: append([]string{"GOTRACEBACK=single"}, pl.opt.Env...),
		ExtraFiles: []*os.File{theirs}, Stderr: &w.printed,
		SysProcAttr: &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL},
	}
	err = w.cmd.Start()
	theirs.Close()
	if err != nil {
		ours.Close()
		return nil, err
	}
	w.end = w.cmd.Process.Kill
	go func() {
		_ = w.cmd.Wait() // what it says is in ProcessState
		close(w.dead)
	}()
	if err := w.begin(); err != nil {
		select {
		case <-w.dead: // it says why
		case <-time.After(time.Second):
		}
		w.close()
		return nil, fmt.Errorf("%w: %w", err, w.obituary())
	}
	return w, nil
}

// socketPair gives two connected sockets, theirs as a file.
func socketPair() (ours *net.UnixConn, theirs *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("socketpair: %w", err)
	}
	theirs = os.NewFile(uintptr(fds[1]), "worker")
	mine := os.NewFile(uintptr(fds[0]), "worker")
	defer mine.Close()
	c, err := net.FileConn(mine)
	if err != nil {
		theirs.Close()
		return nil, nil, err
	}
	return c.(*net.UnixConn), theirs, nil
}

// begin tells a new worker what it is to be, and waits until it is.
func (w *process) begin() (err error) {
	for range scratchFiles {
		f, err := eml.UnnamedFile(w.pool.opt.Spool.Dir)
		if err != nil {
			return fmt.Errorf("open file for worker: %w", err)
		}
		w.scratch = append(w.scratch, f)
	}
	if f, err := os.Open(fmt.Sprintf("/proc/%d/statm", w.cmd.Process.Pid)); err == nil {
		w.statm = f // without it only its own limit holds it
	}
	if err := w.conn.SetDeadline(time.Now().Add(startTime)); err != nil {
		return err
	}
	if err := w.conn.send(kindSettings, w.pool.settings, w.scratch...); err != nil {
		return fmt.Errorf("worker did not begin: %w", err)
	}
	if err := w.conn.expect(kindReady, &w.ready); err != nil {
		return fmt.Errorf("worker did not begin: %w", err)
	}
	return w.conn.SetDeadline(time.Time{})
}

// kill ends the worker at once; why is what comes of the job that it has. The first reason counts.
func (w *process) kill(why error) {
	w.mu.Lock()
	if w.killed == nil {
		w.killed = why
	}
	w.mu.Unlock()
	_ = w.end() // it may have ended already
}

// close waits for the end of a worker that was killed, or has ended, and gives back what it had.
func (w *process) close() {
	_ = w.end()
	<-w.dead
	w.conn.Close()
	for _, f := range w.scratch {
		f.Close()
	}
	if w.statm != nil {
		w.statm.Close()
	}
}

// obituary says why a worker that is closed has ended. If nothing that it did seems to be the
// reason, the error is Temporary.
func (w *process) obituary() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.killed != nil {
		return w.killed
	}
	state := w.cmd.ProcessState
	err := fmt.Errorf("worker ended: %v", state)
	if status, ok := state.Sys().(syscall.WaitStatus); ok && status.Signaled() && status.Signal() == syscall.SIGKILL {
		return &scanners.Temporary{Err: err} // the administrator, or the kernel in want of memory
	}
	if line := w.printed.line(); line != "" {
		err = fmt.Errorf("%w: %s", err, line)
	}
	return err
}

// memory is how many bytes of memory are the worker's own, without what it reads of files.
func (w *process) memory() int64 {
	if w.statm == nil {
		return 0
	}
	var b [128]byte
	n, _ := w.statm.ReadAt(b[:], 0)
	var size, resident, shared int64
	if _, err := fmt.Fscan(bytes.NewReader(b[:n]), &size, &resident, &shared); err != nil {
		return 0 // it has ended
	}
	return (resident - shared) * int64(os.Getpagesize())
}

// watch kills the worker when it uses more memory than it may, until the function that it returns
// is called. Its own limits should not let it come to that.
func (w *process) watch() (stop func()) {
	var mu sync.Mutex
	mu.Lock()
	defer mu.Unlock()
	done := false
	var t *time.Timer
	t = time.AfterFunc(watchEvery, func() {
		mu.Lock()
		defer mu.Unlock()
		if done {
			return
		}
		if w.memory() > w.pool.settings.Memory {
			w.kill(fmt.Errorf("worker used more than %d bytes of memory", w.pool.settings.Memory))
			return
		}
		t.Reset(watchEvery)
	})
	return func() {
		mu.Lock()
		defer mu.Unlock()
		done = true
		t.Stop()
	}
}

// tidy empties the files of the worker, in case it has not.
func (w *process) tidy() error {
	for _, f := range w.scratch {
		if err := f.Truncate(0); err != nil {
			return err
		}
	}
	return nil
}

// printed keeps the beginning of what a worker prints: where it was when it died.
type printed struct {
	mu sync.Mutex
	b  []byte
}

func (p *printed) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.b = append(p.b, b[:min(len(b), maxErrors-len(p.b))]...)
	return len(b), nil
}

func (p *printed) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.ToValidUTF8(string(p.b), "?")
}

// line is what a dying program says of it.
func (p *printed) line() string {
	text := p.String()
	for _, begin := range []string{"fatal error: ", "panic: ", "rastel: ", "SIG"} {
		for line := range strings.Lines(text) {
			if line = strings.TrimSpace(line); strings.HasPrefix(line, begin) {
				return cut(line, 200)
			}
		}
	}
	return ""
}

var _ io.Writer = (*printed)(nil)
