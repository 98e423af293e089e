package clamd

import (
	"errors"
	"fmt"
	"strings"

	"rastel/sanitize/eml"
)

// maxReply is the longest reply that is taken for one; clamd's own stay below 1 KiB.
const maxReply = 4 << 10

// A sighting is what clamd says of content that is not clean.
type sighting struct {
	check, detail string
	named         bool       // detail is the name of a signature
	all           []sighting // all that there are, if it was asked for all; then the others are empty
}

// The checks of this package.
var checks = []eml.Check{
	{ID: "clamd/malware", Doc: "ClamAV knows the content as malware."},
	{ID: "clamd/phishing", Doc: "ClamAV takes the content for phishing, by its heuristics."},
	{ID: "clamd/macro", Doc: "ClamAV saw macros in an Office document (its option AlertOLE2Macros)."},
	{ID: "clamd/heuristic", Doc: "ClamAV finds the content suspicious, by its other heuristics."},
	{ID: "clamd/pua", Doc: "ClamAV knows the content as a potentially unwanted application."},
	{ID: "clamd/encrypted", Doc: "ClamAV could not look into the content because it is encrypted (its option AlertEncrypted)."},
	{ID: "clamd/limit", Doc: "The content is beyond a limit of ClamAV, so not all of it was examined (its option AlertExceedsMax)."},
	{ID: "clamd/all", Doc: "ClamAV has told all signatures that match the content (all_match_dir in rastel.yaml). Without this there is only the first one, which may hide others: one for an unwanted program hides malware."},
	{ID: "clamd/ignored", Doc: "The policy ignores the signature that was found, but ClamAV has not looked for others, which it may hide: the content counts as not examined."},
}

// families maps signature names to checks by how they begin; the first that fits counts. The
// names of Heuristics.* are fixed in libclamav; see its option names in clamd.conf(5).
var families = []struct{ prefix, check string }{
	{"Heuristics.Limits.Exceeded", "clamd/limit"},
	{"Heuristics.XZ.DicSizeLimit", "clamd/limit"},
	{"Heuristics.Encrypted.", "clamd/encrypted"},
	{"Heuristics.OLE2.ContainsMacros", "clamd/macro"},
	{"Heuristics.Phishing.", "clamd/phishing"},
	{"Heuristics.", "clamd/heuristic"},
	{"PUA.", "clamd/pua"},
	{"", "clamd/malware"},
}

func checkOf(signature string) string {
	for _, f := range families {
		if strings.HasPrefix(signature, f.prefix) {
			return f.check
		}
	}
	return "clamd/malware"
}

// errRefused is what clamd says when it could not examine the content now, or not at all in
// this state: no memory, no temporary file, no database, too many clients.
var errRefused = errors.New("clamd could not examine it")

// errUnreadable is what clamd says of content that it cannot read, today and tomorrow.
var errUnreadable = errors.New("clamd cannot read the content")

// errGarbage is a reply that clamd does not give, so something else is at that address or
// the connection is broken.
var errGarbage = errors.New("not a reply of clamd")

// parseReply reads the reply to a command that was sent with the prefix "z" (clamd(8)): one
// verdict, then NUL. A nil sighting without error is clean, and there is but one way to it:
// "stream: OK" or "fd[12]: OK", and nothing else on the connection.
func parseReply(reply []byte) (*sighting, error) {
	text, ok := strings.CutSuffix(string(reply), "\x00")
	if !ok || len(reply) > maxReply || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' }) {
		return nil, garbage(reply)
	}
	if e, ok := strings.CutSuffix(text, " ERROR"); ok {
		return parseError(e)
	}
	what, rest, ok := strings.Cut(text, ": ")
	if !ok || !isSubject(what) {
		return nil, garbage(reply)
	}
	if rest == "OK" {
		return nil, nil
	}
	// The name may hold anything, colons and blanks included: "Name(md5:size)" with clamd's
	// ExtendedDetectionInfo, "(null)" in clamd 0.103 and before.
	name, ok := strings.CutSuffix(rest, " FOUND")
	if !ok || strings.TrimSpace(name) == "" {
		return nil, garbage(reply)
	}
	return &sighting{check: checkOf(name), detail: name, named: true}, nil
}

// isSubject reports whether clamd calls so what it was sent: "stream" or "fd[12]".
func isSubject(s string) bool {
	if s == "stream" {
		return true
	}
	n, ok := strings.CutPrefix(s, "fd[")
	if !ok {
		return false
	}
	n, ok = strings.CutSuffix(n, "]")
	return ok && n != "" && strings.Trim(n, "0123456789") == ""
}

// parseError tells limits and unreadable content, which stay as they are, from what may be
// gone when the message comes again. The texts are those of cl_strerror in libclamav.
func parseError(text string) (*sighting, error) {
	if _, rest, ok := strings.Cut(text, ": "); ok {
		text = rest
	}
	switch text {
	case "INSTREAM size limit exceeded.":
		return &sighting{check: "clamd/limit", detail: "larger than StreamMaxLength in clamd.conf"}, nil
	case "Exceeded time limit", "Exceeded max recursion depth", "Exceeded max scan size", "Exceeded max scan files":
		return &sighting{check: "clamd/limit", detail: text}, nil
	case "Bad format or broken data", "Can't parse data", "Can't unpack some data":
		return nil, fmt.Errorf("%w: %s", errUnreadable, text)
	}
	return nil, fmt.Errorf("%w: %q", errRefused, text)
}

func garbage(reply []byte) error {
	const shown = 80
	return fmt.Errorf("%w: %q", errGarbage, reply[:min(len(reply), shown)])
}
