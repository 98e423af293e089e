package procmail

import (
	"bytes"
	"cmp"
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// Options of an import.
type Options struct {
	// Checks are the IDs that a policy may name.
	Checks []string
	// Read reads a list file that an rc file names by its full path and that was not given; nil:
	// such files must be given.
	Read func(name string) (File, error)
	// Domain is that of addresses that have none, such as "postmaster"; empty: they are not carried over.
	Domain string
}

// A Result is what an import comes to.
type Result struct {
	Policy []byte  // the policy, in YAML
	Report []Entry // in the order of the files
}

// Import reads an rc file, with the list files that its settings name and the files that it
// includes; those are known by the last elements of their names. An error is of the type Errors.
func Import(rc File, more []File, opt Options) (*Result, error) {
	given := map[string]File{}
	for _, f := range more {
		name := path.Base(filepath.ToSlash(f.Name))
		if other, ok := given[name]; ok {
			return nil, Errors{fmt.Errorf("%s: the rc file cannot mean both this and %s", f.Name, other.Name)}
		}
		given[name] = f
	}
	im := &importer{rc: rc, given: given, opt: opt, plan: newPlan(rc.Name, opt.Checks), script: read(rc, withoutSanitizer(given))}
	if len(im.script.errs) == 0 {
		im.settle()
		im.carry()
		im.checkGiven(more)
	}
	if len(im.script.errs) > 0 {
		return nil, im.script.errs
	}
	slices.SortStableFunc(im.report, func(a, b Entry) int {
		return cmp.Or(cmp.Compare(im.order(a.At.File), im.order(b.At.File)), cmp.Compare(a.At.Line, b.At.Line))
	})
	im.plan.Report = im.report
	var b bytes.Buffer
	if err := im.plan.write(&b); err != nil {
		return nil, Errors{err}
	}
	return &Result{Policy: b.Bytes(), Report: im.report}, nil
}

// Empty is the policy that an rc file without any setting comes to.
func Empty(checks []string) ([]byte, error) {
	var b bytes.Buffer
	err := newPlan("", checks).write(&b)
	return b.Bytes(), err
}

// An importer carries over the settings of one rc file.
type importer struct {
	rc     File
	given  map[string]File
	used   map[string]bool // of given
	opt    Options
	script *script
	values map[string]value // what is set when the Sanitizer is called
	plan   *plan
	report []Entry
	files  []string // in the order of the report
}

func (im *importer) tell(at Place, setting string, f Fate, format string, a ...any) {
	im.report = append(im.report, Entry{at, setting, f, fmt.Sprintf(format, a...)})
}

// order puts the rc file first, and other files as they come.
func (im *importer) order(file string) int {
	if file == im.rc.Name {
		return -1
	}
	if i := slices.Index(im.files, file); i >= 0 {
		return i
	}
	im.files = append(im.files, file)
	return len(im.files) - 1
}

// sanitizerFile is what the file of the Sanitizer's recipes is called; there is another of them with
// more behind that name.
const sanitizerFile = "html-trap.procmail"

func isSanitizer(name string) bool { return strings.HasPrefix(name, sanitizerFile) }

// withoutSanitizer leaves the Sanitizer's own recipes out: they are no settings.
func withoutSanitizer(files map[string]File) map[string]File {
	out := map[string]File{}
	for name, f := range files {
		if !isSanitizer(name) {
			out[name] = f
		}
	}
	return out
}

// settle works out what is set, and for whom, when the Sanitizer is called.
func (im *importer) settle() {
	calls, last := im.calls()
	var base []*recipe // what all settings are under that are not conditional
	if len(calls) == 1 {
		base = calls[0].under
	}
	if len(calls) == 0 {
		im.tell(Place{File: im.rc.Name}, "INCLUDERC", NotNeeded, "%s is not called: taken for a file of settings", sanitizerFile)
	}
	x := &expander{known: map[string]value{}}
	for i := range im.script.statements {
		s := &im.script.statements[i]
		switch behind := last >= 0 && i > last; {
		case s.name == "":
			im.tell(s.at, "recipe", NotCarried, "it delivers or runs something, which is the MTA's work: %.60q", s.raw)
		case s.name == "INCLUDERC" || s.name == "SWITCHRC":
			im.include(s, base)
		case behind && isSetting(s.name):
			im.tell(s.at, s.name, NotNeeded, "it is behind the call of the Sanitizer (%s), so it had no effect", im.script.statements[last].at)
		case !isPrefix(s.under, base):
			im.conditional(s, base)
		default:
			im.assign(x, s)
		}
		if x.tooBig {
			im.script.errorf(s.at, "the values come to more than %d bytes, or one of them to more than %d", maxValues, maxValue)
			return
		}
	}
	im.values = x.known
}

// calls are the statements that call the Sanitizer, and the index of the last.
func (im *importer) calls() (calls []*statement, last int) {
	last = -1
	for i := range im.script.statements {
		s := &im.script.statements[i]
		if (s.name == "INCLUDERC" || s.name == "SWITCHRC") && isSanitizer(lastElement(s.raw)) {
			calls, last = append(calls, s), i
		}
	}
	return calls, last
}

func isPrefix(a, of []*recipe) bool { return len(a) <= len(of) && slices.Equal(a, of[:len(a)]) }

func (im *importer) include(s *statement, base []*recipe) {
	name := lastElement(s.raw)
	_, given := im.given[name]
	switch {
	case isSanitizer(name) && len(s.under) > 0:
		im.tell(s.at, s.name, NotCarried, "the Sanitizer is called under conditions (%s); rastel examines all mail", conditions(s.under))
	case isSanitizer(name):
		im.tell(s.at, s.name, Carried, "here the Sanitizer is called")
	case given:
		im.tell(s.at, s.name, NotNeeded, "%.80q is read here", name)
	default:
		im.tell(s.at, s.name, NotCarried, "%.80q was not given, so settings in it are not known", name)
	}
	if strings.HasSuffix(name, ".nomacroscan") {
		im.tell(s.at, "DISABLE_MACRO_CHECK", Carried, "rastel has no macro score; to leave macros alone, take out the rule \"poisoned document\"")
	}
}

// conditional tells of a setting that holds for some messages only.
func (im *importer) conditional(s *statement, base []*recipe) {
	if !isSetting(s.name) {
		return
	}
	under := s.under
	if isPrefix(base, under) {
		under = under[len(base):]
	}
	what := fmt.Sprintf("set to %.60q", s.raw)
	if s.unset {
		what = "unset"
	}
	im.tell(s.at, s.name, NotCarried, "%s under conditions (%s): write a rule for it, see contrib/doc/sanitizer.md", what, conditions(under))
	im.used = with(im.used, lastElement(s.raw)) // a list file that it names was not given in vain
}

// maxConditions is how many conditions of a recipe are told.
const maxConditions = 5

// conditions tells the conditions of recipes, for people.
func conditions(under []*recipe) string {
	var out []string
	for _, r := range under {
		var list []string
		for _, c := range r.conditions[:min(len(r.conditions), maxConditions)] {
			list = append(list, fmt.Sprintf("\"%.80s\"", c)) // %q would double its backslashes
		}
		if len(r.conditions) > maxConditions {
			list = append(list, "...")
		}
		out = append(out, fmt.Sprintf("%s: %s", r.at, strings.Join(list, " and ")))
	}
	return strings.Join(out, "; ")
}

// assign takes an assignment that holds for all messages.
func (im *importer) assign(x *expander, s *statement) {
	if old, ok := x.known[s.name]; ok && isSetting(s.name) {
		im.tell(old.at, s.name, NotNeeded, "set anew in %s", s.at)
	}
	if !isSetting(s.name) {
		im.other(s)
	}
	if s.unset {
		delete(x.known, s.name)
		if isSetting(s.name) {
			im.tell(s.at, s.name, NotNeeded, "unset")
		}
		return
	}
	x.known[s.name] = x.value(s)
}

// other tells of a variable that is no setting of the Sanitizer, unless its name is like one.
func (im *importer) other(s *statement) {
	switch {
	case slices.Contains(ownVariables, s.name):
		im.tell(s.at, s.name, NotNeeded, "procmail's own")
	case slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(s.name, p) }):
		im.tell(s.at, s.name, NotCarried, "not known as a setting of the Sanitizer")
	}
}

