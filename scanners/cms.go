package scanners

import (
	"compress/zlib"
	"errors"
	"io"
	"path"
	"strings"

	"rastel/sanitize/eml"
)

// A cmsKind is what a CMS content (RFC 5652) does to what it carries: its object identifier.
type cmsKind string

const (
	pkcs7 = "\x2a\x86\x48\x86\xf7\x0d\x01\x07"         // 1.2.840.113549.1.7
	smime = "\x2a\x86\x48\x86\xf7\x0d\x01\x09\x10\x01" // 1.2.840.113549.1.9.16.1

	cmsData          cmsKind = pkcs7 + "\x01"
	cmsSigned        cmsKind = pkcs7 + "\x02"
	cmsEnveloped     cmsKind = pkcs7 + "\x03"
	cmsSignedSealed  cmsKind = pkcs7 + "\x04" // signed and enveloped, of PKCS #7
	cmsDigested      cmsKind = pkcs7 + "\x05"
	cmsEncrypted     cmsKind = pkcs7 + "\x06"
	cmsAuthenticated cmsKind = smime + "\x02"
	cmsCompressed    cmsKind = smime + "\x09" // RFC 3274
	cmsAuthEnveloped cmsKind = smime + "\x17" // RFC 5083
)

// encrypts reports whether nobody but the recipient can look inside.
func (k cmsKind) encrypts() bool {
	return k == cmsEnveloped || k == cmsSignedSealed || k == cmsEncrypted || k == cmsAuthEnveloped
}

// carries tells which SEQUENCE within the content holds what is carried, counted from 1; 0 if none
// does.
func (k cmsKind) carries() int {
	switch k {
	case cmsSigned:
		return 1 // behind version and digest algorithms (RFC 5652 section 5.1)
	case cmsDigested, cmsCompressed, cmsAuthenticated:
		return 2 // behind an algorithm
	}
	return 0
}

// maxCMSFields is how many elements are looked at for what is carried. There are five at most.
const maxCMSFields = 10

// maxCMSLayers is how many contents may lie in one another without a mail message between them.
const maxCMSLayers = 8

// A cms is one content, and what it carries.
type cms struct {
	kind    cmsKind
	carried cmsKind   // the type of what it carries
	r       io.Reader // what it carries, to be read next; nil if there is nothing
}

// openCMS reads a ContentInfo (RFC 5652 section 3) up to what it carries.
func openCMS(r io.Reader) (c cms, err error) {
	b := newBERReader(r)
	e, ok, err := b.next()
	if err == nil && ok && e.isSequence() {
		err = b.enter(e)
	} else if err == nil {
		err = errBER
	}
	if err != nil {
		return c, err
	}
	id, err := b.oid()
	if err != nil {
		return c, err
	}
	c.kind = cmsKind(id)
	if e, ok, err = b.next(); err != nil || !ok {
		return c, err // nothing in it
	}
	if !e.isContext(0) {
		return c, errBER
	}
	if err := b.enter(e); err != nil {
		return c, err
	}
	return b.content(c.kind)
}

// content reads a content of that kind up to what it carries.
func (b *berReader) content(kind cmsKind) (c cms, err error) {
	c.kind = kind
	if kind.encrypts() {
		return c, nil
	}
	e, ok, err := b.next()
	switch {
	case err != nil || !ok:
		return c, err
	case kind == cmsData:
		c.carried = cmsData
		return c, b.carried(&c, e)
	case kind.carries() == 0:
		return c, errBER
	case !e.isSequence():
		return c, errBER
	}
	if err := b.enter(e); err != nil {
		return c, err
	}
	sequences := 0
	for range maxCMSFields {
		e, ok, err := b.next()
		if err != nil {
			return c, err
		}
		if !ok {
			break // it must be there, even if it is empty
		}
		if e.isSequence() {
			sequences++
		}
		if sequences == kind.carries() {
			return c, b.encapsulated(&c, e)
		}
		if err := b.skip(e); err != nil {
			return c, err
		}
	}
	return c, errBER
}

