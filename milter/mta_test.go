package milter

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"rastel/policy"
	"rastel/sanitize/eml"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// What Postfix and Sendmail offer.
const (
	offerVersion  = 6
	offerActions  = 0x1ff
	offerProtocol = 0x1fffff

	nrHeader = 0x80
	nrBody   = 0x80000
	leadSpc  = 0x100000
)

// An mta plays the MTA's side of a milter session. It knows the protocol from its
// description and shares no code with what it tests.
type mta struct {
	t        *testing.T
	c        net.Conn
	r        *bufio.Reader
	protocol uint32 // what was agreed
	// sendmail plays the sequence of Sendmail: the queue id comes with MAIL and never again,
	// and nothing tells that a message is over. Postfix tells the queue id with the end of the
	// header and sends an abort after each message.
	sendmail bool
}

// A packet is a frame without its length.
type packet struct {
	code byte
	data string
}

// replyTime bounds how long a test waits for an answer that does not come.
const replyTime = 10 * time.Second

func (m *mta) write(b []byte) error {
	_, err := m.c.Write(b)
	return err
}

// frame makes the bytes of a command with arguments that each end in NUL.
func frame(code byte, args ...string) []byte {
	data := ""
	for _, a := range args {
		data += a + "\x00"
	}
	return rawFrame(code, data)
}

func rawFrame(code byte, data string) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(len(data)+1))
	return append(append(b, code), data...)
}

func (m *mta) send(b []byte) {
	m.t.Helper()
	if err := m.write(b); err != nil {
		m.t.Fatalf("send %.40q: %v", b, err)
	}
}

func (m *mta) read() (packet, error) {
	m.c.SetReadDeadline(time.Now().Add(replyTime))
	return m.readFrame()
}

func (m *mta) readFrame() (packet, error) {
	var head [5]byte
	if _, err := io.ReadFull(m.r, head[:]); err != nil {
		return packet{}, err
	}
	data := make([]byte, binary.BigEndian.Uint32(head[:])-1)
	_, err := io.ReadFull(m.r, data)
	return packet{head[4], string(data)}, err
}

// expect reads one packet and wants that code.
func (m *mta) expect(code byte) packet {
	m.t.Helper()
	p, err := m.read()
	if err != nil || p.code != code {
		m.t.Fatalf("got answer %q %.200q, error %v; want %q", p.code, p.data, err, code)
	}
	return p
}

// closed wants the session to be over.
func (m *mta) closed(what string) {
	m.t.Helper()
	if p, err := m.read(); err == nil {
		m.t.Fatalf("%s: got answer %q %.200q, want a closed connection", what, p.code, p.data)
	} else if errors.Is(err, context.DeadlineExceeded) || isTimeout(err) {
		m.t.Fatalf("%s: the connection stays open", what)
	}
}

func isTimeout(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}

func (m *mta) negotiate() {
	m.t.Helper()
	m.offer(offerVersion, offerActions, offerProtocol)
}

// offer negotiates and gives version and actions that were agreed.
func (m *mta) offer(version, actions, protocol uint32) (uint32, uint32) {
	m.t.Helper()
	m.send(optNeg(version, actions, protocol))
	p := []byte(m.expect('O').data)
	if len(p) != 12 {
		m.t.Fatalf("answer to the offer has %d bytes", len(p))
	}
	m.protocol = binary.BigEndian.Uint32(p[8:])
	return binary.BigEndian.Uint32(p), binary.BigEndian.Uint32(p[4:])
}

func optNeg(version, actions, protocol uint32) []byte {
	var b []byte
	for _, n := range []uint32{version, actions, protocol} {
		b = binary.BigEndian.AppendUint32(b, n)
	}
	return rawFrame('O', string(b))
}

// ask sends a command and wants "continue".
func (m *mta) ask(code byte, args ...string) {
	m.t.Helper()
	m.send(frame(code, args...))
	m.expect('c')
}

// hello negotiates and begins an SMTP session.
func (m *mta) hello() {
	m.t.Helper()
	m.negotiate()
	m.connect("192.0.2.7")
	m.send(rawFrame('D', "H{tls_version}\x00TLSv1.3\x00"))
	m.ask('H', "client.example")
}

func (m *mta) connect(addr string) {
	m.t.Helper()
	family := "4"
	if strings.Contains(addr, ":") {
		family = "6"
	}
	m.send(rawFrame('C', "client.example\x00"+family+"\x30\x39"+addr+"\x00"))
	m.expect('c')
}

// A mail is a message as a test sends it.
type mail struct {
	id     string // queue id
	sender string
	rcpts  []string
	fields []string // "Name:value", with bare LF in folds
	body   string
}

// envelope sends MAIL and RCPT.
func (m *mta) envelope(x mail) {
	m.t.Helper()
	if m.sendmail {
		m.send(rawFrame('D', "Mi\x00"+x.id+"\x00"))
	}
	m.ask('M', "<"+x.sender+">", "SIZE=100")
	for _, r := range x.rcpts {
		m.ask('R', "<"+r+">")
	}
}

