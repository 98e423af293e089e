package procmail

import (
	_ "embed"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/template"
)

// A plan is what is known of the settings, for the template of the policy.
type plan struct {
	Source                                                         string // the rc file; empty: there is none
	Poison, Strip, Zipped, Rarred, Mangle                          patternList
	NoZip, TrustHTML, TrustStyle, WebBugs, StripTNEF, KnowsWebBugs bool
	Warning                                                        string
	NotifyBrief, NotifyFull                                        []string // addresses
	NotifyRecipient                                                bool
	Report                                                         []Entry
	checks                                                         []string
}

// A patternList is one of the lists.
type patternList struct {
	Set      bool
	From     string // file, or file and line
	Patterns []string
}

func newPlan(source string, checks []string) *plan {
	p := &plan{Source: source, checks: checks}
	p.KnowsWebBugs = p.has(checkWebBug)
	return p
}

func (p *plan) has(check string) bool { return slices.Contains(p.checks, check) }

// HTMLChecks are those of active HTML but for styles, as texts of a condition.
func (p *plan) HTMLChecks() string {
	var out []string
	for _, c := range p.checks {
		if strings.HasPrefix(c, "html/") && c != "html/style" && c != "html/overlay" {
			out = append(out, strconv.Quote(c))
		}
	}
	slices.Sort(out)
	return strings.Join(slices.Compact(out), ", ")
}

// maxLost is how many settings that are not carried over the policy tells of; the report tells of all.
const maxLost = 200

// Lost are the settings that are not carried over.
func (p *plan) Lost() []Entry {
	lost := slices.DeleteFunc(slices.Clone(p.Report), func(e Entry) bool { return e.Fate != NotCarried })
	return lost[:min(len(lost), maxLost)]
}

// Told is who gets notices of what a rule holds, as the rest of the rule.
func (p *plan) Told() string {
	var b strings.Builder
	add := func(format string, args ...any) {
		if b.Len() == 0 {
			b.WriteString("\n    do:")
		}
		fmt.Fprintf(&b, "\n      - notify: "+format, args...)
	}
	if len(p.NotifyBrief) > 0 {
		add("{to: [%s]}", quoted(p.NotifyBrief))
	}
	if len(p.NotifyFull) > 0 {
		add("{to: [%s], full: yes}", quoted(p.NotifyFull))
	}
	if p.NotifyRecipient {
		add("{to: recipients}")
	}
	return b.String()
}

func quoted(list []string) string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = strconv.QuoteToASCII(s)
	}
	return strings.Join(out, ", ")
}

// InPoison are the lists of what is poisoned, as texts of a condition.
func (p *plan) InPoison() string {
	if p.Poison.Set {
		return `"poison"`
	}
	return `"poison", "core"`
}

// InZipped are the lists of what is poisoned in an archive: those of what is poisoned, if nothing
// else is set.
func (p *plan) InZipped() string {
	if p.Zipped.Set {
		return `"zipped"`
	}
	return p.InPoison()
}

//go:embed policy.yaml.tmpl
var policyText string

var policyTemplate = template.Must(template.New("policy").Funcs(template.FuncMap{
	"list": yamlList, "comment": comment, "quote": strconv.QuoteToASCII,
}).Delims("[[", "]]").Parse(policyText))

func (p *plan) write(w io.Writer) error {
	if err := policyTemplate.Execute(w, p); err != nil {
		return fmt.Errorf("write the policy: %w", err)
	}
	return nil
}

// yamlList writes patterns as items of a list, which may be empty.
func yamlList(patterns []string) string {
	if len(patterns) == 0 {
		return " []"
	}
	var b strings.Builder
	for _, p := range patterns {
		b.WriteString("\n    - " + strconv.QuoteToASCII(p))
	}
	return b.String()
}

// comment keeps a text on its line, whatever it holds.
func comment(s string) string {
	if !strings.ContainsFunc(s, func(r rune) bool { return !strconv.IsPrint(r) }) {
		return s
	}
	q := strconv.QuoteToASCII(s)
	return strings.ReplaceAll(q[1:len(q)-1], `\"`, `"`)
}