// encapsulated reads an EncapsulatedContentInfo (RFC 5652 section 5.2).
func (b *berReader) encapsulated(c *cms, e berElement) error {
	if err := b.enter(e); err != nil {
		return err
	}
	id, err := b.oid()
	if err != nil {
		return err
	}
	c.carried = cmsKind(id)
	e, ok, err := b.next()
	if err != nil || !ok {
		return err // what is signed is elsewhere, or there are only certificates
	}
	if !e.isContext(0) {
		return errBER
	}
	if err := b.enter(e); err != nil {
		return err
	}
	if e, ok, err = b.next(); err != nil || !ok {
		return err
	}
	return b.carried(c, e)
}

// carried gives what is carried: an OCTET STRING. In PKCS #7 it could be anything (RFC 5652 section
// 5.2.1), and is in the signatures of programs, which no mail client shows.
func (b *berReader) carried(c *cms, e berElement) (err error) {
	if e.is(0, berOctets) {
		c.r, err = b.octets(e)
		return err
	}
	if c.carried == cmsData || c.carried.encrypts() || c.carried.carries() > 0 {
		return errBER
	}
	return nil
}

// maxCMSHead is how far in what is carried may begin for signs to see it: it is asked again for each
// part of a message, and algorithms take a few hundred bytes.
const maxCMSHead = 64 << 10

// signs reports whether the part is S/MIME with a signature over what it carries.
func signs(p *eml.Part) bool {
	if p.Type != "pkcs7" {
		return false
	}
	c, err := openCMS(io.LimitReader(cmsSource(p.Content()), maxCMSHead))
	return err == nil && c.kind == cmsSigned && c.r != nil
}

// cmsSource gives the BER of content that may be in PEM or base64.
func cmsSource(r *io.SectionReader) io.Reader {
	var first [1]byte
	if _, err := r.ReadAt(first[:], 0); err == nil && first[0] == 0x30 {
		return r
	}
	return newArmorReader(r)
}

// isSMIMELabel reports whether clients take the part for S/MIME by its label.
func isSMIMELabel(p *eml.Part) bool {
	if p.MediaType == "application/pkcs7-mime" || p.MediaType == "application/x-pkcs7-mime" {
		return true
	}
	for _, n := range p.Names {
		if ext := strings.ToLower(path.Ext(n)); ext == ".p7m" || ext == ".p7z" {
			return true
		}
	}
	return false
}

// smime opens S/MIME.
func (o *cryptoOpening) smime() error {
	if o.p.Type != "pkcs7" {
		if isSMIMELabel(o.p) && (o.p.Type == "data" || o.p.Type == "text") {
			o.report(cryptoDamaged, "labelled S/MIME, and is not")
		}
		return nil
	}
	c, err := openCMS(ContextReader(o.ctx, cmsSource(o.p.Content())))
	for range maxCMSLayers {
		switch {
		case err != nil:
			return o.damaged("S/MIME", err)
		case c.kind.encrypts():
			o.report(smimeEncrypted, "")
			return nil
		case c.r == nil:
			return nil
		case c.kind == cmsCompressed:
			z, err := zlib.NewReader(c.r)
			if err != nil {
				return o.damaged("S/MIME", noEOF(err))
			}
			c.r = o.b.Reader(o.ctx, o.p, z)
		}
		if c.kind == cmsSigned {
			o.covered(signedSMIME, o.p)
		}
		if !c.carried.encrypts() && c.carried.carries() == 0 {
			return o.smimeMember(c.r)
		}
		c, err = newBERReader(c.r).content(c.carried)
	}
	return o.damaged("S/MIME", errors.New("too many layers"))
}

// smimeMember yields what S/MIME carries: a MIME entity or, in a file that was signed, that file.
func (o *cryptoOpening) smimeMember(r io.Reader) error {
	var names []string
	for _, n := range o.p.Names {
		if ext := path.Ext(n); strings.HasPrefix(strings.ToLower(ext), ".p7") {
			names = append(names, strings.TrimSuffix(n, ext))
		}
	}
	m, err := o.member(names, r)
	if m == nil {
		return err
	}
	if isEntity(m) {
		m.MediaType, m.Names = "message/rfc822", nil
	}
	if e := o.yield(m); e != nil {
		return e
	}
	if err != nil {
		return o.damaged("S/MIME", err)
	}
	return nil
}
