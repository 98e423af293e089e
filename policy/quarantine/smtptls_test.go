package quarantine_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"rastel/policy/quarantine"
	"rastel/policy/quarantine/blob"
	"rastel/policy/quarantine/sqlindex"
)

// certificate makes one that is good for "mx.example" and signed by itself, and the file to believe it by.
func certificate(t *testing.T) (tls.Certificate, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	form := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"mx.example"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, form, form, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(name, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, name
}

// A login is what a guarded server was told.
type login struct{ user, password string }

// A guarded is an SMTP server with TLS that takes messages only from who has logged in.
type guarded struct {
	*sink
	addr       string
	mechanisms []string

	mu     sync.Mutex
	logins []login
	secure []bool // of each message, whether it came by TLS
}

const goodPassword = "s3cret words"

// startGuarded starts one. Change may alter it; implicit says that TLS begins at once.
func startGuarded(t *testing.T, cert tls.Certificate, implicit bool, mechanisms ...string) *guarded {
	t.Helper()
	g := &guarded{sink: &sink{}, mechanisms: mechanisms}
	srv := smtp.NewServer(smtp.BackendFunc(func(c *smtp.Conn) (smtp.Session, error) {
		return &guardedSession{sinkSession: sinkSession{sink: g.sink}, g: g, conn: c}, nil
	}))
	srv.Domain, srv.EnableSMTPUTF8, srv.ErrorLog = "guarded", true, discardLogger{}
	if len(cert.Certificate) > 0 {
		srv.TLSConfig = &tls.Config{Certificates: []tls.Certificate{cert}}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g.addr = l.Addr().String()
	if implicit {
		l = tls.NewListener(l, srv.TLSConfig)
	}
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(l) }()
	t.Cleanup(func() { srv.Close(); <-done })
	return g
}

type guardedSession struct {
	sinkSession
	g      *guarded
	conn   *smtp.Conn
	logged bool
}

func (s *guardedSession) AuthMechanisms() []string { return s.g.mechanisms }

func (s *guardedSession) Auth(mech string) (sasl.Server, error) {
	check := func(user, password string) error {
		s.g.mu.Lock()
		defer s.g.mu.Unlock()
		s.g.logins = append(s.g.logins, login{user, password})
		if user != "rastel" || password != goodPassword {
			return smtp.ErrAuthFailed
		}
		s.logged = true
		return nil
	}
	if mech == sasl.Plain {
		return sasl.NewPlainServer(func(_, user, password string) error { return check(user, password) }), nil
	}
	return &loginServer{check: check}, nil
}

// A loginServer is the server's side of AUTH LOGIN, which the library does not have.
type loginServer struct {
	check func(user, password string) error
	said  []string
}

func (l *loginServer) Next(response []byte) (challenge []byte, done bool, err error) {
	if response != nil {
		l.said = append(l.said, string(response))
	}
	switch len(l.said) {
	case 0:
		return []byte("Username:"), false, nil
	case 1:
		return []byte("Password:"), false, nil
	}
	return nil, true, l.check(l.said[0], l.said[1])
}

func (s *guardedSession) Mail(from string, opt *smtp.MailOptions) error {
	if len(s.g.mechanisms) > 0 && !s.logged {
		return smtp.ErrAuthRequired
	}
	return s.sinkSession.Mail(from, opt)
}

func (s *guardedSession) Data(r io.Reader) error {
	_, secure := s.conn.TLSConnectionState()
	s.g.mu.Lock()
	s.g.secure = append(s.g.secure, secure)
	s.g.mu.Unlock()
	return s.sinkSession.Data(r)
}

// securedStore is a store whose secrets are in files that nothing checks: the program has what does.
func securedStore(t *testing.T, cfg quarantine.ReleaseConfig) (*setup, error) {
	t.Helper()
	c := quarantine.Config{Dir: filepath.Join(t.TempDir(), "quarantine"), Release: cfg}
	index, err := sqlindex.Open(c.IndexFile())
	if err != nil {
		t.Fatal(err)
	}
	blobs, err := blob.Open(c.BlobDir(), blob.Options{})
	if err != nil {
		t.Fatal(err)
	}
	read := func(name string) (string, error) {
		b, err := os.ReadFile(name)
		return strings.TrimSpace(string(b)), err
	}
	s := &setup{cfg: c, index: index, now: time.Now()}
	if s.Store, err = quarantine.New(quarantine.Options{Config: c, Index: index, Blobs: blobs, Secret: read}); err != nil {
		return nil, errors.Join(err, index.Close(), blobs.Close())
	}
	t.Cleanup(func() { s.Close() })
	return s, nil
}

func TestReleaseByTLS(t *testing.T) {
	cert, ca := certificate(t)
	_, otherCA := certificate(t)
	password := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(password, []byte(goodPassword+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	wrong := filepath.Join(t.TempDir(), "wrong")
	if err := os.WriteFile(wrong, []byte("no\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	checked := func(mode string) quarantine.ReleaseConfig {
		return quarantine.ReleaseConfig{TLS: mode, CAFile: ca, ServerName: "mx.example"}
	}
	as := func(c quarantine.ReleaseConfig, file string) quarantine.ReleaseConfig {
		c.User, c.PasswordFile = "rastel", file
		return c
	}
	none := tls.Certificate{}
	for _, tt := range []struct {
		name       string
		cert       tls.Certificate
		implicit   bool
		mechanisms []string
		cfg        quarantine.ReleaseConfig
		want       string // in the error; empty: it is released
		secure     bool
	}{
		{"off, though it is offered", cert, false, nil, quarantine.ReleaseConfig{TLS: "off"}, "", false},
		{"if offered", cert, false, nil, quarantine.ReleaseConfig{TLS: "starttls"}, "", true},
		{"if offered, and it is not", none, false, nil, quarantine.ReleaseConfig{TLS: "starttls"}, "", false},
		{"required", cert, false, nil, checked("required"), "", true},
		{"required, and not offered", none, false, nil, checked("required"), "offers no STARTTLS", false},
		{"required, another name", cert, false, nil, quarantine.ReleaseConfig{TLS: "required", CAFile: ca, ServerName: "other.example"}, "certificate", false},
		{"required, signed by another", cert, false, nil, quarantine.ReleaseConfig{TLS: "required", CAFile: otherCA, ServerName: "mx.example"}, "certificate", false},
		{"implicit", cert, true, nil, checked("implicit"), "", true},
		{"implicit, signed by another", cert, true, nil, quarantine.ReleaseConfig{TLS: "implicit", CAFile: otherCA, ServerName: "mx.example"}, "certificate", false},
		{"PLAIN", cert, false, []string{"PLAIN", "LOGIN"}, as(checked("required"), password), "", true},
		{"LOGIN", cert, true, []string{"LOGIN"}, as(checked("implicit"), password), "", true},
		{"wrong password", cert, false, []string{"PLAIN"}, as(checked("required"), wrong), "log in as \"rastel\"", false},
		{"no mechanism", cert, false, []string{"CRAM-MD5"}, as(checked("required"), password), "neither AUTH PLAIN nor AUTH LOGIN", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g := startGuarded(t, tt.cert, tt.implicit, tt.mechanisms...)
			tt.cfg.SMTP, tt.cfg.Timeout = g.addr, 20*time.Second
			s, err := securedStore(t, tt.cfg)
			if err != nil {
				t.Fatal(err)
			}
			text := message + ".\r\nbare \r here \xff\r\n"
			it := quarantine.NewItem(envelope())
			it.Sender, it.SenderArgs = "ä@b.example", []string{"SMTPUTF8", "BODY=8BITMIME"}
			if err := s.Hold(t.Context(), it, strings.NewReader(text)); err != nil {
				t.Fatal(err)
			}
			_, err = s.Release(t.Context(), it.ID, quarantine.ReleaseRequest{})
			if tt.want != "" {
				var send *quarantine.SendError
				if !errors.As(err, &send) || !send.Temporary || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("Release = %v, want a temporary SendError with %q", err, tt.want)
				}
				if n := len(g.deliveries()); n > 0 {
					t.Errorf("%d messages were sent, want none", n)
				}
				s.wantState(t, it.ID, quarantine.Held)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			got := g.deliveries()
			if len(got) != 1 || len(g.secure) != 1 || g.secure[0] != tt.secure {
				t.Fatalf("%d messages, encrypted %v; want one, %v", len(got), g.secure, tt.secure)
			}
			if _, raw := splitToken(t, got[0].raw); raw != text || !got[0].opt.UTF8 || got[0].opt.Body != smtp.Body8BitMIME {
				t.Errorf("sent %q with %+v, want %q with 8BITMIME and SMTPUTF8", raw, got[0].opt, text)
			}
		})
	}
}

// A changed password is read for the next connection.
func TestReleaseReadsThePasswordAnew(t *testing.T) {
	cert, ca := certificate(t)
	g := startGuarded(t, cert, false, "PLAIN")
	password := filepath.Join(t.TempDir(), "password")
	write := func(s string) {
		if err := os.WriteFile(password, []byte(s), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("old")
	s, err := securedStore(t, quarantine.ReleaseConfig{SMTP: g.addr, TLS: "required", CAFile: ca, ServerName: "mx.example", User: "rastel", PasswordFile: password})
	if err != nil {
		t.Fatal(err)
	}
	it := s.hold(t, message)
	if _, err := s.Release(t.Context(), it.ID, quarantine.ReleaseRequest{}); err == nil {
		t.Fatal("released with a wrong password")
	}
	write(goodPassword)
	if _, err := s.Release(t.Context(), it.ID, quarantine.ReleaseRequest{}); err != nil {
		t.Errorf("Release with the password changed = %v", err)
	}
	if strings.Contains(s.wantState(t, it.ID, quarantine.Released).Note, "old") {
		t.Error("the note has the password")
	}
}

// Bytes that came in the clear behind the answer to STARTTLS would be read as answers of the server that
// was authenticated afterwards (CVE-2011-0411).
func TestReleaseBelievesNothingSentBeforeTLS(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		buf := make([]byte, 4096)
		for _, a := range []string{"220 x\r\n", "250-x\r\n250 STARTTLS\r\n", "220 go on\r\n250 injected\r\n"} {
			if _, err := io.WriteString(c, a); err != nil {
				return
			}
			if _, err := c.Read(buf); err != nil {
				return
			}
		}
	}()
	_, ca := certificate(t)
	s, err := securedStore(t, quarantine.ReleaseConfig{SMTP: l.Addr().String(), TLS: "required", CAFile: ca, ServerName: "mx.example"})
	if err != nil {
		t.Fatal(err)
	}
	it := s.hold(t, message)
	if _, err := s.Release(t.Context(), it.ID, quarantine.ReleaseRequest{}); err == nil || !strings.Contains(err.Error(), "more than its answer") {
		t.Errorf("Release = %v, want it to say that the server sent more than its answer", err)
	}
}

func TestTLSConfigIsChecked(t *testing.T) {
	for _, tt := range []struct {
		cfg  quarantine.ReleaseConfig
		want string
	}{
		{quarantine.ReleaseConfig{TLS: "on"}, "release.tls"},
		{quarantine.ReleaseConfig{TLS: "starttls", CAFile: "x"}, "ca_file"},
		{quarantine.ReleaseConfig{ServerName: "x"}, "server_name"},
		{quarantine.ReleaseConfig{TLS: "required", User: "x"}, "belong together"},
		{quarantine.ReleaseConfig{TLS: "required", PasswordFile: "x"}, "belong together"},
		{quarantine.ReleaseConfig{TLS: "starttls", User: "x", PasswordFile: "y"}, "only with tls"},
		{quarantine.ReleaseConfig{User: "x", PasswordFile: "y"}, "only with tls"},
		{quarantine.ReleaseConfig{TLS: "required", CAFile: "/nonexistent"}, "ca_file"},
		{quarantine.ReleaseConfig{TLS: "required", CAFile: os.Args[0]}, "holds no certificate"},
		{quarantine.ReleaseConfig{TLS: "required", User: "x", PasswordFile: "/nonexistent"}, "password_file"},
	} {
		if s, err := securedStore(t, tt.cfg); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: %v, %v; want an error with %q", tt.cfg, s, err, tt.want)
		}
	}
}
