package eml

import (
	"context"
	"io"
	"strings"
)

// maxSkeletonText is the largest text that goes into the skeleton.
const maxSkeletonText = 256 << 10

// InSkeleton reports whether Skeleton holds the decoded content of the part, so that a scanner
// that was given the skeleton need not be given the part.
func (p *Part) InSkeleton() bool {
	if !p.leaf || p.member || p.Reading != "" || p.Size > maxSkeletonText || strings.HasPrefix(p.MediaType, "message/") {
		return false
	}
	switch p.Type {
	case "text", "html", "xml", "svg", "calendar", "vcard", "empty":
		return true
	}
	return false
}

// Skeleton writes the message without the content of leaves that are examined on their own:
// headers, structure, and text parts, which it writes decoded. It is a message again, so that
// signatures for mail apply to it.
func (m *Message) Skeleton(w io.Writer) error {
	s := skeletonWriter{w: w, m: m}
	m.Root.Walk(func(p *Part) bool {
		if !p.member {
			s.part(p)
		}
		return s.err == nil && !p.member
	})
	s.raw(m.Size)
	return s.err
}

type skeletonWriter struct {
	w   io.Writer
	m   *Message
	at  int64 // raw bytes before it were written or left out
	err error
}

// raw writes the raw message from where we are to that offset.
func (s *skeletonWriter) raw(to int64) {
	if s.err == nil && to > s.at {
		_, s.err = io.Copy(s.w, io.NewSectionReader(s.m.Spool, s.at, to-s.at))
	}
	s.at = max(s.at, to)
}

func (s *skeletonWriter) part(p *Part) {
	if !p.leaf {
		return
	}
	if p.Encoding != Identity && p.InSkeleton() {
		s.headerAsIdentity(p)
	}
	s.raw(p.body)
	if p.Encoding == Identity && p.InSkeleton() {
		s.raw(p.end)
		return
	}
	if s.err == nil && p.InSkeleton() {
		_, s.err = io.Copy(s.w, p.Content())
	}
	s.at = max(s.at, p.end)
}

// headerAsIdentity writes the header of a part whose content is written decoded, so without
// the field that says how it was encoded.
func (s *skeletonWriter) headerAsIdentity(p *Part) {
	for f := range p.Header.All("Content-Transfer-Encoding") {
		s.raw(p.start + f.Start)
		s.at = max(s.at, p.start+f.End)
	}
}

// ParseContent reads the decoded content of a leaf as a message of its own: a forwarded mail
// that was attached as a file, or encoded. Its entities become members of the part, and each
// leaf goes to leaf.
//
// All messages within one share what their other readings may cost. What is beyond that is not
// read, which is a finding; the Message is nil if that is all of it.
func ParseContent(ctx context.Context, p *Part, lim Limits, leaf func(*Part)) (*Message, []Finding, error) {
	allowed, inner := allowanceOf(p), p.inReading()
	if inner && !allowed.take(p.Size, true) {
		return nil, []Finding{{Check: "mime/limit-readings", Part: p, Detail: "a message in one of too many ways to read another", Unexamined: true}}, nil
	}
	s := p.content
	if s == nil {
		s = NewSpool(lim.Spool)
		p.keep(s)
		if _, err := io.Copy(s, p.Content()); err != nil {
			return nil, nil, err
		}
		s.CloseWrite(nil)
	}
	root := &Part{ID: p.memberID(1), src: s, Parent: p, member: true, Depth: p.Depth + 1}
	q := newParser(ctx, root, s, lim.withDefaults(), leaf)
	q.others.allowed, q.others.inner = allowed, inner
	if err := q.run(); err != nil {
		return nil, nil, err
	}
	return q.msg, q.findings, nil
}

// header returns the raw header of the part up to its end, without the empty line.
func (p *Part) headerEnd() int64 { return p.start + int64(len(p.Header.raw)) }
