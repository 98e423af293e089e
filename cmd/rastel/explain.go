package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/rogpeppe/go-internal/diff"

	"rastel/cmd/rastel/api"
	"rastel/policy"
	"rastel/policy/engine"
	"rastel/policy/quarantine"
)

var explainCommand = command{
	name: "explain", args: "FILE|-|ID", short: "show how a verdict about a message comes about",
	long: `
Prints the parts of the message, what was found in them, each rule of the policy
with why it did or did not match, and what would be changed, as a diff. With the ID of
an item in quarantine (the reference in the log and in replies) it asks a running
'rastel serve' how the verdict about that message came about when it was held.

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
		if errors.Is(err, os.ErrNotExist) && quarantine.ValidID(name) {
			return k.explainItem(ctx, &opt, name)
		}
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

// explainItem explains an item in quarantine.
func (k *call) explainItem(ctx context.Context, opt *scanOptions, id string) int {
	cfg, err := loadConfig(opt.config)
	if err != nil {
		return k.fail(exitUsage, err)
	}
	e, err := api.NewClient(cfg.API.Socket).Evidence(ctx, id)
	if err != nil {
		return k.fail(exitUsage, fmt.Errorf("%s: %w", id, err))
	}
	explainEvidence(k.out, id, e)
	return exitActed
}

// explain writes the whole account of a verdict. What the sender wrote is quoted.
func explain(w io.Writer, name string, x *engine.Examination) {
	explainEvidence(w, name, x.Evidence())
	explainPatch(w, x)
}

// explainEvidence writes what the record of a message tells.
func explainEvidence(w io.Writer, name string, e *engine.Evidence) {
	fmt.Fprintf(w, "%s\n\nParts\n", shown(name))
	for i := range e.Parts {
		explainPart(w, &e.Parts[i])
	}
	fmt.Fprintf(w, "\nFindings\n")
	for _, f := range e.Findings {
		fmt.Fprintf(w, "  %-26s %-8s %.300q\n", f.Check, f.Part, f.Detail)
	}
	if len(e.Findings) == 0 {
		fmt.Fprintf(w, "  none\n")
	}
	if len(e.Unexamined) > 0 {
		fmt.Fprintf(w, "\nNot examined\n")
		for _, u := range e.Unexamined {
			fmt.Fprintf(w, "  %-8s %.300q\n", u.Part, u.Why)
		}
	}
	explainEngines(w, e.Engines)
	for i := range e.Verdicts {
		explainRules(w, e.Policy, &e.Verdicts[i])
		explainAction(w, &e.Verdicts[i])
	}
	if len(e.Exceptions) > 0 {
		fmt.Fprintf(w, "\nExceptions that made a difference: %s\n", strings.Join(e.Exceptions, ", "))
	}
	for _, list := range slices.Sorted(maps.Keys(e.LeftOut)) {
		fmt.Fprintf(w, "\nOf %s, %d more are not in this record.\n", list, e.LeftOut[list])
	}
}

// explainEngines tells of each engine how many parts it has examined, and why not the others.
func explainEngines(w io.Writer, engines []engine.EvidenceEngine) {
	if len(engines) > 0 {
		fmt.Fprintf(w, "\nEngines\n")
	}
	for _, e := range engines {
		fmt.Fprintf(w, "  %-26s examined %d of %d parts with content\n", e.Engine, e.Examined, e.Parts)
		for _, g := range e.Gaps {
			fmt.Fprintf(w, "    not %-8s %.300q\n", g.Part, g.Why)
		}
		if more := e.Parts - e.Examined - len(e.Gaps); more > 0 {
			fmt.Fprintf(w, "    and %d more\n", more)
		}
	}
}

func explainPart(w io.Writer, p *engine.EvidencePart) {
	depth := strings.Count(p.ID, ".") + strings.Count(p.ID, "/")
	fmt.Fprintf(w, "  %s%-*s", strings.Repeat("  ", depth), max(10-2*depth, 1), p.ID)
	if p.MediaType != "" {
		fmt.Fprintf(w, " %q", p.MediaType)
	}
	if p.SHA256 != "" {
		fmt.Fprintf(w, " is %s, %d bytes, sha256 %.12s", p.Path, p.Size, p.SHA256)
	}
	for _, n := range p.Names {
		fmt.Fprintf(w, " name %.100q", n)
	}
	if p.Reading != "" {
		fmt.Fprintf(w, " (%s)", p.Reading)
	}
	fmt.Fprintln(w)
}

// forWhom names the recipients of a verdict that is not for all.
func forWhom(v *engine.EvidenceVerdict) string {
	if len(v.Recipients) == 0 {
		return ""
	}
	text := " for " + addresses(v.Recipients)
	if v.More > 0 {
		text += fmt.Sprintf(", and %d besides", v.More)
	}
	return text
}

func explainRules(w io.Writer, version string, v *engine.EvidenceVerdict) {
	fmt.Fprintf(w, "\nRules (policy %s)%s\n", version, forWhom(v))
	for _, s := range v.Rules {
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
func addresses(list []string) string { return policy.Quoted(list, maxAddresses) }

func explainAction(w io.Writer, v *engine.EvidenceVerdict) {
	fmt.Fprintf(w, "\nVerdict: %s%s", v.Action, forWhom(v))
	if v.Rule != "" {
		fmt.Fprintf(w, " by rule %q", v.Rule)
	}
	if v.Reply != "" {
		fmt.Fprintf(w, ", reply %s", v.Reply)
	}
	if v.Held && v.Action != policy.Quarantine.String() {
		fmt.Fprint(w, ", a copy is held")
	}
	if v.Class != "" {
		fmt.Fprintf(w, ", class %s", v.Class)
	}
	if v.Retention != "" {
		fmt.Fprintf(w, ", kept for %s", v.Retention)
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
