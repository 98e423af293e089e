package blob_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"rastel/contrib/rig"
	"rastel/policy/quarantine"
	"rastel/policy/quarantine/blob"
	"rastel/policy/quarantine/quarantinetest"
)

// An s3Server is a real one, with one bucket, "held".
type s3Server struct {
	t    *testing.T
	dir  string
	addr string
	ca   string // file; empty: without TLS
	cmd  *exec.Cmd
}

const s3Secret = "not-a-secret-but-long-enough"

// versitygw finds the program.
func versitygw(t *testing.T) string {
	t.Helper()
	if os.Getenv("RASTEL_E2E") != "1" {
		t.Skip("needs versitygw, an S3 server: run contrib/test, or set RASTEL_E2E=1")
	}
	name := rig.S3Program()
	if name == "" {
		t.Fatal("versitygw is not installed: contrib/test -install")
	}
	return name
}

func startS3(t *testing.T, secure bool) *s3Server {
	t.Helper()
	versitygw(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &s3Server{t: t, dir: t.TempDir(), addr: l.Addr().String()}
	l.Close()
	if secure {
		s.certify()
	}
	if err := os.MkdirAll(filepath.Join(s.dir, "root", "held"), 0o700); err != nil {
		t.Fatal(err)
	}
	s.start()
	t.Cleanup(s.stop)
	return s
}

// certify makes a certificate that is its own authority.
func (s *s3Server) certify() {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		s.t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err1 := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	pkcs8, err2 := x509.MarshalPKCS8PrivateKey(key)
	s.ca = filepath.Join(s.dir, "cert.pem")
	err = errors.Join(err1, err2,
		os.WriteFile(s.ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600),
		os.WriteFile(filepath.Join(s.dir, "key.pem"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}), 0o600))
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *s3Server) start() {
	s.t.Helper()
	args := []string{"--port", s.addr, "--access", "rastel", "--secret", s3Secret, "--quiet"}
	if s.ca != "" {
		args = append(args, "--cert", s.ca, "--key", filepath.Join(s.dir, "key.pem"))
	}
	s.cmd = exec.Command(versitygw(s.t), append(args, "posix", "--sidecar", filepath.Join(s.dir, "meta"), filepath.Join(s.dir, "root"))...)
	if err := os.MkdirAll(filepath.Join(s.dir, "meta"), 0o700); err != nil {
		s.t.Fatal(err)
	}
	log, err := os.Create(filepath.Join(s.dir, "log"))
	if err != nil {
		s.t.Fatal(err)
	}
	defer log.Close()
	s.cmd.Stdout, s.cmd.Stderr = log, log
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	for end := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		c, err := net.Dial("tcp", s.addr)
		if err == nil {
			c.Close()
			return
		}
		if time.Now().After(end) {
			out, _ := os.ReadFile(log.Name())
			s.t.Fatalf("versitygw does not answer: %v\n%s", err, out)
		}
	}
}

func (s *s3Server) stop() {
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
}

func (s *s3Server) options(prefix string) blob.S3Options {
	cfg := quarantine.S3Config{Endpoint: "http://" + s.addr, Bucket: "held", Prefix: prefix, PathStyle: true, CAFile: s.ca}
	if s.ca != "" {
		cfg.Endpoint = "https://" + s.addr
	}
	return blob.S3Options{Config: cfg, AccessKey: "rastel", SecretKey: s3Secret}
}

func (s *s3Server) open(opt blob.S3Options) *blob.S3 {
	s.t.Helper()
	b, err := blob.OpenS3(opt)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { b.Close() })
	return b
}

// prefixOf makes a prefix of a directory, so that the suite has one for each.
func prefixOf(dir string) string {
	return "q" + strings.NewReplacer("/", "-", " ", "_").Replace(dir) + "/"
}

func TestS3Blobs(t *testing.T) {
	s := startS3(t, true)
	quarantinetest.TestBlobs(t, func(t *testing.T, dir string) quarantine.Blobs { return s.open(s.options(prefixOf(dir))) })
}

