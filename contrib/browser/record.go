package browser

import (
	"fmt"
	"net/url"
	"strings"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
)

// A Record is what a page did, or would have done with a network.
type Record struct {
	Scripts []string // scripts that ran, handlers that were ready to, dialogs
	Active  []string // loads and navigations that are more than pictures and links
	Sheets  []string // style sheets from elsewhere
	Passive []string // pictures, fonts, sounds
	Links   []string // links that were followed because they were clicked

	near string // the directory of a page on the disk: what is in it is no other place
}

// Fired reports whether the page did what mail must not do.
func (r *Record) Fired() bool { return len(r.Scripts)+len(r.Active) > 0 }

// String has a line for everything that mail must not do.
func (r *Record) String() string {
	return strings.Join(append(append([]string(nil), r.Scripts...), r.Active...), "\n")
}

// maxRecord is how many entries of a kind are kept: a page can make requests without end.
const maxRecord = 50

func add(list *[]string, format string, args ...any) {
	if len(*list) < maxRecord {
		*list = append(*list, fmt.Sprintf("%.300s", fmt.Sprintf(format, args...)))
	}
}

// linkSchemes are those that a link in mail may have: they begin another program or page, and
// only if the reader clicks.
var linkSchemes = map[string]bool{
	"http": true, "https": true, "ftp": true, "mailto": true, "tel": true, "sms": true, "callto": true, "cid": true, "mid": true,
	"xmpp": true, "sip": true, "sips": true, "news": true, "webcal": true, "geo": true,
}

// pictureSchemes are those of what a message may show. Not file: the name of a server in it
// makes Windows send a password's hash there.
var pictureSchemes = map[string]bool{"http": true, "https": true, "data": true, "cid": true, "mid": true}

func scheme(s string) string {
	u, err := url.Parse(s)
	if err != nil {
		before, _, _ := strings.Cut(s, ":")
		return strings.ToLower(before)
	}
	return u.Scheme
}

// request notes a request of a page for something else than itself.
func (r *Record) request(kind network.ResourceType, target string) {
	switch kind {
	case network.ResourceTypeDocument: // navigations are noted with their reason
	case network.ResourceTypeImage, network.ResourceTypeFont, network.ResourceTypeMedia:
		if pictureSchemes[scheme(target)] || r.isNear(target) {
			add(&r.Passive, "%s %s", kind, target)
			return
		}
		add(&r.Active, "load: %s %s", kind, target)
	case network.ResourceTypeStylesheet:
		// A style sheet runs nothing in any client of today if it comes from the web, and
		// newsletters get their fonts so. One that transforms XML makes any page of it.
		if s := scheme(target); !strings.HasSuffix(target, ".xsl") && (s == "http" || s == "https" || r.isNear(target)) {
			add(&r.Sheets, "%s %s", kind, target)
			return
		}
		add(&r.Active, "load: %s %s", kind, target)
	default:
		if r.isNear(target) && strings.Contains(target, "/DEFANGED_") {
			add(&r.Passive, "%s %s", kind, target) // what a fix has made of it, and nothing is there
			return
		}
		add(&r.Active, "load: %s %s", kind, target)
	}
}

// navigation notes that a page, or a frame in it, wants to go elsewhere. acting is true while
// the reader clicks.
func (r *Record) navigation(e *page.EventFrameRequestedNavigation, top, acting bool) {
	if top && acting && e.Reason == page.ClientNavigationReasonAnchorClick && (linkSchemes[scheme(e.URL)] || r.isNear(e.URL)) {
		add(&r.Links, "%s", e.URL)
		return
	}
	add(&r.Active, "navigation: %s %s", e.Reason, e.URL)
}

// targets notes links that must not be, whether or not the browser follows them.
func (r *Record) targets(urls []string) {
	for _, u := range urls {
		if !r.isNear(u) && !linkSchemes[scheme(u)] && scheme(u) != "data" || strings.HasPrefix(u, "data:") && !strings.HasPrefix(u, "data:image/") {
			add(&r.Active, "link: %s", u)
		}
	}
}

// isNear reports whether a URL is a relative one of a page on the disk. Nothing else is in its
// directory.
func (r *Record) isNear(target string) bool { return r.near != "" && strings.HasPrefix(target, r.near) }

// refresh notes that a page says it will go elsewhere by itself, at once or later.
func (r *Record) refresh(e scheduled) {
	if e.Reason == page.ClientNavigationReasonMetaTagRefresh || e.Reason == page.ClientNavigationReasonHTTPHeaderRefresh {
		add(&r.Active, "navigation: %s after %v s %s", e.Reason, e.Delay, e.URL)
	}
}

// A scheduled is Page.frameScheduledNavigation, which Chromium still sends though the protocol's
// description has it no more.
type scheduled struct {
	Reason page.ClientNavigationReason `json:"reason"`
	Delay  float64                     `json:"delay"`
	URL    string                      `json:"url"`
}

// window notes that a page opens another one.
func (r *Record) window(e *page.EventWindowOpen, acting bool) {
	if acting && linkSchemes[scheme(e.URL)] {
		add(&r.Links, "%s (new window)", e.URL)
		return
	}
	add(&r.Active, "window: %s", e.URL)
}
