package clamd

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"strings"
	"syscall"
	"testing"
	"time"

	"rastel/scanners/scannertest"
)

// zipped is a zip with one file. With encrypt it says that the file is encrypted.
func zipped(t *testing.T, data string, encrypt bool) string {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	h := &zip.FileHeader{Name: "a.com", Method: zip.Deflate}
	f, err := w.CreateHeader(h)
	if err != nil {
		t.Fatal(err)
	}
	f.Write([]byte(data))
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	z := b.Bytes()
	if encrypt {
		for magic, at := range map[string]int{"PK\x03\x04": 6, "PK\x01\x02": 8} {
			i := bytes.Index(z, []byte(magic)) + at
			binary.LittleEndian.PutUint16(z[i:], binary.LittleEndian.Uint16(z[i:])|1)
		}
	}
	return string(z)
}

func TestRealClamd(t *testing.T) {
	r := startClamd(t, "StreamMaxLength 1M", "MaxFileSize 512K", "AlertExceedsMax yes", "AlertEncrypted yes")
	for _, addr := range []string{r.unix, r.tcp} {
		s := newScanner(t, Config{Addresses: []string{addr}})
		for _, tt := range []struct{ name, data, want string }{
			{"harmless", "hello", "clean"},
			{"EICAR", eicar(), "clamd/malware"},
			{"EICAR in zip", zipped(t, eicar(), false), "clamd/malware"},
			{"EICAR in zip in zip", zipped(t, zipped(t, eicar(), false), false), "clamd/malware"},
			{"harmless zip", zipped(t, "hello", false), "clean"},
			{"encrypted zip", zipped(t, "hello", true), "clamd/encrypted unexamined"},
			{"more than MaxFileSize", strings.Repeat("0123456789abcdef", 600<<6), "clamd/limit unexamined"},
			{"more than StreamMaxLength", strings.Repeat("0123456789abcdef", 2<<16), "clamd/limit unexamined"},
		} {
			findings, err := s.Scan(t.Context(), file(t, tt.data))
			if got := scannertest.Outcome(findings, err); got != tt.want {
				t.Errorf("%s, %s: got %s (%v, %v), want %s", addr, tt.name, got, findings, err, tt.want)
			}
		}
		scannertest.Run(t, s)
	}
}

// What is too large to be passed as a descriptor is not passed over by MaxFileSize in silence.
func TestRealClamdSaysThatAStreamIsTooLong(t *testing.T) {
	r := startClamd(t, "StreamMaxLength 25M", "MaxFileSize 25M") // as Debian has it
	for _, addr := range []string{r.unix, r.tcp} {
		s := newScanner(t, Config{Addresses: []string{addr}})
		findings, err := s.Scan(t.Context(), file(t, eicar()+strings.Repeat("x", 26<<20)))
		if got := scannertest.Outcome(findings, err); got != "clamd/limit unexamined" {
			t.Errorf("%s: got %s (%v), want clamd/limit unexamined", addr, got, err)
		}
	}
}

func TestRealClamdFindsEICARWhereverItIsInAMessage(t *testing.T) {
	r := startClamd(t)
	s := newScanner(t, Config{Addresses: []string{r.unix}})
	for name, raw := range map[string]string{
		"body":                             "Subject: s\r\n\r\n" + eicar(),
		"body behind a field of no mail":   "X-Foo: 1\r\n\r\n" + eicar(),
		"body behind an mbox line":         "From a@b Mon Nov 23 10:00:00 2026\r\nX-Foo: 1\r\n\r\n" + eicar(),
		"body in base64":                   encoded("Subject: s\r\n", eicar()),
		"second text":                      mixed(plain+"hello", plain+eicar()),
		"second text in base64":            mixed(plain+"hello", encoded("Content-Type: text/html\r\n", eicar())),
		"text behind a hidden delimiter":   mixed(encoded("Content-Type: text/html\r\n", "<p>\r\n--BB--\r\n"), plain+eicar()),
		"attachment":                       mixed(plain+"hello", encoded("Content-Type: image/png; name=a.png\r\n", eicar())),
		"zip without a name":               mixed(encoded("Content-Type: application/zip\r\n", zipped(t, eicar(), false))),
		"after the closing boundary":       mixed(plain+"hello") + "--BB\r\n" + plain + eicar() + "\r\n",
		"the boundary with junk behind it": strings.Replace(mixed(plain+"hello", plain+eicar()), "--BB\r\nContent-Type: text/plain\r\n\r\nX5O", "--BB junk\r\nContent-Type: text/plain\r\n\r\nX5O", 1),
		"HTML with a long line":            encoded("Content-Type: text/html\r\n", "<html><body>"+strings.Repeat("a", 985)+phrase),
		"text with a long line":            mixed(plain+"hello", encoded("Content-Type: text/plain\r\n", strings.Repeat("a", 985)+phrase)),
		"a text that is not called so":     strings.Replace(mixed(plain+"hello", "Content-Type: message/delivery-status\r\n\r\n"+eicar()), "mixed", "report", 1),
		"an application in a signed mail":  strings.Replace(mixed(plain+"hello", "Content-Type: application/pgp-signature\r\n\r\n"+eicar()), "mixed", "signed", 1),
		"a forwarded message":              mixed("Content-Type: message/rfc822\r\n\r\nSubject: s\r\n\r\n" + eicar()),
	} {
		findings, err := scanAll(t, s, parse(t, raw))
		if err != nil || len(findings) == 0 || findings[0].Check != "clamd/malware" {
			t.Errorf("%s: got %v, %v, want clamd/malware in %q", name, findings, err, raw)
		}
	}
}

