// Package scanners runs everything that looks for something in a message: concurrently,
// within one budget, and with an account of what was not examined.
//
// To add a scanner, write a type with the two methods of Scanner in a file of its own and
// add one line to cmd/rastel/builtin.go.
package scanners

import (
	"context"
	"strings"
	"unicode"

	"rastel/sanitize/eml"
)

// A Scanner looks for something in one part. It must be safe for concurrent use, return soon
// after ctx ends, and leave nothing running.
type Scanner interface {
	// Checks are all checks that Scan may report.
	Checks() []eml.Check
	// Scan examines the content of one leaf or member. A Finding says what the message is;
	// an error says that the scanner could not tell, and then the part counts as not
	// examined. A part that the scanner has no interest in is neither.
	Scan(ctx context.Context, p *eml.Part) ([]eml.Finding, error)
}

// An Expander is a Scanner that opens containers. It yields each member as a part of its own,
// which then goes to all scanners.
type Expander interface {
	Scanner
	// Expand yields the members of p, each made with b.Member. It stops when yield returns an
	// error and returns that error. Where it cannot open a container, or not all of it, it
	// says so with findings, never by silence; a part that is no container it knows is
	// neither.
	Expand(ctx context.Context, p *eml.Part, b *Budget, yield func(*eml.Part) error) ([]eml.Finding, error)
}

// An Opener is an Expander whose decoders may do what no program survives: overflow the stack, use
// up the memory, never end. Its Expand may be called in a process of its own (rastel worker), so it
// depends on nothing but its configuration, its budget, and the content, names, media type, type,
// size and depth of the part.
type Opener interface {
	Expander
	// Opens tells without decoding anything whether Expand could have anything to do with p.
	// Most parts of most messages are nothing to open, and this is all they cost. If it is
	// false, Expand would find nothing and yield nothing.
	Opens(p *eml.Part) bool
}

// An Engine is a Scanner whose findings about a part depend on nothing but its content and on what the
// engine is at the moment, so that what it said of some content may be kept for as long as it is that.
type Engine interface {
	Scanner
	// Passes tells, without waiting, why Scan does not examine a leaf that has content: for people, such as
	// its type, or WithMessage where it is left to ScanMessage. It is empty if Scan examines it. What is
	// passed over Scan says nothing about: then its silence does not mean that the content is clean, and
	// must not be kept as if it did. This may depend on all that the part is.
	Passes(p *eml.Part) (why string)
	// Version names all that a finding depends on besides the content: program, database, options. It
	// is empty while that is not known; then nothing is kept. It is asked before each scan, so it must
	// not wait.
	Version() string
}

// Examines tells whether an engine examines the part: it has content, and is not passed over.
func Examines(e Engine, p *eml.Part) bool { return p.Leaf() && p.Size > 0 && e.Passes(p) == "" }

// A MessageScanner is a Scanner that also looks at the message as a whole, once it has been
// read to its end: at header fields, or at how parts belong together.
type MessageScanner interface {
	Scanner
	ScanMessage(ctx context.Context, m *eml.Message) ([]eml.Finding, error)
}

// An EnvelopeScanner is a Scanner that also looks at what an SMTP session says before there is a
// message.
type EnvelopeScanner interface {
	Scanner
	// BeginEnvelope begins what ScanEnvelope, or ScanMessage, will have to wait for, and does not wait.
	BeginEnvelope(at eml.Stage, env *eml.Envelope)
	// ScanEnvelope finds what is known of the envelope at that stage, AtConnect or AtMail; its findings
	// have no part. What it cannot know until ctx ends it does not find.
	ScanEnvelope(ctx context.Context, at eml.Stage, env *eml.Envelope) []eml.Finding
}

// Temporary marks an error after which trying again later may help: a scanner that is down,
// as opposed to content that no scanner can read.
type Temporary struct{ Err error }

func (t *Temporary) Error() string { return t.Err.Error() }
func (t *Temporary) Unwrap() error { return t.Err }

// Optional marks an error of an engine that is asked for its opinion only: a part that it could not tell
// about does not count as not examined for that. The account of who examined it says so.
type Optional struct{ Err error }

func (o *Optional) Error() string { return o.Err.Error() }
func (o *Optional) Unwrap() error { return o.Err }

// maxSaid bounds what of the words of an engine becomes the detail of a finding or an error.
const maxSaid = 200

// Said is what an engine said, as the detail of a finding or an error: one short line of printable
// characters.
func Said(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case !unicode.IsPrint(r):
			return '?'
		}
		return r
	}, strings.ToValidUTF8(strings.TrimSpace(s), "?"))
	if len(s) > maxSaid {
		s = strings.ToValidUTF8(s[:maxSaid], "") + "..."
	}
	return s
}
