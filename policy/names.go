package policy

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"rastel/sanitize/eml"
)

// A fact is a name in conditions that stands for a value.
type fact struct {
	name, doc string
	from      eml.Stage                      // when it is known first
	only      bool                           // it means nothing later
	call      func(args ...any) (any, error) // args[0] is what the fact is about: *facts, *part or *finding
	signature any                            // a pointer to a function type, for the type checker
	words     []string                       // all that it may be, if these are known

	// The same as call without an argument, of facts of that type; nil of others.
	text   func(about any) string
	number func(about any) int
	list   func(about any) []string
}

// fill makes a fact from the function that gives its value.
func fill[S, V any](name, doc string, value func(S) V) fact {
	f := fact{
		name: name, doc: doc, signature: new(func(S) V),
		call: func(args ...any) (any, error) { return value(args[0].(S)), nil },
	}
	switch value := any(value).(type) {
	case func(S) string:
		f.text = func(about any) string { return value(about.(S)) }
	case func(S) int:
		f.number = func(about any) int { return value(about.(S)) }
	case func(S) []string:
		f.list = func(about any) []string { return value(about.(S)) }
	}
	return f
}

// fillOrFail makes a fact from the function that gives its value, or cannot.
func fillOrFail[S, V any](name, doc string, value func(S) (V, error)) fact {
	return fact{
		name: name, doc: doc, signature: new(func(S) V),
		call: func(args ...any) (any, error) { return value(args[0].(S)) },
	}
}

// oneOf gives the fact, which can only be one of these, or empty.
func (f fact) oneOf(words []string) fact {
	f.words = words
	return f
}

// at gives the fact for rules from that stage on.
func (f fact) at(s eml.Stage) fact {
	f.from = s
	return f
}

// onlyAt gives the fact for rules of that stage.
func (f fact) onlyAt(s eml.Stage) fact {
	f.from, f.only = s, true
	return f
}

// at gives the function for rules from that stage on.
func (f function) at(s eml.Stage) function {
	f.fact = f.fact.at(s)
	return f
}

// result tells for people what the value is.
func (f *fact) result() string {
	switch t := reflect.TypeOf(f.signature).Elem().Out(0); t {
	case reflect.TypeFor[string]():
		return "text"
	case reflect.TypeFor[int]():
		return "number"
	case reflect.TypeFor[bool]():
		return "true or false"
	case reflect.TypeFor[[]string]():
		return "list of texts"
	case reflect.TypeFor[*part]():
		return "part"
	case reflect.TypeFor[[]*part]():
		return "list of parts"
	case reflect.TypeFor[[]*finding]():
		return "list of findings"
	default:
		return t.String()
	}
}

