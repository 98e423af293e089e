package policy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// A change is one item of a rule's "do" list.
type change struct {
	kind     *changeKind
	patterns []*pattern   // of defang and disarm: the checks whose findings they fix; nil means those of the condition
	text     string       // of strip, rename, mangle and mta_hold: why; of tag_subject: the tag
	name     string       // of add_header, set_header and remove_header
	value    string       // of add_header and set_header
	banner   Banner       // of banner
	notify   Notification // of notify
	notice   bool         // of rename and mangle: the reader is told
	signed   bool         // of banner, and of that notice: also where that breaks a signature

	addresses []string // of redirect, add_recipient and remove_recipient
}

// A changeKind is a word of "do" lists.
type changeKind struct {
	word
	example string // of its argument; empty if it takes none
	// perPart says that it acts on a part, so that a rule for messages cannot have it.
	perPart bool
	// parse reads the argument; nil if it takes none. The argument is nil where it was left
	// out, if that is allowed.
	parse    func(s *source, c *change, arg ast.Node, vocab *vocabulary)
	required bool // the argument must be there
	notice   bool // the reader is told of it, unless the argument says otherwise
}

// The words of "do" lists.
const (
	wordDefang = "defang"
	wordDisarm = "disarm"
	wordStrip  = "strip"
	wordRename = "rename"
	wordMangle = "mangle"
	wordClean  = "clean"
	wordText   = "text"
	wordHeader = "add_header"
	wordTag    = "tag_subject"
	wordHold   = "hold"
	wordBanner = "banner"

	wordSetHeader       = "set_header"
	wordRemoveHeader    = "remove_header"
	wordRedirect        = "redirect"
	wordAddRecipient    = "add_recipient"
	wordRemoveRecipient = "remove_recipient"
	wordMTAHold         = "mta_hold"
	wordNotify          = "notify"
)

