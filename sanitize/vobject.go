package sanitize

import (
	"bytes"
	"context"
	"fmt"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"

	"rastel/sanitize/eml"
	"rastel/sanitize/vobject"
)

// Limits of calendars and cards.
const (
	maxObjectLines = 200_000 // properties
	maxObjectDepth = 50      // components in one another
	maxObjectText  = 1 << 20 // bytes of a property in which HTML is looked for
	maxObjectURL   = 4 << 10 // bytes of a property that are looked at as a URL
	maxObjectFixes = 50_000  // places that are unsafe
	maxRecurrences = 10_000  // of one event, by its COUNT or its list of dates
	maxRuleLists   = 400     // times within one period of a rule, by its BY lists
)

// defangedProperty is put before the name of a property, of a parameter or of an action. All of
// them may have names that begin with "X-", and programs pass over those that they do not know
// (RFC 5545 sections 3.6.6 and 3.8.8, RFC 6350 section 6.10).
const defangedProperty = "X-DEFANGED-"

var objectChecks = []eml.Check{
	{ID: "calendar/url", Doc: "A calendar refers to a script, a program, a local file or a share in a Windows network."},
	{ID: "calendar/alarm", Doc: "An alarm of a calendar starts a program, or sends mail with attachments."},
	{ID: "calendar/recurrence", Doc: "An event recurs so often, or by such a rule, that calendars do not end working on it."},
	{ID: "calendar/ambiguous", Doc: "A calendar is damaged so that programs read different properties."},
	{ID: "calendar/broken-line", Doc: "A calendar has a line so long that MTAs break it, and what comes of that is active."},
	{ID: "calendar/charset", Doc: "A calendar is in a charset in which it cannot be examined."},
	{ID: "calendar/limit", Doc: "A calendar is larger or more complex than the limits, so it was not examined wholly."},
	{ID: "card/url", Doc: "An address card refers to a script, a program, a local file or a share in a Windows network."},
	{ID: "card/ambiguous", Doc: "An address card is damaged so that programs read different properties."},
	{ID: "card/broken-line", Doc: "An address card has a line so long that MTAs break it, and what comes of that is active."},
	{ID: "card/charset", Doc: "An address card is in a charset in which it cannot be examined."},
	{ID: "card/limit", Doc: "An address card is larger or more complex than the limits, so it was not examined wholly."},
}

// VObjects looks for what is active in calendars (iCalendar) and address cards (vCard), whatever
// their label. Its fixes rename properties and actions, so that programs pass over them; HTML in
// them is defanged as anywhere.
type VObjects struct{ Config Config }

// Checks are all checks that Scan may report.
func (VObjects) Checks() []eml.Check { return slices.Concat(objectChecks, htmlChecks[:]) }

// Scan examines one leaf.
func (s VObjects) Scan(ctx context.Context, p *eml.Part) ([]eml.Finding, error) {
	if !p.Leaf() || p.Size == 0 {
		return nil, nil
	}
	area := objectArea(p)
	if area == "" {
		return nil, nil
	}
	if p.Size > s.Config.htmlSize() {
		return []eml.Finding{{Check: area + "limit", Part: p, Detail: fmt.Sprintf("%d bytes", p.Size), Unexamined: true}}, nil
	}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true)) // a disk that fails is a failure of this scan
	b, release, err := p.View()
	if err != nil {
		return nil, fmt.Errorf("read calendar or card: %w", err)
	}
	defer release()
	out, n, err := examineObject(ctx, p, area, b)
	if err != nil || !p.HasLongLines() {
		return out, err
	}
	for _, by := range eml.Wrappings() { // what MTAs make of it
		broken, err := wrappedObject(ctx, p, area, by)
		if err != nil {
			return nil, err
		}
		if broken > n {
			fix := []eml.Edit{{Part: p, Region: eml.InContent}}
			return append(out, eml.Finding{Check: area + "broken-line", Part: p, Detail: "where an MTA breaks a line", Fix: fix}), nil
		}
	}
	return out, nil
}

// objectArea is that of the checks about a part; empty if it is neither calendar nor card.
func objectArea(p *eml.Part) string {
	switch vobject.KindOf(p.MediaType, p.Names, p.Head(vobject.HeadSize)) {
	case vobject.Calendar:
		return "calendar/"
	case vobject.Card:
		return "card/"
	}
	return ""
}