// data sends header and body, and waits for answers where there are any.
func (m *mta) data(x mail) {
	m.t.Helper()
	for _, f := range x.fields {
		name, value, _ := strings.Cut(f, ":")
		if m.protocol&leadSpc == 0 {
			value = strings.TrimPrefix(value, " ")
		}
		m.send(frame('L', name, value))
		if m.protocol&nrHeader == 0 {
			m.expect('c')
		}
	}
	if !m.sendmail {
		m.send(rawFrame('D', "Ni\x00"+x.id+"\x00"))
	}
	m.ask('N')
	for chunk := range slices.Chunk([]byte(x.body), 65535) {
		m.send(rawFrame('B', string(chunk)))
		if m.protocol&nrBody == 0 {
			m.expect('c')
		}
	}
}

// finish sends the end of the message and gives the edits and the final answer.
func (m *mta) finish() (edits []packet, final packet) {
	m.t.Helper()
	m.send(frame('E'))
	edits, final = m.outcome()
	if !m.sendmail {
		m.send(frame('A'))
	}
	return edits, final
}

// outcome reads what follows the end of a message, progress left out.
func (m *mta) outcome() (edits []packet, final packet) {
	m.t.Helper()
	for {
		p, err := m.read()
		switch {
		case err != nil:
			m.t.Fatalf("no answer to the end of the message after %d edits: %v", len(edits), err)
		case p.code == 'p':
		case strings.IndexByte("hmib+-q", p.code) >= 0:
			edits = append(edits, p)
		default:
			return edits, p
		}
	}
}

// deliver sends a whole message and gives the edits and the final answer.
func (m *mta) deliver(x mail) (edits []packet, final packet) {
	m.t.Helper()
	m.envelope(x)
	m.data(x)
	return m.finish()
}

// raw is the message as the MTA would deliver it if nothing were changed.
func (x mail) raw() string {
	var b strings.Builder
	for _, f := range x.fields {
		b.WriteString(strings.ReplaceAll(f, "\n", "\r\n") + "\r\n")
	}
	return b.String() + "\r\n" + x.body
}

// A seen is what the judge was given.
type seen struct {
	env eml.Envelope
	raw string
	err error // of reading the spool
}

// A recorder is a judge that reads each message to its end, and remembers it.
type recorder struct {
	decide Judge // nil: accept
	mu     sync.Mutex
	seen   []seen
}

func (r *recorder) Judge(ctx context.Context, env *eml.Envelope, s *eml.Spool) (*policy.Verdict, error) {
	raw, err := io.ReadAll(s.NewReader())
	r.mu.Lock()
	r.seen = append(r.seen, seen{*env, string(raw), err})
	r.mu.Unlock()
	if err != nil {
		return nil, err
	}
	if r.decide != nil {
		return r.decide.Judge(ctx, env, s)
	}
	return &policy.Verdict{Action: policy.Accept}, nil
}

func (r *recorder) messages() []seen {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.seen)
}

// A pipeListener is a listener within the process, whose time is that of a synctest bubble.
type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newPipeListener() *pipeListener {
	return &pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *pipeListener) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "unix"} }

func (l *pipeListener) dial(t *testing.T) net.Conn {
	t.Helper()
	ours, theirs := net.Pipe()
	select {
	case l.conns <- theirs:
	case <-l.closed:
		t.Fatal("connection refused")
	}
	return ours
}

// A harness is a running server and a way to it.
type harness struct {
	t    *testing.T
	srv  *Server
	dial func() net.Conn
	log  *logBuffer
}

// A logBuffer collects the log.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// start serves on pipes.
func start(t *testing.T, cfg Config, j Judge) *harness {
	t.Helper()
	l := newPipeListener()
	r := serve(t, Options{Config: cfg, Judge: j, Listeners: []net.Listener{l}})
	r.dial = func() net.Conn { return l.dial(t) }
	return r
}

// startTCP serves on a socket.
func startTCP(t *testing.T, cfg Config, j Judge) *harness {
	t.Helper()
	cfg.Listen = []string{"inet:127.0.0.1:0"}
	r := serve(t, Options{Config: cfg, Judge: j})
	addr := r.srv.Addrs()[0].String()
	r.dial = func() net.Conn {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	return r
}

// serve runs a server until the test ends, and then wants it to end at once.
func serve(t *testing.T, opt Options) *harness {
	t.Helper()
	r := &harness{t: t, log: &logBuffer{}}
	opt.Logger = slog.New(slog.NewTextHandler(r.log, nil))
	srv, err := New(opt)
	if err != nil {
		t.Fatal(err)
	}
	if err := srv.Listen(); err != nil {
		t.Fatal(err)
	}
	r.srv = srv
	done := make(chan error, 1)
	go func() { done <- srv.Serve() }()
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_ = srv.Shutdown(ctx) // cuts off what the test has left open
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return r
}

// mta connects.
func (r *harness) mta() *mta {
	c := r.dial()
	r.t.Cleanup(func() { c.Close() })
	return &mta{t: r.t, c: c, r: bufio.NewReader(c)}
}

// accept is a judge that waits for the whole message and lets it pass.
func accept() *recorder { return &recorder{} }

// always is a judge that returns v once it has read the message.
func always(v policy.Verdict) *recorder {
	return &recorder{decide: JudgeFunc(func(context.Context, *eml.Envelope, *eml.Spool) (*policy.Verdict, error) {
		return &v, nil
	})}
}

// serveSpool serves on pipes with a spool of its own.
func serveSpool(t *testing.T, spool eml.SpoolOptions, j Judge) *harness {
	t.Helper()
	l := newPipeListener()
	r := serve(t, Options{Judge: j, Spool: spool, Listeners: []net.Listener{l}})
	r.dial = func() net.Conn { return l.dial(t) }
	return r
}
