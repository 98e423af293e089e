package scanners

import (
	"bytes"
	"context"
	"io"
	"path"
	"strings"

	"rastel/sanitize/eml"
)

// mailboxHead is how much of a file is looked at for the line that a mailbox begins with.
const mailboxHead = 128

// isMailbox reports whether mail programs take the part for a mailbox of the form mbox (RFC 4155): by
// the line it begins with, or by one of its names.
func isMailbox(p *eml.Part) bool {
	if isFromLine(bytes.TrimLeft(afterMark(p.Head(mailboxHead)), "\r\n")) {
		return true
	}
	for _, name := range p.Names {
		if ext := strings.ToLower(path.Ext(strings.TrimRight(name, ". "))); ext == ".mbox" || ext == ".mbx" {
			return true
		}
	}
	return false
}

func isFromLine(line []byte) bool { return bytes.HasPrefix(line, []byte("From ")) }

// mailbox yields the messages of a mailbox behind the first. The parser, which knows no mailboxes,
// takes them for text that belongs to the first.
func mailbox(ctx context.Context, p *eml.Part, b *Budget, yield func(*eml.Part) error) error {
	content := p.Content()
	lines := newLineReader(ctx, content)
	start, from := int64(0), int64(-1) // of the message, and of a line that may begin the next
	blank := false                     // the line before is empty
	next := func(at int64) error {
		if start == 0 {
			start = at
			return nil
		}
		m, err := b.Member(ctx, p, 1, nil, io.NewSectionReader(content, start, at-start))
		if err != nil {
			if m != nil {
				m.Release()
			}
			return err
		}
		m.MediaType, start = "message/rfc822", at
		return yield(m)
	}
	for {
		line, err := lines.read()
		if err == io.EOF {
			return next(content.Size())
		}
		if err != nil {
			return err
		}
		if lines.inside {
			continue
		}
		begins := from >= 0 && beginsWithName(line) // mboxcl, and Thunderbird: a field follows
		if isFromLine(line) {
			from = lines.off
		} else if !begins {
			from = -1
		}
		if dated := from == lines.off && blank && tellsTime(line); from > 0 && (begins || dated) {
			if err := next(from); err != nil {
				return err
			}
			from = -1
		}
		blank = len(trimBlanks(line)) == 0
	}
}

// beginsWithName reports whether a line begins as a field of a header does.
func beginsWithName(line []byte) bool {
	name, _, ok := bytes.Cut(line, []byte(":"))
	return ok && len(name) > 0 && bytes.IndexFunc(name, func(r rune) bool { return r <= ' ' || r > '~' }) < 0
}

// tellsTime reports whether a line has a time of day in it, as those between messages do.
func tellsTime(line []byte) bool {
	isDigit := func(c byte) bool { return c >= '0' && c <= '9' }
	for i := 1; i+1 < len(line); i++ {
		if line[i] == ':' && isDigit(line[i-1]) && isDigit(line[i+1]) {
			return true
		}
	}
	return false
}
