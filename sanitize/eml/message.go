// Package eml is rastel's model of a mail message: where its bytes are kept while it
// arrives (Spool), what it consists of (Message, Part, Header), what was found in it
// (Finding) and how it is changed without touching any other byte (Edit, Patch).
//
// The parser accepts everything. What is malformed is reported as a finding; where mail
// clients may read a message in several ways it says so, because a gateway that follows one
// reading only is fooled by a message that its victim reads in another.
package eml

import "context"

// A Message is a parsed message.
type Message struct {
	Envelope *Envelope
	Root     *Part  // the message as an entity; its ID is "1"
	Spool    *Spool // the raw bytes
	Size     int64  // of the raw message in bytes

	// Ambiguous says that clients may read the structure in several ways, so that the
	// whole raw message should be examined besides its parts.
	Ambiguous bool
}

// Unexamined is something that nobody has looked at, and why. Policy decides what that
// means; it never means clean.
type Unexamined struct {
	Part      *Part
	Why       string // for people
	Temporary bool   // trying again later may help: a scanner was down, not a limit reached
}

// Limits bound what Parse does. A zero field means its default.
type Limits struct {
	Depth  int          // entities in one another; default 32
	Parts  int          // entities in a message; default 2000
	Header int64        // bytes of one header; default 256 KiB
	Fields int          // fields of one header; default 1000
	Params int          // parameters of one field; default 100
	Names  int          // names of one part; default 100
	Spool  SpoolOptions // where decoded content is kept
}

func (l Limits) withDefaults() Limits {
	set := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	set(&l.Depth, 32)
	set(&l.Parts, 2000)
	set(&l.Fields, 1000)
	set(&l.Params, 100)
	set(&l.Names, 100)
	if l.Header == 0 {
		l.Header = 256 << 10
	}
	return l
}

// The checks of this package.
var checks = []Check{
	{ID: "mime/ambiguous-type", Doc: "The Content-Type is repeated or damaged, so that mail clients see different parts."},
	{ID: "mime/ambiguous-boundary", Doc: "The boundary between parts is repeated, damaged or missing, so that mail clients see different parts."},
	{ID: "mime/ambiguous-encoding", Doc: "The Content-Transfer-Encoding is repeated, unknown or misplaced, so that mail clients decode different content."},
	{ID: "mime/ambiguous-content", Doc: "The encoded content is damaged, so that mail clients decode different content."},
	{ID: "mime/ambiguous-name", Doc: "An attachment has several names, so that mail clients show different ones."},
	{ID: "mime/ambiguous-header", Doc: "A header is damaged, so that mail clients see different fields."},
	{ID: "mime/limit-depth", Doc: "The message has more entities within each other than the limit."},
	{ID: "mime/limit-parts", Doc: "The message has more parts than the limit."},
	{ID: "mime/limit-readings", Doc: "Mail clients may read the message in more ways than the limit."},
	{ID: "mime/limit-header", Doc: "A header is larger than the limit."},
	{ID: "mime/limit-fields", Doc: "A header has more fields than the limit."},
	{ID: "mime/limit-parameters", Doc: "A field of a header has more parameters than the limit."},
	{ID: "mime/limit-names", Doc: "A part has more names than the limit."},
	{ID: "mime/partial", Doc: "The message is a fragment of a larger one (message/partial), which only the recipient could put together."},
	{ID: "mime/external-body", Doc: "The content is elsewhere (message/external-body), where nobody can examine it."},
}

// Checks are the checks that Parse may report.
func Checks() []Check { return checks }

// Parse reads a message from the spool while it is written. Each leaf goes to leaf as soon
// as it ends, decoded and typed; leaf must not wait for long. Where mail clients may read the
// message in other ways too, the leaves of those readings go to leaf in the end, unless one that
// is the same has been there; they are members of the entity that is read so. The parts that
// Parse returns hold decoded content: Close gives it back.
//
// Malformed input is never an error but a finding. The error is that of reading the spool
// (the writer gave up, or the disk failed) or of ctx, and then there is no message.
func Parse(ctx context.Context, env *Envelope, s *Spool, lim Limits, leaf func(*Part)) (*Message, []Finding, error) {
	p := newParser(ctx, &Part{src: s, ID: "1", allowed: &allowance{s: s}}, s, lim.withDefaults(), leaf)
	p.msg.Envelope = env
	if err := p.run(); err != nil {
		p.msg.Close()
		return nil, nil, err
	}
	return p.msg, p.findings, nil
}

// Close gives back the decoded content of all parts. The spool of the message belongs to
// whoever made it.
func (m *Message) Close() {
	m.Root.Walk(func(p *Part) bool {
		p.close()
		return true
	})
}

// Release gives back the content of a member, which nobody may read any more, and all that was
// made of it. It does nothing for an entity.
func (p *Part) Release() {
	if p.member {
		p.close()
	}
}

func (p *Part) close() {
	if p.content != nil {
		p.content.Close()
	}
	for _, s := range p.kept {
		s.Close()
	}
}

// keep has a spool, if there is one, closed with the content of the part. Parsers of that content may
// call it at the same time.
func (p *Part) keep(s *Spool) {
	if s == nil {
		return
	}
	p.keptMu.Lock()
	defer p.keptMu.Unlock()
	p.kept = append(p.kept, s)
}

// owner is the part whose content the message is, or the message itself.
func (m *Message) owner() *Part {
	if m.Root.Parent != nil {
		return m.Root.Parent
	}
	return m.Root
}

// NewMember makes a part of one member of the container p, with the names its container
// gives it; index counts the members of p from 1. The content must be completely written. It
// belongs to the part from now on.
func NewMember(p *Part, index int, names []string, content *Spool) (*Part, error) {
	return newMember(p, index, names, content)
}