func TestSealedS3Blobs(t *testing.T) {
	s := startS3(t, false)
	quarantinetest.TestBlobs(t, func(t *testing.T, dir string) quarantine.Blobs {
		opt := s.options(prefixOf(dir))
		opt.Keys = keys(t, keyA)
		return s.open(opt)
	})
}

// names are the objects of a kind.
func names(t *testing.T, b *blob.S3, kind string) []string {
	t.Helper()
	list, err := b.Names(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(list, func(n string) bool { return !strings.HasPrefix(n, kind) })
}

func s3Text(b *blob.S3, id string) (string, error) {
	r, err := b.Open(context.Background(), id)
	if err != nil {
		return "", err
	}
	got, err := io.ReadAll(r)
	return string(got), errors.Join(err, r.Close())
}

func wantS3Text(t *testing.T, b *blob.S3, id, want string) {
	t.Helper()
	if got, err := s3Text(b, id); err != nil || got != want {
		t.Errorf("message of %s = %.100q, %v; want %.100q", id, got, err, want)
	}
}

func TestS3StoresTheSameMessageOnce(t *testing.T) {
	s := startS3(t, false)
	b := s.open(s.options("one/"))
	var ids []string
	for range 4 {
		ids = append(ids, putText(t, b, text))
	}
	other := putText(t, b, "another")
	if got := names(t, b, "objects/"); len(got) != 2 {
		t.Errorf("objects = %v, want two for two messages", got)
	}
	for n, id := range ids {
		wantS3Text(t, b, id, text)
		if err := b.Remove(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		for _, kept := range ids[n+1:] {
			wantS3Text(t, b, kept, text)
		}
	}
	for _, raw := range []string{"another", text, text} { // under an id that there is
		if err := b.Put(t.Context(), other, strings.NewReader(raw)); err != nil {
			t.Fatal(err)
		}
		wantS3Text(t, b, other, raw)
	}
	if got := names(t, b, ""); len(got) != 3 || strings.HasPrefix(got[0], "marks/") {
		t.Errorf("objects = %v, want one of each kind for one item, and no mark", got)
	}
}

// While somebody is about to remove an object, it is not shared.
func TestS3DoesNotShareWhatIsBeingRemoved(t *testing.T) {
	s := startS3(t, false)
	b := s.open(s.options("m/"))
	first := putText(t, b, text)
	object := strings.TrimPrefix(names(t, b, "objects/")[0], "objects/")
	if err := b.PutObject(t.Context(), "marks/"+object+"/x", nil); err != nil {
		t.Fatal(err)
	}
	second := putText(t, b, text)
	if got := names(t, b, "objects/"); len(got) != 2 {
		t.Errorf("objects = %v, want one for each item", got)
	}
	if err := b.Remove(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	wantS3Text(t, b, second, text)
	if err := errors.Join(b.Sweep(t.Context(), 48*time.Hour), b.Remove(t.Context(), second)); err != nil {
		t.Fatal(err)
	}
	if got := names(t, b, ""); len(got) > 0 {
		t.Errorf("left: %v", got)
	}
}

func TestS3TwoProcessesShareMessages(t *testing.T) {
	s := startS3(t, false)
	var wg sync.WaitGroup
	for range 6 {
		b := s.open(s.options("two/"))
		wg.Go(func() {
			for range 8 {
				id := quarantinetest.ID(time.Now())
				if err := b.Put(t.Context(), id, strings.NewReader(text)); err != nil {
					t.Errorf("Put: %v", err)
					return
				}
				if got, err := s3Text(b, id); err != nil || got != text {
					t.Errorf("message = %q, %v", got, err)
				}
				if err := errors.Join(b.Sweep(t.Context(), 0), b.Remove(t.Context(), id)); err != nil {
					t.Errorf("Sweep, Remove: %v", err)
				}
			}
		})
	}
	wg.Wait()
	if got := names(t, s.open(s.options("two/")), ""); len(got) > 0 {
		t.Errorf("left: %v", got)
	}
}

func TestS3Rekeys(t *testing.T) {
	s := startS3(t, false)
	open := func(list ...string) *blob.S3 {
		opt := s.options("keys/")
		if len(list) > 0 {
			opt.Keys = keys(t, list...)
		}
		return s.open(opt)
	}
	ids := []string{putText(t, open(), text), putText(t, open(keyA), text), putText(t, open(keyA), text)}
	b := open(keyB, keyA)
	for n, id := range append(ids, ids[0]) {
		if done, err := b.Rekey(t.Context(), id); done != (n < len(ids)) || err != nil {
			t.Errorf("Rekey = %v, %v", done, err)
		}
	}
	for _, id := range ids {
		wantS3Text(t, open(keyB), id, text)
	}
	if got := names(t, b, "objects/"); len(got) != 1 {
		t.Errorf("objects = %v, want one", got)
	}
	if _, err := s3Text(open(keyA), ids[0]); !errors.Is(err, blob.ErrKey) {
		t.Errorf("without its key: %v, want ErrKey", err)
	}
}

// A roundTripper does something with requests.
type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

var errDead = errors.New("dead")

// A process that dies is one of which no more requests arrive.
func TestS3KilledAtEachRequest(t *testing.T) {
	s := startS3(t, false)
	for at := 0; at < 200; at++ {
		prefix := fmt.Sprintf("kill%d/", at)
		var requests int
		dying, err := blob.OpenS3Through(s.options(prefix), func(rt http.RoundTripper) http.RoundTripper {
			return roundTripper(func(r *http.Request) (*http.Response, error) {
				requests++
				if requests > at {
					return nil, errDead
				}
				return rt.RoundTrip(r)
			})
		})
		if err != nil {
			t.Fatal(err)
		}
		stored, died := liveOnS3(t, dying)
		b := s.open(s.options(prefix))
		for id, raw := range stored {
			wantS3Text(t, b, id, raw)
		}
		removeAllS3(t, b)
		if !died {
			if at < 20 {
				t.Errorf("it takes only %d requests", at)
			}
			return
		}
	}
	t.Error("it never lives to its end")
}

// liveOnS3 stores and removes until it dies. It returns what must be there.
func liveOnS3(t *testing.T, b *blob.S3) (stored map[string]string, died bool) {
	t.Helper()
	stored = map[string]string{}
	var ids []string
	for _, raw := range []string{text, text, "another"} {
		id := quarantinetest.ID(time.Now())
		ids = append(ids, id)
		if err := b.Put(t.Context(), id, strings.NewReader(raw)); err != nil {
			wantDead(t, err)
			return stored, true
		}
		stored[id] = raw
	}
	for _, id := range []string{ids[0], ids[2]} {
		delete(stored, id)
		if err := b.Remove(t.Context(), id); err != nil {
			wantDead(t, err)
			return stored, true
		}
	}
	return stored, false
}

func wantDead(t *testing.T, err error) {
	t.Helper()
	if !errors.Is(err, errDead) {
		t.Fatalf("a process that lives: %v", err)
	}
}

// removeAllS3 wants nothing to be left once all was removed that Walk finds, and what is old was swept.
func removeAllS3(t *testing.T, b *blob.S3) {
	t.Helper()
	var ids []string
	err := b.Walk(t.Context(), func(id string, _ time.Time) error { ids = append(ids, id); return nil })
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range ids {
		if _, err := s3Text(b, id); err != nil && !errors.Is(err, quarantine.ErrNotFound) {
			t.Errorf("after a crash %s is %v, want all of it or ErrNotFound", id, err)
		}
		if err := b.Remove(t.Context(), id); err != nil {
			t.Error(err)
		}
	}
	if err := b.Sweep(t.Context(), 48*time.Hour); err != nil {
		t.Error(err)
	}
	if left := names(t, b, ""); len(left) > 0 {
		t.Errorf("left after all was removed and swept: %v", left)
	}
}

// A server, or what is between, that stores or gives other bytes.
func TestS3BelievesNothingThatIsDamaged(t *testing.T) {
	s := startS3(t, false)
	b := s.open(s.options("d/"))
	through := func(change func(*http.Request), answer func(*http.Response)) *blob.S3 {
		b, err := blob.OpenS3Through(s.options("d/"), func(rt http.RoundTripper) http.RoundTripper {
			return roundTripper(func(r *http.Request) (*http.Response, error) {
				if strings.Contains(r.URL.Path, "/objects/") {
					change(r)
				}
				resp, err := rt.RoundTrip(r)
				if err == nil && strings.Contains(r.URL.Path, "/objects/") && r.Method == http.MethodGet {
					answer(resp)
				}
				return resp, err
			})
		})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	wrong := through(func(r *http.Request) {
		if r.Method == http.MethodPut {
			r.Body = io.NopCloser(io.MultiReader(strings.NewReader("X"), io.LimitReader(r.Body, r.ContentLength-1)))
		}
	}, func(*http.Response) {})
	if err := wrong.Put(t.Context(), quarantinetest.ID(time.Now()), strings.NewReader(text)); err == nil {
		t.Error("Put of which other bytes arrive = nil, want an error")
	}
	if left := names(t, b, ""); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	long := strings.Repeat(text, 1000)
	id := putText(t, b, long)
	short := through(func(*http.Request) {}, func(r *http.Response) {
		r.Body = io.NopCloser(io.LimitReader(r.Body, r.ContentLength-int64(blob.TailLen)))
	})
	if _, err := s3Text(short, id); err == nil {
		t.Error("an object that ends early reads without an error")
	}
	object := names(t, b, "objects/")[0]
	if err := b.PutObject(t.Context(), object, []byte("other bytes")); err != nil {
		t.Fatal(err)
	}
	if _, err := s3Text(b, id); !errors.Is(err, quarantine.ErrCorrupt) {
		t.Errorf("Open of a damaged object = %v, want ErrCorrupt", err)
	}
	wantS3Text(t, b, putText(t, b, long), long) // it is written anew
	if err := b.PutObject(t.Context(), "ids/"+id, []byte("../../x")); err != nil {
		t.Fatal(err)
	}
	if _, err := s3Text(b, id); !errors.Is(err, quarantine.ErrCorrupt) {
		t.Errorf("Open of a damaged item = %v, want ErrCorrupt", err)
	}
}

func TestS3ServerIsSlowOrAway(t *testing.T) {
	s := startS3(t, false)
	opt := s.options("away/")
	opt.Config.Timeout = time.Second
	b := s.open(opt)
	id := putText(t, b, text)
	if err := b.Check(t.Context()); err != nil {
		t.Errorf("Check = %v", err)
	}
	fails := func(what string) {
		t.Helper()
		start := time.Now()
		if err := b.Put(t.Context(), quarantinetest.ID(time.Now()), strings.NewReader("x")); err == nil {
			t.Errorf("%s: Put = nil, want an error", what)
		}
		if _, err := s3Text(b, id); err == nil || errors.Is(err, quarantine.ErrNotFound) || errors.Is(err, quarantine.ErrCorrupt) {
			t.Errorf("%s: Open = %v, want an error that says nothing of the message", what, err)
		}
		if err := b.Check(t.Context()); err == nil {
			t.Errorf("%s: Check = nil, want an error", what)
		}
		t.Logf("%s: three calls end after %v", what, time.Since(start))
	}
	_ = s.cmd.Process.Signal(syscall.SIGSTOP)
	fails("stopped")
	_ = s.cmd.Process.Signal(syscall.SIGCONT)
	wantS3Text(t, b, id, text)
	s.stop()
	fails("killed")
	s.start()
	wantS3Text(t, b, id, text)
	wantS3Text(t, b, putText(t, b, "after"), "after")
	opt.SecretKey += "x"
	b = s.open(opt)
	fails("wrong key")
	opt = s.options("away/")
	opt.Config.Bucket = "none"
	b = s.open(opt)
	fails("no such bucket")
}
