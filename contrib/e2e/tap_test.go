package e2e

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"

	"rastel/contrib/rig"
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
	filter   address
	listener net.Listener
	serving  sync.WaitGroup

	mu    sync.Mutex
	seen  map[string]int // packets by their String
	hook  func(packet)   // called before a packet is passed on
	conns []net.Conn
}

// An address is where a milter listens.
type address struct{ network, where string } // "tcp" and host:port, or "unix" and a path

// String is the address as MTAs and rastel write it.
func (a address) String() string {
	if a.network == "unix" {
		return "unix:" + a.where
	}
	return "inet:" + a.where
}

// freeAddress is one that nobody listens on.
func freeAddress(t *testing.T, network string) address {
	t.Helper()
	if network == "unix" {
		return address{network, shortSocket(t)}
	}
	where, err := rig.FreeAddr()
	if err != nil {
		t.Fatal(err)
	}
	return address{network, where}
}

// startTap starts a tap in front of a filter that need not be there yet.
func startTap(t *testing.T, addr, filter address) *tap {
	t.Helper()
	l, err := net.Listen(addr.network, addr.where)
	if err != nil {
		t.Fatal(err)
	}
	p := &tap{filter: filter, listener: l, seen: map[string]int{}}
	p.serving.Go(p.accept)
	t.Cleanup(p.stop)
	return p
}

func (p *tap) stop() {
	p.listener.Close()
	p.hangUp()
	p.serving.Wait()
}

// hangUp ends all connections.
func (p *tap) hangUp() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		c.Close()
	}
	p.conns = nil
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
		filter, err := net.Dial(p.filter.network, p.filter.where)
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
	var length [4]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(length[:])
	if n == 0 || n > maxPacket {
		return nil, errors.New("not a packet")
	}
	frame := make([]byte, len(length)+int(n))
	copy(frame, length[:])
	_, err := io.ReadFull(r, frame[len(length):])
	return frame, err
}
