package policy

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"rastel/sanitize/eml"
)

// WriteReference writes the reference of policies, in Markdown, from the tables that files are
// checked against.
func WriteReference(w io.Writer) error {
	b := bufio.NewWriter(w)
	fmt.Fprint(b, referenceHead)
	writeKeys(b)
	writePlaceholders(b)
	writeStages(b)
	writeRecipients(b)
	fmt.Fprint(b, watchText)
	writeChanges(b)
	writeConditions(b)
	writeTypes(b)
	fmt.Fprint(b, "\n## The policy that is built in\n\n```yaml\n", string(defaultFile), "```\n")
	return b.Flush()
}

const referenceHead = `# Policies

<!-- Written by policy.WriteReference; go test ./policy -update writes it anew. -->

A policy is a YAML file with a list of rules:

` + "```yaml" + `
rules:
  - name: malware
    when: has("clamd/malware")
    then: quarantine
  - name: unsafe html
    for: part
    when: part.has("html/*")
    do: [defang]
` + "```" + `

The rules are asked in their order. The first one with a final action whose condition holds
decides; those after it are not asked. Changes add up until then, and are made if the message
is delivered. If no rule decides, the message is delivered if all of it was examined. If not,
it is refused for now where trying again may help, and quarantined otherwise; parts that were
stripped do not count.

A condition that cannot be evaluated (a number is read from a text that holds none) might have
meant anything: the message is refused for now, unless a rule quarantines it. A change that
cannot be made quarantines the message.

What mail clients may read in several ways (mime/ambiguous-*) is examined in all of them. If a
policy delivers it, it is written anew in one form that leaves no choice: one boundary, each
Content field once, one name.

A policy may have lists of attachments, for ` + "`part.inList`" + `:

` + "```yaml" + `
lists:
  poison:                    # names, as part.named takes them; in quotes, because of the "*"
    - "*.exe"
    - "love-letter*.txt.*"
    - application/x-msdownload  # with a slash: declared media types
  strip:
    - {file: stripped-files}    # from a file: one on a line, "#" begins a comment
rules:
  - name: poison
    for: part
    when: part.inList("poison", "core")  # "core" is built in
    then: quarantine
  - name: strip
    for: part
    when: not part.member and part.inList("strip")
    do: [strip]
` + "```" + `

The name of a file that is not absolute begins at the directory of the policy. The policy is
loaded anew when one of these files changes. A list with the name of one that is built in takes
its place.

A policy may have lists of networks too, for ` + "`clientIn`" + ` and ` + "`hostIn`" + `:

` + "```yaml" + `
networks:
  ours: [192.0.2.0/24, "2001:db8::/32"]
  drop:
    - {file: drop_v4.json}   # as Spamhaus has them, in JSON lines
    - {file: drop.txt}       # or text; "#" and ";" begin a comment
rules:
  - name: hijacked network
    when: hostIn("drop")
    then: reject
` + "```" + `

Addresses and domains, SHA-256 of content and other texts have lists of their own, with up to a million
entries of each kind, for ` + "`addressIn`, `hashIn` and `textIn`" + `:

` + "```yaml" + `
addresses:
  partners:
    - ann@example.net          # one address; case does not matter
    - example.org              # a domain, and nothing below it
    - .example.com             # a domain and all below it
    - "invoices@*.example.net" # a pattern; without "@" it is one of domains
    - "<>"                     # the null sender, of bounces
    - {file: partners.txt}
hashes:
  blocked: [{file: blocked.sha256}]  # as sha256sum writes them
texts:
  offers: ["you have won*", "last reminder"]
rules:
  - name: from a partner
    when: addressIn(sender, "partners") and spf == "pass"
    do: [{add_header: {name: X-Partner, value: "yes"}}]
  - name: blocked content
    for: part
    when: hashIn(part.sha256, "blocked")
    then: quarantine
  - name: offer
    when: textIn(subject, "offers")
    then: reject
` + "```" + `

A file of these has one entry on a line, and "#" begins a comment. A million addresses take about 100 MB of
memory, a million hashes 31, and while they are loaded anew twice that.

In which direction a message goes is said once, for all rules:

` + "```yaml" + `
inside:
  networks: [ours, 192.0.2.7]      # lists of the policy, or networks
  listeners: [submission]          # of the MTA, by name or address
  authenticated: yes               # who has authenticated is inside (the default)
  domains: [example.org, .example.net]
timezone: Europe/Berlin
networks:
  ours: [198.51.100.0/24]
rules:
  - name: programs do not go out at night
    for: part
    when: direction == "out" and part.is("executable") and (hour < 7 or weekday in ["saturday", "sunday"])
    then: reject
` + "```" + `

Who sends a message is inside by any of the first three; then it is ` + "`internal`" + ` if all recipients are in our
` + "`domains`" + `, and ` + "`out`" + ` if not. All else is ` + "`in`" + `. Postfix tells a listener's name if it has
` + "`-o milter_macro_daemon_name=submission`" + ` in master.cf, Sendmail the ` + "`Name`" + ` in DaemonPortOptions, and
both the address, Sendmail not that of the machine itself (127.0.0.1). What a From
field or a HELO says is no part of it: anyone can write anything there.

A policy may take what engines find by certain signatures for something else:

` + "```yaml" + `
signatures:
  - match: "Heuristics.Phishing.Email.SpoofedDomain"
    as: clamd/pua            # or: ignore
    owner: alice@example.org
    reason: the newsletter of our bank
    until: 2027-03-31
` + "```" + `

ClamAV stops at the first signature that matches, whatever that is, so one that is ignored may hide
another. If it has told all (` + "`clamd/all`" + `, by ` + "`all_match_dir`" + ` in rastel.yaml), the others count as ever. If
not, the content counts as not examined: ` + "`clamd/ignored`" + ` instead of the check, or the check that it was
to count as. (A line in a file ` + "`*.ign2`" + ` in the database of ClamAV takes a signature out of it altogether.)
What says that something was not examined (` + "`clamd/limit`" + `, ` + "`clamd/encrypted`" + `) stays what it is.

A policy may name its own tests, which are case files (policytest.md tells what they are):

` + "```yaml" + `
tests: tests/*.case          # or a list of such patterns
rules:
  - name: malware
    when: has("clamd/malware")
    then: quarantine
` + "```" + `

A policy that does not pass them is not put in force: ` + "`rastel serve`" + ` runs them when it begins and when the
policy, its lists or one of these files change, and ` + "`rastel policy check`" + ` runs them too.

What is excepted from the rules for a while, for a sender, a recipient or a file, is not in the policy, and needs no change of
it: see exceptions.md.

A file that cannot be loaded never replaces the policy in force. All errors are told at once,
with line and column. Unknown keys, names, checks and types are errors. So is a rule that can never act,
because one before it, with a final action, decides whenever its condition is true: behind ` + "`when: true`" + `, or
behind the same or a wider condition (` + "`has(\"html/*\")` before `has(\"html/script\") and size > 1000`" + `). A rule
is switched off by ` + "`when: false`" + `, which is none. That numbers follow from each other is not looked for.

Editors with a language server for YAML complete and explain the words of a policy if it begins with

` + "```yaml" + `
# yaml-language-server: $schema=policy.schema.json
` + "```" + `

where policy.schema.json, which is beside this page, is named by its path or address. It does not know what is
in conditions; ` + "`rastel policy check`" + ` does.

` + "`rastel explain`" + ` tells of each rule that did not apply what was not true: of a condition of several parts that
are joined by ` + "`and`" + ` the first that was not, and in a rule for parts that of the part for which most was true.
`