var changeKinds = []changeKind{
	{
		word:    word{wordDefang, "Make the findings harmless in place, by the fixes that the scanners gave: those of the checks that the condition asks for (all, if it asks for none), or of the check or list of checks given here. In a rule for messages, in all parts. Where a finding has no fix, or is in an archive, the whole attachment is stripped instead, as the trace tells."},
		example: `"html/*"`, parse: (*source).defang,
	},
	{
		word:    word{wordDisarm, "Take what was found out of documents, and deliver the rest of them: the findings are chosen as by `defang`. Macros, macro sheets, links to templates and the like are taken out of documents of Office 2007 and later (docm, xlsm, pptm, docx, ...), and macros out of OpenDocument; all else in them stays as it is, byte for byte. Scripts, launch actions and what else acts by itself are taken out of PDF documents (`pdf/*`), in place. Where that is not possible (the finding has no such fix, the document is in an archive or in another document, encrypted, signed, or damaged), the message is quarantined, never delivered with it. To strip such attachments instead, strip them in a rule before, or with `defang`."},
		example: `"office/macro*"`, parse: (*source).defang,
	},
	{
		word:    word{wordStrip, "Replace the part by a notice, which tells the reason given here (if none is given, the name of the rule). Of a member, the attachment that carries it is replaced."},
		example: `"Programs are not accepted by mail."`, perPart: true, parse: (*source).stripReason,
	},
	{
		word:    word{wordRename, "Give the part a name that no desktop opens by a double click. Of a member, whose name cannot be changed, the attachment that carries it is stripped. The reader is not told, unless a reason is given here, or `{notice: yes}`; then as by `mangle`."},
		example: `{notice: yes}`, perPart: true, parse: (*source).renaming,
	},
	{
		word:    word{wordMangle, "As `rename`, but whatever the extension is, the new one does nothing, and the declared type becomes `application/octet-stream`: `report.xyz` is then `DEFANGED-report.DEFANGED-xyz`. Whoever wants it can save it under its own name. One notice at the top of the message, where banners are put, names all parts that are renamed, with their old and new names and the reason given here (if none is given, the name of the rule). Where there is no text to put it into, as in what is signed, it becomes a part of its own. `{notice: no}`: the reader is not told. `{reason: ..., signed: yes}`: the notice is put into what is signed too."},
		example: `"Scripts are not opened by mail."`, perPart: true, parse: (*source).renaming, notice: true,
	},
	{
		word:    word{wordClean, "Write an HTML part anew, with nothing in it but text, tables, lists, pictures, links and styles that are known to be harmless. A drawing, other XML and a member of an archive is left as it is, unless the scanners have found something unsafe in it (`html/*`), which is then defanged or stripped."},
		perPart: true,
	},
	{
		word:    word{wordText, "Make plain text of an HTML part. What is no HTML that can be written anew is treated as by `clean`."},
		perPart: true,
	},
	{
		word:    word{wordHeader, "Add a field behind all others, unless the same is there already. Fields that a message has once (From, Subject, ...) and those of MIME cannot be added."},
		example: `{name: X-Filtered, value: "yes"}`, required: true, parse: (*source).addHeader,
	},
	{
		word:    word{wordTag, "Put a text before the subject, unless it is there already (also behind `Re:` and the like)."},
		example: `"[suspicious]"`, required: true, parse: (*source).tag,
	},
	{
		word:    word{wordBanner, "Put a text at the top of what the reader sees: of the first text of the message, in all its alternatives, but not in attachments, nor in what is signed with S/MIME or PGP. One that is there already is not put in again. The text is that of a banner with a name (built in are `external`, `suspicious` and `changed`; see notices.md), or the one given here. As `{text: ..., signed: yes}` or `{name: ..., signed: yes}` also where it breaks a signature."},
		example: `"This message comes from outside. Be careful with links."`, required: true, parse: (*source).banner,
	},
	{
		word: word{wordHold, "Keep a copy of the original in quarantine, even if the message goes on. One that is refused for now is not kept: it comes again."},
	},
	{
		word:    word{wordSetHeader, "Give the message one field of that name with that value, in the place of all that it has. It is for the same fields as `add_header`."},
		example: `{name: X-Spam, value: "no"}`, required: true, parse: (*source).addHeader,
	},
	{
		word:    word{wordRemoveHeader, "Remove all fields of that name, of those that can be added."},
		example: `X-Spam`, required: true, parse: (*source).removeHeader,
	},
	{
		word:    word{wordRedirect, "Send the message to this address, or these, instead of its recipients; in a rule for recipients, instead of the recipient. Whom `add_recipient` has added still gets it. A second one takes the place of the first."},
		example: `abuse@example.org`, required: true, parse: (*source).addresses,
	},
	{
		word:    word{wordAddRecipient, "Send the message to this address, or these, too. In a rule for recipients: as the recipient gets it."},
		example: `[archive@example.org, audit@example.org]`, required: true, parse: (*source).addresses,
	},
	{
		word:    word{wordRemoveRecipient, "Do not send the message to this address, or these. In a rule for recipients, where it has no argument: not to the recipient, nor to whom the message was redirected. If nobody is left, the message is discarded."},
		example: `old@example.org`, parse: (*source).addresses,
	},
	{
		word:    word{wordMTAHold, "Have the MTA keep the message, changed as it is to be delivered, in its hold queue (Postfix) or quarantine (Sendmail), from where an administrator lets it go. The reason, or else the name of the rule, is in the queue of Sendmail; Postfix does not keep it. The first one counts."},
		example: `"to be looked at"`, parse: (*source).mtaHold,
	},
	{
		word:    word{wordNotify, "Send a notice about the message, whatever becomes of it unless it is refused for now: what was found and where, what was done by which rule, the item in quarantine, the reference. It goes to an address, to a list of them, or as `{to: ..., text: ..., full: yes}`. It is plain text with the null sender (RFC 3834), in which nothing of the message can act. However many messages a rule holds for, the same recipients get only so many of its notices in an hour (`notify` in rastel.yaml); the next one tells how many were left out."},
		example: `postmaster@example.org`, required: true, parse: (*source).notify,
	},
}

