package clamd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"rastel/sanitize/eml"
	"rastel/scanners"
)

// mailMark goes before a message. clamd knows mail by its first bytes and takes anything that
// begins with some other field for plain text, whose parts it does not look into; the sender
// chooses that field. ("From " would do too, but makes an mbox of it, cut into several mails.)
const mailMark = "Received: by rastel\r\n"

// Within these clamd surely reads the structure as we do: its own limits, beyond which it
// stops in silence, are 1024 entities and, by default, 17 levels.
const (
	maxEntities = 500
	maxLevels   = 10
)

// maxLine is the longest line that clamd is left to read in the skeleton: RFC 5322 section
// 2.1.1 allows no more, and clamd breaks longer ones in the middle of what a signature matches.
const maxLine = 998

// ridesAlong reports whether the part is text that the skeleton holds and in which clamd finds
// what it would find in the part alone. What it does not (tried with clamd 1.4.6): text that is
// not declared as text, in some kinds of multipart; the text of an encapsulated message; what
// goes over the end of a long line. Attached files go alone because signatures of whole files
// need their exact bytes, and clamd changes the line breaks of text in a mail. What only one
// reading has may not stand in the skeleton at all.
func ridesAlong(p *eml.Part) bool {
	return p.InSkeleton() && p.Reading == "" && p.Depth == 0 && strings.HasPrefix(p.MediaType, "text/") &&
		len(p.Names) == 0 && p.Disposition != "attachment" && hasMailLines(p.Head(int(p.Size)))
}

// Passes tells why Scan does not ask clamd about the part: ScanMessage sends it with the message.
func (s *Scanner) Passes(p *eml.Part) string {
	if ridesAlong(p) {
		return scanners.WithMessage
	}
	return ""
}

// hasMailLines reports whether no line of the text is too long for a mail.
func hasMailLines(text []byte) bool {
	for line := range bytes.Lines(text) {
		if len(line) > maxLine+len("\r\n") {
			return false
		}
	}
	return true
}

// ScanMessage examines what is between the parts: the skeleton of the message, with its header
// fields, structure and text; and the whole raw message where clients may read it in several
// ways, or always if the configuration says so.
func (s *Scanner) ScanMessage(ctx context.Context, m *eml.Message) ([]eml.Finding, error) {
	findings, err := s.whole(ctx, m, m.Skeleton)
	if m.Ambiguous || s.cfg.Raw == rawAlways {
		more, e := s.whole(ctx, m, rawOf(m))
		findings, err = merge(findings, more), errors.Join(err, e)
	}
	if doubtful(m) {
		more, e := s.riders(ctx, m)
		findings, err = merge(findings, more), errors.Join(err, e)
	}
	return findings, err
}

// whole examines what write writes as a mail.
func (s *Scanner) whole(ctx context.Context, m *eml.Message, write func(io.Writer) error) ([]eml.Finding, error) {
	opt := m.Spool.Options()
	opt.Max = s.cfg.StreamMax
	sp := eml.NewSpool(opt)
	defer sp.Close()
	_, err := io.WriteString(sp, mailMark)
	if err == nil {
		err = write(sp)
	}
	if errors.Is(err, eml.ErrSpoolFull) {
		return limit(m.Root, fmt.Sprintf("the message of %d bytes is more than stream_max", m.Size)), nil
	}
	if err != nil {
		return nil, &scanners.Temporary{Err: fmt.Errorf("write the message for clamd: %w", err)}
	}
	sp.CloseWrite(nil)
	return s.examine(ctx, m.Root, spoolContent(sp))
}

// rawOf writes the message as it came.
func rawOf(m *eml.Message) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := io.Copy(w, io.NewSectionReader(m.Spool, 0, m.Size))
		return err
	}
}

// riders examines alone all text that so far only the skeleton held.
func (s *Scanner) riders(ctx context.Context, m *eml.Message) (findings []eml.Finding, err error) {
	m.Root.Walk(func(p *eml.Part) bool {
		if p.Member() {
			return true
		}
		if ridesAlong(p) {
			more, e := s.examine(ctx, p, partContent(p))
			findings, err = append(findings, more...), errors.Join(err, e)
		}
		return ctx.Err() == nil
	})
	return findings, err
}

// doubtful reports whether clamd may read the skeleton otherwise than we do, and so not see
// some of the text in it.
func doubtful(m *eml.Message) bool {
	if m.Ambiguous {
		return true
	}
	entities, doubt := 0, false
	m.Root.Walk(func(p *eml.Part) bool {
		if p.Member() {
			return true
		}
		entities++
		doubt = doubt || entities > maxEntities || levels(p) > maxLevels || holdsDelimiter(p)
		return !doubt
	})
	return doubt
}

func levels(p *eml.Part) int {
	n := 0
	for p = p.Parent; p != nil; p = p.Parent {
		n++
	}
	return n
}

// holdsDelimiter reports whether the decoded text, which the skeleton holds without its
// encoding, would end the part where the encoded one does not.
func holdsDelimiter(p *eml.Part) bool {
	if p.Parent == nil || p.Encoding == eml.Identity || !ridesAlong(p) {
		return false
	}
	text := p.Head(int(p.Size))
	for q := p.Parent; q != nil; q = q.Parent {
		if b := q.Params["boundary"]; b != "" && bytes.Contains(text, []byte("--"+b)) {
			return true
		}
	}
	return false
}

// merge appends what is not known yet: the skeleton and the raw message say much the same.
func merge(findings, more []eml.Finding) []eml.Finding {
	for _, f := range more {
		known := func(g eml.Finding) bool { return g.Part == f.Part && g.Check == f.Check && g.Detail == f.Detail }
		if !slices.ContainsFunc(findings, known) {
			findings = append(findings, f)
		}
	}
	return findings
}