func writeKeys(b io.Writer) {
	for _, t := range []struct {
		title string
		words []word
	}{{"A rule", ruleKeys}, {"What is ours (`inside`)", insideKeys}, {"A signature (`signatures`)", signatureKeys}, {"Final actions (`then`)", finals}, {"Replies (`reply`)", replyKeys}} {
		fmt.Fprintf(b, "\n## %s\n\n", t.title)
		for _, k := range t.words {
			fmt.Fprintf(b, "- `%s`: %s\n", k.name, k.doc)
		}
	}
}

func writePlaceholders(b io.Writer) {
	fmt.Fprint(b, placeholdersHead)
	for _, w := range placeholders {
		fmt.Fprintf(b, "- `{%s}`: %s\n", w.name, w.doc)
	}
	fmt.Fprintf(b, "\nWhat the sender wrote is made harmless: printable ASCII, at most %d characters of a name, and %d of the whole text.\n", maxReplyPart, maxFilled)
}

const placeholdersHead = `
In the text of a reply these stand for what is known of the message, as in ` + "`text: \"{part} is a program; see https://example.org/mail\"`" + `:

`

func writeStages(b io.Writer) {
	fmt.Fprint(b, stagesHead)
	for _, w := range stages {
		fmt.Fprintf(b, "- `%s`: %s", w.name, w.doc)
		if names := knownFrom(ruleStages[w.name]); w.name != "data" {
			fmt.Fprintf(b, " From here on: `%s`.", strings.Join(names, "`, `"))
		}
		fmt.Fprintln(b)
	}
}