var messageFacts = []fact{
	fill("sender", "The envelope sender (MAIL FROM) as given; empty for a bounce.", func(f *facts) string { return f.msg.Envelope.Sender }).at(eml.AtMail),
	fill("sender_domain", "What follows its @, in lower case.", func(f *facts) string { return domain(f.msg.Envelope.Sender) }).at(eml.AtMail),
	fill("recipient", "The recipient that a rule with `for: recipient` or `stage: rcpt` is asked for, in lower case and plainly: without comments, blanks, routes, and quotes that it does not need; `user%domain` and `domain!user` are `user@domain`.", func(f *facts) string { return f.recipient }).onlyAt(eml.AtRcpt),
	fill("recipient_domain", "What follows its @, in lower case.", func(f *facts) string { return domain(f.recipient) }).onlyAt(eml.AtRcpt),
	fill("recipients", "The envelope recipients (RCPT TO), as `recipient` is.", (*facts).plainRecipients),
	fill("client", "The IP address of the SMTP client; empty if it has none.", (*facts).client).at(eml.AtConnect),
	fill("host", "The IP address of the host that the message comes from: the client, or if that is a relay of ours (`trusted` in rastel.yaml), what its Received field says, and so on; empty if there is none.", (*facts).hostText),
	fill("client_name", "Its name as the MTA verified it.", func(f *facts) string { return f.msg.Envelope.ClientName }).at(eml.AtConnect),
	fill("helo", "The argument of HELO or EHLO.", func(f *facts) string { return f.msg.Envelope.Helo }).at(eml.AtMail),
	fill("tls", "The TLS version, such as `TLSv1.3`; empty without TLS.", func(f *facts) string { return f.msg.Envelope.TLS }).at(eml.AtMail),
	fill("auth_user", "The authenticated user; empty without authentication.", func(f *facts) string { return f.msg.Envelope.AuthUser }).at(eml.AtMail),
	fill("authenticated", "Whether the client has authenticated.", func(f *facts) bool { return f.msg.Envelope.AuthUser != "" }).at(eml.AtMail),
	fill("listener", "The name of the MTA's listener by which the message came in (macro `{daemon_name}`; in Postfix `milter_macro_daemon_name`); empty if the MTA has not told it.", func(f *facts) string { return f.msg.Envelope.Listener }).at(eml.AtConnect),
	fill("direction", "Where the message goes, by what `inside` says of the policy: `in`, `out`, or `internal` from inside to inside.", (*facts).direction).oneOf([]string{goesIn, goesOut, goesInternal}),
	fillOrFail("spf", "What SPF says of the sender: `pass`, `fail`, `softfail`, `neutral`, `none`, `temperror` or `permerror`; empty if nobody was asked.", func(f *facts) (string, error) { return f.resultOf("spf/", spfResults) }).oneOf(spfResults).at(eml.AtMail),
	fillOrFail("spf_domain", "The domain that was asked; empty if none was.", func(f *facts) (string, error) { return f.domainOf("spf/", "smtp.mailfrom=", "smtp.helo=") }).at(eml.AtMail),
	fillOrFail("dkim_domains", "The domains of which the message has a good DKIM signature.", (*facts).signers),
	fillOrFail("dmarc", "What DMARC says of the domain in From: `pass`, `none`, `fail`, or if it asks for more, `quarantine` or `reject`; `temperror`, `permerror`; empty if nobody was asked.", func(f *facts) (string, error) { return f.resultOf("dmarc/", dmarcResults) }).oneOf(dmarcResults),
	fillOrFail("dmarc_domain", "The domain in From; empty if DMARC was not asked about one.", func(f *facts) (string, error) { return f.domainOf("dmarc/", "header.from=") }),
	fill("date", "The day on which the policy was asked, such as `2026-11-25`, in the zone of the policy (`timezone`).", func(f *facts) string { return f.now().Format(time.DateOnly) }).at(eml.AtConnect),
	fill("time", "The time of that day, such as `18:05`: `time >= \"18:00\"`.", func(f *facts) string { return f.now().Format("15:04") }).at(eml.AtConnect),
	fill("hour", "Its hour, from 0 to 23.", func(f *facts) int { return f.now().Hour() }).at(eml.AtConnect),
	fill("weekday", "`monday` to `sunday`.", (*facts).weekday).oneOf(weekdays).at(eml.AtConnect),
	fill("queue_id", "The queue ID, as far as the MTA has told it.", func(f *facts) string { return f.msg.Envelope.QueueID }),
	fill("subject", "The first Subject field, decoded, each run of blanks as one. Anyone can write anything there.", func(f *facts) string { return f.first("Subject") }),
	fill("from", "The first From field, decoded, each run of blanks as one. Anyone can write anything there.", func(f *facts) string { return f.first("From") }),
	fill("size", "Bytes of the message as it came in.", func(f *facts) int { return int(f.msg.Size) }),
	fill("parts", "All parts: the message, its entities, members of archives.", func(f *facts) []*part { return f.parts }),
	fill("findings", "All findings.", func(f *facts) []*finding { return f.findings }).at(eml.AtConnect),
}

var partFacts = []fact{
	fill("id", "`1` is the message, `1.2` its second entity, `1.2/3` the third member of the archive in that.", func(p *part) string { return p.ID }),
	fill("type", "What the content is by its own bytes: one of the types below.", func(p *part) string { return p.Type }),
	fill("media_type", "The declared type such as `text/html`, in lower case; of a member what its container says, which is mostly nothing.", func(p *part) string { return p.MediaType }),
	fill("disposition", "`inline`, `attachment` or what else is declared, in lower case.", func(p *part) string { return p.Disposition }),
	fill("names", "Every file name that some mail client would show, decoded.", func(p *part) []string { return p.Names }),
	fill("ext", "What follows the last dot of each name, in lower case.", (*part).extensions),
	fill("size", "Bytes of the decoded content.", func(p *part) int { return int(p.Size) }),
	fill("depth", "How many archives and attached messages are around it; 0 for the message's own entities.", func(p *part) int { return p.Depth }),
	fill("path", "The types of what it is in, the outermost first, and its own: `zip/iso/pe` is a program in an image of a disk in an archive. Multiparts are not in it; an attached message is `mail`.", func(p *part) string { return strings.Join(p.types(), "/") }),
	fill("member", "Whether it came out of an archive, or of a message that is a file.", func(p *part) bool { return p.Member() }),
	fill("around", "The parts that it is in, the innermost first: archives, attached messages, multiparts, the message.", (*part).around),
	fill("sha256", "Of the decoded content, in hexadecimal; empty if there is none.", (*part).sha256),
	fillOrFail("encrypted", "Whether it can only be read with a password or a key, or what is in it (`*/encrypted`, `crypto/*-encrypted`, `*/password-*`).", (*part).isEncrypted),
	fillOrFail("text", fmt.Sprintf("The beginning of a part that is text, at most %d bytes, in UTF-8; of HTML the source. Empty if it is no text.", maxText), (*part).content),
	fill("findings", "The findings in this part.", func(p *part) []*finding { return p.findings }),
}

