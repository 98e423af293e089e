package policy

import (
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// Words in the place of an address that a notice goes to.
const (
	toSender     = "sender"
	toRecipients = "recipients"
)

// Limits of a notice.
const (
	maxNoticeTo   = 20   // addresses
	maxNoticeText = 1000 // bytes
)

var notifyKeys = []word{
	{"to", "An address or a list of them. `recipients`: those of the envelope, which is meant for mail that comes in. `sender`: that of the envelope, but only where it is certain who that is: the client is authenticated, or the message passes DMARC (`dmarc/pass`) and the domain of its From field is that of the envelope; and never in answer to the null sender, to mail of a list or to what a program sent (RFC 3834)."},
	{"text", "What the notice says before it tells what was found."},
	{"full", "`yes`: the header of the message is in it, as text."},
}

// IsAddress reports whether s may stand between the angle brackets of RCPT TO: a Mailbox of RFC 5321 section
// 4.1.2, in ASCII. So it can stand in a header field too.
func IsAddress(s string) bool { return isAddress(s) }

// notify reads whom a notice goes to, and what it says.
func (s *source) notify(c *change, arg ast.Node, _ *vocabulary) {
	if _, ok := arg.(*ast.MappingNode); !ok {
		c.notify.To = s.noticeTo(arg)
		return
	}
	m, ok := s.mapping(arg, "a notice", notifyKeys)
	if !ok {
		return
	}
	if m["to"] == nil {
		s.errorf(nodePlace(arg), "a notice has no %q", "to")
		return
	}
	c.notify.To = s.noticeTo(m["to"])
	if n := m["text"]; n != nil {
		c.notify.Text = s.noticeText(n)
	}
	if n := m["full"]; n != nil {
		c.notify.Full = s.yes(n, "full")
	}
}

func (s *source) noticeTo(n ast.Node) []string {
	items := []ast.Node{n}
	if l, ok := n.(*ast.SequenceNode); ok {
		items = l.Values
	}
	if len(items) == 0 || len(items) > maxNoticeTo {
		s.errorf(nodePlace(n), "there must be from 1 to %d addresses", maxNoticeTo)
		return nil
	}
	var out []string
	for _, item := range items {
		v, ok := s.scalar(item, "an address")
		switch {
		case !ok:
		case slices.Contains(out, v.text):
			s.errorf(v.at, "the address %q is there twice", v.text)
		case v.text != toSender && v.text != toRecipients && !isAddress(v.text):
			s.errorf(v.at, "%.80q is neither an address nor %q nor %q", v.text, toSender, toRecipients)
		default:
			out = append(out, v.text)
		}
	}
	return out
}

func (s *source) noticeText(n ast.Node) string {
	v, ok := s.scalar(n, "the text of a notice")
	text := strings.Trim(v.text, "\n")
	for line := range strings.Lines(text) {
		ok = ok && printable(strings.TrimRight(line, "\n"))
	}
	if !ok || strings.TrimSpace(text) == "" || len(text) > maxNoticeText {
		s.errorf(v.at, "the text must be from 1 to %d bytes of printable characters", maxNoticeText)
	}
	return text
}

// addNotice notes a notice, each once however many parts the rule held for.
func (c *changes) addNotice(r *rule, ch *change) string {
	n := ch.notify
	n.Rule = r.name
	same := func(o Notification) bool {
		return o.Rule == n.Rule && o.Text == n.Text && o.Full == n.Full && slices.Equal(o.To, n.To)
	}
	if !slices.ContainsFunc(c.notices, same) {
		c.notices = append(c.notices, n)
	}
	return ch.String()
}

// notify puts the notices into the verdict.
func (d *decision) notify() {
	var step Step
	if d.verdict.Notices, step = d.facts.notices(d.changes.notices, d.changes.route.own); step.Rule != "" {
		d.trace(step)
	}
}

// notices are those of the changes, to those recipients of the message who they are about.
func (f *facts) notices(list []Notification, recipients []string) (out []Notification, step Step) {
	for _, n := range list {
		var to []string
		for _, a := range n.To {
			switch a {
			case toRecipients:
				to = append(to, recipients...)
			case toSender:
				if why := f.unanswerable(); why != "" {
					step = Step{Rule: n.Rule, Why: "the sender gets no notice: " + why}
					continue
				}
				to = append(to, f.msg.Envelope.Sender)
			default:
				to = append(to, a)
			}
		}
		slices.Sort(to)
		if n.To = slices.Compact(to); len(n.To) > 0 {
			out = append(out, n)
		}
	}
	return out, step
}

// unanswerable tells why nothing may be sent to the sender of the envelope; empty if it may.
func (f *facts) unanswerable() string {
	env := f.msg.Envelope
	switch {
	case env.Sender == "":
		return "the message has the null sender"
	case f.automatic():
		return "a program has sent the message, or a list"
	case env.AuthUser != "":
		return ""
	case !slices.ContainsFunc(f.findings, func(g *finding) bool {
		from, ok := strings.CutPrefix(g.Detail, "header.from=")
		return g.Check == "dmarc/pass" && ok && from != "" && from == domain(env.Sender)
	}):
		return "nothing tells that the message is from there"
	}
	return ""
}

// automatic reports whether a message must not be answered by a program (RFC 3834 section 2).
func (f *facts) automatic() bool {
	auto, _, _ := strings.Cut(strings.ToLower(f.first("Auto-Submitted")), ";")
	if auto = strings.TrimSpace(auto); auto != "" && auto != "no" || len(f.header("List-Id")) > 0 {
		return true
	}
	precedence := strings.ToLower(f.first("Precedence"))
	return precedence == "bulk" || precedence == "list" || precedence == "junk"
}
