package milter

import (
	"strconv"
	"strings"

	"github.com/emersion/go-milter"

	"rastel/policy"
)

// Limits of a reply. A line, with code and escapes, stays below the 512 bytes of RFC 5321
// section 4.5.3.1.5.
const (
	maxReplyText  = 380 // bytes of text in a line, escapes included
	maxReplyLines = 8
)

// The replies that are used where the verdict has none of its own.
var (
	tempFailReply = policy.Reply{Code: 451, Enhanced: "4.7.1", Text: "The message could not be examined; try again later"}
	rejectReply   = policy.Reply{Code: 550, Enhanced: "5.7.1", Text: "The message was refused because of its content"}
)

// replyPacket is a reply as the MTA gives it to its client. Sendmail makes a permanent error
// of a reply that it does not like, Postfix drops the connection, so nothing questionable is
// left in it: the code is 4xx for a tempfail and 5xx for a reject, the enhanced code is of the
// same class (RFC 3463), the text is printable ASCII, and "%" is doubled, because Sendmail
// formats the text.
func replyPacket(action policy.Action, r policy.Reply) milter.Response {
	r = settleReply(action, r)
	code, lines := strconv.Itoa(r.Code), replyLines(r.Text)
	var b strings.Builder
	for i, line := range lines {
		sep, end := "-", "\r\n"
		if i == len(lines)-1 {
			sep, end = " ", ""
		}
		b.WriteString(code + sep + r.Enhanced + " " + line + end)
	}
	return milter.NewResponseStr(byte(milter.ActReplyCode), b.String())
}

// settleReply puts what the action has by default in place of what does not fit it.
func settleReply(action policy.Action, r policy.Reply) policy.Reply {
	def := tempFailReply
	if action == policy.Reject {
		def = rejectReply
	}
	// 421 would make the MTA close the whole SMTP session (RFC 5321 section 3.8).
	if r.Code/100 != def.Code/100 || r.Code == 421 {
		r.Code = def.Code
	}
	if !validEnhanced(r.Enhanced, def.Enhanced[0]) {
		r.Enhanced = def.Enhanced
	}
	if len(replyLines(r.Text)) == 0 {
		r.Text = def.Text
	}
	return r
}

// validEnhanced checks the form of RFC 3463 section 2 and the class.
func validEnhanced(s string, class byte) bool {
	parts := strings.Split(s, ".")
	if len(parts) != 3 || parts[0] != string(class) {
		return false
	}
	for _, p := range parts[1:] {
		n, err := strconv.ParseUint(p, 10, 16)
		if err != nil || n > 999 || strconv.FormatUint(n, 10) != p {
			return false
		}
	}
	return true
}

// replyLines makes lines that can be sent of a text. What is too much for them is left out.
func replyLines(text string) []string {
	var lines []string
	for line := range strings.Lines(text) {
		for line != "" && len(lines) < maxReplyLines {
			var clean string
			if clean, line = cutReply(line); clean != "" {
				lines = append(lines, clean)
			}
		}
	}
	return lines
}

// cutReply takes from the text as much as fits a line, and cleans it.
func cutReply(text string) (line, rest string) {
	var b strings.Builder
	for i, r := range text {
		c := printable(r)
		if b.Len()+len(c) > maxReplyText {
			rest = text[i:]
			break
		}
		b.WriteString(c)
	}
	return strings.TrimSpace(b.String()), rest
}

func printable(r rune) string {
	switch {
	case r == '%':
		return "%%"
	case r < ' ':
		return " "
	case r > '~':
		return "?"
	}
	return string(r)
}
