package policy

import "rastel/sanitize/eml"

// A word is something that a policy file may hold, with what it means. The tables of words
// are what files are checked against and what the reference is written from.
type word struct{ name, doc string }

func names(list []word) []string {
	out := make([]string, len(list))
	for i, w := range list {
		out[i] = w.name
	}
	return out
}

var fileKeys = []word{
	{"rules", "The rules, in the order in which they are asked."},
	{"lists", "Lists of attachments by name, for `part.inList`."},
	{"networks", "Lists of networks by name, for `clientIn` and `hostIn`."},
	{"addresses", "Lists of addresses and domains by name, for `addressIn`."},
	{"hashes", "Lists of SHA-256 by name, for `hashIn`."},
	{"texts", "Lists of texts by name, for `textIn`."},
	{"inside", "What of the world is ours, for `direction`."},
	{"timezone", "The zone of `date`, `time`, `hour` and `weekday`, such as `Europe/Berlin`. Default: that of the machine."},
	{"tests", "Case files that the policy must pass before it is put in force: a pattern such as `tests/*.case`, or a list of them; see policytest.md."},
	{"signatures", "What engines find by certain signatures, and the policy takes for something else."},
	{"mode", "`enforce` (the default), or `watch`: the policy decides, and the log, the metrics and the trace tell what it would have done, but every message is delivered as it is."},
	{"language", "The language of notices and banners, such as `de`, or a list of them, which are shown one after the other. Built in are `en` (the default), `de`, `fr`, `es`, `pt`, `it`, `nl`, `ja` and `zh`; see notices.md."},
}

var insideKeys = []word{
	{"authenticated", "Whether a client that has authenticated is inside: `yes` (the default) or `no`."},
	{"networks", "Networks, or lists of the policy's `networks`: a message from a host in one of these comes from inside (`host`, which is behind relays of ours)."},
	{"listeners", "Listeners of the MTA, by name (`listener`) or by address: a message that came in by one of these comes from inside."},
	{"domains", "Domains of ours, as in a list of addresses; `{file: ...}` too. From inside to recipients in these only is `internal`."},
}

var signatureKeys = []word{
	{"match", "The name of the signature; `*`, `?` and `[...]` are wildcards. What ClamAV puts behind the names of others (`.UNOFFICIAL`) may be left out."},
	{"as", "`ignore`, or the check that it counts as, such as `clamd/pua`."},
	{"owner", "Who answers for it."},
	{"reason", "Why."},
	{"until", "The last day on which it holds, as in `2027-03-31`. From the next day on it does nothing, and the log and `rastel policy check` tell of it."},
	{"check", "The checks that it is for. Default: `clamd/*`."},
}

var listKeys = []word{
	{"file", "A file with such entries, one on a line; `#` begins a comment."},
}

var ruleKeys = []word{
	{"name", "What the rule is called in the log, the trace and the quarantine. Each name once."},
	{"for", "`message` (the default): the condition is asked once. `part`: it is asked for every part of the message, members of archives included, and the rule acts on the parts for which it holds. `recipient`: it is asked for every recipient of the envelope; see below."},
	{"stage", "When the rule is asked; see below. Default: `data`, when the message is there."},
	{"when", "The condition: an expression that is true or false."},
	{"then", "The final action, if the rule has one."},
	{"reply", "What the sender is told, for `then: reject` and `then: tempfail`."},
	{"do", "A list of changes, made in this order if the message is delivered."},
	{"mode", "`enforce` (the default), or `watch`: the rule is asked like any other, and the log, the metrics and the trace tell what it would have done, but it decides and changes nothing."},
	{"share", "The share of all messages that the rule is asked for, as in `10%`. Which ones follows from the Message-ID (or the content, if there is none), so a retry is treated alike, and a larger share includes a smaller one. Default: all."},
	{"language", "As that of the policy, for what this rule strips or renames, and the banners that it puts in."},
	{"class", "What kind of message it is, in a word such as `malware`, for the quarantine. For rules that hold: with `then: quarantine` or `do: [hold]`."},
	{"retention", "How long the quarantine keeps it, as in `12h`, `30d` or `8w`. For the same rules. Default: as long as it keeps anything."},
}

var modes = []word{
	{modeEnforce, ""},
	{modeWatch, ""},
}

var scopes = []word{
	{"message", ""},
	{"part", ""},
	{"recipient", ""},
}

var stages = []word{
	{"connect", "When a client has connected. A rejection is for the whole session."},
	{"mail", "At MAIL. A rejection is for this message."},
	{"rcpt", "At RCPT, once for each recipient. A rejection is for this recipient only."},
	{"data", "When the message is complete (the default)."},
}

var ruleStages = map[string]eml.Stage{"connect": eml.AtConnect, "mail": eml.AtMail, "rcpt": eml.AtRcpt}

var finals = []word{
	{"accept", "Deliver, with the changes that this rule and the rules before it made."},
	{"quarantine", "Hold the message; the sender is told nothing, the recipients get nothing."},
	{"discard", "Delete the message and tell nobody. Nothing is held unless a rule says `hold`."},
	{"tempfail", "Refuse for now (4xx); the sender tries again."},
	{"reject", "Refuse for good (5xx); the sender tells its author."},
}

var finalActions = map[string]Action{
	"accept": Accept, "quarantine": Quarantine, "discard": Discard, "tempfail": TempFail, "reject": Reject,
}

var replyKeys = []word{
	{"code", "The reply code (RFC 5321 section 4.2): 450 to 459 for `tempfail`, 550 to 559 for `reject`. Default: 451 or 550."},
	{"enhanced", "The enhanced status code (RFC 3463), of the same class. Default: 4.7.1 or 5.7.1."},
	{"text", "What the sender can do about it, in ASCII, at most 200 characters. `{rule}`, `{part}`, `{check}` and `{reference}` stand for what is known of the message, see below. Default: that of the action."},
}

var bannerKeys = []word{
	{"text", "The text itself, in one or more lines."},
	{"name", "The name of a banner whose text is known in several languages."},
	{"signed", "`yes`: also in what is signed with S/MIME or PGP, which breaks the signature."},
}

var renameKeys = []word{
	{"reason", "Why, for the notice."},
	{"notice", "Whether the reader is told."},
	{"signed", "`yes`: also in what is signed with S/MIME or PGP, which breaks the signature."},
}

var fieldKeys = []word{
	{"name", "The name of the field."},
	{"value", "Its value, on one line, at most 400 bytes."},
}

var kinds = []word{
	{"any", ""},
	{"temporary", ""},
	{"permanent", ""},
}
