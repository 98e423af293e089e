package scanners

import (
	"context"
	"path"
	"strings"

	"rastel/sanitize/eml"
)

// Mail opens messages that are carried as files or in a transfer encoding, so that the parser
// did not read them in place: attached .eml files, and message/rfc822 in base64.
type Mail struct{ Limits eml.Limits }

// Checks are those of the parser.
func (Mail) Checks() []eml.Check { return nil }

// Scan finds nothing by itself.
func (Mail) Scan(context.Context, *eml.Part) ([]eml.Finding, error) { return nil, nil }

// Expand yields the leaves of the message in p.
func (s Mail) Expand(ctx context.Context, p *eml.Part, b *Budget, yield func(*eml.Part) error) ([]eml.Finding, error) {
	if !opensAsMail(p) {
		return nil, nil
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
	return findings, err
}

// opensAsMail reports whether some client opens the part as a message: by its content, by its label,
// or by one of its names.
func opensAsMail(p *eml.Part) bool {
	switch {
	case p.Type == "mail":
		return p.MediaType != "text/rfc822-headers" // nothing follows those
	case strings.HasPrefix(p.MediaType, "message/") && p.Is("text"):
		return !statusTypes[p.MediaType]
	case !p.Is("text"):
		return p.MediaType == "message/rfc822"
	}
	for _, name := range p.Names {
		if mailExtensions[strings.ToLower(path.Ext(strings.TrimRight(name, ". ")))] {
			return true
		}
	}
	return false
}

// mailExtensions are those that desktops open with a mail client, or with a browser that knows MIME.
var mailExtensions = map[string]bool{".eml": true, ".emlx": true, ".mht": true, ".mhtml": true, ".nws": true, ".mim": true, ".mime": true, ".mbox": true}

// statusTypes are messages of fields alone; no client looks for parts in them.
var statusTypes = map[string]bool{
	"message/delivery-status": true, "message/disposition-notification": true, "message/feedback-report": true,
	"message/global-delivery-status": true, "message/global-disposition-notification": true,
	"message/global-headers": true, "message/rfc822-headers": true,
}

// leaf accounts for an entity of a message that came out of p.
func (b *Budget) leaf(p, leaf *eml.Part) error {
	if err := b.Count(p); err != nil {
		return err
	}
	return b.Take(leaf.Size)
}
