package scanners

import (
	"bytes"
	"context"
	"io"
	"path"
	"regexp"
	"slices"
	"strings"

	"rastel/sanitize/eml"
)

// Mail opens messages that are carried as files or in a transfer encoding, so that the parser
// did not read them in place: attached .eml files, mailboxes, and message/rfc822 in base64.
type Mail struct{ Limits eml.Limits }

// Checks are those of the parser.
func (Mail) Checks() []eml.Check { return nil }

// Scan finds nothing by itself.
func (Mail) Scan(context.Context, *eml.Part) ([]eml.Finding, error) { return nil, nil }

// Expand yields the leaves of the message in p.
func (s Mail) Expand(ctx context.Context, p *eml.Part, b *Budget, yield func(*eml.Part) error) ([]eml.Finding, error) {
	if !opensAsMail(p) {
		return nil, savedPage(ctx, p, b, yield)
	}
	b.number(p, 1) // that of the message
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	_, findings, err := eml.ParseContent(ctx, p, s.Limits, func(leaf *eml.Part) {
		if context.Cause(ctx) != nil {
			return
		}
		if err := b.leaf(p, leaf); err != nil {
			cancel(err)
		} else if err := yield(leaf); err != nil {
			cancel(err)
		}
	})
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	if err == nil && isMailbox(p) {
		err = mailbox(ctx, p, b, yield)
	}
	return findings, err
}

// opensAsMail reports whether some client opens the part as a message: by its content, by its label,
// or by one of its names.
func opensAsMail(p *eml.Part) bool {
	text := p.Is("text") || p.Type == "data" // a control character is enough for that
	switch {
	case p.MediaType == "text/rfc822-headers", p.MediaType == "text/plain" && len(p.Names) == 0 && !p.Member():
		return false // nothing follows those, and this is shown
	case p.Type == "mail":
		return true
	case statusTypes[p.MediaType]:
		return text && tellsContent(p.Head(statusHead))
	case !text:
		return p.MediaType == "message/rfc822"
	case strings.HasPrefix(p.MediaType, "message/"):
		return true
	}
	return named(p, mailExtensions)
}

// named reports whether one of the names has one of the extensions.
func named(p *eml.Part, extensions map[string]bool) bool {
	return slices.ContainsFunc(p.Names, func(name string) bool {
		return extensions[strings.ToLower(path.Ext(strings.TrimRight(name, ". ")))]
	})
}

// savedPage yields the page in p that was saved as MIME, if a program of Office finds one in it that is
// not at the beginning.
func savedPage(ctx context.Context, p *eml.Part, b *Budget, yield func(*eml.Part) error) error {
	if !p.Is("text") && p.Type != "data" || !named(p, officeExtensions) {
		return nil
	}
	head := p.Head(statusHead)
	field := pageField.FindIndex(head)
	if field == nil {
		return nil
	}
	at := int64(0) // of the paragraph with the field
	if blank := blankLine.FindAllIndex(head[:field[1]], -1); blank != nil {
		at = int64(blank[len(blank)-1][1])
	}
	m, err := b.Member(ctx, p, 1, nil, io.NewSectionReader(p.Content(), at, p.Size-at))
	if err != nil {
		if m != nil {
			m.Release()
		}
		return err
	}
	m.MediaType = "message/rfc822"
	return yield(m)
}

// officeExtensions are those of programs that open a page which was saved with all that is in it, as
// MIME, under their own names, and look for its header behind anything.
var officeExtensions = map[string]bool{
	".doc": true, ".docx": true, ".docm": true, ".dot": true, ".dotm": true, ".wbk": true, ".rtf": true, ".xml": true,
	".xls": true, ".xlsx": true, ".xlsm": true, ".xlsb": true, ".xlt": true, ".xla": true, ".ppt": true, ".pps": true, ".pot": true,
}

var (
	pageField = regexp.MustCompile(`(?i)(?:^|[\r\n])[ \t]*MIME-Version[ \t]*:`) // what they look for
	blankLine = regexp.MustCompile(`(?:^|\r\n|\r|\n)[ \t]*(?:\r\n|\r|\n)`)
)

// mailExtensions are those that desktops open with a mail client, or with a browser that knows MIME.
var mailExtensions = map[string]bool{".eml": true, ".emlx": true, ".mht": true, ".mhtml": true, ".nws": true, ".mim": true, ".mime": true, ".mbox": true, ".mbx": true}

// statusTypes are messages of fields alone. Clients that look for parts in them, as in any message,
// find some only if the header says so.
var statusTypes = map[string]bool{
	"message/delivery-status": true, "message/disposition-notification": true, "message/feedback-report": true,
	"message/global-delivery-status": true, "message/global-disposition-notification": true,
	"message/global-headers": true, "message/rfc822-headers": true,
}

// statusHead is how much of such a message is looked at.
const statusHead = 64 << 10

// tellsContent reports whether a header has fields that tell of content.
func tellsContent(header []byte) bool {
	for line := range bytes.Lines(header) {
		name, _, ok := bytes.Cut(line, []byte(":"))
		if ok && len(name) > len("Content-") && strings.EqualFold(string(name[:len("Content-")]), "Content-") {
			return true
		}
	}
	return len(header) == statusHead
}

// leaf accounts for an entity of a message that came out of p.
func (b *Budget) leaf(p, leaf *eml.Part) error {
	if err := b.Count(p); err != nil {
		return err
	}
	return b.Take(leaf.Size)
}