func changeName(k *changeKind) string { return k.name }

// maxChanges is how many items a "do" list may have.
const maxChanges = 50

// changes reads the "do" list of a rule.
func (s *source) changes(n ast.Node, r *rule, vocab *vocabulary) []change {
	items := s.list(n, "\"do\"")
	if len(items) > maxChanges {
		s.errorf(nodePlace(n), "more than %d changes in a rule", maxChanges)
		return nil
	}
	var out []change
	for _, item := range items {
		if c, ok := s.change(item, r, vocab); ok {
			out = append(out, c)
		}
	}
	return out
}

// change reads one item: a word, or a word with its argument.
func (s *source) change(n ast.Node, r *rule, vocab *vocabulary) (change, bool) {
	at, arg := n, ast.Node(nil)
	if m, ok := n.(*ast.MappingNode); ok {
		if len(m.Values) != 1 {
			s.errorf(nodePlace(n), "one change is one word; write each as an item of its own")
			return change{}, false
		}
		at, arg = m.Values[0].Key, m.Values[0].Value
	}
	v, ok := s.scalar(at, "a change")
	if !ok {
		return change{}, false
	}
	c := change{kind: find(changeKinds, v.text, changeName)}
	c.notice = c.kind != nil && c.kind.notice
	switch k := c.kind; {
	case k == nil:
		s.errorf(v.at, "%s", unknown("change", v.text, changeNames()))
	case k.perPart && !r.perPart:
		s.errorf(v.at, "%q is for rules with \"for: part\" only", k.name)
	case arg == nil && k.required:
		s.errorf(v.at, "%q needs an argument: %s: %s", k.name, k.name, k.example)
	case arg != nil && k.parse == nil:
		s.errorf(nodePlace(arg), "%q takes no argument", k.name)
	case k.name == wordRemoveRecipient && r.perRecipient && arg != nil:
		s.errorf(nodePlace(arg), "%q takes no argument in rules with \"for: recipient\": it is about that one", k.name)
	case k.name == wordRemoveRecipient && !r.perRecipient && arg == nil:
		s.errorf(v.at, "%q needs an address, or is for rules with \"for: recipient\"", k.name)
	case arg != nil:
		k.parse(s, &c, arg, vocab)
	}
	return c, c.kind != nil
}

func changeNames() []string {
	out := make([]string, len(changeKinds))
	for i := range changeKinds {
		out[i] = changeKinds[i].name
	}
	return out
}

func (s *source) defang(c *change, arg ast.Node, vocab *vocabulary) {
	items := []ast.Node{arg}
	if l, ok := arg.(*ast.SequenceNode); ok {
		items = l.Values
	}
	if len(items) == 0 {
		s.errorf(nodePlace(arg), "an empty list of checks")
	}
	for _, item := range items {
		v, ok := s.scalar(item, "a check")
		if !ok {
			continue
		}
		p, wrong := vocab.pattern(v.text)
		if wrong != "" {
			s.errorf(v.at, "%s", wrong)
		}
		c.patterns = append(c.patterns, p)
	}
}

// maxReason is how long the reason in a notice may be.
const maxReason = 1000

func (s *source) stripReason(c *change, arg ast.Node, _ *vocabulary) {
	v, ok := s.scalar(arg, "the reason")
	c.text = strings.TrimSpace(v.text)
	if ok && (c.text == "" || len(c.text) > maxReason) {
		s.errorf(v.at, "the reason must be from 1 to %d bytes", maxReason)
	}
}

