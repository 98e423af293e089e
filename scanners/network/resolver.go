package network

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// How long answers are kept: as long as they say, within these.
const (
	minKeep     = 10 * time.Second
	maxKeep     = time.Hour
	maxKeepNone = 15 * time.Minute // that there is no record
	keepTrouble = 5 * time.Second  // that there was no answer, so that not each message asks again
)

const (
	// maxAnswers is how many answers are kept.
	maxAnswers = 20_000
	// maxAsking is how many look-ups may go on at the same time; what is beyond is not known.
	maxAsking = 1000
	// maxRecords and maxText are how much of one answer is taken; more is no answer.
	maxRecords = 100
	maxText    = 16 << 10
	// udpSize is what fits a packet that no network divides.
	udpSize = 1232
)

// A Resolver asks DNS. It keeps answers, and asks the same only once at a time. It is safe for
// concurrent use. Its methods whose names begin with Lookup are those of a net.Resolver; errors are
// of type *net.DNSError, temporary but for a name that has no such record.
type Resolver struct {
	servers []string
	timeout time.Duration

	ctx     context.Context //nolint:containedctx // of all look-ups: they outlive whoever asked first
	cancel  context.CancelFunc
	running sync.WaitGroup

	mu      sync.Mutex
	answers map[question]*answer
	asking  int
}

// A question is what an answer is kept for.
type question struct {
	name string // fully qualified, in lower case
	kind uint16
}

// An answer is one that is there, or will be.
type answer struct {
	done    chan struct{} // closed when the rest is set
	records []dns.RR
	err     *net.DNSError
	until   time.Time
	tell    func(*answer) // called before done is closed; may be nil
}

// NewResolver makes a Resolver that asks Config.Resolver. The caller closes it.
func NewResolver(cfg Config) (*Resolver, error) {
	cfg = cfg.withDefaults()
	r := &Resolver{timeout: cfg.Timeout, answers: map[question]*answer{}}
	if cfg.Resolver != "" {
		r.servers = []string{cfg.Resolver}
	} else {
		system, err := dns.ClientConfigFromFile("/etc/resolv.conf")
		if err != nil {
			return nil, fmt.Errorf("dns.resolver: none is configured, and of the system: %w", err)
		}
		for _, s := range system.Servers {
			r.servers = append(r.servers, net.JoinHostPort(s, system.Port))
		}
	}
	if len(r.servers) == 0 {
		return nil, errors.New("dns.resolver: none is configured, and the system has none")
	}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	return r, nil
}

// Close ends all look-ups and waits for them.
func (r *Resolver) Close() {
	r.cancel()
	r.running.Wait()
}

// begin asks, unless the answer is there or on its way, and does not wait for it. If it asks, tell is
// called once with what came of it, unless it is nil.
func (r *Resolver) begin(name string, kind uint16, tell func(*answer)) *answer {
	q := question{strings.ToLower(dns.Fqdn(name)), kind}
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	if a := r.answers[q]; a != nil && (!a.ready() || now.Before(a.until)) {
		return a
	}
	a := &answer{done: make(chan struct{}), tell: tell}
	if r.asking >= maxAsking || r.ctx.Err() != nil {
		a.err = noAnswer(q, "too many look-ups at once")
		close(a.done)
		return a
	}
	r.makeRoom(now)
	r.answers[q] = a
	r.asking++
	r.running.Go(func() { r.ask(q, a) })
	return a
}

func (a *answer) ready() bool {
	select {
	case <-a.done:
		return true
	default:
		return false
	}
}

// makeRoom lets go of answers if there are too many: of those that are old, or else any that are
// there. What is on its way, at most maxAsking, stays.
func (r *Resolver) makeRoom(now time.Time) {
	if len(r.answers) < maxAnswers {
		return
	}
	for q, a := range r.answers {
		if a.ready() && now.After(a.until) {
			delete(r.answers, q)
		}
	}
	for q, a := range r.answers {
		if len(r.answers) < maxAnswers*9/10 {
			return
		}
		if a.ready() {
			delete(r.answers, q)
		}
	}
}