func TestRealClamdStopped(t *testing.T) {
	r := startClamd(t)
	for _, addr := range []string{r.unix, r.tcp} {
		if err := r.proc.Signal(syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		s := newScanner(t, Config{Addresses: []string{addr}, Timeout: 300 * time.Millisecond})
		start := time.Now()
		findings, err := s.Scan(t.Context(), file(t, eicar()))
		if got := scannertest.Outcome(findings, err); got != "temporary" || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: got %s (%v), want temporary, out of time", addr, got, err)
		}
		if took := time.Since(start); took > 30*time.Second {
			t.Errorf("%s: took %v with a timeout of 300ms", addr, took)
		}
		if got := s.Status(t.Context()); got[0].State != "silent" {
			t.Errorf("%s: a stopped clamd is %+v, want silent", addr, got)
		}
		if err := r.proc.Signal(syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
		s = newScanner(t, Config{Addresses: []string{addr}})
		if got := scannertest.Outcome(s.Scan(t.Context(), file(t, eicar()))); got != "clamd/malware" {
			t.Errorf("%s: after it went on: got %s, want clamd/malware", addr, got)
		}
	}
}

func TestRealClamdKilled(t *testing.T) {
	r := startClamd(t)
	if err := r.proc.Kill(); err != nil {
		t.Fatal(err)
	}
	for _, addr := range []string{r.unix, r.tcp} {
		s := newScanner(t, Config{Addresses: []string{addr}})
		start := time.Now()
		findings, err := s.Scan(t.Context(), file(t, "x"))
		if got := scannertest.Outcome(findings, err); got != "temporary" || time.Since(start) > connectTimeout+30*time.Second {
			t.Errorf("%s: got %s (%v) after %v, want temporary within %v", addr, got, err, time.Since(start), connectTimeout)
		}
	}
}

// clamd goes on answering while it loads its database again.
func TestRealClamdReloading(t *testing.T) {
	r := startClamd(t)
	bad, good := file(t, eicar()), file(t, "hello")
	for _, addr := range []string{r.unix, r.tcp} {
		s := newScanner(t, Config{Addresses: []string{addr}})
		for n := range 100 {
			if n%20 == 0 {
				if err := r.proc.Signal(syscall.SIGUSR2); err != nil {
					t.Fatal(err)
				}
			}
			if findings, err := s.Scan(t.Context(), bad); scannertest.Outcome(findings, err) != "clamd/malware" {
				t.Fatalf("%s: scan %d: got %v, %v, want clamd/malware", addr, n, findings, err)
			}
			if findings, err := s.Scan(t.Context(), good); scannertest.Outcome(findings, err) != "clean" {
				t.Fatalf("%s: scan %d: got %v, %v, want clean", addr, n, findings, err)
			}
		}
	}
}

func TestRealClamdTellsItsVersion(t *testing.T) {
	r := startClamd(t)
	s := newScanner(t, Config{Addresses: []string{"unix:/nowhere/at/all", r.unix, r.tcp}, MaxDatabaseAge: time.Hour})
	if got := s.Version(); got != "" {
		t.Errorf("version %q before anybody was asked, want none", got)
	}
	got := s.Status(t.Context())
	if len(got) != 3 || got[0].State != "down" || got[0].Why == nil {
		t.Fatalf("got %+v, want three, the first down", got)
	}
	for _, d := range got[1:] {
		if d.State != "up" || d.Why != nil || d.Engine == "" || strings.Trim(d.Engine, "0123456789.") != "" || d.Database != "" || !d.Stale {
			t.Errorf("got %+v, want one that is up, with a version number and a database of unknown age", d)
		}
	}
	if got := s.Version(); got != "" {
		t.Errorf("version %q with a database that has none, want none", got)
	}
	if got, ok := discover(t.Context(), []string{"unix:/nowhere/at/all", r.unix}); !ok || got != r.unix {
		t.Errorf("discovered %q, %v, want %q", got, ok, r.unix)
	}
}
