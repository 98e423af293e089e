package policy

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/goccy/go-yaml/ast"

	"rastel/sanitize/eml"
)

// Limits of rules.
const (
	maxRules = 1000
	maxName  = 100 // bytes of a rule's name
	maxReply = 200 // bytes of a reply's text; a reply line has at most 512 (RFC 5321 section 4.5.3.1.5)
)

// A rule is one line of a policy, ready to be asked.
type rule struct {
	name      string
	stage     eml.Stage
	perPart   bool
	condition *condition
	then      Action // Undecided if it has no final action
	reply     Reply
	do        []change
	languages []string // of its notices and banners; none means those of the policy
	at        place    // of its condition
	watch     bool     // it changes nothing, and decides nothing
	share     share    // of the messages that it is asked for

	perRecipient bool          // asked for each recipient
	class        string        // of what it holds
	retention    time.Duration // of what it holds; 0: that of the quarantine

	// unmatched is what the trace says when the condition does not hold.
	unmatched string
}

// file reads the whole file.
func (s *source) file(p *Policy, opt Options) {
	doc := s.parse()
	if doc == nil {
		return
	}
	m, ok := s.mapping(doc, "a policy", fileKeys)
	if !ok {
		return
	}
	vocab := newVocabulary(opt.Checks)
	p.checks = vocab.checks
	vocab.languages, vocab.banners, vocab.engines = opt.Languages, opt.Banners, opt.Engines
	if m["language"] != nil {
		p.languages = s.languages(m["language"], vocab)
	}
	p.tests = s.tests(m["tests"], opt.Dir)
	p.watch = s.mode(m["mode"])
	if m["rules"] == nil {
		s.errorf(nodePlace(doc), "there are no rules")
		return
	}
	vocab.lists, vocab.anyList = s.lists(m["lists"], opt), opt.Lists == nil
	vocab.networks = s.networks(m["networks"], opt)
	s.entryLists(m, vocab, opt)
	p.inside, p.zone = s.inside(m["inside"], vocab, opt), s.timezone(m["timezone"])
	p.signatures = s.signatures(m["signatures"], vocab)
	p.rules = s.rules(m["rules"], vocab)
	if len(s.errs) == 0 {
		s.unreachable(p.rules)
	}
	for _, r := range p.rules {
		for i := range r.do {
			if text := r.do[i].banner.Text; text != "" && !slices.Contains(p.banners, text) {
				p.banners = append(p.banners, text)
			}
		}
	}
}

// rules reads the list of rules.
func (s *source) rules(n ast.Node, vocab *vocabulary) []*rule {
	items := s.list(n, "rules")
	if len(s.errs) == 0 && (len(items) == 0 || len(items) > maxRules) {
		s.errorf(nodePlace(n), "there must be from 1 to %d rules", maxRules)
		return nil
	}
	var out []*rule
	for _, item := range items {
		if r := s.rule(item, vocab); r != nil {
			if r.name != "" && slices.ContainsFunc(out, func(o *rule) bool { return o.name == r.name }) {
				s.errorf(nodePlace(item), "a second rule is called %q", r.name)
			}
			out = append(out, r)
		}
	}
	return out
}

// rule reads one rule; nil if so little of it can be read that more messages would not help.
func (s *source) rule(n ast.Node, vocab *vocabulary) *rule {
	m, ok := s.mapping(n, "a rule", ruleKeys)
	if !ok {
		return nil
	}
	r := &rule{}
	s.ruleName(r, n, m["name"])
	scope := s.oneOf(m["for"], "scope", scopes)
	r.perRecipient = scope == "recipient"
	r.perPart = scope != "" && scope != "message" && !r.perRecipient
	r.stage = ruleStages[s.oneOf(m["stage"], "stage", stages)]
	if m["when"] == nil {
		s.errorf(nodePlace(n), "a rule has no %q", "when")
	} else if v, ok := s.scalar(m["when"], "a condition"); ok {
		r.at, r.condition = v.at, s.condition(v, r, vocab)
		r.unmatched = fmt.Sprintf("not true: %s", short(v.text, maxShown))
	}
	r.then = finalActions[s.oneOf(m["then"], "action", finals)]
	if r.stage != eml.AtData {
		s.early(r, n, m)
	}
	if m["do"] != nil {
		r.do = s.changes(m["do"], r, vocab)
	}
	if m["language"] != nil {
		r.languages = s.languages(m["language"], vocab)
	}
	s.ruleReply(r, m["reply"])
	r.watch, r.share = s.mode(m["mode"]), s.share(m["share"], r)
	s.ruleKeep(r, m)
	if m["then"] == nil && m["do"] == nil {
		s.errorf(nodePlace(n), "a rule has neither %q nor %q", "then", "do")
	}
	return r
}

