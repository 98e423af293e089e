package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/rogpeppe/go-internal/diff"

	"rastel/policy"
	"rastel/policy/engine"
	"rastel/sanitize/eml"
	"rastel/scanners"
)

var explainCommand = command{
	name: "explain", args: "FILE|-", short: "show how a verdict about a message comes about",
	long: `
Prints the parts of the message, what was found in them, each rule of the policy
with why it did or did not match, and what would be changed, as a diff.

Exit status: as of scan.`,
	run: runExplain,
}

// maxDiff is the largest message that is shown as a diff.
const maxDiff = 4 << 20

func runExplain(ctx context.Context, k *call) int {
	var opt scanOptions
	opt.register(k)
	if status, ok := k.parse(); !ok {
		return status
	}
	if k.flags.NArg() != 1 {
		return k.usagef("explain takes one message")
	}
	name := k.flags.Arg(0)
	in := k.in
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return k.fail(exitUsage, err)
		}
		defer f.Close()
		in = f
	}
	e, closeEngine, err := opt.examiner(k)
	if err != nil {
		return k.fail(exitUsage, err)
	}
	defer closeEngine()
	x, done, err := examine(ctx, e, &opt, in)
	if err != nil {
		return k.fail(exitUsage, fmt.Errorf("%s: %w", name, err))
	}
	defer done()
	explain(k.out, name, x)
	return resultOf(name, x, 0).status()
}

// explain writes the whole account of a verdict. What the sender wrote is quoted.
func explain(w io.Writer, name string, x *engine.Examination) {
	fmt.Fprintf(w, "%s\n\nParts\n", name)
	x.Message.Root.Walk(func(p *eml.Part) bool { explainPart(w, p); return true })
	fmt.Fprintf(w, "\nFindings\n")
	for _, f := range x.Report.Findings {
		fmt.Fprintf(w, "  %-26s %-8s %.300q\n", f.Check, f.Part.ID, f.Detail)
	}
	if len(x.Report.Findings) == 0 {
		fmt.Fprintf(w, "  none\n")
	}
	if len(x.Report.Unexamined) > 0 {
		fmt.Fprintf(w, "\nNot examined\n")
		for _, u := range x.Report.Unexamined {
			fmt.Fprintf(w, "  %-8s %.300q\n", u.Part.ID, u.Why)
		}
	}
	explainEngines(w, x.Report.Looks)
	explainVerdict(w, x)
	explainPatch(w, x)
}

// maxGaps is how many parts are named that an engine has not examined.
const maxGaps = 20

// explainEngines tells of each engine how many parts it has examined, and why not the others.
func explainEngines(w io.Writer, looks []scanners.Look) {
	var names []string
	done, gaps := map[string]int{}, map[string][]scanners.Look{}
	for _, l := range looks {
		if !slices.Contains(names, l.Engine) {
			names = append(names, l.Engine)
		}
		if l.Examined {
			done[l.Engine]++
		} else {
			gaps[l.Engine] = append(gaps[l.Engine], l)
		}
	}
	if len(names) > 0 {
		fmt.Fprintf(w, "\nEngines\n")
	}
	for _, n := range names {
		fmt.Fprintf(w, "  %-26s examined %d of %d parts with content\n", n, done[n], done[n]+len(gaps[n]))
		for i, l := range gaps[n] {
			if i == maxGaps {
				fmt.Fprintf(w, "    and %d more\n", len(gaps[n])-i)
				break
			}
			fmt.Fprintf(w, "    not %-8s %.300q\n", l.Part.ID, l.Why)
		}
	}
}

func explainPart(w io.Writer, p *eml.Part) {
	depth := strings.Count(p.ID, ".") + strings.Count(p.ID, "/")
	fmt.Fprintf(w, "  %s%-*s", strings.Repeat("  ", depth), max(10-2*depth, 1), p.ID)
	if !p.Member() || p.MediaType != "" {
		fmt.Fprintf(w, " %q", p.MediaType)
	}
	if p.Leaf() {
		fmt.Fprintf(w, " is %s, %d bytes, sha256 %x", strings.Join(p.Path(), "/"), p.Size, p.SHA256[:6])
	}
	for _, n := range p.Names {
		fmt.Fprintf(w, " name %.100q", n)
	}
	if p.Reading != "" {
		fmt.Fprintf(w, " (%s)", p.Reading)
	}
	fmt.Fprintln(w)
}

