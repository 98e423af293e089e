package office

import (
	"net/netip"
	"net/url"
	"strings"
)

// maxTarget is how many bytes of a target are told.
const maxTarget = 200

// A place is where something outside of a document is.
type place int

const (
	here    place = iota // on the same computer, or nowhere
	network              // on a server of the Windows network whose name only the neighbours know
	remote               // on a server that anybody may have
)

// noServer are schemes by which nothing is loaded.
var noServer = set("about mailto tel urn cid data res")

// PlaceOfTemplate reports whether a template is on a server that anybody may have, and how to tell it.
func PlaceOfTemplate(target string) (told string, isRemote bool) {
	return "the template is loaded from " + quoted(target), placeOf(target) == remote
}

// Quoted is what the sender wrote, as a detail tells it.
func Quoted(s string) string { return quoted(s) }

// placeOf tells where a target is. Anything with a scheme that is not known to be local is remote.
func placeOf(target string) place {
	s := strings.Map(func(r rune) rune { // programs pass over them
		if r <= ' ' || r == 0x7f {
			return -1
		}
		return r
	}, target)
	if plain, err := url.PathUnescape(s); err == nil {
		s = plain
	}
	s = strings.ToLower(strings.ReplaceAll(s, `\`, "/"))
	scheme, rest, ok := strings.Cut(s, ":")
	if i := strings.IndexByte(scheme, '/'); !ok || i >= 0 {
		return hostPlace(s)
	}
	switch {
	case len(scheme) == 1: // a drive
		return here
	case scheme == "file":
		if strings.HasPrefix(rest, "////") { // file:////host/share, also as file:///\\host\share
			rest = "//" + strings.TrimLeft(rest, "/")
		}
		return hostPlace(rest)
	case noServer[scheme]:
		return here
	}
	return remote
}

// hostPlace tells where //host/share is.
func hostPlace(s string) place {
	if !strings.HasPrefix(s, "//") || strings.HasPrefix(s, "///") {
		return here
	}
	host, _, _ := strings.Cut(s[2:], "/")
	name, _, web := strings.Cut(host, "@") // \\host@SSL\DavWWWRoot
	switch {
	case host == "" || host == "localhost" || host == "." || host == "?" || len(host) == 2 && host[1] == ':':
		return here
	case web, strings.Contains(strings.TrimSuffix(name, "."), "."):
		return remote
	}
	if _, err := netip.ParseAddr(strings.Trim(name, "[]")); err == nil {
		return remote
	}
	return network
}

// quoted is a target for people.
func quoted(target string) string {
	if len(target) > maxTarget {
		target = target[:maxTarget] + "..."
	}
	return `"` + strings.ToValidUTF8(target, "_") + `"`
}
