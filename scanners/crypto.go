package scanners

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"rastel/sanitize/eml"
)

// Crypto opens what S/MIME and PGP wrap without encrypting it: mail clients show what is in it as
// they show any message. It tells what is encrypted, so that nobody here can look into it, and
// which parts are signed, so that changing them would break a signature. It verifies none.
type Crypto struct{}

const (
	smimeEncrypted = "crypto/smime-encrypted"
	pgpEncrypted   = "crypto/pgp-encrypted"
	cryptoDamaged  = "crypto/damaged"
	signedSMIME    = "signed/smime"
	signedPGP      = "signed/pgp"
	signedARC      = "signed/arc"
)

var cryptoChecks = []eml.Check{
	{ID: smimeEncrypted, Doc: "The content is encrypted with S/MIME: nobody but its recipient can look into it."},
	{ID: pgpEncrypted, Doc: "The content is encrypted with PGP: nobody but its recipient can look into it."},
	{ID: cryptoDamaged, Doc: "What S/MIME or PGP carries could not be examined, or not to its end, because it is damaged."},
	{ID: signedSMIME, Doc: "The part is in an S/MIME signature, which a change of the part would break; whether the signature is good is not known."},
	{ID: signedPGP, Doc: "The part is in a PGP signature, which a change of the part would break; whether the signature is good is not known."},
	{ID: signedARC, Doc: "The message has a chain of ARC signatures, of which only the form was looked at."},
}

// Checks are all checks that Crypto may report.
func (Crypto) Checks() []eml.Check { return cryptoChecks }

// Scan tells in which signatures a part is by the entities around it.
func (Crypto) Scan(_ context.Context, p *eml.Part) ([]eml.Finding, error) {
	var out []eml.Finding
	for q := p; q.Parent != nil; q = q.Parent {
		check := ""
		switch {
		case q.Parent.MediaType == "multipart/signed":
			check = coverage(q)
		case q.Member() && signs(q.Parent):
			check = signedSMIME
		}
		if check != "" && !hasCheck(out, check) {
			out = append(out, eml.Finding{Check: check, Part: p, Detail: "by " + q.Parent.ID})
		}
	}
	return out, nil
}

// coverage is the check for a child of a multipart/signed entity (RFC 1847 section 2.1): the first
// is signed, and the second is the signature, which must not be changed either.
func coverage(q *eml.Part) string {
	if q.ID != q.Parent.ID+".1" && q.ID != q.Parent.ID+".2" {
		return ""
	}
	switch protocol := strings.ToLower(q.Parent.Params["protocol"]); {
	case strings.Contains(protocol, "pgp"):
		return signedPGP
	case strings.Contains(protocol, "pkcs7"):
		return signedSMIME
	}
	return ""
}

func hasCheck(list []eml.Finding, check string) bool {
	for i := range list {
		if list[i].Check == check {
			return true
		}
	}
	return false
}

// Expand yields what S/MIME and PGP carry in p.
func (Crypto) Expand(ctx context.Context, p *eml.Part, b *Budget, yield func(*eml.Part) error) ([]eml.Finding, error) {
	o := &cryptoOpening{ctx: ctx, p: p, b: b, yield: yield}
	err := o.smime()
	if err == nil {
		err = o.pgp()
	}
	return o.findings, err
}

// A cryptoOpening is one call of Expand.
type cryptoOpening struct {
	ctx   context.Context //nolint:containedctx // lives as long as one call of Expand
	p     *eml.Part
	b     *Budget
	yield func(*eml.Part) error

	index    int // of the last member
	opened   int // compressed packets of PGP
	blocks   int // of PGP armour
	findings []eml.Finding
}

// report adds a finding about p, each check once.
func (o *cryptoOpening) report(check, detail string) {
	if !hasCheck(o.findings, check) {
		o.findings = append(o.findings, eml.Finding{Check: check, Part: o.p, Detail: detail, Unexamined: check == cryptoDamaged})
	}
}

// member makes a member of what r gives. With an error of r there is one too.
func (o *cryptoOpening) member(names []string, r io.Reader) (*eml.Part, error) {
	o.index++
	return o.b.Member(o.ctx, o.p, o.index, names, &filler{r: r})
}

// A filler reads as much as there is room for, however small the pieces are that the sender chose:
// each read of a member costs.
type filler struct {
	r   io.Reader
	err error
}

func (f *filler) Read(p []byte) (n int, err error) {
	for n < len(p) && f.err == nil {
		var k int
		k, f.err = f.r.Read(p[n:])
		n += k
	}
	if n > 0 {
		return n, nil
	}
	return 0, f.err
}

// covered adds a finding that a part is signed.
func (o *cryptoOpening) covered(check string, p *eml.Part) {
	for _, f := range o.findings {
		if f.Check == check && f.Part == p {
			return
		}
	}
	o.findings = append(o.findings, eml.Finding{Check: check, Part: p, Detail: "by " + o.p.ID})
}

// damaged reports that the rest could not be read, unless what ended is the budget or the context.
func (o *cryptoOpening) damaged(what string, err error) error {
	if errors.Is(err, ErrBudget) || o.ctx.Err() != nil {
		return err
	}
	o.report(cryptoDamaged, fmt.Sprintf("%s: %v", what, err))
	return nil
}

// isEntity reports whether content begins with a header, so that clients show it as a message. What
// stands before the first Content field does not matter to them.
func isEntity(p *eml.Part) bool {
	if p.Type == "mail" {
		return true
	}
	head := bytes.ToLower(p.Head(4 << 10))
	for i, line := range bytes.SplitN(head, []byte("\n"), 100) {
		name, _, ok := bytes.Cut(line, []byte(":"))
		name = bytes.TrimRight(name, " \t")
		if ok && (bytes.HasPrefix(name, []byte("content-")) || string(name) == "mime-version") {
			return true
		}
		if ok && i == 0 && len(name) > 0 && !bytes.ContainsAny(name, " \t\x00<%{") && isASCII(name) {
			return true
		}
	}
	return false
}

func isASCII(b []byte) bool {
	for _, c := range b {
		if c <= ' ' || c >= 0x7f {
			return false
		}
	}
	return true
}
