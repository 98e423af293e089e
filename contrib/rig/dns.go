package rig

import (
	"net"
	"strings"
	"sync"

	"golang.org/x/net/dns/dnsmessage"
)

// A DNS is a name server of TXT records. It has no other names than those that it was given.
type DNS struct {
	Addr string

	conn    net.PacketConn
	serving sync.WaitGroup

	mu      sync.Mutex
	records map[string]string // by names in lower case that end in a dot
	asked   int
}

// Silence is a record for which there is no answer at all.
const Silence = ""

// maxText is how long one string of a TXT record may be (RFC 1035 section 3.3).
const maxText = 255

// StartDNS starts a name server on a free UDP port. The caller stops it.
func StartDNS() (*DNS, error) {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	d := &DNS{Addr: conn.LocalAddr().String(), conn: conn, records: map[string]string{}}
	d.serving.Go(d.serve)
	return d, nil
}

// Stop ends the server.
func (d *DNS) Stop() error {
	err := d.conn.Close()
	d.serving.Wait()
	return err
}

// Set gives a name its record.
func (d *DNS) Set(name, text string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.records[strings.ToLower(name)+"."] = text
}

// Asked is how many questions came.
func (d *DNS) Asked() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.asked
}

func (d *DNS) serve() {
	var buf [1500]byte
	for {
		n, from, err := d.conn.ReadFrom(buf[:])
		if err != nil {
			return // stopped
		}
		if reply := d.answer(buf[:n]); reply != nil {
			_, _ = d.conn.WriteTo(reply, from) // who asked may be gone
		}
	}
}

// answer is the reply to a query; nil if there is none.
func (d *DNS) answer(query []byte) []byte {
	var p dnsmessage.Parser
	h, err := p.Start(query)
	if err != nil {
		return nil
	}
	q, err := p.Question()
	if err != nil {
		return nil
	}
	d.mu.Lock()
	d.asked++
	text, known := d.records[strings.ToLower(q.Name.String())]
	d.mu.Unlock()
	if known && text == Silence {
		return nil
	}
	m := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: h.ID, Response: true, Authoritative: true, RecursionDesired: h.RecursionDesired, RecursionAvailable: true},
		Questions: []dnsmessage.Question{q},
	}
	switch {
	case !known:
		m.RCode = dnsmessage.RCodeNameError
	case q.Type == dnsmessage.TypeTXT:
		m.Answers = []dnsmessage.Resource{{
			Header: dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class, TTL: 60},
			Body:   &dnsmessage.TXTResource{TXT: inPieces(text)},
		}}
	}
	out, err := m.Pack()
	if err != nil {
		return nil
	}
	return out
}

func inPieces(text string) (out []string) {
	for len(text) > maxText {
		out, text = append(out, text[:maxText]), text[maxText:]
	}
	return append(out, text)
}
