package worker

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"rastel/sanitize/eml"
	"rastel/scanners"
)

// What goes over the socket are frames: the kind, whether the message goes on in the next frame,
// and JSON or, of the content of members, bytes. Each is one packet (SOCK_SEQPACKET).
const (
	kindSettings = 'c' // to the worker: settings, with its files; answered by ready
	kindReady    = 'r'
	kindJob      = 'j' // to the worker: job, with the content of the part; answered by all below
	kindBegun    = 'b' // nothing has been done before that
	kindMember   = 'm' // member, then its content, then done
	kindData     = 'd'
	kindDone     = 't'
	kindUsed     = 'u' // bytes that came out since it was last said, and are of no member yet
	kindAsk      = 'q' // for words; answered by words
	kindWords    = 'w' // to the worker
	kindFix      = 'x' // edits of the finding that comes next
	kindFinding  = 'f'
	kindEnd      = 'e'
)

const (
	frameHead = 2
	frameSize = 64 << 10
	// maxMessage is how long the JSON of a message from a worker may be, and maxJob that of one
	// to it.
	maxMessage = 1 << 20
	maxJob     = 16 << 20
	// maxRights is how many files may come with a message to a worker.
	maxRights = 8
)

// errProtocol says that the worker is not what it should be.
var errProtocol = errors.New("worker does not keep to the protocol")

// settings are what a worker is started with.
type settings struct {
	Config   json.RawMessage // what the expanders are made of
	Memory   int64           // bytes of memory
	FileSize int64           // bytes of one file
	CPU      time.Duration   // of processor time, all in all
}

// ready is what a worker says when it can begin.
type ready struct {
	Confined []string // what is in force, for the log
	Missing  []string // what is not
}

// A job is one call of an Expander. Names may hold anything, which strings of JSON may not.
type job struct {
	Expander string
	Part     eml.Detached // without its names
	Names    [][]byte
	Limits   scanners.BudgetLimits
	Used     scanners.Usage
}

// A member is what an Expander yields.
type member struct {
	Index     int
	Names     [][]byte
	MediaType string
}

// A finding is of the part, or of the member that was yielded so many before, counted from 1.
type finding struct {
	Check      string
	Member     int
	Detail     []byte
	Unexamined bool
}

// end is how a job ended.
type end struct {
	Error  string // empty: there was none
	Budget bool   // it is ErrBudget
	Stack  string // of a panic
	Used   scanners.Usage
	Retire bool // the worker has done enough
}

// A conn is one side of the socket. One goroutine uses it.
type conn struct {
	*net.UnixConn
	in, out []byte
	max     int // length of a message that is read

	rights []byte     // room for descriptors; nil: they are not taken
	files  []*os.File // that came since they were taken away
}

// newConn gives the side of the parent, which takes no descriptors.
func newConn(c *net.UnixConn) *conn {
	return &conn{UnixConn: c, in: make([]byte, frameSize), out: make([]byte, frameSize), max: maxMessage}
}

// newWorkerConn gives the side of the worker.
func newWorkerConn(c *net.UnixConn) *conn {
	w := newConn(c)
	w.max, w.rights = maxJob, make([]byte, unix.CmsgSpace(4*maxRights))
	return w
}

// send sends a message. A nil v is none.
func (c *conn) send(kind byte, v any, files ...*os.File) error {
	var b []byte
	if v != nil {
		var err error
		if b, err = json.Marshal(v); err != nil {
			return err
		}
	}
	var rights []byte
	if len(files) > 0 {
		fds := make([]int, len(files))
		for i, f := range files {
			fds[i] = int(f.Fd())
		}
		rights = unix.UnixRights(fds...)
	}
	for more := true; more; {
		k := copy(c.out[frameHead:], b)
		b = b[k:]
		more = len(b) > 0
		c.out[0], c.out[1] = kind, 0
		if more {
			c.out[1] = 1
		}
		if _, _, err := c.WriteMsgUnix(c.out[:frameHead+k], rights, nil); err != nil {
			return err
		}
		rights = nil
	}
	return nil
}

// room is where the content that sendData sends is put.
func (c *conn) room() []byte { return c.out[frameHead:] }

// sendData sends the first n bytes of room.
func (c *conn) sendData(n int) error {
	c.out[0], c.out[1] = kindData, 0
	_, err := c.Write(c.out[:frameHead+n])
	return err
}

// read reads one packet. Descriptors that come where they are not taken are closed by the kernel.
func (c *conn) read() (int, error) {
	if c.rights == nil {
		return c.Read(c.in)
	}
	n, k, _, _, err := c.ReadMsgUnix(c.in, c.rights)
	if err != nil || k == 0 {
		return n, err
	}
	messages, err := unix.ParseSocketControlMessage(c.rights[:k])
	if err != nil {
		return 0, err
	}
	for i := range messages {
		fds, err := unix.ParseUnixRights(&messages[i])
		if err != nil {
			return 0, err
		}
		for _, fd := range fds {
			c.files = append(c.files, os.NewFile(uintptr(fd), "content"))
		}
	}
	return n, nil
}

// take gives the files that came with the last messages. The caller closes them.
func (c *conn) take() []*os.File {
	files := c.files
	c.files = nil
	return files
}

// frame reads one frame. The payload is good until the next call.
func (c *conn) frame() (kind byte, more bool, payload []byte, err error) {
	n, err := c.read()
	if err == nil && (n < frameHead || c.in[1] > 1) {
		err = errProtocol
	}
	if err != nil {
		return 0, false, nil, err
	}
	return c.in[0], c.in[1] != 0, c.in[frameHead:n], nil
}

// next reads a message, or a piece of content. The payload is good until the next call.
func (c *conn) next() (kind byte, payload []byte, err error) {
	kind, more, payload, err := c.frame()
	if err != nil || !more {
		return kind, payload, err
	}
	whole := append([]byte(nil), payload...)
	for more {
		var k byte
		if k, more, payload, err = c.frame(); err != nil {
			return 0, nil, err
		}
		whole = append(whole, payload...)
		if k != kind || len(payload) == 0 || len(whole) > c.max {
			return 0, nil, errProtocol
		}
	}
	return kind, whole, nil
}

// expect reads a message of that kind.
func (c *conn) expect(want byte, v any) error {
	kind, payload, err := c.next()
	if err != nil {
		return err
	}
	if kind != want {
		return fmt.Errorf("%w: %q instead of %q", errProtocol, kind, want)
	}
	if v == nil {
		return nil
	}
	return decode(payload, v)
}

func decode(payload []byte, v any) error {
	if err := json.Unmarshal(payload, v); err != nil {
		return fmt.Errorf("%w: %w", errProtocol, err)
	}
	return nil
}

// words are scanners.Words.
type words struct{ Message, Listed [][]byte }

func toBytes(list []string) [][]byte {
	out := make([][]byte, len(list))
	for i, s := range list {
		out[i] = []byte(s)
	}
	return out
}

func toStrings(list [][]byte) []string {
	out := make([]string, len(list))
	for i, b := range list {
		out[i] = string(b)
	}
	return out
}
