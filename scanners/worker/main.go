package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"rastel/sanitize/eml"
	"rastel/scanners"
)

// socketFD is the descriptor of the socket to the parent.
const socketFD = 3

// maxStack is how large a stack may grow. An overflow is to be told as one, before it is a want of
// memory.
const maxStack = 32 << 20

// forgetEvery is after how many bytes of a member, which the parent has, their disk is given back.
const forgetEvery = 8 << 20

// idleMemory is how much memory a worker may keep from one job to the next.
const idleMemory = 32 << 20

// Main is a worker, until its parent has no more work for it. It makes its expanders of what the
// parent has in Options.Config. The error is what the administrator did wrong, or the parent.
func Main(expanders func(config json.RawMessage) ([]scanners.Named, error)) error {
	signal.Ignore(os.Interrupt, syscall.SIGTERM, syscall.SIGHUP) // the parent says when it is over
	runtime.GOMAXPROCS(1)
	debug.SetMaxStack(maxStack)
	f := os.NewFile(socketFD, "socket")
	c, err := net.FileConn(f)
	if err != nil {
		return errors.New("a worker is started by serve, and by nobody else")
	}
	f.Close()
	u, ok := c.(*net.UnixConn)
	if !ok {
		return errors.New("a worker is started by serve, and by nobody else")
	}
	w := &served{conn: newWorkerConn(u)}
	var s settings
	if err := w.conn.expect(kindSettings, &s); err != nil {
		return fmt.Errorf("read settings: %w", err)
	}
	list, err := expanders(s.Config)
	if err != nil {
		return err
	}
	w.expanders = list
	w.scratch.files = w.conn.take()
	r, err := confine(s)
	if err != nil {
		return err
	}
	if err := w.conn.send(kindReady, r); err != nil {
		return err
	}
	for {
		if err := w.serve(); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
	}
}

// A served is the worker.
type served struct {
	conn      *conn
	expanders []scanners.Named
	scratch   scratch
}

// serve does one job.
func (w *served) serve() error {
	var j job
	if err := w.conn.expect(kindJob, &j); err != nil {
		return err
	}
	files := w.conn.take()
	defer func() {
		for _, f := range files {
			f.Close()
		}
	}()
	if len(files) != 1 {
		return fmt.Errorf("%d files with a job", len(files))
	}
	if err := w.conn.send(kindBegun, nil); err != nil {
		return err
	}
	j.Part.Names = toStrings(j.Names)
	x := &expansion{w: w, part: j.Part.Attach(files[0]), members: map[*eml.Part]int{}}
	x.budget = scanners.NewBudget(j.Limits, eml.SpoolOptions{File: w.scratch.open})
	_ = x.budget.Use(j.Used) // what is used up is found out when more is used
	x.budget.SetWords(x.words)
	x.budget.Report(x.used)
	last := x.run(j.Expander)
	if x.broken != nil {
		return x.broken
	}
	last.Used = x.budget.Usage()
	w.scratch.tidy()
	last.Retire = last.Retire || tired()
	return w.conn.send(kindEnd, last)
}

// tired gives memory back, and reports whether the worker has worked long enough.
func tired() bool {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	if m.HeapSys-m.HeapReleased > idleMemory {
		debug.FreeOSMemory()
	}
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return true
	}
	return time.Duration(u.Utime.Nano()+u.Stime.Nano()) > maxCPU
}

// An expansion is one job as the worker sees it.
type expansion struct {
	w       *served
	part    *eml.Part
	budget  *scanners.Budget
	members map[*eml.Part]int // that were yielded, counted from 1
	broken  error             // of the socket
	asked   bool
	said    scanners.Words
}

// run calls the expander, and sends its findings.
func (x *expansion) run(name string) (last end) {
	findings, err := x.expand(name, &last)
	if err != nil {
		last.Error, last.Budget = err.Error(), errors.Is(err, scanners.ErrBudget)
	}
	for _, f := range findings {
		for _, list := range edits(x.part, f.Fix) {
			if x.broken == nil {
				x.broken = x.w.conn.send(kindFix, list)
			}
		}
		if x.broken == nil {
			x.broken = x.w.conn.send(kindFinding, finding{f.Check, x.members[f.Part], []byte(cut(f.Detail, maxDetail)), f.Unexamined})
		}
	}
	return last
}

func (x *expansion) expand(name string, last *end) (findings []eml.Finding, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("panic: %v", v)
			last.Stack, last.Retire = cut(string(debug.Stack()), maxErrors), true
		}
	}()
	for _, n := range x.w.expanders {
		if e, ok := n.Scanner.(scanners.Expander); ok && n.Name == name {
			return e.Expand(context.Background(), x.part, x.budget, x.yield)
		}
	}
	return nil, fmt.Errorf("the worker has no scanner %q", name)
}

// yield sends a member, and gives back what it held.
func (x *expansion) yield(m *eml.Part) error {
	defer m.Release()
	x.members[m] = len(x.members) + 1
	index, _ := strconv.Atoi(m.ID[strings.LastIndexByte(m.ID, '/')+1:])
	if x.broken == nil {
		x.broken = x.w.conn.send(kindMember, member{index, toBytes(m.Names), m.MediaType})
	}
	r, sent, kept := m.Content(), int64(0), int64(0)
	for x.broken == nil {
		if sent-kept >= forgetEvery {
			kept = sent
			m.Forget(sent) // the parent has it
		}
		n, err := r.Read(x.w.conn.room())
		if n > 0 {
			sent += int64(n)
			x.broken = x.w.conn.sendData(n)
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			x.broken = fmt.Errorf("read member: %w", err)
		}
	}
	if x.broken == nil {
		x.broken = x.w.conn.send(kindDone, nil)
	}
	return x.broken
}

// used tells the parent, so that all workers for a message stop where one would.
func (x *expansion) used(n int64) error {
	if x.broken == nil {
		x.broken = x.w.conn.send(kindUsed, n)
	}
	return x.broken
}

// words asks the parent, once.
func (x *expansion) words(context.Context) scanners.Words {
	if x.asked {
		return x.said
	}
	x.asked = true
	if x.broken != nil {
		return x.said
	}
	var said words
	if x.broken = x.w.conn.send(kindAsk, nil); x.broken == nil {
		x.broken = x.w.conn.expect(kindWords, &said)
	}
	x.said = scanners.Words{Message: toStrings(said.Message), Listed: toStrings(said.Listed)}
	return x.said
}

// scratch are the files for members that are too large for memory. One is free again when it was
// closed.
type scratch struct {
	files []*os.File
	lent  [scratchFiles]*os.File
}

func (s *scratch) open() (*os.File, error) {
	for i, f := range s.files {
		if s.lent[i] != nil {
			if _, err := s.lent[i].Stat(); !errors.Is(err, os.ErrClosed) {
				continue
			}
		}
		if err := f.Truncate(0); err != nil {
			return nil, err
		}
		fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			return nil, fmt.Errorf("duplicate descriptor: %w", err)
		}
		s.lent[i] = os.NewFile(uintptr(fd), "scratch")
		return s.lent[i], nil
	}
	return nil, fmt.Errorf("more than %d large members at a time", len(s.files))
}

// tidy empties the files.
func (s *scratch) tidy() {
	for i, f := range s.files {
		if s.lent[i] != nil {
			s.lent[i].Close()
			s.lent[i] = nil
			_ = f.Truncate(0) // the parent does so too
		}
	}
}
