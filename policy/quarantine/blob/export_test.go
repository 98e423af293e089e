package blob

import (
	"context"
	"net/http"
	"time"
)

// Lengths, for tests that cut stored messages.
const (
	HeadLen  = headLen
	ChunkLen = chunkLen + tagLen
	TailLen  = tailLen
)

// SetStep has step called before each step that changes the directory.
func (d *Dir) SetStep(step func(name string)) { d.step = step }

// OpenS3Through is OpenS3 with what wrap makes of the transport. Nothing is tried again.
func OpenS3Through(opt S3Options, wrap func(http.RoundTripper) http.RoundTripper) (*S3, error) {
	opt.wrap, opt.tries = wrap, 1
	return OpenS3(opt)
}

// Names are all objects below the prefix.
func (s *S3) Names(ctx context.Context) (list []string, err error) {
	for o, err := range s.bucket.list(ctx, "") {
		if err != nil {
			return list, err
		}
		list = append(list, o.name)
	}
	return list, nil
}

// Sweep sweeps as if it were later.
func (s *S3) Sweep(ctx context.Context, later time.Duration) error {
	return s.sweep(ctx, time.Now().Add(later))
}

// PutObject writes any object.
func (s *S3) PutObject(ctx context.Context, name string, data []byte) error {
	return s.bucket.put(ctx, name, data)
}
