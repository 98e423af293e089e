package browser

import (
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
)

// A Page is what the browser is to show.
type Page struct {
	Type    string // Content-Type
	Content []byte
	File    string // if it is opened from the disk, under this name
}

// A server has the pages, each under a URL of its own, on a loopback port.
type server struct {
	http  *http.Server
	addr  string
	ended chan struct{}

	mu    sync.Mutex
	pages map[string]Page
	last  int
}

func newServer() (*server, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("server of pages: %w", err)
	}
	s := &server{addr: l.Addr().String(), pages: map[string]Page{}, ended: make(chan struct{})}
	s.http = &http.Server{Handler: s} //nolint:gosec // on loopback, for a browser of our own
	go func() {
		defer close(s.ended)
		_ = s.http.Serve(l) // until close
	}()
	return s, nil
}

// add gives a page a URL.
func (s *server) add(p Page) (url string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last++
	path := "/" + strconv.Itoa(s.last) + "/page"
	s.pages[path] = p
	return "http://" + s.addr + path
}

// remove takes a page away.
func (s *server) remove(url string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.pages, strings.TrimPrefix(url, "http://"+s.addr))
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	p, ok := s.pages[r.URL.Path]
	s.mu.Unlock()
	if !ok {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", p.Type)
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write(p.Content) // the browser has gone: it will say so
}

func (s *server) close() {
	_ = s.http.Close()
	<-s.ended
}