// early checks a rule for a stage at which there is no message.
func (s *source) early(r *rule, n ast.Node, m map[string]ast.Node) {
	switch {
	case r.perPart:
		s.errorf(nodePlace(m["for"]), "at stage %q there are no parts", r.stage)
	case r.perRecipient && r.stage == eml.AtRcpt:
		s.errorf(nodePlace(m["for"]), "at stage %q every rule is for one recipient; leave out \"for\"", r.stage)
	case r.perRecipient:
		s.errorf(nodePlace(m["for"]), "at stage %q there are no recipients", r.stage)
	case m["do"] != nil:
		s.errorf(nodePlace(m["do"]), "at stage %q there is nothing to change", r.stage)
	case m["then"] != nil && (r.then == Quarantine || r.then == Discard):
		s.errorf(nodePlace(m["then"]), "at stage %q the action must be accept, tempfail or reject", r.stage)
	}
}

func (s *source) ruleName(r *rule, rule, n ast.Node) {
	if n == nil {
		s.errorf(nodePlace(rule), "a rule has no %q", "name")
		return
	}
	v, ok := s.scalar(n, "a name")
	r.name = strings.TrimSpace(v.text)
	if ok && (r.name == "" || len(r.name) > maxName || !printable(r.name)) {
		s.errorf(v.at, "a name must be from 1 to %d printable characters on one line", maxName)
	}
}

// oneOf gives the word of a table that a node holds; empty if there is no node.
func (s *source) oneOf(n ast.Node, what string, known []word) string {
	if n == nil {
		return ""
	}
	v, ok := s.scalar(n, "this "+what)
	if ok && !slices.Contains(names(known), v.text) {
		s.errorf(v.at, "%s", unknown(what, v.text, names(known)))
	}
	return v.text
}

// ruleReply reads what the sender is told.
func (s *source) ruleReply(r *rule, n ast.Node) {
	if n == nil {
		return
	}
	m, ok := s.mapping(n, "a reply", replyKeys)
	if !ok {
		return
	}
	class := map[Action]int{TempFail: 4, Reject: 5}[r.then]
	if class == 0 {
		s.errorf(nodePlace(n), "a reply is for \"then: tempfail\" and \"then: reject\" only")
		return
	}
	r.reply = Reply{Code: 451, Enhanced: "4.7.1"}
	if class == 5 {
		r.reply = Reply{Code: 550, Enhanced: "5.7.1"}
	}
	s.replyCode(&r.reply, class, m["code"])
	s.replyEnhanced(&r.reply, class, m["enhanced"])
	s.replyText(r, m["text"])
}

// replyCode reads a code of the action's class. Only those of the mail system (the second
// digit is 5, RFC 5321 section 4.2.1): 421 would end the session, 354 would begin another.
func (s *source) replyCode(r *Reply, class int, n ast.Node) {
	if n == nil {
		return
	}
	v, ok := s.scalar(n, "a code")
	if !ok {
		return
	}
	code, err := strconv.Atoi(v.text)
	if lo := class*100 + 50; err != nil || code < lo || code > lo+9 {
		s.errorf(v.at, "the code must be from %d to %d", lo, lo+9)
		return
	}
	r.Code = code
}

func (s *source) replyEnhanced(r *Reply, class int, n ast.Node) {
	if n == nil {
		return
	}
	v, ok := s.scalar(n, "an enhanced status code")
	if !ok {
		return
	}
	if !isEnhanced(v.text, class) {
		s.errorf(v.at, "the enhanced status code must be like %d.7.1 (RFC 3463)", class)
		return
	}
	r.Enhanced = v.text
}

// isEnhanced reports whether s is a status code of that class: class "." subject "." detail,
// the last two of at most three digits (RFC 3463 section 2).
func isEnhanced(s string, class int) bool {
	fields := strings.Split(s, ".")
	if len(fields) != 3 || fields[0] != strconv.Itoa(class) {
		return false
	}
	for _, f := range fields[1:] {
		n, err := strconv.Atoi(f)
		if err != nil || len(f) > 3 || n < 0 || strconv.Itoa(n) != f {
			return false
		}
	}
	return true
}

func (s *source) replyText(r *rule, n ast.Node) {
	if n == nil {
		return
	}
	v, ok := s.scalar(n, "a text")
	if !ok {
		return
	}
	text := strings.TrimSpace(v.text)
	if text == "" || len(text) > maxReply || !printable(text) || !ascii(text) {
		s.errorf(v.at, "the text must be from 1 to %d printable ASCII characters on one line", maxReply)
		return
	}
	r.reply.Text = text
	s.replyPlaceholders(r, v)
}

// printable reports whether s is on one line and holds nothing that a terminal obeys.
func printable(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}

func ascii(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r >= 0x80 })
}

// maxShown is how much of a condition the trace shows.
const maxShown = 200

// short is a text on one line, of at most n characters.
func short(s string, n int) string {
	s = strings.Join(strings.Fields(s), " ")
	if r := []rune(s); len(r) > n {
		return string(r[:n]) + "..."
	}
	return s
}
