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

// Contains reports whether one of the marks is in what is left of r. It reads no further than shows that.
func Contains(r io.Reader, marks ...[]byte) (bool, error) {
	longest := 0
	for _, m := range marks {
		longest = max(longest, len(m))
	}
	buf := make([]byte, containsWindow)
	for kept := 0; ; {
		n, err := r.Read(buf[kept:])
		b := buf[:kept+n]
		for _, m := range marks {
			if bytes.Contains(b, m) {
				return true, nil
			}
		}
		if err == io.EOF {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		kept = copy(buf, b[max(len(b)-longest+1, 0):]) // in which one may begin
	}
}

// containsWindow is how much Contains reads at a time, and more than any mark is long.
const containsWindow = 32 << 10
