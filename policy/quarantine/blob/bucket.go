package blob

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"rastel/policy/quarantine"
)

// S3Options are for OpenS3.
type S3Options struct {
	Config    quarantine.S3Config
	AccessKey string
	SecretKey string
	Session   string // with credentials that are lent
	Keys      *Keys  // nil: messages are not sealed

	wrap  func(http.RoundTripper) http.RoundTripper // in tests
	tries int                                       // in tests; 0: as usual
}

const (
	defaultRegion  = "us-east-1"
	defaultTimeout = 20 * time.Second
	// tries is how often a request is sent, within its time.
	tries = 4
	// maxCA bounds the file of certificates.
	maxCA = 1 << 20
)

// errExists says that there is an object of that name.
var errExists = errors.New("there is such an object")

// A bucket is that of the configuration. Names are without the prefix.
type bucket struct {
	client    *minio.Core
	transport *http.Transport
	name      string
	prefix    string
	timeout   time.Duration
}

func newBucket(opt S3Options) (*bucket, error) {
	cfg := opt.Config
	u, err := url.Parse(cfg.Endpoint)
	if err != nil {
		return nil, err
	}
	if opt.AccessKey == "" || opt.SecretKey == "" {
		return nil, errors.New("there are no credentials")
	}
	b := &bucket{name: cfg.Bucket, prefix: cfg.Prefix, timeout: cmp.Or(cfg.Timeout, defaultTimeout)}
	if b.transport, err = transport(cfg); err != nil {
		return nil, err
	}
	var rt http.RoundTripper = b.transport
	if opt.wrap != nil {
		rt = opt.wrap(rt)
	}
	lookup := minio.BucketLookupDNS
	if cfg.PathStyle {
		lookup = minio.BucketLookupPath
	}
	b.client, err = minio.NewCore(u.Host, &minio.Options{
		Creds: credentials.NewStaticV4(opt.AccessKey, opt.SecretKey, opt.Session), Secure: u.Scheme == "https",
		Region: cmp.Or(cfg.Region, defaultRegion), BucketLookup: lookup, Transport: rt, MaxRetries: cmp.Or(opt.tries, tries),
	})
	if err != nil {
		return nil, err
	}
	return b, nil
}

// transport is that of net/http, with the certificates of the configuration.
func transport(cfg quarantine.S3Config) (*http.Transport, error) {
	t, ok := http.DefaultTransport.(*http.Transport)
	if !ok {
		return nil, errors.New("the default transport was changed")
	}
	t = t.Clone()
	t.MaxIdleConnsPerHost = 16
	t.DisableCompression = true // messages are packed, and must come as they are
	t.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	if cfg.CAFile == "" {
		return t, nil
	}
	f, err := os.Open(cfg.CAFile)
	if err != nil {
		return nil, fmt.Errorf("quarantine.s3.ca_file: %w", err)
	}
	defer f.Close()
	pem, err := io.ReadAll(io.LimitReader(f, maxCA))
	if err != nil {
		return nil, fmt.Errorf("quarantine.s3.ca_file: %w", err)
	}
	t.TLSClientConfig.RootCAs = x509.NewCertPool()
	if !t.TLSClientConfig.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("quarantine.s3.ca_file: there is no certificate in %s", cfg.CAFile)
	}
	return t, nil
}

func (b *bucket) close() { b.transport.CloseIdleConnections() }

// fault says what was done, and knows the errors that callers tell apart.
func fault(doing, name string, err error) error {
	if err == nil {
		return nil
	}
	switch minio.ToErrorResponse(err).Code {
	case minio.NoSuchKey, "NotFound":
		err = fmt.Errorf("%w (%w)", quarantine.ErrNotFound, err)
	case minio.PreconditionFailed:
		err = fmt.Errorf("%w (%w)", errExists, err)
	}
	return fmt.Errorf("%s %s in the bucket: %w", doing, name, err)
}

// put writes a small object. A server that has a directory for "/" removes one that is empty, and may do so while
// it makes the object in it: then it is asked again.
func (b *bucket) put(ctx context.Context, name string, data []byte) (err error) {
	for range tries {
		err = b.putReader(ctx, name, bytes.NewReader(data), int64(len(data)), sha256.Sum256(data), minio.PutObjectOptions{})
		if minio.ToErrorResponse(errors.Unwrap(err)).Code != "ExistingObjectIsDirectory" { // of versitygw, which nothing of ours can be
			return err
		}
	}
	return err
}

// putNew is put if there is no such object, else it returns errExists.
func (b *bucket) putNew(ctx context.Context, name string, data []byte) error {
	var opt minio.PutObjectOptions
	opt.SetMatchETagExcept("*")
	return b.putReader(ctx, name, bytes.NewReader(data), int64(len(data)), sha256.Sum256(data), opt)
}