// explainVerdict tells of the verdict, and of those for other recipients.
func explainVerdict(w io.Writer, x *engine.Examination) {
	for _, v := range slices.Concat([]*policy.Verdict{x.Verdict}, x.Verdict.Others) {
		explainRules(w, v)
		explainAction(w, v)
	}
}

func explainRules(w io.Writer, v *policy.Verdict) {
	fmt.Fprintf(w, "\nRules (policy %s)", v.Policy)
	if v.Recipients != nil {
		fmt.Fprintf(w, " for %s", addresses(v.Recipients))
	}
	fmt.Fprintln(w)
	for _, s := range v.Trace {
		mark := " "
		switch {
		case s.Final:
			mark = "*"
		case s.Watched:
			mark = "?"
		case s.Matched:
			mark = "+"
		}
		fmt.Fprintf(w, "  %s %s", mark, s.Rule)
		if s.Part != "" {
			fmt.Fprintf(w, " [%s]", s.Part)
		}
		if len(s.Did) > 0 {
			fmt.Fprintf(w, ": %s", strings.Join(s.Did, ", "))
		}
		if s.Why != "" {
			fmt.Fprintf(w, " -- %s", s.Why)
		}
		fmt.Fprintln(w)
	}
}

// maxAddresses is how many recipients are named.
const maxAddresses = 20

// addresses names recipients.
func addresses(list []string) string {
	var b strings.Builder
	for i, a := range list {
		if i == maxAddresses {
			fmt.Fprintf(&b, " and %d more", len(list)-i)
			break
		}
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%.100q", a)
	}
	return b.String()
}

func explainAction(w io.Writer, v *policy.Verdict) {
	fmt.Fprintf(w, "\nVerdict: %s", v.Action)
	if v.Recipients != nil {
		fmt.Fprintf(w, " for %s", addresses(v.Recipients))
	}
	if v.Rule != "" {
		fmt.Fprintf(w, " by rule %q", v.Rule)
	}
	if v.Reply.Code != 0 {
		fmt.Fprintf(w, ", reply %d %s %s", v.Reply.Code, v.Reply.Enhanced, v.Reply.Text)
	}
	if v.Hold {
		fmt.Fprint(w, ", a copy is held")
	}
	if v.Class != "" {
		fmt.Fprintf(w, ", class %s", v.Class)
	}
	if v.Retention != 0 {
		fmt.Fprintf(w, ", kept for %v", v.Retention)
	}
	if v.MTAHold != "" {
		fmt.Fprintf(w, ", kept by the MTA: %q", v.MTAHold)
	}
	fmt.Fprintln(w)
	if len(v.Add) > 0 {
		fmt.Fprintf(w, "  also to %s\n", addresses(v.Add))
	}
	if len(v.Remove) > 0 {
		fmt.Fprintf(w, "  not to %s\n", addresses(v.Remove))
	}
	for _, n := range v.Notices {
		fmt.Fprintf(w, "  a notice to %s (%s)\n", addresses(n.To), n.Rule)
	}
}

func explainPatch(w io.Writer, x *engine.Examination) {
	for _, v := range slices.Concat([]*policy.Verdict{x.Verdict}, x.Verdict.Others) {
		if !v.Patch.Empty() {
			explainChanges(w, x, v)
		}
	}
}

func explainChanges(w io.Writer, x *engine.Examination, v *policy.Verdict) {
	fmt.Fprintf(w, "\nChanges")
	if v.Recipients != nil {
		fmt.Fprintf(w, " for %s", addresses(v.Recipients))
	}
	fmt.Fprintln(w)
	if x.Message.Size > maxDiff {
		fmt.Fprintf(w, "  %d edits; the message is too large to show them\n", len(v.Patch.Edits()))
		return
	}
	var old, changed bytes.Buffer
	_, err := io.Copy(&old, io.NewSectionReader(x.Message.Spool, 0, x.Message.Size))
	if err == nil {
		_, err = v.Patch.WriteTo(&changed)
	}
	if err != nil {
		fmt.Fprintf(w, "  cannot be shown: %v\n", err)
		return
	}
	fmt.Fprintf(w, "%s", printable(diff.Diff("received", old.Bytes(), "delivered", changed.Bytes())))
}

// printable replaces what would play tricks on a terminal.
func printable(b []byte) []byte {
	out := make([]byte, 0, len(b))
	for _, r := range string(b) {
		switch {
		case r == '\r':
		case r == '\n' || r == '\t' || unicode.IsPrint(r):
			out = utf8.AppendRune(out, r)
		default:
			out = append(out, strings.Trim(strconv.QuoteRuneToASCII(r), "'")...)
		}
	}
	return out
}
