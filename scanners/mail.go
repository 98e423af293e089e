package scanners

import (
	"context"

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
	if p.Type != "mail" && p.MediaType != "message/rfc822" {
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

// leaf accounts for an entity of a message that came out of p.
func (b *Budget) leaf(p, leaf *eml.Part) error {
	if err := b.Count(p); err != nil {
		return err
	}
	return b.Take(leaf.Size)
}