var findingFacts = []fact{
	fill("check", "The ID of the check.", func(f *finding) string { return f.Check }),
	fill("detail", "What was seen, for people; of `clamd/malware` the signature.", func(f *finding) string { return f.Detail }),
	fill("part", "The part that it is in.", func(f *finding) *part { return f.part }),
	fill("fixable", "Whether `defang` can make it harmless in place.", func(f *finding) bool { return len(f.Fix) > 0 }),
}

// A function is a name in conditions that is called with texts. They stand in the policy in
// quotes and are checked when it is loaded: one that is misspelt makes a rule that never
// applies, and nobody notices.
type function struct {
	fact
	args     string // for the reference
	min, max int    // number of texts
	// ofText says that before these texts there is one that need not be in quotes, which it is about.
	ofText bool
	// prepare turns the texts into what call takes as its last argument. The second result
	// says what is wrong with each; nil if nothing is. It is nil itself if there are none.
	prepare func(v *vocabulary, texts []string) (any, []string)
}

// maxTexts is how many texts a function takes at most.
const maxTexts = 200

// ask makes a function; arg checks and prepares one text.
func ask[S, A, V any](name, doc, args string, least, most int, arg func(v *vocabulary, text string) (A, string), value func(S, []A) V) function {
	return askOrFail(name, doc, args, least, most, arg, func(s S, a []A) (V, error) { return value(s, a), nil })
}

// askOrFail makes a function that may be unable to tell.
func askOrFail[S, A, V any](name, doc, args string, least, most int, arg func(v *vocabulary, text string) (A, string), value func(S, []A) (V, error)) function {
	f := function{args: args, min: least, max: most}
	f.fact = fact{
		name: name, doc: doc, signature: new(func(S, []A) V),
		call: func(args ...any) (any, error) {
			list := args[1].([]A)
			if err := spendFor(args[0], perMatch*len(list)); err != nil {
				return nil, err
			}
			return value(args[0].(S), list)
		},
	}
	f.prepare = func(v *vocabulary, texts []string) (any, []string) {
		list, wrong := make([]A, len(texts)), make([]string, len(texts))
		for i, text := range texts {
			list[i], wrong[i] = arg(v, text)
		}
		return list, wrong
	}
	return f
}

// spendFor counts what is read about a message or a part.
func spendFor(about any, bytes int) error {
	switch about := about.(type) {
	case *facts:
		return about.spend(bytes)
	case *part:
		return about.facts.spend(bytes)
	}
	return nil
}

// askOf makes a function about a text.
func askOf[A, V any](name, doc, args string, least, most int, arg func(v *vocabulary, text string) (A, string), value func(f *facts, text string, a []A) (V, error)) function {
	f := askOrFail[*facts](name, doc, args, least, most, arg, func(*facts, []A) (v V, err error) { return v, nil })
	f.ofText, f.signature = true, new(func(*facts, string, []A) V)
	f.call = func(args ...any) (any, error) { return value(args[0].(*facts), args[1].(string), args[2].([]A)) }
	return f
}

// noText says that an argument is none of the texts that it has to be.
func (f *function) noText() string {
	if f.ofText {
		return fmt.Sprintf("the arguments of %s but for the first must be texts in quotes", f.name)
	}
	return fmt.Sprintf("the argument of %s must be a text in quotes", f.name)
}