// lookup waits for the records of a name until ctx ends.
func (r *Resolver) lookup(ctx context.Context, name string, kind uint16) ([]dns.RR, error) {
	return r.begin(name, kind, nil).wait(ctx, name)
}

// wait waits for the answer until ctx ends.
func (a *answer) wait(ctx context.Context, name string) ([]dns.RR, error) {
	select {
	case <-a.done:
	case <-ctx.Done():
		if !a.ready() {
			return nil, noAnswer(question{name: name}, "no answer in time")
		}
	}
	return a.result()
}

// result is what came of it.
func (a *answer) result() ([]dns.RR, error) {
	if a.err != nil {
		return nil, a.err
	}
	return a.records, nil
}

func noAnswer(q question, why string) *net.DNSError {
	return &net.DNSError{Err: why, Name: strings.TrimSuffix(q.name, "."), IsTemporary: true}
}

// ask gets the answer.
func (r *Resolver) ask(q question, a *answer) {
	ctx, cancel := context.WithTimeout(r.ctx, r.timeout)
	defer cancel()
	keep := keepTrouble
	reply, err := r.exchange(ctx, q)
	if err != nil {
		a.err = noAnswer(q, short(err))
		if ctx.Err() != nil || errors.Is(err, os.ErrDeadlineExceeded) {
			a.err.Err, a.err.IsTimeout = "no answer in time", true
		}
	} else {
		a.records, keep, a.err = read(q, reply)
	}
	a.until = time.Now().Add(keep)
	if a.tell != nil && r.ctx.Err() == nil {
		a.tell(a)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asking--
	close(a.done)
}

// short leaves out of an error which of our ports it was that got no answer.
func short(err error) string {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err.Error()
	}
	return err.Error()
}

// exchange asks one server after the other, each for its share of the time.
func (r *Resolver) exchange(ctx context.Context, q question) (reply *dns.Msg, err error) {
	m := new(dns.Msg)
	m.SetQuestion(q.name, q.kind)
	m.SetEdns0(udpSize, false)
	for i, server := range r.servers {
		share, cancel := ctx, context.CancelFunc(func() {})
		if end, ok := ctx.Deadline(); ok {
			share, cancel = context.WithTimeout(ctx, time.Until(end)/time.Duration(len(r.servers)-i))
		}
		reply, err = r.exchangeWith(share, m, server)
		cancel()
		if err == nil && (reply.Rcode == dns.RcodeSuccess || reply.Rcode == dns.RcodeNameError) {
			return reply, nil
		}
		if err == nil {
			err = fmt.Errorf("the resolver says %s", dns.RcodeToString[reply.Rcode])
		}
		if ctx.Err() != nil {
			break
		}
	}
	return nil, err
}

// exchangeWith asks a server by UDP, and by TCP if the answer does not fit that.
func (r *Resolver) exchangeWith(ctx context.Context, m *dns.Msg, server string) (*dns.Msg, error) {
	reply, err := exchangeBy(ctx, "udp", m, server)
	if err == nil && reply.Truncated {
		reply, err = exchangeBy(ctx, "tcp", m, server)
	}
	return reply, err
}

func exchangeBy(ctx context.Context, network string, m *dns.Msg, server string) (*dns.Msg, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, network, server)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	c := dns.Client{Net: network, UDPSize: udpSize, Timeout: maxTimeout}
	reply, _, err := c.ExchangeWithConnContext(ctx, m, &dns.Conn{Conn: conn, UDPSize: udpSize})
	if err != nil {
		return nil, err
	}
	if !reply.Response || len(reply.Question) != 1 || !strings.EqualFold(reply.Question[0].Name, m.Question[0].Name) || reply.Question[0].Qtype != m.Question[0].Qtype {
		return nil, errors.New("the answer is to another question")
	}
	return reply, nil
}