// renaming reads what is told of a new name: a reason, or more than that.
func (s *source) renaming(c *change, arg ast.Node, vocab *vocabulary) {
	if _, ok := arg.(*ast.MappingNode); !ok {
		c.notice = true
		s.stripReason(c, arg, vocab)
		return
	}
	m, ok := s.mapping(arg, "a new name", renameKeys)
	if !ok {
		return
	}
	if n := m["reason"]; n != nil {
		c.notice = true
		s.stripReason(c, n, vocab)
	}
	if n := m["notice"]; n != nil {
		c.notice = s.yes(n, "notice")
	}
	if n := m["signed"]; n != nil {
		c.signed = s.yes(n, "signed")
	}
}

// yes reads yes or no.
func (s *source) yes(n ast.Node, key string) bool {
	v, ok := s.scalar(n, key)
	yes := v.text == "yes" || v.text == "true"
	if ok && !yes && v.text != "no" && v.text != "false" {
		s.errorf(v.at, "%q must be yes or no", key)
	}
	return yes
}

// Limits of a banner that a policy holds.
const (
	maxBanner      = 1000 // bytes
	maxBannerLines = 20
)

func (s *source) banner(c *change, arg ast.Node, vocab *vocabulary) {
	if _, ok := arg.(*ast.MappingNode); !ok {
		v, ok := s.scalar(arg, "the banner")
		if ok && isBannerName(v.text) {
			s.bannerName(c, v, vocab)
		} else if ok {
			s.bannerText(c, v)
		}
		return
	}
	m, ok := s.mapping(arg, "a banner", bannerKeys)
	if !ok {
		return
	}
	if (m["text"] == nil) == (m["name"] == nil) {
		s.errorf(nodePlace(arg), "a banner has either a %q or a %q", "text", "name")
		return
	}
	if n := m["signed"]; n != nil {
		c.signed = s.yes(n, "signed")
	}
	if n := m["name"]; n != nil {
		if v, ok := s.scalar(n, "the name of a banner"); ok {
			s.bannerName(c, v, vocab)
		}
	} else if v, ok := s.scalar(m["text"], "the banner"); ok {
		s.bannerText(c, v)
	}
}

// isBannerName reports whether a text is one word that may be the name of a banner: then it must be,
// so that a slip is not shown to everybody.
func isBannerName(s string) bool {
	return s != "" && len(s) <= maxLanguage && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-'
	})
}

func (s *source) bannerName(c *change, v scalar, vocab *vocabulary) {
	c.banner.Name = v.text
	if !isBannerName(v.text) || len(vocab.banners) > 0 && !slices.Contains(vocab.banners, v.text) {
		s.errorf(v.at, "%s", unknown("banner", v.text, vocab.banners))
	}
}

func (s *source) bannerText(c *change, v scalar) {
	text := strings.Trim(v.text, "\n")
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		lines[i] = strings.TrimRight(line, " ")
		if !printable(line) {
			s.errorf(v.at, "the banner must be of printable characters")
			return
		}
	}
	if strings.TrimSpace(text) == "" || len(text) > maxBanner || len(lines) > maxBannerLines {
		s.errorf(v.at, "the banner must be from 1 to %d bytes in at most %d lines", maxBanner, maxBannerLines)
	}
	c.banner.Text = strings.Join(lines, "\n") + "\n"
}

// Limits of languages.
const (
	maxLanguage  = 35 // bytes of a tag (RFC 5646 section 4.4.1)
	maxLanguages = 9
)

// languages reads one language or a list of them.
func (s *source) languages(n ast.Node, vocab *vocabulary) []string {
	items := []ast.Node{n}
	if l, ok := n.(*ast.SequenceNode); ok {
		items = l.Values
	}
	if len(items) == 0 || len(items) > maxLanguages {
		s.errorf(nodePlace(n), "there must be from 1 to %d languages", maxLanguages)
		return nil
	}
	var out []string
	for _, item := range items {
		v, ok := s.scalar(item, "a language")
		switch {
		case !ok:
		case slices.Contains(out, v.text):
			s.errorf(v.at, "the language %q is there twice", v.text)
		case !isBannerName(strings.ToLower(v.text)), len(vocab.languages) > 0 && !slices.Contains(vocab.languages, v.text):
			s.errorf(v.at, "%s", unknown("language", v.text, vocab.languages))
		default:
			out = append(out, v.text)
		}
	}
	return out
}

