package dkim

import (
	"context"
	"io"
	"strings"

	"github.com/emersion/go-msgauth/dkim"

	"rastel/sanitize/eml"
	"rastel/scanners"
)

// The results (RFC 8601 section 2.7.1) that a verification may have; a check is area and result.
const (
	area      = "signed/dkim-"
	pass      = "pass"
	fail      = "fail"
	tempError = "temperror"
	permError = "permerror"
)

const (
	// maxField is how many bytes a signature may have; that of a key of 4096 bits has about 1500.
	maxField = 8 << 10
	// maxLineBreaks is how many bytes of line breaks may follow each other in a message. The
	// verifier keeps them, and looks at all of them again and again.
	maxLineBreaks = 64 << 10
)

const signatureField = "DKIM-Signature"

// A Scanner verifies the signatures of messages. It is safe for concurrent use.
type Scanner struct {
	cfg  Config
	keys *keys
}

var _ scanners.MessageScanner = (*Scanner)(nil)

// New makes a Scanner.
func New(cfg Config) *Scanner {
	cfg = cfg.withDefaults()
	return &Scanner{cfg: cfg, keys: newKeys(cfg.Resolver)}
}

// Checks are all checks that ScanMessage may report.
func (*Scanner) Checks() []eml.Check {
	return []eml.Check{
		{ID: area + pass, Doc: "The message has a good DKIM signature; the detail begins with its domain and selector: `d=example.org s=a`."},
		{ID: area + fail, Doc: "The message has a DKIM signature that does not fit it: it was changed, or the signature is forged."},
		{ID: area + tempError, Doc: "The message has a DKIM signature whose key could not be had for now."},
		{ID: area + permError, Doc: "The message has a DKIM signature without a key, or one that breaks the rules."},
	}
}

// Scan finds nothing: a signature is of the whole message.
func (*Scanner) Scan(context.Context, *eml.Part) ([]eml.Finding, error) { return nil, nil }

// ScanMessage verifies the signatures of the message.
func (s *Scanner) ScanMessage(ctx context.Context, m *eml.Message) ([]eml.Finding, error) {
	sigs := s.signatures(m)
	if len(sigs) == 0 {
		return nil, nil
	}
	s.verify(ctx, m, sigs)
	out := make([]eml.Finding, len(sigs))
	for i, sig := range sigs {
		out[i] = eml.Finding{Check: area + sig.result, Part: m.Root, Detail: sig.detail()}
	}
	return out, nil
}

// A signature is one field, and what came of it.
type signature struct {
	domain, selector string
	size             int
	result           string
	why              string // if the result is not pass
}

// detail is what a finding tells, and what Record reads.
func (s *signature) detail() string {
	d := "d=" + s.domain + " s=" + s.selector
	if s.why != "" {
		d += ": " + s.why
	}
	return d
}

// signatures are those that are verified.
func (s *Scanner) signatures(m *eml.Message) []*signature {
	var out []*signature
	h := &m.Root.Header
	for f := range h.All(signatureField) {
		if len(out) == s.cfg.Signatures {
			break
		}
		v := h.Value(f)
		out = append(out, &signature{domain: nameOf(v, "d"), selector: nameOf(v, "s"), size: int(f.End - f.Start), result: permError})
	}
	return out
}

// nameOf is the value of a tag (RFC 6376 section 3.2) that is a name; "?" if it is none.
func nameOf(list, tag string) string {
	for item := range strings.SplitSeq(list, ";") {
		if name, value, ok := strings.Cut(item, "="); ok && strings.TrimSpace(name) == tag {
			if value = strings.Join(strings.Fields(value), ""); isName(value) {
				return value
			}
			break
		}
	}
	return "?"
}

// verify fills in the results.
func (s *Scanner) verify(ctx context.Context, m *eml.Message, sigs []*signature) {
	if why := unfit(m, sigs); why != "" {
		setAll(sigs, permError, why)
		return
	}
	lookup, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	r := &reader{ctx: ctx, r: m.Root.Raw()}
	verified, err := dkim.VerifyWithOptions(r, &dkim.VerifyOptions{
		MaxVerifications: s.cfg.Signatures,
		LookupTXT:        func(name string) ([]string, error) { return s.keys.lookup(lookup, name) },
	})
	switch {
	case ctx.Err() != nil:
		setAll(sigs, tempError, "no time")
	case r.over:
		setAll(sigs, permError, "too many empty lines")
	case err != nil && err != dkim.ErrTooManySignatures:
		setAll(sigs, permError, err.Error())
	case len(verified) != len(sigs):
		setAll(sigs, permError, "the header may be read in several ways")
	default:
		for i, v := range verified {
			sigs[i].set(v.Err)
		}
	}
}

// unfit tells why a message is not given to the verifier, which has no limits of its own.
func unfit(m *eml.Message, sigs []*signature) string {
	for _, sig := range sigs {
		if sig.size > maxField {
			return "the signature is too long"
		}
	}
	header := m.Root.Raw().Size() - m.Root.RawBody().Size()
	if header > int64(len(m.Root.Header.Bytes()))+2 {
		return "the header is too large"
	}
	return ""
}

func setAll(sigs []*signature, result, why string) {
	for _, sig := range sigs {
		sig.result, sig.why = result, why
	}
}

func (s *signature) set(err error) {
	switch {
	case err == nil:
		s.result = pass
		return
	case dkim.IsTempFail(err):
		s.result = tempError
	case dkim.IsPermFail(err):
		s.result = permError
	default:
		s.result = fail
	}
	s.why = strings.TrimPrefix(err.Error(), "dkim: ")
}

// A reader reads a message until its context ends or it has too many line breaks in one place. That
// is no error to the verifier, which would leave goroutines behind, but the end.
type reader struct {
	ctx  context.Context //nolint:containedctx // lives as long as one verification
	r    io.Reader
	run  int // bytes of line breaks
	over bool
}

func (r *reader) Read(p []byte) (int, error) {
	if r.over || r.ctx.Err() != nil {
		return 0, io.EOF
	}
	n, err := r.r.Read(p)
	for _, c := range p[:n] {
		if c != '\r' && c != '\n' {
			r.run = 0
		} else if r.run++; r.run > maxLineBreaks {
			r.over = true
			return 0, io.EOF
		}
	}
	return n, err
}
