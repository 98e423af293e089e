package procmail

import (
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// A setting is a variable by which the Sanitizer was set.
type setting struct {
	name string
	// verified says that name and meaning were read in a primary source; the others are only
	// believed to be so, and are told as unverified.
	verified bool
	// carry puts the value into the plan; nil: it cannot be carried over, and why tells the reason.
	carry func(*importer, *setting, value)
	// unset tells what holds where it is not set; nil: nothing to tell.
	unset func(*importer, *setting)
	why   string
}

const (
	noMacroScore = "rastel has no macro score; office/macro-suspicious and others tell what macros do (rule \"poisoned document\")"
)

// settings are all that are known, in the order in which they are carried over.
var settings = []setting{
	{name: "POISONED_EXECUTABLES", verified: true, carry: list(func(p *plan) *patternList { return &p.Poison }),
		unset: fallback("the Sanitizer's own list is not known here; rastel's list \"core\" takes its place")},
	{name: "ZIPPED_EXECUTABLES", verified: true, carry: list(func(p *plan) *patternList { return &p.Zipped }),
		unset: inherit("the same as POISONED_EXECUTABLES")},
	{name: "RARRED_EXECUTABLES", carry: list(func(p *plan) *patternList { return &p.Rarred })},
	{name: "STRIPPED_EXECUTABLES", carry: list(func(p *plan) *patternList { return &p.Strip })},
	{name: "MANGLE_EXTENSIONS", verified: true, carry: (*importer).mangle,
		unset: fallback("the Sanitizer's own list is not known here; rastel's lists \"second\" and \"macro\", and pages, take its place")},
	{name: "DISABLE_ZIP_SCAN", verified: true, carry: flag(func(p *plan) *bool { return &p.NoZip }, "the rules for archives are left out")},
	{name: "ZIPPED_WARNING", verified: true, carry: (*importer).warning},
	{name: "SECURITY_TRUST_HTML", carry: flag(func(p *plan) *bool { return &p.TrustHTML }, "HTML is not defanged")},
	{name: "SECURITY_TRUST_STYLE_TAGS", carry: unlessTrusted(flag(func(p *plan) *bool { return &p.TrustStyle }, "styles are not defanged"))},
	{name: "DEFANG_WEBBUGS", carry: unlessTrusted((*importer).webBugs)},
	{name: "SECURITY_TRUST_WEBBUGS", carry: (*importer).trustWebBugs},
	{name: "SECURITY_STRIP_MSTNEF", carry: flag(func(p *plan) *bool { return &p.StripTNEF }, "winmail.dat is stripped")},
	{name: "SECURITY_QUARANTINE", carry: (*importer).quarantine,
		unset: fallback("the Sanitizer bounced what it did not deliver; rastel holds it in its own quarantine")},
	{name: "SECURITY_QUARANTINE_OPTIONAL", why: "rastel never delivers what it could not hold: the sender is told to try again"},
	{name: "POISONED_SCORE", why: noMacroScore},
	{name: "SCORE_HISTORY", why: noMacroScore},
	{name: "SCORE_ONLY", why: noMacroScore},
	{name: "SCORE_DETAILS", why: noMacroScore},
	{name: "DISABLE_MACRO_CHECK", why: noMacroScore},
	{name: "SECURITY_NOTIFY", carry: notified(func(p *plan) *[]string { return &p.NotifyBrief })},
	{name: "SECURITY_NOTIFY_VERBOSE", carry: notified(func(p *plan) *[]string { return &p.NotifyFull })},
	{name: "SECURITY_NOTIFY_SENDER", why: "senders of such mail are forged: rastel never notifies them"},
	{name: "SECURITY_NOTIFY_SENDER_POSTMASTER", why: "senders of such mail are forged: rastel never notifies their postmasters"},
	{name: "SECURITY_NOTIFY_RECIPIENT", carry: flag(func(p *plan) *bool { return &p.NotifyRecipient }, "recipients get a notice of what is held")},
}

func isSetting(name string) bool {
	for i := range settings {
		if settings[i].name == name {
			return true
		}
	}
	return false
}

func (s *setting) fate() Fate {
	if s.verified {
		return Carried
	}
	return Unverified
}

// carry goes through all settings.
func (im *importer) carry() {
	for i := range settings {
		s := &settings[i]
		v, ok := im.values[s.name]
		switch {
		case ok && v.text == "" && len(v.open) == 0:
			im.tell(v.at, s.name, NotNeeded, "set to nothing")
			ok = false
		case ok && s.carry == nil:
			im.tell(v.at, s.name, NotCarried, "%s", s.why)
		case ok:
			s.carry(im, s, v)
		}
		if !ok && s.unset != nil {
			s.unset(im, s)
		}
	}
}

// fallback tells what stands in for a setting that is not there, and is not quite the same.
func fallback(text string) func(*importer, *setting) {
	return func(im *importer, s *setting) {
		im.tell(Place{File: im.rc.Name}, s.name, Unverified, "not set: %s", text)
	}
}

// inherit tells what the Sanitizer itself did where a setting is not there.
func inherit(text string) func(*importer, *setting) {
	return func(im *importer, s *setting) {
		im.tell(Place{File: im.rc.Name}, s.name, s.fate(), "not set: %s", text)
	}
}

// list carries over a list file.
func list(of func(*plan) *patternList) func(*importer, *setting, value) {
	return func(im *importer, s *setting, v value) {
		f, err := im.listFile(v)
		if err != nil {
			im.script.errorf(v.at, "%s: %v", s.name, err)
			return
		}
		l, err := filespecs(f)
		if err != nil {
			im.script.errs = append(im.script.errs, err)
			return
		}
		*of(im.plan) = patternList{Set: true, From: f.Name, Patterns: l.patterns}
		im.tell(v.at, s.name, s.fate(), "%d patterns of %s", len(l.patterns), f.Name)
		if l.brackets > 0 {
			im.tell(Place{File: f.Name}, s.name, Unverified, "filespecs with brackets: %d; both readings are in the list: one of the characters, and the brackets themselves", l.brackets)
		}
		for _, r := range l.rejected {
			im.tell(r.at, s.name, NotCarried, "%s", r.why)
		}
	}
}

// listFile is the list file that a value names: the one of that name that was given, or else the
// file itself.
func (im *importer) listFile(v value) (File, error) {
	name := lastElement(v.text)
	if v.text == "/dev/null" {
		return File{Name: v.text}, nil
	}
	if f, ok := im.given[name]; ok && name == lastElement(v.raw) {
		im.used = with(im.used, name)
		return f, nil
	}
	hint := fmt.Sprintf("give the list file %.80q behind the rc file", name)
	if len(v.open) > 0 {
		return File{}, fmt.Errorf("%.80q depends on %s, which is not known here; %s", v.raw, strings.Join(v.open, ", "), hint)
	}
	if im.opt.Read == nil || !path.IsAbs(v.text) {
		return File{}, fmt.Errorf("where %.80q is depends on procmail; %s", v.text, hint)
	}
	f, err := im.opt.Read(filepath.FromSlash(v.text))
	if err != nil {
		return File{}, fmt.Errorf("%w; %s", err, hint)
	}
	return f, nil
}

// mangle carries over the regular expression of extensions.
func (im *importer) mangle(s *setting, v value) {
	if len(v.open) > 0 {
		im.tell(v.at, s.name, NotCarried, "it depends on %s, which is not known here; only what stands beside that is", strings.Join(v.open, ", "))
	}
	patterns, errs := extensions(v.text)
	im.plan.Mangle = patternList{Set: true, From: v.at.String(), Patterns: patterns}
	im.tell(v.at, s.name, s.fate(), "%d extensions", len(patterns))
	for _, err := range errs {
		im.tell(v.at, s.name, NotCarried, "%v", err)
	}
}

// flag carries over a setting that held when it was set to anything.
func flag(of func(*plan) *bool, effect string) func(*importer, *setting, value) {
	return func(im *importer, s *setting, v value) {
		if im.denied(s, v) {
			return
		}
		*of(im.plan) = true
		im.tell(v.at, s.name, s.fate(), "%s", effect)
	}
}

// maxNotified is how many addresses a notice goes to.
const maxNotified = 20

// notified carries over who gets a notice: names with a comma or a blank between. A policy has whole
// addresses, because a notice is sent by SMTP.
func notified(of func(*plan) *[]string) func(*importer, *setting, value) {
	return func(im *importer, s *setting, v value) {
		if len(v.open) > 0 {
			im.tell(v.at, s.name, NotCarried, "it depends on %s, which is not known here", strings.Join(v.open, ", "))
			return
		}
		list := of(im.plan)
		for _, name := range strings.FieldsFunc(v.text, func(r rune) bool { return r == ',' || r == ' ' || r == '\t' || r == '\n' }) {
			if im.opt.Domain != "" && !strings.Contains(name, "@") {
				name += "@" + im.opt.Domain
			}
			switch {
			case !isAddress(name):
				im.tell(v.at, s.name, NotCarried, "%.80q is no address with a domain; see -domain", name)
			case len(*list) == maxNotified:
				im.tell(v.at, s.name, NotCarried, "more than %d addresses: %.80q", maxNotified, name)
			case !slices.Contains(*list, name):
				*list = append(*list, name)
			}
		}
		if len(*list) > 0 {
			im.tell(v.at, s.name, s.fate(), "%d addresses get a notice of what is held", len(*list))
		}
	}
}

// isAddress is narrower than what a policy takes.
func isAddress(s string) bool {
	local, domain, _ := strings.Cut(s, "@")
	plain := func(s string) bool {
		return s != "" && len(s) <= 64 && s[0] != '.' && s[0] != '-' && s[len(s)-1] != '.' && s[len(s)-1] != '-' && !strings.Contains(s, "..") &&
			!strings.Contains(s, ".-") && !strings.Contains(s, "-.") && !strings.ContainsFunc(s, func(r rune) bool {
			return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("+-_.", r)
		})
	}
	return plain(local) && plain(domain) && !strings.ContainsAny(domain, "+_")
}

// denied reports whether the value reads like a no. To the Sanitizer anything was a yes, but who
// wrote that did not mean it.
func (im *importer) denied(s *setting, v value) bool {
	switch strings.ToLower(v.text) {
	case "no", "n", "off", "0", "false", "none":
		im.tell(v.at, s.name, NotCarried, "it reads like a no, but held when set to anything: decide, and change the policy if you want it")
		return true
	}
	return false
}

func (im *importer) warning(s *setting, v value) {
	im.plan.Warning = v.text
	im.tell(v.at, s.name, NotCarried, "what is held stays as it came; the text is a comment in the policy, and can be the reason of a \"strip\"")
}

// unlessTrusted carries over a setting about HTML, which means nothing if that is left as it is.
func unlessTrusted(carry func(*importer, *setting, value)) func(*importer, *setting, value) {
	return func(im *importer, s *setting, v value) {
		if im.plan.TrustHTML {
			im.tell(v.at, s.name, NotNeeded, "HTML is not defanged at all (SECURITY_TRUST_HTML)")
			return
		}
		carry(im, s, v)
	}
}

// checkWebBug is the check that tells of web bugs.
const checkWebBug = "page/web-bug"

func (im *importer) webBugs(s *setting, v value) {
	switch {
	case im.denied(s, v):
	case !im.plan.has(checkWebBug):
		im.tell(v.at, s.name, NotCarried, "this rastel does not look for web bugs")
	default:
		im.plan.WebBugs = true
		im.tell(v.at, s.name, s.fate(), "remote images that only tell that the mail was read are defanged")
	}
}

func (im *importer) trustWebBugs(s *setting, v value) {
	if im.denied(s, v) {
		return
	}
	im.plan.WebBugs = false
	im.tell(v.at, s.name, s.fate(), "web bugs are left, as they are by default")
}

func (im *importer) quarantine(s *setting, v value) {
	im.tell(v.at, s.name, s.fate(), "%.80q: rastel has a quarantine of its own, see \"rastel quarantine\"", v.raw)
}