const stagesHead = `
## Stages (` + "`stage`" + `)

What a rule refuses before the message is there costs nothing: it is not received.

` + "```yaml" + `
rules:
  - name: bad neighbourhood
    stage: connect
    when: clientIn("drop") or has("dns/listed") and not has("dns/allowed")
    then: reject
  - name: left the company
    stage: rcpt
    when: recipient in ["eve@example.com"]
    then: reject
    reply: {text: "Eve does not work here any more"}
` + "```" + `

A condition may ask for what is known by then only; of ` + "`has`" + `, ` + "`count`" + ` and ` + "`findings`" + ` these are the checks about the
envelope (` + "`dns/*`" + ` and, from mail on, ` + "`spf/*`" + `). The action is reject, tempfail, or accept, which means that no other
rule of that stage is asked; the message is still judged. There are no changes, and no parts. If no
rule of the stage decides, or one cannot be evaluated, the client goes on. A list in DNS that does not
answer is no reason to refuse anything, unless a rule says so: ` + "`has(\"dns/unknown\")`" + `. When a client connects nobody knows whether it is a user of
yours who will authenticate: let those have a port without this filter, or ask at mail, where ` + "`dns/*` and `spf/*`" + `
are about others only. A policy that is loaded anew is for sessions that begin after that.

`

const watchText = `
## Watching (` + "`mode`, `share`" + `)

What a new rule would do is best seen before it does it:

` + "```yaml" + `
rules:
  - name: macros
    mode: watch              # asked like any other, and does nothing
    for: part
    when: part.has("office/macro*")
    do: [strip]
  - name: new senders
    share: 10%               # in force, for a tenth of the messages
    when: has("dns/domain-listed")
    then: tempfail
` + "```" + `

A rule that watches is asked where it stands, in force or not: rules behind one that has decided are not. What it would have done is
in the trace (` + "`would have: quarantine`" + `), in the log (` + "`watched`" + ` in the line of the verdict), in ` + "`rastel scan -json`" + ` and in the metric
` + "`rastel_policy_watched_total`" + `, which counts by rule. That it cannot be evaluated changes nothing either.

With ` + "`mode: watch`" + ` at the top of the file the whole policy watches: every message is accepted as it is. That holds for what
scanners could not examine too, which such a policy would have refused for now or quarantined: **while it watches, nothing is filtered.** The log warns
of it whenever the policy is loaded. (A message that cannot even be received, because it is too large or the disk is full, is
refused as ever: that is not the policy's doing.) The trace says what the verdict would have been, and the metric counts what
each rule would have done, and under ` + "`(default)`" + ` what would have happened because no rule decided.

A ` + "`share`" + ` takes a rule into use slowly. It is no secret and no lottery: whoever knows the policy can write a Message-ID that
is in no share.

`