// putBody writes a stored message.
func (b *bucket) putBody(ctx context.Context, name string, m *body) error {
	return b.putReader(ctx, name, m.reader(), m.size, [sha256.Size]byte(m.sum.Sum(nil)), minio.PutObjectOptions{})
}

// putReader writes an object. The request is signed with its hash, so that the server refuses other bytes; it must
// then say that it has those, and one that says nothing is asked for them.
func (b *bucket) putReader(ctx context.Context, name string, r io.Reader, size int64, sum [sha256.Size]byte, opt minio.PutObjectOptions) error {
	ctx, cancel := context.WithTimeout(ctx, b.timeout)
	defer cancel()
	want := base64.StdEncoding.EncodeToString(sum[:])
	opt.DisableContentSha256 = true // of chunks; this is of the whole
	opt.UserMetadata = map[string]string{"x-amz-checksum-sha256": want}
	info, err := b.client.PutObject(ctx, b.name, b.prefix+name, r, size, "", hex.EncodeToString(sum[:]), opt)
	if err != nil {
		return fault("write", name, err)
	}
	if info.ChecksumSHA256 == want {
		return nil
	}
	return b.confirm(ctx, name, size, sum)
}

// confirm wants an object to have that size and hash, reading all of it.
func (b *bucket) confirm(ctx context.Context, name string, size int64, want [sha256.Size]byte) error {
	r, err := b.open(ctx, name)
	if err != nil {
		return err
	}
	h := sha256.New()
	n, err := io.Copy(h, io.LimitReader(r, size+1))
	if err := errors.Join(err, r.Close()); err != nil {
		return fault("read back", name, err)
	}
	if n != size || [sha256.Size]byte(h.Sum(nil)) != want {
		return fmt.Errorf("write %s in the bucket: the server has other bytes than it was sent", name)
	}
	return nil
}

// open reads an object, or returns ErrNotFound. It may take long, but some bytes must come within the time of
// a request.
func (b *bucket) open(ctx context.Context, name string) (io.ReadCloser, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	timer := time.AfterFunc(b.timeout, func() { cancel(context.DeadlineExceeded) })
	r, info, _, err := b.client.GetObject(ctx, b.name, b.prefix+name, minio.GetObjectOptions{})
	if err != nil {
		timer.Stop()
		cancel(nil)
		return nil, fault("read", name, err)
	}
	return &object{r: r, left: info.Size, timer: timer, timeout: b.timeout, cancel: cancel}, nil
}

// An object is one that is being read.
type object struct {
	r       io.ReadCloser
	left    int64 // bytes that the server has told of
	timer   *time.Timer
	timeout time.Duration
	cancel  context.CancelCauseFunc
}

func (o *object) Read(p []byte) (int, error) {
	o.timer.Reset(o.timeout)
	n, err := o.r.Read(p)
	if o.left -= int64(n); err == io.EOF && o.left != 0 {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

func (o *object) Close() error {
	o.timer.Stop()
	o.cancel(nil)
	return o.r.Close()
}

// get reads a small object, or returns ErrNotFound.
func (b *bucket) get(ctx context.Context, name string, limit int64) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, b.timeout)
	defer cancel()
	r, err := b.open(ctx, name)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(r, limit))
	if err := errors.Join(err, r.Close()); err != nil {
		return nil, fault("read", name, err)
	}
	return data, nil
}

// remove removes an object. It is no error if there is none.
func (b *bucket) remove(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, b.timeout)
	defer cancel()
	err := fault("remove", name, b.client.RemoveObject(ctx, b.name, b.prefix+name, minio.RemoveObjectOptions{}))
	if errors.Is(err, quarantine.ErrNotFound) {
		return nil
	}
	return err
}

// A listed object.
type listed struct {
	name   string
	stored time.Time
}

// list gives the objects whose names begin so, in the order of their bytes. An error is the last.
func (b *bucket) list(ctx context.Context, begin string) iter.Seq2[listed, error] {
	return func(yield func(listed, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel() // ends the list
		opt := minio.ListObjectsOptions{Prefix: b.prefix + begin, Recursive: true}
		for o := range b.client.ListObjectsIter(ctx, b.name, opt) {
			if o.Err != nil {
				yield(listed{}, fault("list", begin, o.Err))
				return
			}
			if !yield(listed{name: o.Key[len(b.prefix):], stored: o.LastModified}, nil) {
				return
			}
		}
		if err := ctx.Err(); err != nil {
			yield(listed{}, err)
		}
	}
}

// any reports whether there is an object whose name begins so.
func (b *bucket) any(ctx context.Context, begin string) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, b.timeout)
	defer cancel()
	for _, err := range b.list(ctx, begin) {
		return err == nil, err
	}
	return false, nil
}