var messageFunctions = []function{
	askOrFail("has", "Whether there is a finding of one of these checks. `*` stands for any letters: `has(\"html/*\")`.",
		`"check", ...`, 1, maxTexts, (*vocabulary).pattern, func(f *facts, p []*pattern) (bool, error) { return f.hasAny(f.findings, p) }).at(eml.AtConnect),
	askOrFail("count", "How many findings of that check there are.",
		`"check"`, 1, 1, (*vocabulary).pattern, func(f *facts, p []*pattern) (int, error) { return f.countAny(f.findings, p) }).at(eml.AtConnect),
	askOrFail("unexamined", "Whether something could not be examined: `temporary` (a scanner is down; later it may be possible), `permanent` (encrypted, beyond a limit), or `any` of these, which it also means without an argument.",
		`"kind"`, 0, 1, (*vocabulary).kind, func(f *facts, k []string) (bool, error) {
			return isUnexamined(f.unexamined, k), f.spend(len(f.unexamined))
		}),
	ask("clientIn", "Whether the address of the SMTP client is in one of these lists of the policy (`networks`), or networks: `clientIn(\"drop\", \"192.0.2.0/24\")`.",
		`"list", ...`, 1, maxTexts, (*vocabulary).network, func(f *facts, n []*networks) bool { return inNetworks(f.msg.Envelope.Client, n) }).at(eml.AtConnect),
	ask("hostIn", "The same of `host`.",
		`"list", ...`, 1, maxTexts, (*vocabulary).network, func(f *facts, n []*networks) bool { return inNetworks(f.hostAddr(), n) }),
	askOf("addressIn", "Whether an address, or a domain, is in one of these lists of the policy (`addresses`): `addressIn(sender, \"partners\")`, `any(recipients, addressIn(#, \"board\"))`. Of a text like `Ann <ann@example.org>` it is what is in the brackets.",
		`text, "list", ...`, 1, maxTexts, (*vocabulary).addressList, (*facts).addressIn).at(eml.AtConnect),
	askOf("hashIn", "Whether a SHA-256 is in one of these lists of the policy (`hashes`): `hashIn(part.sha256, \"blocked\")`.",
		`text, "list", ...`, 1, maxTexts, (*vocabulary).hashList, (*facts).hashIn).at(eml.AtConnect),
	askOf("textIn", "Whether a text is, regardless of case, in one of these lists of the policy (`texts`): `textIn(helo, \"odd-names\")`.",
		`text, "list", ...`, 1, maxTexts, (*vocabulary).textList, (*facts).textIn).at(eml.AtConnect),
	domainFunction.at(eml.AtConnect),
	ask("header", "The first field of that name, decoded, each run of blanks as one; empty if there is none.",
		`"Name"`, 1, 1, (*vocabulary).field, func(f *facts, n []string) string { return f.first(n[0]) }),
	ask("headers", "All fields of that name, decoded, each run of blanks as one.",
		`"Name"`, 1, 1, (*vocabulary).field, func(f *facts, n []string) []string { return f.header(n[0]) }),
}

var partFunctions = []function{
	askOrFail("has", "As `has`, of findings in this part only.",
		`"check", ...`, 1, maxTexts, (*vocabulary).pattern, func(p *part, list []*pattern) (bool, error) { return p.facts.hasAny(p.findings, list) }),
	askOrFail("count", "As `count`, of findings in this part only.",
		`"check"`, 1, 1, (*vocabulary).pattern, func(p *part, list []*pattern) (int, error) { return p.facts.countAny(p.findings, list) }),
	ask("unexamined", "As `unexamined`, of this part only.",
		`"kind"`, 0, 1, (*vocabulary).kind, func(p *part, k []string) bool { return isUnexamined(p.unexamined, k) }),
	ask("examinedBy", "Whether one of these engines has examined the content: `clamd`, or the name that is configured. Of what is empty it is always true.",
		`"engine", ...`, 1, maxTexts, (*vocabulary).engine, (*part).examinedBy),
	ask("is", "Whether the content is, by its own bytes, of one of these types or groups of types.",
		`"type", ...`, 1, maxTexts, (*vocabulary).group, (*part).is),
	askOrFail("pathIs", "Whether its path is like one of these: types or groups of types, `*` for any one of them, `**` for any number: `part.pathIs(\"**/archive/**/archive/**/executable\")`.",
		`"type/type/...", ...`, 1, maxTexts, (*vocabulary).path, (*part).pathIs),
	askOrFail("named", "Whether one of its names, without directories and regardless of case, is like one of these: `part.named(\"*.exe\", \"invoice*\")`. `*` stands for any characters, `?` for one, `[a-z]` for one of these. All readings of a name count by which some desktop opens it (`a.exe::$DATA`, `a%2eexe`).",
		`"pattern", ...`, 1, maxTexts, (*vocabulary).glob, (*part).isNamed),
	askOrFail("inList", "Whether one of its names, as with `named`, or its declared type is in one of these lists: those of the policy (`lists`), or built in (`rastel version -lists` shows them).",
		`"list", ...`, 1, maxTexts, (*vocabulary).list, (*part).inList),
}

