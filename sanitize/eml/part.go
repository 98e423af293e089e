package eml

import (
	"io"
	"os"
	"sync"
)

// An Encoding is how the body of an entity is encoded for transfer (RFC 2045 section 6).
type Encoding uint8

const (
	Identity        Encoding = iota // 7bit, 8bit, binary, none
	Base64                          // RFC 2045 section 6.8
	QuotedPrintable                 // RFC 2045 section 6.7
	UUEncode                        // x-uuencode and its names
)

// String names it for people.
func (e Encoding) String() string {
	return [...]string{"plain form", "base64", "quoted-printable", "uuencode"}[min(e, UUEncode)]
}

// A Part is the message itself, a MIME entity in it (RFC 2045 section 2.4), or a member of a
// container such as an archive. Entities own bytes of the message; members do not, so an
// edit that concerns a member acts on its carrier.
//
// A Part does not change once it was handed to a scanner, except that the members of containers
// become its Children when the examination of the message ends.
type Part struct {
	// ID is "1" for the message, "1.2" for the second entity in it, "1.2/3" for the third
	// member of the container that 1.2 carries, "1.2~1" for 1.2 in the first other reading.
	ID       string
	Parent   *Part
	Children []*Part

	Header      Header            // empty for a member
	MediaType   string            // as declared, lower case; "text/plain" if undeclared (RFC 2045 section 5.2); of a member what its container says, mostly ""
	Params      map[string]string // parameters of Content-Type, names in lower case
	Disposition string            // "inline", "attachment" or whatever is declared, lower case
	Encoding    Encoding
	Names       []string // every file name that some mail client would show, decoded; may hold anything

	// Reading is empty for what the standards make of the message. Otherwise the part exists
	// only in another reading that a mail client may choose, and Reading says which. Such a part
	// is a member, except one behind the closing boundary.
	Reading string

	// The rest is known for leaves: parts with content of their own.
	Type   string   // what the content is by its own bytes: a word of Types
	Size   int64    // bytes of the decoded content
	SHA256 [32]byte // of the decoded content

	Depth int // containers and encapsulated messages around it; the message's own entities have 0

	leaf    bool
	member  bool
	strict  strictness // how the body is decoded
	noted   how        // in which other ways its lines were noted to be read, by the parser that made it
	long    bool       // a line of the body is longer than maxLine
	src     *Spool     // holds the raw bytes of an entity
	start   int64      // of the header, from the start of src
	body    int64      // of the body
	end     int64      // of the body's end, without the line break that belongs to the delimiter
	content *Spool     // decoded bytes; nil if they are src[body:end]
	keptMu  sync.Mutex // a leaf may be read as a message while the message it is in is still read
	kept    []*Spool   // more that is closed with the content
	allowed *allowance // of the message itself: what messages within it may cost
}

// Leaf reports whether the part has content of its own. Multipart entities and encapsulated
// messages that were parsed in place do not.
func (p *Part) Leaf() bool { return p.leaf }

// Member reports whether the part came out of a container, so that it has no bytes of its
// own in the message.
func (p *Part) Member() bool { return p.member }

// Carrier is the nearest entity that holds the part: the part itself unless it is a member.
func (p *Part) Carrier() *Part {
	for p.member {
		p = p.Parent
	}
	return p
}

// ReadFrom is the entity that the part was found in by another reading, or behind the closing
// boundary of which it is; nil if it was found by the first reading, or in a container.
func (p *Part) ReadFrom() *Part {
	if !p.member && p.Reading != "" {
		for p.Parent.Reading != "" {
			p = p.Parent
		}
		return p.Parent
	}
	if !p.member {
		return nil
	}
	for p.Parent.member {
		p = p.Parent
	}
	if p.Reading == "" {
		return nil
	}
	return p.Parent
}

// NoParts reports whether an entity should hold parts, and most clients find none in it. What is
// there is text when it is written anew.
func (p *Part) NoParts() bool {
	return !p.leaf && !p.member && kindOf(p.MediaType) == kindMultipart && len(firstReading(p)) == 0
}

// Raw is the part as it stands in the message, header and body. It is empty for a member.
func (p *Part) Raw() *io.SectionReader {
	if p.member {
		return io.NewSectionReader(p.content, 0, 0)
	}
	return io.NewSectionReader(p.src, p.start, p.end-p.start)
}

// RawBody is the body of an entity as it stands in the message, not decoded. It is empty for
// a member.
func (p *Part) RawBody() *io.SectionReader {
	if p.member {
		return io.NewSectionReader(p.content, 0, 0)
	}
	return io.NewSectionReader(p.src, p.body, p.end-p.body)
}

// Encoded is what the content of a leaf was decoded from, for encodings that hold more than the
// content, such as its name. It is empty if the content stands as it is in the message.
func (p *Part) Encoded() *io.SectionReader {
	if p.src == nil || p.content == nil {
		return io.NewSectionReader(p.content, 0, 0)
	}
	return io.NewSectionReader(p.src, p.body, p.end-p.body)
}

// Content is the decoded content of a leaf. Each call gives a new reader; any number may be
// used at once, until the message is done with. It is empty for a part that is no leaf.
func (p *Part) Content() *io.SectionReader {
	if !p.leaf {
		return io.NewSectionReader(p.src, 0, 0)
	}
	if p.content != nil {
		return io.NewSectionReader(p.content, 0, p.Size)
	}
	return io.NewSectionReader(p.src, p.body, p.end-p.body)
}

// Head is the beginning of the content, at most n bytes; shorter at the end of the content.
func (p *Part) Head(n int) []byte {
	b := make([]byte, min(int64(n), p.Size))
	k, _ := p.Content().ReadAt(b, 0)
	return b[:k]
}

// File gives a descriptor whose whole content is the decoded content of the part, to be
// passed to another process. The caller closes it. It costs a copy of the content where
// that is not a file of its own already.
func (p *Part) File() (*os.File, error) {
	if p.leaf && p.content != nil {
		return p.content.File()
	}
	s := NewSpool(SpoolOptions{})
	defer s.Close()
	if _, err := io.Copy(s, p.Content()); err != nil {
		return nil, err
	}
	s.CloseWrite(nil)
	return s.File()
}

// Walk calls f for the part and all below it, each before its children, until f returns
// false. It returns false if f did.
func (p *Part) Walk(f func(*Part) bool) bool {
	if !f(p) {
		return false
	}
	for _, c := range p.Children {
		if !c.Walk(f) {
			return false
		}
	}
	return true
}
