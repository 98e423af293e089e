package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// serverCertificate makes files with a certificate for 127.0.0.1 and its key, in a directory that Postfix may read.
func serverCertificate(t *testing.T) (cert, key string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	form := &x509.Certificate{SerialNumber: big.NewInt(1), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, form, form, k.Public(), k)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for name, b := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(name, pem.EncodeToMemory(b), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

// Postfix takes a release by STARTTLS, with its certificate checked, and says so in its Received field.
func TestReleaseByTLSToPostfix(t *testing.T) {
	cert, key := serverCertificate(t)
	w := newWorld(t, setup{
		postfix: []string{"smtpd_tls_security_level = may", "smtpd_tls_received_header = yes", "smtpd_tls_cert_file = " + cert, "smtpd_tls_key_file = " + key},
		release: fmt.Sprintf(", tls: required, ca_file: %q", cert),
	})
	w.mustTake(recipient, eicarMessage())
	w.release(w.onlyHeld())
	if raw := string(w.only(recipient).Raw); !strings.Contains(raw, "(using TLSv1.") {
		t.Errorf("released without TLS:\n%.2000s", raw)
	}
}