// read gives the records of the kind that was asked for, and how long they are good.
func read(q question, reply *dns.Msg) ([]dns.RR, time.Duration, *net.DNSError) {
	var out []dns.RR
	keep, size := maxKeep, 0
	for _, rr := range reply.Answer {
		keep = min(keep, time.Duration(rr.Header().Ttl)*time.Second)
		if rr.Header().Rrtype != q.kind {
			continue // CNAME
		}
		out = append(out, rr)
		size += dns.Len(rr)
	}
	if len(out) > maxRecords || size > maxText {
		return nil, maxKeepNone, &net.DNSError{Err: "the answer is too large", Name: strings.TrimSuffix(q.name, ".")}
	}
	if reply.Rcode == dns.RcodeNameError || len(out) == 0 {
		return nil, noneKeep(reply), &net.DNSError{Err: "no such record", Name: strings.TrimSuffix(q.name, "."), IsNotFound: true}
	}
	return out, max(keep, minKeep), nil
}

// noneKeep is how long it is good that there is no record (RFC 2308 section 5).
func noneKeep(reply *dns.Msg) time.Duration {
	keep := minKeep
	for _, rr := range reply.Ns {
		if soa, ok := rr.(*dns.SOA); ok {
			keep = max(keep, time.Duration(min(soa.Minttl, soa.Hdr.Ttl))*time.Second)
		}
	}
	return min(keep, maxKeepNone)
}

// LookupTXT gives the text records of a name.
func (r *Resolver) LookupTXT(ctx context.Context, name string) ([]string, error) {
	records, err := r.lookup(ctx, name, dns.TypeTXT)
	var out []string
	for _, rr := range records {
		if t, ok := rr.(*dns.TXT); ok {
			out = append(out, unescape(strings.Join(t.Txt, "")))
		}
	}
	return out, err
}

// unescape takes back what the library does to bytes of texts: \" and \\ and \123 (RFC 1035 section 5.1).
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var out []byte
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			out = append(out, s[i])
			continue
		}
		i++
		if i+2 < len(s) && isDigit(s[i]) && isDigit(s[i+1]) && isDigit(s[i+2]) {
			out = append(out, (s[i]-'0')*100+(s[i+1]-'0')*10+s[i+2]-'0')
			i += 2
			continue
		}
		out = append(out, s[i])
	}
	return string(out)
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// LookupMX gives the mail servers of a domain, the preferred first.
func (r *Resolver) LookupMX(ctx context.Context, name string) ([]*net.MX, error) {
	records, err := r.lookup(ctx, name, dns.TypeMX)
	var out []*net.MX
	for _, rr := range records {
		if mx, ok := rr.(*dns.MX); ok {
			out = append(out, &net.MX{Host: mx.Mx, Pref: mx.Preference})
		}
	}
	return out, err
}

// LookupIPAddr gives the addresses of a host, of both kinds.
func (r *Resolver) LookupIPAddr(ctx context.Context, host string) ([]net.IPAddr, error) {
	r.begin(host, dns.TypeAAAA, nil)
	records, err := r.lookup(ctx, host, dns.TypeA)
	more, err6 := r.lookup(ctx, host, dns.TypeAAAA)
	var out []net.IPAddr
	for _, rr := range append(records[:len(records):len(records)], more...) {
		switch rr := rr.(type) {
		case *dns.A:
			out = append(out, net.IPAddr{IP: rr.A})
		case *dns.AAAA:
			out = append(out, net.IPAddr{IP: rr.AAAA})
		}
	}
	switch {
	case len(out) > 0:
		return out, nil
	case notFound(err) && err6 != nil:
		return nil, err6
	}
	return nil, err
}

func notFound(err error) bool {
	var d *net.DNSError
	return errors.As(err, &d) && d.IsNotFound
}

// LookupAddr gives the names of an address.
func (r *Resolver) LookupAddr(ctx context.Context, addr string) ([]string, error) {
	name, err := dns.ReverseAddr(addr)
	if err != nil {
		return nil, &net.DNSError{Err: "no address", Name: addr, IsNotFound: true}
	}
	records, err := r.lookup(ctx, name, dns.TypePTR)
	var out []string
	for _, rr := range records {
		if p, ok := rr.(*dns.PTR); ok {
			out = append(out, p.Ptr)
		}
	}
	return out, err
}
