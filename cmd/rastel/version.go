package main

import (
	"context"
	"fmt"
	"io"
	"runtime/debug"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"rastel/policy"
	"rastel/sanitize"
)

var versionCommand = command{
	name: "version", args: "[NAME]...", short: "print the version, or the lists that are built in",
	long: `
With -lists: the lists of dangerous extensions and media types, which policies ask
for with part.inList; with their names: what is in these, and from where.

Exit status:
  0  printed
  2  wrong arguments, such as a list that there is not`,
	run: runVersion,
}

func runVersion(_ context.Context, k *call) int {
	lists := k.flags.Bool("lists", false, "print the lists that are built in, their dates and their sources")
	args, status, ok := k.parseMixed()
	switch {
	case !ok:
		return status
	case !*lists && len(args) > 0:
		return k.usagef("version takes no arguments without -lists")
	case *lists && len(args) > 0:
		return k.printEntries(args)
	case *lists:
		return k.printLists(time.Now())
	}
	info, _ := debug.ReadBuildInfo()
	fmt.Fprintf(k.out, "rastel %s\n", version())
	if info != nil {
		fmt.Fprintf(k.out, "%s\n", info.GoVersion)
	}
	return exitOK
}

// printLists prints a line for each list, and after them the sources.
func (k *call) printLists(now time.Time) int {
	w := tabwriter.NewWriter(k.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "LIST\tENTRIES\tDATE\tAGE\tWHAT IT HOLDS")
	var sources []sanitize.Source
	for _, l := range sanitize.Lists() {
		fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%s\n", l.Name, len(l.Entries), l.Date.Format(time.DateOnly), age(now.Sub(l.Date)), l.Doc)
		for _, s := range l.Sources {
			if !slices.Contains(sources, s) {
				sources = append(sources, s)
			}
		}
	}
	_ = w.Flush() // as with the rest of what goes there
	fmt.Fprintln(k.out, "\nSources:")
	return k.printSources(sources)
}

// age is how old a list is, in whole days.
func age(d time.Duration) string {
	if days := int(d.Hours() / 24); days != 1 {
		return fmt.Sprintf("%d days", max(days, 0))
	}
	return "1 day"
}

func (k *call) printSources(sources []sanitize.Source) int {
	w := tabwriter.NewWriter(k.out, 0, 0, 2, ' ', 0)
	for _, s := range sources {
		fmt.Fprintf(w, "  %s\t%s\n", s.Word, s.Doc)
	}
	_ = w.Flush()
	return exitOK
}

// printEntries prints what is in the lists with these names.
func (k *call) printEntries(names []string) int {
	var known []string
	for _, l := range sanitize.Lists() {
		known = append(known, l.Name)
	}
	for _, name := range names {
		i := slices.Index(known, name)
		if i < 0 {
			hint := fmt.Sprintf("; there are %s", strings.Join(known, ", "))
			if policy.Nearest(name, known) != "" {
				hint = didYouMean(name, known)
			}
			return k.usagef("there is no list %q%s", name, hint)
		}
		printList(k.out, sanitize.Lists()[i])
		k.printSources(sanitize.Lists()[i].Sources)
	}
	return exitOK
}

func printList(out io.Writer, l sanitize.List) {
	fmt.Fprintf(out, "%s, of %s: %s\n", l.Name, l.Date.Format(time.DateOnly), l.Doc)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, e := range l.Entries {
		fmt.Fprintf(w, "  %s\t%s\t%s\n", e.Text, e.What, strings.Join(e.Sources, " "))
	}
	_ = w.Flush()
}
