package e2e

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
)

// maxPacket is more than any MTA or filter sends at once.
const maxPacket = 64 << 20

// Packets of the milter protocol, by the side that sends them. The letters are those of
// libmilter's mfdef.h.
const (
	toFilter = '>'
	toMTA    = '<'
)

// A packet is one packet on its way. Code is its letter: 'B' to the filter is a piece of the
// body, 'b' to the MTA replaces it.
type packet struct {
	way  byte // toFilter or toMTA
	code byte
	data []byte
}

func (p packet) String() string { return fmt.Sprintf("%c%c", p.way, p.code) }

// A tap stands between an MTA and the filter, passes on every byte, and knows which packet
// went by: so a test can do something at an exact point of the conversation.
type tap struct {
	addr, filter string
	listener     net.Listener
	serving      sync.WaitGroup

	mu    sync.Mutex
	seen  map[string]int // packets by their String
	hook  func(packet)   // called before a packet is passed on
	conns []net.Conn
}

// startTap starts a tap in front of a filter that need not be there yet.
func startTap(t *testing.T, filter string) *tap {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &tap{addr: l.Addr().String(), filter: filter, listener: l, seen: map[string]int{}}
	p.serving.Go(p.accept)
	t.Cleanup(p.stop)
	return p
}

func (p *tap) stop() {
	p.listener.Close()
	p.mu.Lock()
	for _, c := range p.conns {
		c.Close()
	}
	p.mu.Unlock()
	p.serving.Wait()
}

// onPacket sets what is called with each packet before it is passed on; nil for nothing.
func (p *tap) onPacket(hook func(packet)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hook = hook
}

// counts returns how often each packet was seen, and forgets it.
func (p *tap) counts() map[string]int {
	p.mu.Lock()
	defer p.mu.Unlock()
	seen := p.seen
	p.seen = map[string]int{}
	return seen
}

func (p *tap) accept() {
	for {
		mta, err := p.listener.Accept()
		if err != nil {
			return
		}
		filter, err := net.Dial("tcp", p.filter)
		if err != nil {
			mta.Close() // as if nobody listened
			continue
		}
		p.mu.Lock()
		p.conns = append(p.conns, mta, filter)
		p.mu.Unlock()
		p.serving.Go(func() { p.pass(mta, filter, toFilter) })
		p.serving.Go(func() { p.pass(filter, mta, toMTA) })
	}
}

// pass hands packets on until one side hangs up; then so does the other.
func (p *tap) pass(from, to net.Conn, way byte) {
	defer from.Close()
	defer to.Close()
	for {
		frame, err := readFrame(from)
		if err != nil {
			return
		}
		p.note(packet{way, frame[4], frame[5:]})
		if _, err := to.Write(frame); err != nil {
			return
		}
	}
}

func (p *tap) note(k packet) {
	p.mu.Lock()
	p.seen[k.String()]++
	hook := p.hook
	p.mu.Unlock()
	if hook != nil {
		hook(k)
	}
}

// readFrame reads a packet with its length in front.
func readFrame(r io.Reader) ([]byte, error) {
	frame := make([]byte, 4)
	if _, err := io.ReadFull(r, frame); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(frame)
	if n == 0 || n > maxPacket {
		return nil, errors.New("not a packet")
	}
	frame = append(frame, make([]byte, n)...)
	_, err := io.ReadFull(r, frame[4:])
	return frame, err
}
