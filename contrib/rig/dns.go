package rig

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"

	"github.com/miekg/dns"
)

// A DNS is a name server, by UDP and TCP on the same port. It has no other names than those that it was
// given.
type DNS struct {
	Addr string

	servers []*dns.Server
	serving sync.WaitGroup

	mu      sync.Mutex
	records map[string][]dns.RR // by names in lower case that end in a dot
	rcodes  map[string]int      // instead of records
	silent  map[string]bool     // names without any answer
	asked   map[string]int      // how often
}

// Silence is a record for which there is no answer at all.
const Silence = ""

// maxText is how long one string of a TXT record may be (RFC 1035 section 3.3).
const maxText = 255

// dnsTries is how many ports are tried, of which one must be free for both UDP and TCP.
const dnsTries = 20

// StartDNS starts a name server on a free port. The caller stops it.
func StartDNS() (*DNS, error) {
	d := &DNS{records: map[string][]dns.RR{}, rcodes: map[string]int{}, silent: map[string]bool{}, asked: map[string]int{}}
	packets, listener, err := listenBoth()
	if err != nil {
		return nil, err
	}
	d.Addr = packets.LocalAddr().String()
	for _, s := range []*dns.Server{{PacketConn: packets, Handler: d}, {Listener: listener, Handler: d}} {
		up := make(chan struct{})
		s.NotifyStartedFunc = func() { close(up) }
		d.servers = append(d.servers, s)
		d.serving.Go(func() { _ = s.ActivateAndServe() }) // ends when it is stopped
		<-up
	}
	return d, nil
}

func listenBoth() (net.PacketConn, net.Listener, error) {
	var last error
	for range dnsTries {
		packets, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			return nil, nil, err
		}
		listener, err := net.Listen("tcp", packets.LocalAddr().String())
		if err == nil {
			return packets, listener, nil
		}
		packets.Close()
		last = err
	}
	return nil, nil, last
}

// Stop ends the server.
func (d *DNS) Stop() error {
	var errs []error
	for _, s := range d.servers {
		errs = append(errs, s.Shutdown())
	}
	d.serving.Wait()
	return errors.Join(errs...)
}

func key(name string) string { return strings.ToLower(dns.Fqdn(name)) }

// Set gives a name its TXT record, in place of all that it had.
func (d *DNS) Set(name, text string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	k := key(name)
	if d.silent[k] = text == Silence; d.silent[k] {
		return
	}
	d.records[k] = []dns.RR{&dns.TXT{Hdr: dns.RR_Header{Name: k, Rrtype: dns.TypeTXT, Class: dns.ClassINET, Ttl: 60}, Txt: inPieces(text)}}
}

// Add adds records as they stand in a zone file: "example.org. 60 IN A 192.0.2.1".
func (d *DNS) Add(records ...string) error {
	for _, text := range records {
		rr, err := dns.NewRR(text)
		if err != nil || rr == nil {
			return fmt.Errorf("record %q: %w", text, err)
		}
		d.mu.Lock()
		k := key(rr.Header().Name)
		d.records[k] = append(d.records[k], rr)
		delete(d.rcodes, k)
		delete(d.silent, k)
		d.mu.Unlock()
	}
	return nil
}

// Fail has a name answered with SERVFAIL.
func (d *DNS) Fail(name string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.rcodes[key(name)] = dns.RcodeServerFailure
}

// Asked is how many questions came.
func (d *DNS) Asked() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := 0
	for _, m := range d.asked {
		n += m
	}
	return n
}

// AskedFor is how many questions about one name came.
func (d *DNS) AskedFor(name string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.asked[key(name)]
}

// ServeDNS answers one question.
func (d *DNS) ServeDNS(w dns.ResponseWriter, query *dns.Msg) {
	if len(query.Question) != 1 {
		return
	}
	if reply := d.answer(query); reply != nil {
		if _, udp := w.RemoteAddr().(*net.UDPAddr); udp {
			size := dns.MinMsgSize
			if opt := query.IsEdns0(); opt != nil {
				size = int(opt.UDPSize())
			}
			reply.Truncate(size)
		}
		_ = w.WriteMsg(reply) // who asked may be gone
	}
}

// answer is the reply to a query; nil if there is none.
func (d *DNS) answer(query *dns.Msg) *dns.Msg {
	q := query.Question[0]
	d.mu.Lock()
	defer d.mu.Unlock()
	k := key(q.Name)
	d.asked[k]++
	if d.silent[k] {
		return nil
	}
	m := new(dns.Msg)
	m.SetReply(query)
	m.Authoritative, m.RecursionAvailable = true, true
	records, known := d.records[k]
	switch rcode, failing := d.rcodes[k]; {
	case failing:
		m.Rcode = rcode
	case !known:
		m.Rcode = dns.RcodeNameError
	}
	for _, rr := range records {
		if m.Rcode == dns.RcodeSuccess && rr.Header().Rrtype == q.Qtype {
			m.Answer = append(m.Answer, rr)
		}
	}
	return m
}

func inPieces(text string) (out []string) {
	for len(text) > maxText {
		out, text = append(out, text[:maxText]), text[maxText:]
	}
	return append(out, text)
}