func wrappedObject(ctx context.Context, p *eml.Part, area string, by eml.Wrapping) (int, error) {
	s := eml.NewSpool(eml.SpoolOptions{})
	defer s.Close()
	if err := p.WriteWrapped(s, by); err != nil {
		return 0, fmt.Errorf("read calendar or card: %w", err)
	}
	s.CloseWrite(nil)
	b, release, err := s.View()
	if err != nil {
		return 0, fmt.Errorf("read calendar or card: %w", err)
	}
	defer release()
	_, n, err := examineObject(ctx, p, area, b)
	return n, err
}

// examineObject gives the findings in the content of a part, and how many places are unsafe.
func examineObject(ctx context.Context, p *eml.Part, area string, b []byte) ([]eml.Finding, int, error) {
	texts, how := readings(b, p.Charset())
	if texts == nil {
		return []eml.Finding{{Check: area + "limit", Part: p, Detail: fmt.Sprintf("%d bytes in %s", p.Size, how), Unexamined: true}}, 0, nil
	}
	o := &object{ctx: ctx, part: p, area: area, fixes: how == "", found: map[string]*eml.Finding{}, stuck: map[string]bool{}}
	if unreadable(p.Charset()) {
		o.report("charset", how, -1, "")
		o.found[area+"charset"].Unexamined = true
	}
	for _, text := range texts {
		if err := o.examine(text); err != nil {
			return nil, 0, err
		}
	}
	return o.findings(), o.places, nil
}

// An object is a calendar or a card under examination.
type object struct {
	ctx    context.Context //nolint:containedctx // lives as long as one call of Scan
	part   *eml.Part
	area   string
	fixes  bool // the text can be edited in place
	found  map[string]*eml.Finding
	stuck  map[string]bool // checks with something that has no fix
	places int             // that are unsafe

	line  vobject.Line
	depth int
	dates int // in lists of dates so far
	alarm alarm
}

// An alarm is what is known of the alarm that is read.
type alarm struct {
	mail     int // where the action begins that sends mail; 0 if it does not
	attaches bool
}

// findings are all findings, in the order of their checks.
func (o *object) findings() []eml.Finding {
	var out []eml.Finding
	for _, check := range (VObjects{}).Checks() {
		if f := o.found[check.ID]; f != nil {
			out = append(out, *f)
		}
	}
	return out
}

// report notes something that is made harmless by putting text in at a place of the file; nothing
// makes it if the place is negative.
func (o *object) report(check, detail string, at int, text string) {
	if !strings.Contains(check, "/") {
		check = o.area + check
	}
	f := o.found[check]
	if f == nil {
		f = &eml.Finding{Check: check, Part: o.part, Detail: detail}
		o.found[check] = f
	}
	if !strings.HasPrefix(check, "page/") && check != "html/malformed" { // which a line that is broken may become
		o.places++
	}
	switch {
	case at < 0 || !o.fixes || o.stuck[check]:
		f.Fix, o.stuck[check] = nil, true
		f.Unexamined = f.Unexamined || check == o.area+"limit"
	case len(f.Fix) == maxObjectFixes:
		o.limit("too many unsafe places")
	default:
		e := eml.Edit{Part: o.part, Region: eml.InContent, Start: int64(at), End: int64(at), Text: []byte(text)}
		if !slices.ContainsFunc(f.Fix[max(0, len(f.Fix)-maxMarksAgain):], func(x eml.Edit) bool { return x.Start == e.Start }) {
			f.Fix = append(f.Fix, e)
		}
	}
}

// maxMarksAgain is how many of the last fixes a new one is compared with: a text is examined in two
// readings, one after the other. More of the same do no harm.
const maxMarksAgain = 100

func (o *object) limit(detail string) { o.report("limit", detail, -1, "") }

// examine reads all properties of a text.
func (o *object) examine(text []byte) error {
	r := vobject.NewReader(text)
	o.depth, o.dates, o.alarm = 0, 0, alarm{}
	for n := 0; r.Next(&o.line); n++ {
		if n%1000 == 0 {
			if err := o.ctx.Err(); err != nil {
				return err
			}
		}
		if n == maxObjectLines || o.depth > maxObjectDepth {
			o.limit("too many properties, or components in one another")
			return nil
		}
		if err := o.property(); err != nil {
			return err
		}
	}
	o.endAlarm()
	if r.BareCR {
		o.report("ambiguous", "a line ends in CR alone", -1, "")
	}
	return nil
}

