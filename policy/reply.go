package policy

import (
	"regexp"
	"slices"
	"strings"

	"rastel/sanitize/eml"
)

// Limits of what is put into the text of a reply.
const (
	maxReplyPart = 60  // characters of the name of a part
	maxFilled    = 400 // characters of a text with all that was put into it; it fits two lines of a reply
)

// placeholder is a word in a reply's text that something is put in place of. Other braces are what they are.
var placeholder = regexp.MustCompile(`\{[A-Za-z_]+\}`)

// placeholders are those that there are.
var placeholders = []word{
	{"rule", "The name of the rule."},
	{"part", "The name of the first part that the rule holds for, in quotes; `part 1.2` if it has none, and `the message` if it is that."},
	{"check", "The check of the first finding that the condition asks for."},
	{"reference", "What names the message in the log and in quarantine, or at a stage before there is one the session."},
}

// replyPlaceholders reports what cannot be put into the text of a rule's reply.
func (s *source) replyPlaceholders(r *rule, v scalar) {
	for _, found := range placeholder.FindAllString(v.text, -1) {
		name := found[1 : len(found)-1]
		switch {
		case !slices.Contains(names(placeholders), name):
			s.errorf(v.at, "%s", unknown("placeholder", name, names(placeholders)))
		case name == "part" && r.stage != eml.AtData:
			s.errorf(v.at, "at stage %q there is no part to name in the text", r.stage)
		case name == "check" && r.condition != nil && len(r.condition.patterns) == 0:
			s.errorf(v.at, "the condition asks for no check that the text could name; it does so by has(...)")
		}
	}
}

// replyOf is what the sender is told by a rule, with all placeholders filled in.
func (d *decision) replyOf(r *rule) Reply {
	reply := r.reply
	if !strings.Contains(reply.Text, "{") {
		return reply
	}
	reply.Text = placeholder.ReplaceAllStringFunc(reply.Text, func(found string) string {
		switch found {
		case "{rule}":
			return replySafe(r.name, maxName)
		case "{part}":
			p, _ := d.matchedBy(r)
			return nameInReply(p)
		case "{check}":
			if _, f := d.matchedBy(r); f != nil {
				return replySafe(f.Check, maxName)
			}
			return "no check"
		case "{reference}":
			return replySafe(d.reference(), maxName)
		}
		return found
	})
	if text := []rune(reply.Text); len(text) > maxFilled {
		reply.Text = string(text[:maxFilled-3]) + "..."
	}
	return reply
}

// reference is what the message is called, or else its session.
func (d *decision) reference() string {
	env := d.facts.msg.Envelope
	for _, s := range []string{d.given.Reference, env.Session, env.QueueID} {
		if s != "" {
			return s
		}
	}
	return "none"
}

// matchedBy is the first part that a rule holds for, and the first finding there that its condition asks for. Both may
// be nil.
func (d *decision) matchedBy(r *rule) (*part, *finding) {
	findings := d.facts.findings
	var where *part
	if r.perPart {
		i := slices.IndexFunc(d.verdict.Trace, func(s Step) bool { return s.Rule == r.name && s.Matched })
		j := -1
		if i >= 0 {
			j = slices.IndexFunc(d.facts.parts, func(p *part) bool { return p.ID == d.verdict.Trace[i].Part })
		}
		if j < 0 {
			return nil, nil
		}
		where = d.facts.parts[j]
		findings = where.findings
	}
	for _, f := range findings {
		if matchAny(r.condition.patterns, f.Check) {
			if where == nil {
				where = f.part
			}
			return where, f
		}
	}
	return where, nil
}

// nameInReply names a part for the sender.
func nameInReply(p *part) string {
	if p == nil || p.Parent == nil {
		return "the message"
	}
	for _, n := range p.Names {
		if i := strings.LastIndexAny(n, `/\`); i >= 0 {
			n = n[i+1:]
		}
		if n = replySafe(strings.TrimSpace(n), maxReplyPart); n != "" {
			return `"` + n + `"`
		}
	}
	return "part " + p.ID
}

// replySafe is text that may stand in a reply, whoever wrote it: printable ASCII without what a terminal, a shell,
// a page or the MTA makes something of, and no more of it than n characters.
func replySafe(s string, n int) string {
	var b strings.Builder
	count := 0
	for _, r := range s {
		if count++; count > n {
			return b.String() + "..."
		}
		switch {
		case r < ' ' || r > '~':
			b.WriteByte('?')
		case strings.ContainsRune("\"\\<>%{}`$|;&", r):
			b.WriteByte('_')
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}
