package dkim

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"time"
)

// How long what DNS said is believed. The resolver does not tell what the record says about that.
const (
	keepFound   = 10 * time.Minute
	keepMissing = time.Minute
	keepTrouble = 5 * time.Second // so that a resolver that is down does not delay each message
)

const (
	// maxKeys is how many answers are kept.
	maxKeys = 2000
	// maxRecord is how long a record may be. A key of 16384 bits has 2800 characters; to verify with
	// a larger one takes long.
	maxRecord = 4 << 10
)

// keys are the answers of DNS. They are safe for concurrent use.
type keys struct {
	resolver *net.Resolver

	mu      sync.Mutex
	answers map[string]answer
}

type answer struct {
	records []string
	err     error
	until   time.Time
}

// newKeys asks that server, or those of the system.
func newKeys(server string) *keys {
	k := &keys{resolver: &net.Resolver{PreferGo: true}, answers: map[string]answer{}}
	if server != "" {
		var d net.Dialer
		k.resolver.Dial = func(ctx context.Context, network, _ string) (net.Conn, error) {
			return d.DialContext(ctx, network, server)
		}
	}
	return k
}

// lookup gives the TXT records of a name. Errors are of type *net.DNSError, temporary but for a
// name that has none.
func (k *keys) lookup(ctx context.Context, name string) ([]string, error) {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	if !isName(name) {
		return nil, &net.DNSError{Err: "no name", Name: name, IsNotFound: true}
	}
	if a, ok := k.known(name); ok {
		return a.records, a.err
	}
	records, err := k.resolver.LookupTXT(ctx, name+".") // the dot: no search domains
	a := answer{records: records, until: time.Now().Add(keepFound)}
	var dns *net.DNSError
	switch {
	case errors.As(err, &dns) && dns.IsNotFound:
		a.err, a.until = &net.DNSError{Err: "no such record", Name: name, IsNotFound: true}, time.Now().Add(keepMissing)
	case err != nil:
		a.err, a.until = &net.DNSError{Err: "no answer", Name: name, IsTemporary: true}, time.Now().Add(keepTrouble)
	case tooLong(records):
		a.records, a.err = nil, &net.DNSError{Err: "the record is too long", Name: name}
	}
	if !errors.Is(ctx.Err(), context.Canceled) { // then it says nothing about the server
		k.keep(name, a)
	}
	return a.records, a.err
}

func tooLong(records []string) bool {
	n := 0
	for _, r := range records {
		n += len(r)
	}
	return n > maxRecord
}

func (k *keys) known(name string) (answer, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	a, ok := k.answers[name]
	return a, ok && time.Now().Before(a.until)
}

// keep keeps an answer, if need be in place of others: those that are old, or else any.
func (k *keys) keep(name string, a answer) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.answers) >= maxKeys {
		now := time.Now()
		for n, old := range k.answers {
			if now.After(old.until) {
				delete(k.answers, n)
			}
		}
		for n := range k.answers {
			if len(k.answers) < maxKeys {
				break
			}
			delete(k.answers, n)
		}
	}
	k.answers[name] = a
}