// property examines one property.
func (o *object) property() error {
	l := &o.line
	if l.Over {
		o.limit("a property of " + strconv.Itoa(l.Value.Len()) + " bytes")
	}
	if strings.HasPrefix(l.Name, defangedProperty) {
		return nil // nobody knows it
	}
	if l.Divided && l.Colon {
		o.report("ambiguous", "the name of a property is divided: "+l.Name, l.NameAt, defangedProperty)
		return nil
	}
	switch l.Name {
	case "BEGIN", "END":
		o.component()
		return nil
	case "ACTION":
		o.action()
	case "PALARM", "MALARM": // of vCalendar 1.0
		o.report("alarm", o.excerpt(), l.NameAt, defangedProperty)
	case "RRULE", "EXRULE", "XRULE":
		o.recurrence()
	case "RDATE", "EXDATE":
		if o.dates += bytes.Count(l.Value.Bytes(maxObjectText), []byte(",")) + 1; o.dates > maxRecurrences {
			o.report("recurrence", "too many dates", l.NameAt, defangedProperty)
		}
	case "ATTACH":
		o.alarm.attaches = true
	}
	if o.refers() {
		return nil
	}
	return o.html()
}

// excerpt is a property for people.
func (o *object) excerpt() string { return o.line.Name + ":" + string(o.line.Value.Bytes(60)) }

// component is the beginning or the end of one.
func (o *object) component() {
	isAlarm := strings.EqualFold(strings.TrimSpace(string(o.line.Value.Bytes(20))), "VALARM")
	if isAlarm {
		o.endAlarm()
	}
	if o.line.Name == "BEGIN" {
		o.depth++
	} else {
		o.depth = max(0, o.depth-1)
	}
}

// endAlarm judges the alarm that ends.
func (o *object) endAlarm() {
	if o.alarm.mail > 0 && o.alarm.attaches && o.area == "calendar/" {
		o.report("alarm", "an alarm sends mail with attachments", o.alarm.mail, defangedProperty)
	}
	o.alarm = alarm{}
}

// action is what an alarm does (RFC 5545 section 3.8.6.1; PROCEDURE is of RFC 2445).
func (o *object) action() {
	v := &o.line.Value
	word := v.Bytes(100)
	skip := len(word) - len(bytes.TrimLeft(word, " \t\x00"))
	switch strings.ToUpper(strings.Trim(string(word), " \t\x00")) {
	case "PROCEDURE":
		o.report("alarm", o.excerpt(), v.At(skip), defangedProperty)
	case "EMAIL":
		o.alarm.mail = v.At(skip)
	}
}

// recurrence judges a rule (RFC 5545 section 3.3.10). What recurs more often than anybody can meet
// makes calendars expand it for ever.
func (o *object) recurrence() {
	rule := strings.ToUpper(string(o.line.Value.Bytes(maxObjectURL)))
	lists, why := 1, ""
	for part := range strings.SplitSeq(rule, ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		n, err := strconv.Atoi(strings.TrimSpace(value))
		switch {
		case name == "FREQ" && (value == "SECONDLY" || value == "MINUTELY"):
			why = "it recurs " + strings.ToLower(value)
		case name == "COUNT" && (n > maxRecurrences || err != nil):
			why = "it recurs too often"
		case name == "INTERVAL" && n <= 0:
			why = "its interval is not positive"
		case strings.HasPrefix(name, "BY") && name != "BYSETPOS":
			lists = min(lists*(strings.Count(value, ",")+1), 1<<20)
		}
	}
	if lists > maxRuleLists {
		why = "it recurs too often in a period"
	}
	if o.line.Value.Len() > maxObjectURL {
		why = "its rule is too long"
	}
	if why != "" {
		o.report("recurrence", why, o.line.NameAt, defangedProperty)
	}
}

// urlProperties are those whose value is a URL, or may be one.
var urlProperties = set(`ATTACH URL SOURCE TZURL CONFERENCE IMAGE STRUCTURED-DATA LINK RELATED-TO ORGANIZER ATTENDEE AALARM DALARM
	PHOTO LOGO SOUND KEY FBURL CALURI CALADRURI IMPP MEMBER RELATED AGENT ORG-DIRECTORY CONTACT-URI SOCIALPROFILE`)

// urlParams are parameters likewise.
var urlParams = set("ALTREP DIR SENT-BY MEMBER DELEGATED-FROM DELEGATED-TO")

// urlWords are in the names of properties that are not standard and hold a URL.
var urlWords = []string{"URL", "URI", "LINK", "HREF", "ATTACH", "IMAGE", "PHOTO", "SOUND"}

