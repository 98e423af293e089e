package scanners

import (
	"bytes"
	"context"
	"io"
)

// ContextReader reads from r until ctx ends; the error is then that of ctx.
func ContextReader(ctx context.Context, r io.Reader) io.Reader { return contextReader{ctx, r} }

type contextReader struct {
	ctx context.Context //nolint:containedctx // lives as long as one call that reads
	r   io.Reader
}

func (r contextReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}

// WithoutZeros reads from r without the bytes that are 0: of UTF-16 what is ASCII remains.
func WithoutZeros(r io.Reader) io.Reader { return zeroSkipper{r} }

type zeroSkipper struct{ r io.Reader }

func (r zeroSkipper) Read(p []byte) (int, error) {
	for {
		n, err := r.r.Read(p)
		if bytes.IndexByte(p[:n], 0) < 0 {
			return n, err
		}
		kept := p[:0]
		for _, c := range p[:n] {
			if c != 0 {
				kept = append(kept, c)
			}
		}
		if len(kept) > 0 || err != nil {
			return len(kept), err
		}
	}
}
