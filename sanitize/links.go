package sanitize

import (
	"fmt"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"unicode"

	"golang.org/x/net/idna"
	"golang.org/x/net/publicsuffix"
)

// judgeLink tells what is wrong with a link, by where it leads and what it says.
func judgeLink(href, said string) (check, detail string) {
	host, user, err := hostOf(href)
	if err != nil || host == "" || strings.ContainsAny(host, "{}[%$*|") && !strings.HasPrefix(host, "[") {
		return "", "" // no link to the web, or to be filled in
	}
	name, err := idna.Lookup.ToUnicode(host)
	if err != nil {
		name, _ = idna.Punycode.ToUnicode(host)
	}
	if at := shownHost(said); at != "" && isElsewhere(at, host, href) {
		return mismatchCheck, fmt.Sprintf("says %s, leads to %s", at, host)
	}
	switch {
	case strings.Contains(user, "."):
		return mismatchCheck, fmt.Sprintf("seems to lead to %.100s, leads to %s", user, host)
	case isNumber(host):
		return addressCheck, host
	case isLookalike(name):
		return lookalikeCheck, fmt.Sprintf("%s (%s)", name, host)
	}
	return "", ""
}

// asHost is text that is an address of the web, and nothing else.
var asHost = regexp.MustCompile(`(?i)^(https?://|ftp://)?((?:[\pL\pN_-]+\.)+\pL[\pL\pN-]+)\.?(?::\d+)?(?:[/?#]\S*)?$`)

// fileEndings are domains that are the extensions of files too: text with one of them is rather
// the name of a file.
var fileEndings = set("ai app bat bz cab cat cc com.zip doc exe gz java md mov pl pm ps py rs sh so tar vi zip")

// shownHost is the host that the text of a link names; empty if it names none.
func shownHost(said string) string {
	said = strings.Map(func(r rune) rune {
		if isUnread(r) || unicode.IsSpace(r) {
			return -1
		}
		return r
	}, strings.Trim(strings.TrimSpace(said), `"'<>()[].,;:`+"\u00bb\u00ab\u201c\u201d\u2192"))
	m := asHost.FindStringSubmatch(said)
	if m == nil {
		return ""
	}
	host := strings.ToLower(m[2])
	if m[1] != "" || strings.HasPrefix(host, "www.") {
		return host
	}
	suffix, known := publicsuffix.PublicSuffix(host)
	if !known || suffix == host || fileEndings[host[strings.LastIndexByte(host, '.')+1:]] {
		return ""
	}
	return host
}

// forwarders are hosts by which a link leads to whatever it says: what large senders and gateways
// of mail make of links (as of 2026).
var forwarders = set(`list-manage.com mailchimp.com mandrillapp.com sendgrid.net sendgrid.com mailgun.org mailgun.net mailjet.com mjt.lu
	sparkpostmail.com awstrack.me amazonses.com hubspotlinks.com hubspotemail.net hs-sites.com exacttarget.com exct.net
	salesforce.com pardot.com marketo.com mktoweb.com cmail19.com cmail20.com createsend.com klaviyomail.com klclick.com
	sendinblue.com brevo.com sibforms.com constantcontact.com rs6.net getresponse.com mailerlite.com substack.com
	customeriomail.com customer.io intercom-mail.com iterable.com braze.com responsys.net emarsys.net optivo.net inxmail.com
	cleverreach.com rapidmail.de newsletter2go.com evalanche.com
	outlook.com proofpoint.com urldefense.com urldefense.us mimecast.com mimecastprotect.com barracudanetworks.com cudasvc.com
	google.com googleadservices.com doubleclick.net facebook.com linkedin.com lnkd.in t.co bit.ly`)

// isElsewhere reports whether a host is of others than the one that a link shows.
func isElsewhere(shown, host, href string) bool {
	a, err := publicsuffix.EffectiveTLDPlusOne(ascii(shown))
	if err != nil {
		return false
	}
	b, err := publicsuffix.EffectiveTLDPlusOne(ascii(host))
	if err != nil || isNumber(host) {
		b = host
	}
	labelA, _, _ := strings.Cut(a, ".")
	labelB, _, _ := strings.Cut(b, ".")
	return a != b && labelA != labelB && !forwarders[b] && !leadsOn(href, a)
}

func ascii(host string) string {
	if a, err := idna.Punycode.ToASCII(host); err == nil {
		return a
	}
	return host
}

// leadsOn reports whether a URL holds one of that domain, to which it leads on.
func leadsOn(href, domain string) bool {
	for range 3 {
		low := strings.ToLower(href)
		for i := strings.Index(low, domain); i > 0; {
			before := low[:i]
			if j := strings.LastIndex(before, "//"); j > len("https:") && !strings.ContainsAny(before[j+2:], "/?&=") {
				return true
			}
			n := strings.Index(low[i+1:], domain)
			if n < 0 {
				break
			}
			i += 1 + n
		}
		next, err := url.QueryUnescape(href)
		if err != nil || next == href {
			return false
		}
		href = next
	}
	return false
}

// isNumber reports whether a host is an address of IP in any of the forms that browsers read (URL,
// section 3.5): four numbers or fewer, decimal, octal or hexadecimal.
func isNumber(host string) bool {
	if strings.HasPrefix(host, "[") {
		return true
	}
	parts := strings.Split(host, ".")
	if len(parts) > 4 {
		return false
	}
	for _, p := range parts {
		if _, err := strconv.ParseUint(p, 0, 32); err != nil {
			if p == "" || strings.Trim(p, "0123456789") != "" {
				return false
			}
		}
	}
	return true
}

// latinLike are letters of Cyrillic and Greek that look like those of Latin.
const latinLike = "\u0430\u0441\u0435\u043e\u0440\u0445\u0443\u0456\u0458\u0455\u0501\u04bb\u051b\u051d\u04cf\u0433\u043a\u043c\u043d\u0442\u0432\u03bf\u03b1\u03bd\u03c1\u03b9\u03ba"

// isLookalike reports whether a name of a host has a part that mixes alphabets, or is wholly of
// letters that look like Latin while its end is Latin.
func isLookalike(name string) bool {
	labels := strings.Split(name, ".")
	end := labels[len(labels)-1]
	for _, label := range labels {
		latin, other, alike := 0, 0, 0
		for _, r := range label {
			switch {
			case unicode.Is(unicode.Latin, r):
				latin++
			case unicode.In(r, unicode.Cyrillic, unicode.Greek, unicode.Armenian, unicode.Cherokee):
				other++
				if strings.ContainsRune(latinLike, r) {
					alike++
				}
			case r == '\u2044', r == '\u2215', r == '\uff0f', r == '\u3002', r == '\uff0e', r == '\u2024':
				return true
			}
		}
		if other > 0 && (latin > 0 || alike == other && isASCII([]byte(end))) {
			return true
		}
	}
	return false
}