// refers looks at what a property refers to. It reports whether the property is to be renamed.
func (o *object) refers() bool {
	l := &o.line
	for _, p := range l.Params {
		if (urlParams[p.Name] || strings.Contains(p.Name, "URL")) && objectURL([]byte(p.Value)) {
			o.report("url", p.Name+"="+shorten(p.Value, 60), p.At, defangedProperty)
		}
	}
	isURL := urlProperties[l.Name] || l.Is("VALUE", "URI") || l.Is("VALUE", "URL")
	for _, w := range urlWords {
		isURL = isURL || strings.HasPrefix(l.Name, "X-") && strings.Contains(l.Name, w)
	}
	if !isURL || l.Base64() {
		return false
	}
	value, _ := o.decoded(l.Value.Bytes(maxObjectURL), nil)
	plain, _ := unescaped(value, nil)
	urls := [][]byte{value, plain}
	if l.Name == "AALARM" || l.Name == "DALARM" { // of vCalendar 1.0: the URL is one of several fields
		urls = bytes.Split(value, []byte(";"))
	}
	if !slices.ContainsFunc(urls, objectURL) {
		return false
	}
	o.report("url", o.excerpt(), l.NameAt, defangedProperty)
	return true
}

// objectURL reports whether a URL is dangerous.
func objectURL(v []byte) bool { return dangerousURL(bytes.TrimLeft(v, " \t\"'<(")) != "" }

// html looks for what is active in the HTML of a property: that of X-ALT-DESC, and of any text, which
// some programs show as HTML.
func (o *object) html() error {
	l := &o.line
	markup := false
	l.Value.Pieces(func(b []byte) bool {
		markup = bytes.IndexByte(b, '<') >= 0 || l.Quoted() && (bytes.Contains(b, []byte("=3C")) || bytes.Contains(b, []byte("=3c")))
		return !markup
	})
	if !markup || l.Base64() {
		return nil
	}
	if l.Value.Len() > maxObjectText {
		o.limit(l.Name + " of " + strconv.Itoa(l.Value.Len()) + " bytes")
		return nil
	}
	text := l.Value.Bytes(maxObjectText)
	at := make([]int, len(text))
	for i := range at {
		at[i] = l.Value.At(i)
	}
	if err := o.page(text, at); err != nil || !l.Value.Folds() || l.Quoted() {
		return err
	}
	return o.page(l.Value.WithBlanks(2 * maxObjectText))
}

// page examines a text as HTML; at tells where its bytes are in the file.
func (o *object) page(text []byte, at []int) error {
	text, at = unescaped(o.decoded(text, at))
	pg := newPage(text)
	defer pg.done()
	if err := pg.examine(o.ctx); err != nil {
		return err
	}
	for _, m := range pg.marks {
		o.report(htmlChecks[m.check].ID, pg.excerpt(m.at), at[m.at], string(m.edit(o.part).Text))
	}
	if pg.over {
		o.limit(o.line.Name + ": too many tags within tags")
	}
	return nil
}

// decoded is a text without quoted-printable, if it is in that. The second value, which may be nil,
// tells where its bytes are.
func (o *object) decoded(text []byte, at []int) ([]byte, []int) {
	if !o.line.Quoted() {
		return text, at
	}
	return rewritten(text, at, func(b []byte) (byte, int) {
		if b[0] == '=' && len(b) > 2 && isHex(b[1]) && isHex(b[2]) {
			return hexValue(b[1])<<4 | hexValue(b[2]), 3
		}
		return b[0], 1
	})
}

// unescaped is a text without the escapes of both formats (RFC 5545 section 3.3.11).
func unescaped(text []byte, at []int) ([]byte, []int) {
	return rewritten(text, at, func(b []byte) (byte, int) {
		if b[0] != '\\' || len(b) < 2 {
			return b[0], 1
		}
		switch b[1] {
		case 'n', 'N':
			return '\n', 2
		case '\\', ',', ';', ':', '"':
			return b[1], 2
		}
		return b[0], 1
	})
}

// rewritten replaces bytes: next gives the byte that stands for the first ones of b, and how many
// these are.
func rewritten(text []byte, at []int, next func(b []byte) (byte, int)) ([]byte, []int) {
	out := make([]byte, 0, len(text))
	var places []int
	for i := 0; i < len(text); {
		c, n := next(text[i:])
		out = append(out, c)
		if at != nil {
			places = append(places, at[i])
		}
		i += n
	}
	return out, places
}