// maxTag is how long a tag may be in bytes, so that it fits one encoded word.
const maxTag = 40

func (s *source) tag(c *change, arg ast.Node, _ *vocabulary) {
	v, ok := s.scalar(arg, "the tag")
	c.text = strings.TrimSpace(v.text)
	if ok && (c.text == "" || len(c.text) > maxTag || !printable(c.text) || strings.Contains(c.text, "=?")) {
		s.errorf(v.at, "the tag must be from 1 to %d bytes of printable characters on one line", maxTag)
	}
}

// Limits of a field that is added. Its line stays below the 998 characters of RFC 5322
// section 2.1.1, also when it is encoded.
const (
	maxFieldName  = 70
	maxFieldValue = 400
)

func (s *source) addHeader(c *change, arg ast.Node, _ *vocabulary) {
	m, ok := s.mapping(arg, "a field", fieldKeys)
	if !ok {
		return
	}
	for _, key := range names(fieldKeys) {
		if m[key] == nil {
			s.errorf(nodePlace(arg), "the field has no %q", key)
			return
		}
	}
	name, ok := s.scalar(m["name"], "the name of a field")
	if ok {
		s.fieldName(name)
	}
	value, ok := s.scalar(m["value"], "the value of a field")
	c.name, c.value = name.text, strings.TrimSpace(value.text)
	if ok && (len(c.value) > maxFieldValue || !printable(c.value) || strings.Contains(c.value, "=?")) {
		s.errorf(value.at, "the value must be at most %d bytes of printable characters on one line", maxFieldValue)
	}
}

// ownFields are those that a message has at most once (RFC 5322 section 3.6), or that tell
// where it has been: with a second one clients would show different things.
var ownFields = []string{
	"date", "from", "sender", "reply-to", "to", "cc", "bcc", "message-id", "in-reply-to", "references", "subject",
	"mime-version", "received", "return-path",
}

func (s *source) fieldName(v scalar) {
	lower := strings.ToLower(v.text)
	switch {
	case !isFieldName(v.text):
		s.errorf(v.at, "%.80q is no name of a header field", v.text)
	case slices.Contains(ownFields, lower), strings.HasPrefix(lower, "content-"), strings.HasPrefix(lower, "resent-"):
		s.errorf(v.at, "a field %q cannot be added or removed: the message's own would no longer be certain", v.text)
	}
}

func (s *source) removeHeader(c *change, arg ast.Node, _ *vocabulary) {
	v, ok := s.scalar(arg, "the name of a field")
	if c.name = v.text; ok {
		s.fieldName(v)
	}
}

// maxHoldReason is how long the reason may be that the MTA is told.
const maxHoldReason = 200

func (s *source) mtaHold(c *change, arg ast.Node, _ *vocabulary) {
	v, ok := s.scalar(arg, "the reason")
	c.text = strings.TrimSpace(v.text)
	if ok && (c.text == "" || len(c.text) > maxHoldReason || !printable(c.text) || !ascii(c.text)) {
		s.errorf(v.at, "the reason must be from 1 to %d printable ASCII characters on one line", maxHoldReason)
	}
}

// String is the change as the trace tells it.
func (c *change) String() string {
	switch {
	case len(c.notify.To) > 0:
		return fmt.Sprintf("%s %s", c.kind.name, strings.Join(c.notify.To, ", "))
	case len(c.addresses) > 0:
		return fmt.Sprintf("%s %s", c.kind.name, strings.Join(c.addresses, ", "))
	case c.name != "":
		return fmt.Sprintf("%s %s", c.kind.name, c.name)
	case c.kind.name == wordTag, c.kind.name == wordMTAHold && c.text != "":
		return fmt.Sprintf("%s %q", c.kind.name, c.text)
	}
	return c.kind.name
}