// knownFrom are the names that are known from a stage on and not before.
func knownFrom(s eml.Stage) []string {
	var out []string
	for _, f := range messageFacts {
		if f.from == s {
			out = append(out, f.name)
		}
	}
	for _, f := range messageFunctions {
		if f.from == s {
			out = append(out, f.name)
		}
	}
	return out
}

func writeChanges(b io.Writer) {
	fmt.Fprint(b, "\n## Changes (`do`)\n\n")
	for _, k := range changeKinds {
		fmt.Fprintf(b, "- `%s`: %s", k.name, k.doc)
		if k.perPart {
			fmt.Fprint(b, " Only with `for: part`.")
		}
		if k.example != "" {
			fmt.Fprintf(b, " Example: `%s: %s`.", k.name, k.example)
		}
		fmt.Fprintln(b)
	}
}

func writeConditions(b io.Writer) {
	fmt.Fprint(b, "\n## Conditions (`when`)\n\nConditions are expressions of the language [Expr](https://expr-lang.org).\n")
	fmt.Fprint(b, "\n### Facts about the message\n\n")
	writeNames(b, "", messageFacts, messageFunctions)
	fmt.Fprint(b, "\n### Facts about a part\n\n`part` is the part that a rule with `for: part` is asked for. In `any(parts, ...)` and the like the word before the dot is left out.\n\n")
	writeNames(b, "part.", partFacts, partFunctions)
	fmt.Fprint(b, "\n### Facts about a finding\n\nFor `any(findings, ...)` and the like.\n\n")
	writeNames(b, ".", findingFacts, nil)
	for _, t := range []struct {
		title string
		words []word
	}{{"Operators", operators}, {"General functions", builtins}} {
		fmt.Fprintf(b, "\n### %s\n\n| | |\n|---|---|\n", t.title)
		for _, w := range t.words {
			row(b, w.name, "", w.doc)
		}
	}
	fmt.Fprintf(b, "\nLoops (`any`, `filter`, ...) go round at most %d times for one message, all together. Conditions read at most\n"+
		"%d bytes of texts and lists for one message, each as often as it is read; what `matches` looks at counts four times for\n"+
		"each of the instructions of its pattern, some ten for a word, and each comparison of other functions as some bytes. One condition makes at most %d bytes of new ones. A\n"+
		"condition beyond one of these could not be evaluated; see above.\n", maxRounds, maxRead, maxMade)
}

// writeNames writes a table of names; prefix is what stands before each.
func writeNames(b io.Writer, prefix string, facts []fact, functions []function) {
	fmt.Fprint(b, "| name | is a | meaning |\n|---|---|---|\n")
	for i := range facts {
		row(b, prefix+facts[i].name, facts[i].result(), facts[i].doc)
	}
	for i := range functions {
		f := &functions[i]
		row(b, fmt.Sprintf("%s%s(%s)", prefix, f.name, f.args), f.result(), f.doc)
	}
}

// row writes a row of a table; without a kind it has two columns.
func row(b io.Writer, name, kind, doc string) {
	cell := strings.NewReplacer("|", `\|`).Replace
	if kind != "" {
		kind = " " + kind + " |"
	}
	fmt.Fprintf(b, "| `%s` |%s %s |\n", cell(name), kind, cell(doc))
}

func writeTypes(b io.Writer) {
	fmt.Fprint(b, "\n## Types\n\nFor `part.type` and `part.is`; groups are for `part.is` only.\n\n| type | groups |\n|---|---|\n")
	for _, t := range slices.Sorted(maps.Keys(eml.Types)) {
		fmt.Fprintf(b, "| `%s` | %s |\n", t, strings.Join(eml.Types[t], ", "))
	}
}
