package scannertest

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"

	"rastel/sanitize/eml"
	"rastel/scanners"
)

// Serve listens until the test ends, hands each connection to handle in a goroutine of its own, and
// closes it afterwards. The address is as in net.Listen; it gives the one that was taken.
func Serve(t testing.TB, network, address string, handle func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { defer conn.Close(); handle(conn) })
		}
	})
	t.Cleanup(func() { l.Close(); wg.Wait() })
	return l.Addr().String()
}

// Outcome says in one word what a scanner made of a part: "clean", the check, or the kind of error.
func Outcome(findings []eml.Finding, err error) string {
	var temporary *scanners.Temporary
	switch {
	case errors.As(err, &temporary):
		return "temporary"
	case err != nil:
		return "error"
	case len(findings) == 0:
		return "clean"
	case len(findings) > 1:
		return fmt.Sprint(len(findings), " findings")
	case findings[0].Unexamined:
		return findings[0].Check + " unexamined"
	}
	return findings[0].Check
}