// ownVariables are procmail's (procmailrc(5)), and what the Sanitizer needed to run.
var ownVariables = strings.Fields(`COMSAT DEFAULT DELIVERED DROPPRIVS EXITCODE HOME HOST LASTFOLDER LINEBUF LOCKEXT LOCKFILE
	LOCKSLEEP LOCKTIMEOUT LOG LOGABSTRACT LOGFILE LOGNAME MAILDIR MATCH MSGPREFIX NORESRETRY ORGMAIL PATH PROCMAIL_OVERFLOW
	SECRET SENDMAIL SENDMAILFLAGS SHELL SHELLFLAGS SHELLMETAS SHIFT SUPERSEDED SUSPEND TIMEOUT TMPDIR TRAP UMASK USER_SHELL VERBOSE`)

// prefixes are what names of the Sanitizer's settings begin with.
var prefixes = strings.Fields(`SECURITY_ DEFANG_ POISONED_ ZIPPED_ RARRED_ STRIPPED_ MANGLE_ SCORE_ DISABLE_`)

func with(set map[string]bool, name string) map[string]bool {
	if set == nil {
		set = map[string]bool{}
	}
	set[name] = true
	return set
}

// checkGiven reports files that nothing asked for: their names, or their settings, are misspelt.
func (im *importer) checkGiven(more []File) {
	for _, f := range more {
		name := path.Base(filepath.ToSlash(f.Name))
		switch {
		case isSanitizer(name), im.used[name], im.script.seen[name]:
		default:
			im.script.errorf(Place{File: f.Name}, "no setting and no INCLUDERC names a file %.80q", name)
		}
	}
}
