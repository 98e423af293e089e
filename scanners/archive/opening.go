package archive

import (
	"bufio"
	"context"
	"io"
	"strings"

	"rastel/sanitize/eml"
	"rastel/scanners"
)

const (
	// maxFindings is how many findings about the container itself are kept. More of them say
	// nothing new.
	maxFindings = 100
	// maxDamaged is how many damaged members are passed over before the rest of an archive is
	// given up: each may cost a new start of its decoder.
	maxDamaged = 16
	// maxDictionaries is how many dictionaries of full size the decoders of one container may
	// allocate, one after the other. What is of an honest size needs fewer.
	maxDictionaries = 64
	// inputBuffer is how much of the container is read at a time.
	inputBuffer = 32 << 10
)

// An opening is the expansion of one container. One goroutine uses it.
type opening struct {
	ctx   context.Context //nolint:containedctx // lives as long as one call of Expand
	cfg   Config
	p     *eml.Part
	b     *scanners.Budget
	yield func(*eml.Part) error

	src      *source
	in       *bufio.Reader // see input
	window   *window       // what in reads from
	index    int           // of the last member
	damage   int           // damaged members so far
	findings []eml.Finding
	told     map[string]bool // findings about the container itself
	inflate  io.ReadCloser   // kept for the next member; see zipmethod.go
	scratch  []byte          // see room
	dicts    int64           // bytes of all dictionaries so far
	locks    locks
}

func newOpening(ctx context.Context, cfg Config, p *eml.Part, b *scanners.Budget, yield func(*eml.Part) error) *opening {
	return &opening{
		ctx: ctx, cfg: cfg, p: p, b: b, yield: yield,
		src: &source{ctx: ctx, r: p.Content()}, told: map[string]bool{},
	}
}

// report adds a finding. Findings about the container itself are told once.
func (o *opening) report(p *eml.Part, check, detail string) {
	if p == o.p {
		key := check + " " + detail
		if o.told[key] || len(o.told) >= maxFindings {
			return
		}
		o.told[key] = true
	}
	o.findings = append(o.findings, eml.Finding{Check: check, Part: p, Detail: detail, Unexamined: !examined[check]})
}

// failed reports an error of a decoder, unless the reason is not in the content: then it is
// returned.
func (o *opening) failed(p *eml.Part, err error) error {
	if fatal := o.fatal(); fatal != nil {
		return fatal
	}
	o.report(p, checkOf(err), err.Error())
	return nil
}

// fatal is the error for which the expansion ends: of the context, or of reading what was
// spooled. Decoders often turn it into one of their own.
func (o *opening) fatal() error {
	if err := o.ctx.Err(); err != nil {
		return err
	}
	return o.src.err
}

// member makes a member of what r gives and yields it. It reports whether r came to its end;
// if not, the member has a finding and what could be read. The error is one that ends the
// expansion.
func (o *opening) member(names []string, r io.Reader) (bool, error) {
	o.index++
	dec := &decoder{r: r}
	m, err := o.b.Member(o.ctx, o.p, o.index, names, dec)
	if m == nil {
		if fatal := o.fatal(); fatal != nil {
			return false, fatal
		}
		return false, err
	}
	if err != nil && dec.err == nil {
		m.Release() // the spool failed, not the content
		return false, err
	}
	if err != nil {
		o.damage++
		if fatal := o.failed(m, err); fatal != nil {
			m.Release()
			return false, fatal
		}
	}
	return err == nil, o.yield(m)
}

// closed yields a member whose content cannot be seen, so that its names are judged, with the
// finding that says why.
func (o *opening) closed(names []string, check, detail string) error {
	o.index++
	m, err := o.b.Member(o.ctx, o.p, o.index, names, strings.NewReader(""))
	if err != nil {
		return err
	}
	if check != "" {
		o.report(m, check, detail)
	}
	return o.yield(m)
}

// passed accounts for an entry that does not become a member, such as a directory.
func (o *opening) passed() error {
	if err := o.fatal(); err != nil {
		return err
	}
	return o.b.Count(o.p)
}

// tooDamaged reports whether the rest of the archive is to be given up, and says so.
func (o *opening) tooDamaged() bool {
	if o.damage < maxDamaged {
		return false
	}
	o.report(o.p, damaged, "given up after too many damaged members")
	return true
}

// dictionary accounts for a dictionary of n bytes that a decoder is about to allocate.
func (o *opening) dictionary(n int64) error {
	if o.dicts += n; n > o.cfg.Dictionary || o.dicts > maxDictionaries*o.cfg.Dictionary {
		return errDictionary
	}
	return nil
}

// input gives a reader of n bytes of the container from off on. There is one at a time: the
// next call takes the buffer away.
func (o *opening) input(off, n int64) *bufio.Reader {
	o.window = &window{SectionReader: io.NewSectionReader(o.src, off, n), off: off}
	if o.in == nil {
		o.in = bufio.NewReaderSize(nil, inputBuffer)
	}
	o.in.Reset(o.window)
	return o.in
}

// consumed is where in the container the reader of the last input has come to.
func (o *opening) consumed() int64 { return o.window.off - int64(o.in.Buffered()) }

// trailer looks at what follows the end of all that a format knows of. Zeros are padding, and so is a
// line end; all else becomes a member, because another program may start there.
func (o *opening) trailer(off int64) error {
	off, err := o.skipZeros(off)
	if err != nil || off >= o.p.Size || o.isLineEnd(off) {
		return err
	}
	o.report(o.p, ambiguous, "data behind the end")
	_, err = o.member(nil, o.input(off, o.p.Size-off))
	return err
}

// isLineEnd reports whether a line end is all there is from off on. Programs that take a file for text
// add one: Word documents on the web have it.
func (o *opening) isLineEnd(off int64) bool {
	var b [3]byte
	n, _ := o.src.ReadAt(b[:], off)
	end := string(b[:n])
	return end == "\n" || end == "\r\n"
}

// skipZeros is the offset of the first byte from off on that is not zero.
func (o *opening) skipZeros(off int64) (int64, error) {
	in := o.input(off, o.p.Size-off)
	for {
		b, err := in.ReadByte()
		if err != nil {
			return o.p.Size, o.fatal()
		}
		if b != 0 {
			return o.consumed() - 1, nil
		}
	}
}