// domainFunction takes a text and nothing else.
var domainFunction = function{
	args: "text", ofText: true,
	fact: fact{
		name: "domain", doc: "What follows the last @ of an address, in lower case: `domain(from)`. Of a text like `Ann <ann@example.org>` it is that of what is in the brackets.",
		signature: new(func(*facts, string) string),
		call: func(args ...any) (any, error) {
			text := args[1].(string)
			return domain(text), args[0].(*facts).spend(len(text))
		},
	},
}

// perMatch is how many bytes are read in the time that it takes to compare a finding with a pattern.
const perMatch = 16

func (f *facts) hasAny(findings []*finding, patterns []*pattern) (bool, error) {
	if err := f.spend(perMatch * len(findings) * len(patterns)); err != nil {
		return false, err
	}
	return slices.ContainsFunc(findings, func(f *finding) bool { return matchAny(patterns, f.Check) }), nil
}

func (f *facts) countAny(findings []*finding, patterns []*pattern) (int, error) {
	n := 0
	for _, x := range findings {
		if matchAny(patterns, x.Check) {
			n++
		}
	}
	return n, f.spend(perMatch * len(findings) * len(patterns))
}

func isUnexamined(list []eml.Unexamined, kinds []string) bool {
	if len(kinds) == 0 || kinds[0] == "any" {
		return len(list) > 0
	}
	temporary := kinds[0] == "temporary"
	return slices.ContainsFunc(list, func(u eml.Unexamined) bool { return u.Temporary == temporary })
}

// find gives the entry of a table with that name; nil if there is none.
func find[T any](table []T, name string, nameOf func(*T) string) *T {
	for i := range table {
		if nameOf(&table[i]) == name {
			return &table[i]
		}
	}
	return nil
}

func factName(f *fact) string         { return f.name }
func functionName(f *function) string { return f.name }

// allNames are those of tables of facts and functions, for messages.
func allNames(facts []fact, functions []function) []string {
	var out []string
	for i := range facts {
		out = append(out, facts[i].name)
	}
	for i := range functions {
		out = append(out, functions[i].name)
	}
	return out
}

// builtins are the functions of the expression language that conditions may use: those that
// always give the same for the same, and cost little.
var builtins = []word{
	{"any(list, condition)", "Whether the condition holds for one item. In it, `.fact` is a fact of the item and `#` the item itself: `any(parts, .type == \"pe\")`."},
	{"all(list, condition)", "Whether it holds for every item."},
	{"none(list, condition)", "Whether it holds for no item."},
	{"one(list, condition)", "Whether it holds for exactly one."},
	{"filter(list, condition)", "The items for which it holds."},
	{"count(list, condition)", "How many these are."},
	{"find(list, condition)", "The first of these."},
	{"map(list, expression)", "What the expression gives for each item."},
	{"sum(list, expression)", "The sum of that."},
	{"len(x)", "The length of a text or list."},
	{"lower(text)", "In lower case."},
	{"upper(text)", "In upper case."},
	{"trim(text)", "Without blanks around it."},
	{"split(text, separator)", "The list of what is between the separators."},
	{"join(list, separator)", "The reverse."},
	{"replace(text, old, new)", "With all of old replaced."},
	{"indexOf(text, other)", "Where other begins in text, from 0; -1 if nowhere."},
	{"int(text)", "The number that is written there. What is none makes the rule fail."},
	{"min(a, b)", "The smaller number."},
	{"max(a, b)", "The larger number."},
	{"abs(a)", "The number without its sign."},
}

func builtinNames() []string {
	var out []string
	for _, b := range builtins {
		name, _, _ := strings.Cut(b.name, "(")
		out = append(out, name)
	}
	return out
}

// operators of conditions, for the reference.
var operators = []word{
	{"and or not", "And `&& || !`."},
	{"== != < <= > >=", "Texts are compared as they are: `lower(sender) == \"a@example.org\"`."},
	{"in, not in", "Whether an item is in a list: `\"exe\" in part.ext`, `sender_domain in [\"example.org\", \"example.net\"]`."},
	{"contains startsWith endsWith", "Of texts."},
	{"matches", "A regular expression (RE2), checked when the policy is loaded: `subject matches \"(?i)invoice\"`."},
	{"+ - * / % ??  a ? b : c", "Sums, and either of two values."},
}
