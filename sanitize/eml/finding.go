package eml

import "io"

// A Check is something that is looked for. Its ID ("html/script") is public: it appears in
// policies, metrics, header fields and the quarantine, and is never used for anything else.
type Check struct {
	ID  string // "area/what", lower case
	Doc string // one sentence for the administrator
	// From is the first stage at which it may be found, by a scanners.EnvelopeScanner.
	From Stage
}

// A Finding is something that was seen in a message. It says what the message is; that
// something could not be examined is a finding too ("scan/failed"), never silence.
type Finding struct {
	Check  string // the ID of a Check
	Part   *Part  // where; never nil
	Detail string // what was seen, for people; may hold anything the sender wrote
	Fix    []Edit // the edits that make it harmless; nil if there are none

	// Unexamined says that something there could not be looked into: encrypted, of an unknown
	// format, damaged, beyond a limit. The run then counts it among what was not examined.
	Unexamined bool
}

// A Region says which bytes of a part the offsets of an Edit count.
type Region uint8

const (
	// InHeader counts the bytes of the part's header as it stands in the message, from its
	// first field up to and not including the empty line that ends it. The edit must cover
	// whole fields, so its Text is empty or ends in CRLF.
	InHeader Region = iota
	// InContent counts the decoded bytes of the part. The replacement is encoded with the
	// part's own transfer encoding.
	InContent
	// InBody counts the bytes of the body as it stands in the message, and Text replaces
	// them as it is. Together with edits of the header it changes the transfer encoding.
	InBody
)

// An Edit replaces the bytes [Start, End) of a part by Text. Start == End inserts. An End of
// -1 is the end of the region. Only entities can be edited: a member of a container has no
// bytes of its own in the message.
type Edit struct {
	Part       *Part
	Region     Region
	Start, End int64
	Text       []byte

	// Write writes the replacement instead of Text, for what is too large to be held. It is for
	// whole bodies only, writes the same each time, and its lines are no longer than MTAs take.
	Write func(io.Writer) error
}

// write writes the replacement.
func (e *Edit) write(w io.Writer) error {
	if e.Write != nil {
		return e.Write(w)
	}
	_, err := w.Write(e.Text)
	return err
}
