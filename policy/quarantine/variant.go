package quarantine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
)

// A Variant is in what form a message is released.
type Variant string

const (
	AsOriginal  Variant = "original"  // byte for byte as it was held; so is the empty Variant
	AsSanitised Variant = "sanitised" // as the policy in force would deliver it, or made harmless
	AsWithout   Variant = "without"   // with a notice in place of some parts
	AsAttached  Variant = "attached"  // whole, in a new message, as message/rfc822
	AsZip       Variant = "zip"       // whole, in a new message, in a zip with a password
)

// Variants are all of them.
var Variants = []Variant{AsOriginal, AsSanitised, AsWithout, AsAttached, AsZip}

// maxParts is how many parts a request may name.
const maxParts = 100

// A Copy is what is sent in place of a held message.
type Copy struct {
	Content io.ReaderAt
	Size    int64
	// Password opens it. It is never sent with it.
	Password string
	// Done gives back what the copy holds.
	Done func()
}

func (c *Copy) reader() io.Reader { return io.NewSectionReader(c.Content, 0, c.Size) }

// A Renderer makes the copy of a message for these recipients. The error is one of the message if it is
// ErrVariant.
type Renderer func(ctx context.Context, it *Item, req ReleaseRequest, raw io.Reader) (*Copy, error)

// SetRenderer has messages released in other forms than the original. It is called once, before anything is
// released; without it there are none.
func (s *Store) SetRenderer(f Renderer) { s.renderer = f }

// ErrVariant is returned by Release for a form that a message cannot be released in.
var ErrVariant = errors.New("cannot be released in this form")

// check sees that a request can be meant.
func (r *ReleaseRequest) check() error {
	switch {
	case r.As != "" && !slices.Contains(Variants, r.As):
		return fmt.Errorf("%w: %.40q is none of %v", ErrVariant, string(r.As), Variants)
	case len(r.Parts) > 0 && r.As != AsWithout:
		return fmt.Errorf("%w: parts are for %q", ErrVariant, AsWithout)
	case len(r.Parts) > maxParts:
		return fmt.Errorf("%w: more than %d parts", ErrVariant, maxParts)
	}
	return nil
}

// rendered makes what is sent in place of the message; nil if that is the message itself.
func (s *Store) rendered(ctx context.Context, it *Item, req ReleaseRequest) (*Copy, error) {
	if req.As == "" || req.As == AsOriginal || it.State != Held || !it.Stored {
		return nil, nil // the release says what is wrong
	}
	if s.renderer == nil {
		return nil, fmt.Errorf("%w: nothing here makes copies", ErrVariant)
	}
	if req.Recipients == nil {
		req.Recipients = it.Recipients
	}
	if err := checkRecipients(req.Recipients); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, rescanTime)
	defer cancel()
	raw, err := s.open(ctx, it)
	if err != nil {
		return nil, err
	}
	defer raw.Close()
	c, err := s.renderer(ctx, it, req, raw)
	if err != nil {
		return nil, fmt.Errorf("release as %s: %w", req.As, err)
	}
	return c, nil
}

// An outgoing message is what is sent of an item.
type outgoing struct {
	io.ReadCloser
	size  int64
	token string
}

// outgoing is the message itself, or the copy in its place.
func (s *Store) outgoing(ctx context.Context, it *Item, c *Copy) (*outgoing, error) {
	if c == nil {
		raw, err := s.open(ctx, it)
		if err != nil {
			return nil, err
		}
		return &outgoing{raw, it.Size, s.token(it)}, nil
	}
	digest, err := DigestOf(c.reader())
	if err != nil {
		return nil, fmt.Errorf("read copy: %w", err)
	}
	token, err := s.copyToken(it, digest)
	if err != nil {
		return nil, err
	}
	return &outgoing{io.NopCloser(c.reader()), c.Size, token}, nil
}
