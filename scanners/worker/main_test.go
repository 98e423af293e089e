package worker

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"rastel/sanitize/eml"
	"rastel/scanners"
)

// The worker of these tests is the test binary itself, with an expander that does what its content
// says. Nothing of it is in the program.
const workerEnv = "RASTEL_TEST_WORKER=1"

func TestMain(m *testing.M) {
	if slices.Contains(os.Environ(), workerEnv) {
		if err := Main(testExpanders); err != nil {
			fmt.Fprintln(os.Stderr, "rastel:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func testExpanders(config json.RawMessage) ([]scanners.Named, error) {
	if string(config) == `"bad"` {
		return nil, errors.New("bad configuration")
	}
	return []scanners.Named{{Name: "test", Scanner: misbehaver{}}}, nil
}

// A misbehaver does what the first line of the content says, with the rest of it.
type misbehaver struct{}

func (misbehaver) Checks() []eml.Check                                    { return []eml.Check{{ID: "test/x", Doc: "Test."}} }
func (misbehaver) Scan(context.Context, *eml.Part) ([]eml.Finding, error) { return nil, nil }
func (misbehaver) Opens(p *eml.Part) bool                                 { return bytes.HasPrefix(p.Head(3), []byte("do ")) }

func (misbehaver) Expand(ctx context.Context, p *eml.Part, b *scanners.Budget, yield func(*eml.Part) error) ([]eml.Finding, error) {
	text, err := io.ReadAll(p.Content())
	if err != nil {
		return nil, err
	}
	line, rest, _ := strings.Cut(string(text), "\r\n")
	do := behaviours[strings.Fields(line)[1]]
	if do == nil {
		return nil, fmt.Errorf("cannot do %q", line)
	}
	return do(&deed{ctx, p, b, yield, rest})
}

// A deed is one call of Expand.
type deed struct {
	ctx   context.Context
	p     *eml.Part
	b     *scanners.Budget
	yield func(*eml.Part) error
	rest  string
}

func (d *deed) member(i int, names []string, r io.Reader) (*eml.Part, error) {
	m, err := d.b.Member(d.ctx, d.p, i, names, r)
	if err == nil {
		err = d.yield(m)
	}
	return m, err
}

func (d *deed) report(part *eml.Part, detail string) eml.Finding {
	return eml.Finding{Check: "test/x", Part: part, Detail: detail, Unexamined: true}
}

// raw sends what no worker should.
func raw(frames ...string) {
	for _, f := range frames {
		_, _ = unix.Write(ownSocket(), []byte(f))
	}
	select {} // until killed
}

func raw1(frame string) { _, _ = unix.Write(ownSocket(), []byte(frame)) }

// ownSocket is the descriptor of the socket, which FileConn has duplicated.
func ownSocket() int {
	for fd := 3; fd < maxFiles; fd++ {
		if t, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE); err == nil && t == unix.SOCK_SEQPACKET {
			return fd
		}
	}
	return -1
}

func overflow(n int) int { return overflow(n+1) + 1 } //nolint:staticcheck // that is what it is for

var hoard [][]byte

var behaviours map[string]func(d *deed) ([]eml.Finding, error)

func init() { //nolint:gochecknoinits // the functions refer to the table
	behaviours = map[string]func(d *deed) ([]eml.Finding, error){
		// split yields each line as a member, told of it, and tells what it was given.
		"split": func(d *deed) (found []eml.Finding, err error) {
			for i, line := range strings.Split(strings.TrimSpace(d.rest), "\r\n") {
				m, err := d.b.Member(d.ctx, d.p, 2*i+1, []string{"\xff" + line}, strings.NewReader(line))
				if err != nil {
					return found, err
				}
				m.MediaType = "application/x-line"
				found = append(found, d.report(m, line))
				if err := d.yield(m); err != nil {
					return found, err
				}
			}
			return append(found, d.report(d.p, fmt.Sprint(d.p.ID, d.p.MediaType, d.p.Names, d.p.Type, d.p.Size, d.p.Depth))), nil
		},
		"large": func(d *deed) ([]eml.Finding, error) {
			for i := range 3 {
				if _, err := d.member(i+1, nil, io.LimitReader(pattern{}, 20<<20)); err != nil {
					return nil, err
				}
			}
			return nil, nil
		},
		"greedy": func(d *deed) ([]eml.Finding, error) { // does not keep to its budget, but tells of it
			for range 10 {
				raw1("u\x00" + "8388608")
			}
			return nil, nil
		},
		// fix reports a finding with a fix of many edits, one of them long, and others that cannot be sent.
		"fix": func(d *deed) ([]eml.Finding, error) {
			var fix []eml.Edit
			for i := range int64(2500) {
				fix = append(fix, eml.Edit{Part: d.p, Region: eml.InContent, Start: i, End: i + 1, Text: []byte{byte(i)}})
			}
			fix = append(fix, eml.Edit{Part: d.p, Region: eml.InContent, Start: d.p.Size, End: -1, Text: bytes.Repeat([]byte("long "), 200_000)})
			found := []eml.Finding{d.report(d.p, "edits"), d.report(d.p, "header"), d.report(d.p, "none")}
			found[0].Fix = fix
			found[1].Fix = []eml.Edit{{Part: d.p, Region: eml.InHeader}}
			return found, nil
		},
		"fix-outside":  func(d *deed) ([]eml.Finding, error) { raw("x\x00" + `[{"Start":0,"End":99999999}]`); return nil, nil },
		"fix-backward": func(d *deed) ([]eml.Finding, error) { raw("x\x00" + `[{"Start":2,"End":1}]`); return nil, nil },
		"fix-half": func(d *deed) ([]eml.Finding, error) {
			raw("x\x00"+`[{"More":true}]`, "f\x00"+`{"Check":"test/x"}`)
			return nil, nil
		},
		"fix-endless": func(d *deed) ([]eml.Finding, error) {
			text := "x\x00" + `[{"Text":"` + strings.Repeat("QUFB", 10_000) + `"}]`
			for {
				_, _ = unix.Write(ownSocket(), []byte(text))
			}
		},
		"idle": func(d *deed) ([]eml.Finding, error) { return nil, nil },
		"take": func(d *deed) ([]eml.Finding, error) { return nil, d.b.Take(1000) },
		"endless": func(d *deed) ([]eml.Finding, error) {
			_, err := d.member(1, nil, pattern{})
			return nil, err
		},
		"words": func(d *deed) ([]eml.Finding, error) {
			return []eml.Finding{d.report(d.p, strings.Join(append(d.b.Words(d.ctx).Message, d.b.Words(d.ctx).Message...), " "))}, nil
		},
		"fail":     func(d *deed) ([]eml.Finding, error) { return nil, errors.New("I cannot") },
		"panic":    func(d *deed) ([]eml.Finding, error) { panic("boom") },
		"overflow": func(d *deed) ([]eml.Finding, error) { return nil, fmt.Errorf("%d", overflow(0)) },
		"memory": func(d *deed) ([]eml.Finding, error) {
			for {
				b := make([]byte, 1<<20)
				for i := 0; i < len(b); i += 4096 {
					b[i] = 1
				}
				hoard = append(hoard, b)
			}
		},
		"huge": func(d *deed) ([]eml.Finding, error) {
			hoard = append(hoard, make([]byte, 4<<30))
			return nil, nil
		},
		"goroutine": func(d *deed) ([]eml.Finding, error) {
			go func() { panic("elsewhere") }()
			select {}
		},
		"loop": func(d *deed) ([]eml.Finding, error) {
			if _, err := d.member(1, nil, strings.NewReader("before the loop")); err != nil {
				return nil, err
			}
			for i := 0; ; i++ {
			}
		},
		"exit":     func(d *deed) ([]eml.Finding, error) { os.Exit(0); return nil, nil },
		"garbage":  func(d *deed) ([]eml.Finding, error) { raw("garbage"); return nil, nil },
		"short":    func(d *deed) ([]eml.Finding, error) { raw("x"); return nil, nil },
		"unknown":  func(d *deed) ([]eml.Finding, error) { raw("f\x00" + `{"Check":"scan/unheard"}`); return nil, nil },
		"nobody":   func(d *deed) ([]eml.Finding, error) { raw("f\x00" + `{"Check":"test/x","Member":1}`); return nil, nil },
		"negative": func(d *deed) ([]eml.Finding, error) { raw("m\x00" + `{"Index":-1}`); return nil, nil },
		"inside":   func(d *deed) ([]eml.Finding, error) { raw("m\x00"+`{"Index":1}`, "e\x00{}"); return nil, nil },
		"nothing":  func(d *deed) ([]eml.Finding, error) { raw("m\x00"+`{"Index":1}`, "d\x00"); return nil, nil },
		"twice":    func(d *deed) ([]eml.Finding, error) { raw("q\x00", "q\x00"); return nil, nil },
		"forever": func(d *deed) ([]eml.Finding, error) {
			part := "m\x01" + strings.Repeat("x", 60_000)
			for {
				_, _ = unix.Write(ownSocket(), []byte(part))
			}
		},
		"flood": func(d *deed) ([]eml.Finding, error) {
			for {
				_, _ = unix.Write(ownSocket(), []byte("f\x00"+`{"Check":"test/x","Detail":"YWFh"}`))
			}
		},
		"lie": func(d *deed) ([]eml.Finding, error) {
			raw("e\x00" + `{"Retire":true,"Used":{"Bytes":9223372036854775807,"Members":9223372036854775807}}`)
			return nil, nil
		},
		"stick": func(d *deed) ([]eml.Finding, error) { raw("e\x00{}"); return nil, nil },
		"descriptors": func(d *deed) ([]eml.Finding, error) {
			for range 100 {
				_ = unix.Sendmsg(ownSocket(), []byte("f\x00"+`{"Check":"test/x"}`), unix.UnixRights(0, 1, 2), nil, 0)
			}
			return nil, nil
		},
		"escape": escape,
	}
}

// escape tries all that a worker must not be able to do, and reports what it could.
func escape(d *deed) (found []eml.Finding, err error) {
	try := func(what string, err error) {
		if err == nil {
			found = append(found, d.report(d.p, what))
		}
	}
	_, err = os.Open("/etc/passwd")
	try("open a file", err)
	_, err = os.Open("/proc/self/status")
	try("open a file of its own", err)
	_, err = os.ReadDir("/")
	try("list a directory", err)
	_, err = os.Stat("/etc")
	try("stat a path", err)
	f, err := os.CreateTemp("", "escape-")
	try("make a file", err)
	if err == nil {
		os.Remove(f.Name())
	}
	try("remove a file", os.Remove(d.rest))
	_, err = unix.MemfdCreate("x", 0)
	try("make a file in memory", err)
	_, err = net.Dial("tcp", d.rest)
	try("connect", err)
	_, err = net.Listen("tcp", "127.0.0.1:0")
	try("listen", err)
	_, err = unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	try("make a socket", err)
	_, err = unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	try("make two sockets", err)
	try("run a program", exec.Command("/bin/true").Run())
	for _, flags := range []uintptr{uintptr(unix.SIGCHLD), 9, 157, 0} { // the numbers of some calls among them
		pid, _, errno := unix.RawSyscall6(unix.SYS_CLONE, flags, 0, 0, 0, 0, 0)
		if errno == 0 && pid == 0 {
			unix.RawSyscall(unix.SYS_EXIT_GROUP, 0, 0, 0)
		}
		if errno == 0 {
			try(fmt.Sprintf("fork with flags %d", flags), nil)
		}
	}
	try("signal its parent", syscall.Kill(os.Getppid(), 0))
	try("trace its parent", unix.PtraceAttach(os.Getppid()))
	try("look at its parent", unix.Prlimit(os.Getppid(), unix.RLIMIT_CORE, nil, &unix.Rlimit{}))
	try("raise a limit", unix.Setrlimit(unix.RLIMIT_DATA, &unix.Rlimit{Cur: 1 << 40, Max: 1 << 40}))
	_, err = unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_EXEC, unix.MAP_PRIVATE|unix.MAP_ANON)
	try("make code", err)
	try("make a namespace", unix.Unshare(unix.CLONE_NEWUSER))
	return found, nil
}

// pattern is content without an end.
type pattern struct{}

func (pattern) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(i)
	}
	return len(p), nil
}
