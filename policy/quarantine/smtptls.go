package quarantine

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"os"
	"slices"
	"strings"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

// How the connection to the release server is encrypted.
const (
	tlsOff      = "off"
	tlsOffered  = "starttls"
	tlsRequired = "required"
	tlsImplicit = "implicit"
)

// maxHello is how much a server may say before TLS.
const maxHello = 64 << 10

// validateTLS also sees that a password goes only to the server that is meant.
func (c ReleaseConfig) validateTLS() error {
	if !slices.Contains([]string{"", tlsOff, tlsOffered, tlsRequired, tlsImplicit}, c.TLS) {
		return fmt.Errorf("quarantine.release.tls: %q is none of off, starttls, required, implicit", c.TLS)
	}
	checked := c.TLS == tlsRequired || c.TLS == tlsImplicit
	if !checked && (c.CAFile != "" || c.ServerName != "") {
		return errors.New("quarantine.release: ca_file and server_name are for tls: required and implicit; no certificate is checked otherwise")
	}
	if (c.User == "") != (c.PasswordFile == "") {
		return errors.New("quarantine.release: user and password_file belong together")
	}
	if c.User != "" && !checked {
		return errors.New("quarantine.release.user: a password is sent only with tls: required or implicit")
	}
	return nil
}

// An access is how a Store gets into the release server.
type access struct {
	mode   string
	tls    *tls.Config
	user   string
	secret func() (string, error) // reads the password anew, so that it can be changed while mail flows
}

func newAccess(c ReleaseConfig, secret func(file string) (string, error)) (*access, error) {
	a := &access{mode: c.TLS, tls: &tls.Config{ServerName: c.ServerName, InsecureSkipVerify: c.TLS == tlsOffered}, user: c.User} //nolint:gosec // without a check of the certificate it is better than nothing, and documented so
	if a.tls.ServerName == "" {
		a.tls.ServerName, _, _ = net.SplitHostPort(c.SMTP)
	}
	if c.CAFile != "" {
		pem, err := os.ReadFile(c.CAFile)
		if err != nil {
			return nil, fmt.Errorf("quarantine.release.ca_file: %w", err)
		}
		if a.tls.RootCAs = x509.NewCertPool(); !a.tls.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("quarantine.release.ca_file: %s holds no certificate", c.CAFile)
		}
	}
	if c.User == "" {
		return a, nil
	}
	if secret == nil {
		return nil, errors.New("quarantine.release.password_file: nothing here reads secrets")
	}
	a.secret = func() (string, error) { return secret(c.PasswordFile) }
	if _, err := a.secret(); err != nil {
		return nil, fmt.Errorf("quarantine.release.password_file: %w", err)
	}
	return a, nil
}

// An accessError is one of getting into the server. It is about no message, so trying again may help, once
// somebody has looked after certificate or password.
type accessError struct{ err error }

func (e *accessError) Error() string { return e.err.Error() }
func (e *accessError) Unwrap() error { return e.err }

// secure encrypts a new connection as configured. The result is for a client that waits for a greeting.
func (a *access) secure(ctx context.Context, conn net.Conn, helo string) (net.Conn, error) {
	switch a.mode {
	case tlsImplicit:
		return a.handshake(ctx, conn)
	case tlsOffered, tlsRequired:
		return a.startTLS(ctx, conn, helo)
	}
	return conn, nil
}

func (a *access) handshake(ctx context.Context, conn net.Conn) (net.Conn, error) {
	c := tls.Client(conn, a.tls)
	if err := c.HandshakeContext(ctx); err != nil {
		return nil, &accessError{fmt.Errorf("TLS: %w", err)}
	}
	return c, nil
}

// startTLS is RFC 3207. It is not left to the client of the library, which keeps the connection that it
// makes to itself, and the message goes past that client: see transfer.content.
func (a *access) startTLS(ctx context.Context, conn net.Conn, helo string) (net.Conn, error) {
	text := textproto.NewReader(bufio.NewReader(io.LimitReader(conn, maxHello)))
	offered, err := offersTLS(conn, text, helo)
	if err != nil {
		return nil, smtpError(err)
	}
	if !offered {
		if a.mode == tlsRequired {
			return nil, &accessError{errors.New("the server offers no STARTTLS, and tls is required")}
		}
		return greeted(conn), nil
	}
	if err := ask(conn, text, "STARTTLS", 220); err != nil {
		return nil, &accessError{smtpError(err)}
	}
	// What came with the answer was not encrypted; it must not be taken for what comes after (CVE-2011-0411).
	if text.R.Buffered() > 0 {
		return nil, &accessError{errors.New("the server sent more than its answer to STARTTLS")}
	}
	c, err := a.handshake(ctx, conn)
	if err != nil {
		return nil, err
	}
	return greeted(c), nil
}

// offersTLS reads the greeting and what the server can.
func offersTLS(conn net.Conn, text *textproto.Reader, helo string) (bool, error) {
	if _, _, err := text.ReadResponse(220); err != nil {
		return false, err
	}
	if _, err := io.WriteString(conn, "EHLO "+helo+"\r\n"); err != nil {
		return false, err
	}
	_, msg, err := text.ReadResponse(250)
	var reply *textproto.Error
	if errors.As(err, &reply) && (reply.Code == 500 || reply.Code == 502) {
		return false, nil // it knows no extensions
	}
	if err != nil {
		return false, err
	}
	_, extensions, _ := strings.Cut(msg, "\n")
	return slices.ContainsFunc(strings.Split(extensions, "\n"), func(s string) bool { return strings.EqualFold(strings.TrimSpace(s), "STARTTLS") }), nil
}

func ask(conn net.Conn, text *textproto.Reader, command string, want int) error {
	if _, err := io.WriteString(conn, command+"\r\n"); err != nil {
		return err
	}
	_, _, err := text.ReadResponse(want)
	return err
}

// smtpError makes a reply that is an error one of the kind that the library gives.
func smtpError(err error) error {
	var reply *textproto.Error
	if errors.As(err, &reply) {
		return &smtp.SMTPError{Code: reply.Code, EnhancedCode: smtp.NoEnhancedCode, Message: reply.Msg}
	}
	return err
}

// A greetedConn gives a greeting before what the server says, which has said its own already.
type greetedConn struct {
	net.Conn
	r io.Reader
}

func greeted(c net.Conn) net.Conn {
	return &greetedConn{c, io.MultiReader(strings.NewReader("220 ready\r\n"), c)}
}

func (c *greetedConn) Read(p []byte) (int, error) { return c.r.Read(p) }

// login authenticates, if there is a user.
func (a *access) login(c *smtp.Client) error {
	if a.user == "" {
		return nil
	}
	password, err := a.secret()
	if err != nil {
		return &accessError{fmt.Errorf("password_file: %w", err)}
	}
	var mechanism sasl.Client
	switch {
	case c.SupportsAuth(sasl.Plain):
		mechanism = sasl.NewPlainClient("", a.user, password)
	case c.SupportsAuth(sasl.Login):
		mechanism = sasl.NewLoginClient(a.user, password)
	default:
		return &accessError{errors.New("the server offers neither AUTH PLAIN nor AUTH LOGIN")}
	}
	if err := c.Auth(mechanism); err != nil {
		return &accessError{fmt.Errorf("log in as %.100q: %w", a.user, err)}
	}
	return nil
}
