package engine

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"mime"
	"mime/quotedprintable"
	"net/mail"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"rastel/policy"
	"rastel/policy/quarantine"
)

// NotifyConfig says how notices are sent. The zero value is usable.
type NotifyConfig struct {
	// From is the address that notices come from. Default: postmaster at the name of this host.
	From string `yaml:"from"`
	// PerHour is how many notices of one rule the same recipients get in an hour; the others are only counted,
	// and the next notice tells how many there were. Default: 10.
	PerHour int `yaml:"per_hour"`
}

// Validate reports the first value that cannot work.
func (c NotifyConfig) Validate() error {
	if c.From != "" && !policy.IsAddress(c.From) {
		return fmt.Errorf("notify.from: %.200q is no address", c.From)
	}
	if c.PerHour < 0 {
		return fmt.Errorf("notify.per_hour: %d is negative", c.PerHour)
	}
	return nil
}

func (c NotifyConfig) withDefaults() NotifyConfig {
	if c.From == "" {
		host, err := os.Hostname()
		if c.From = "postmaster@" + host; err != nil || !policy.IsAddress(c.From) {
			c.From = "postmaster@localhost"
		}
	}
	if c.PerHour == 0 {
		c.PerHour = 10
	}
	return c
}

// Limits of a notice: what the sender wrote must not make it large.
const (
	maxNoticeValue    = 300 // characters
	maxNoticeFindings = 20
	maxNoticeTo       = 20       // recipients that it names
	maxNoticeHeader   = 32 << 10 // bytes of the header of the message
)

// A notice is one message about another one, for whatever became of it for some or all of its recipients.
type notice struct {
	*policy.Notification
	verdicts []*policy.Verdict
}

// notices are those of all verdicts. What several of them want to be told in the same way is one notice.
func (x *Examination) notices() []*notice {
	var all []*notice
	for _, v := range x.verdicts() {
		for i := range v.Notices {
			n := &v.Notices[i]
			at := slices.IndexFunc(all, func(o *notice) bool {
				return o.Rule == n.Rule && o.Text == n.Text && o.Full == n.Full && slices.Equal(o.To, n.To)
			})
			if at < 0 {
				at = len(all)
				all = append(all, &notice{Notification: n})
			}
			all[at].verdicts = append(all[at].verdicts, v)
		}
	}
	return all
}

// queueNotices queues the notices of all verdicts.
func (e *Engine) queueNotices(ctx context.Context, x *Examination) error {
	for _, n := range x.notices() {
		if err := e.queueNotice(ctx, x, n); err != nil {
			return fmt.Errorf("notice of rule %q: %w", n.Rule, err)
		}
	}
	return nil
}

// queueNotice queues one notice, or counts it. It has the null sender, so that nobody answers it by a program
// (RFC 3834 section 3.3, RFC 5321 section 4.5.5).
func (e *Engine) queueNotice(ctx context.Context, x *Examination, n *notice) error {
	if e.opt.Quarantine == nil {
		return errNoQuarantine
	}
	of, err := x.identity()
	if err != nil {
		return err
	}
	key := noticeKey(n.Rule, n.To)
	ok, left := e.notices.take(key)
	if !ok {
		e.metrics.notices.WithLabelValues("left out").Inc()
		return nil
	}
	it := x.newItem(n.verdicts[0])
	id := quarantine.NewID()
	it.ID, it.Purpose, it.Rule, it.Recipients, it.Sender, it.SenderArgs = id, quarantine.ForNotice, n.Rule, n.To, "", nil
	it.Class, it.Retention, it.Subject, it.From, it.MessageID = "", 0, n.subject(), e.notify.From, ""
	if of != "" {
		it.Of = strings.Join([]string{n.Rule, n.Text, x.Message.Envelope.Sender, x.group(n.verdicts[0]), of}, "\n")
	}
	x.queued = true
	if err := e.opt.Quarantine.Queue(ctx, it, bytes.NewReader(e.write(x, n, id, left))); err != nil {
		e.notices.giveBack(key, left)
		return err
	}
	if it.ID != id { // it was queued before
		e.notices.giveBack(key, left)
		return nil
	}
	e.metrics.notices.WithLabelValues("queued").Inc()
	return nil
}

// subject tells of the actions, and of the rule.
func (n *notice) subject() string {
	var actions []string
	for _, v := range n.verdicts {
		if a := v.Action.String(); !slices.Contains(actions, a) {
			actions = append(actions, a)
		}
	}
	return fmt.Sprintf("Mail filter: %s, rule %s", strings.Join(actions, " and "), n.Rule)
}

// write makes the whole message. Of what the sender of the other one wrote nothing can act in it: it is plain
// text, in one encoding, in lines of their own.
func (e *Engine) write(x *Examination, n *notice, id string, left int) []byte {
	_, domain, _ := strings.Cut(e.notify.From, "@")
	var b bytes.Buffer
	for _, f := range [][2]string{
		{"From", "Mail filter <" + e.notify.From + ">"},
		{"To", noticeTo(n.To)},
		{"Subject", mime.QEncoding.Encode("utf-8", n.subject())},
		{"Date", time.Now().Format(time.RFC1123Z)},
		{"Message-ID", "<" + id + "@" + domain + ">"},
		{"Auto-Submitted", "auto-generated"},
		{"MIME-Version", "1.0"},
		{"Content-Type", "text/plain; charset=utf-8"},
		{"Content-Transfer-Encoding", "quoted-printable"},
	} {
		b.WriteString(f[0] + ": " + f[1] + "\r\n")
	}
	b.WriteString("\r\n")
	q := quotedprintable.NewWriter(&b)
	_, _ = q.Write([]byte(n.text(x, left))) // a Buffer takes everything
	_ = q.Close()
	return b.Bytes()
}

// noticeTo names the recipients, where they are of a form that cannot be taken for anything else.
func noticeTo(to []string) string {
	if len(to) > maxNoticeTo {
		return "undisclosed-recipients:;"
	}
	for _, a := range to {
		if _, err := mail.ParseAddress(a); err != nil || !policy.IsAddress(a) {
			return "undisclosed-recipients:;"
		}
	}
	return strings.Join(to, ",\r\n ")
}

// text is what a notice tells, in lines that end in "\n".
func (n *notice) text(x *Examination, left int) string {
	var b strings.Builder
	if n.Text != "" {
		b.WriteString(strings.TrimRight(n.Text, "\n") + "\n\n")
	}
	env, h := x.Message.Envelope, &x.Message.Root.Header
	tell(&b, "Rule", n.Rule)
	tell(&b, "Policy", n.verdicts[0].Policy)
	tell(&b, "Reference", x.Reference)
	tell(&b, "Queue ID", env.QueueID)
	tell(&b, "Session", env.Session)
	tell(&b, "Client", strings.TrimSpace(env.ClientName+" "+client(env.Client.IsValid(), env.Client.String())))
	tell(&b, "User", env.AuthUser)
	tell(&b, "Sender", "<"+env.Sender+">")
	tell(&b, "From", h.Text("From"))
	tell(&b, "Subject", h.Text("Subject"))
	tell(&b, "Message-ID", h.Get("Message-ID"))
	tell(&b, "Size", fmt.Sprintf("%d bytes", x.Message.Size))
	for _, v := range n.verdicts[:min(len(n.verdicts), maxNoticeTo)] {
		x.tellVerdict(&b, v)
	}
	x.tellFindings(&b)
	if left > 0 {
		fmt.Fprintf(&b, "\n%d more such messages before this one have had no notice, because there were too many in an hour.\n", left)
	}
	if n.Full {
		b.WriteString("\nThe header of the message:\n\n")
		quote(&b, h.Bytes())
	}
	return b.String()
}

// tell writes one line; none if there is nothing to tell.
func tell(b *strings.Builder, name, value string) {
	if value != "" {
		fmt.Fprintf(b, "%-12s%s\n", name+":", harmless(value, maxNoticeValue))
	}
}

// tellVerdict tells what became of the message for the recipients of a verdict.
func (x *Examination) tellVerdict(b *strings.Builder, v *policy.Verdict) {
	b.WriteString("\n")
	tell(b, "Action", v.Action.String())
	tell(b, "Item", x.itemOf(v))
	to := x.recipients(v)
	for _, r := range to[:min(len(to), maxNoticeTo)] {
		tell(b, "Recipient", "<"+r+">")
	}
	if more := len(to) - maxNoticeTo; more > 0 {
		tell(b, "Recipient", fmt.Sprintf("and %d more", more))
	}
}

func client(known bool, address string) string {
	if !known {
		return ""
	}
	return "[" + address + "]"
}

// tellFindings names what was found, and in which part.
func (x *Examination) tellFindings(b *strings.Builder) {
	list := x.Report.Findings
	if len(list) == 0 {
		return
	}
	b.WriteString("\nFound:\n")
	for _, f := range list[:min(len(list), maxNoticeFindings)] {
		where := "part " + f.Part.ID
		if len(f.Part.Names) > 0 {
			where += " (" + f.Part.Names[0] + ")"
		}
		fmt.Fprintf(b, "  %s in %s\n", f.Check, harmless(where, maxNoticeValue))
		if f.Detail != "" {
			fmt.Fprintf(b, "      %s\n", harmless(f.Detail, maxNoticeValue))
		}
	}
	if more := len(list) - maxNoticeFindings; more > 0 {
		fmt.Fprintf(b, "  and %d more\n", more)
	}
}

// quote writes text of the sender so that no line of it can be taken for one of ours.
func quote(b *strings.Builder, text []byte) {
	cut := len(text) > maxNoticeHeader
	text = text[:min(len(text), maxNoticeHeader)]
	for line := range strings.Lines(string(text)) {
		b.WriteString("| " + harmless(strings.TrimRight(line, "\r\n"), len(line)) + "\n")
	}
	if cut {
		b.WriteString("| ...\n")
	}
}

// harmless is text of the sender on one line, of at most so many characters: without control characters, and
// without those that turn the direction of what follows.
func harmless(s string, most int) string {
	var b strings.Builder
	n := 0
	for _, r := range s {
		if n++; n > most {
			b.WriteString("...")
			break
		}
		switch {
		case r == '\t' || r == '\n':
			r = ' '
		case r == '\r':
			continue
		case r == utf8.RuneError || !unicode.IsPrint(r):
			r = '?'
		}
		b.WriteRune(r)
	}
	return b.String()
}

// A noticeLimit counts notices, so that a flood of messages makes no flood of notices.
type noticeLimit struct {
	max  int
	now  func() time.Time
	mu   sync.Mutex
	keys map[[sha256.Size]byte]*noticeCount
}

// noticeKey is that of a rule and recipients. It is a hash, because senders choose how many there are, and how long.
func noticeKey(rule string, to []string) [sha256.Size]byte {
	return sha256.Sum256([]byte(rule + "\n" + strings.Join(to, "\n")))
}

// A noticeCount is what was done in the hour that began at since.
type noticeCount struct {
	since      time.Time
	sent, left int // left: since the last notice
}

// maxNoticeKeys is how many rules and recipients are counted at a time. Beyond that there are no notices.
const maxNoticeKeys = 10_000

// take reports whether there may be one more notice, and how many before it there were not; if it may not, it
// counts as one of those.
func (l *noticeLimit) take(key [sha256.Size]byte) (ok bool, left int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	c := l.keys[key]
	if c == nil {
		if len(l.keys) >= maxNoticeKeys && !l.forget(now) {
			return false, 0
		}
		c = &noticeCount{since: now}
		l.keys[key] = c
	}
	if now.Sub(c.since) >= time.Hour {
		c.since, c.sent = now, 0
	}
	if c.sent >= l.max {
		c.left++
		return false, 0
	}
	left, c.left = c.left, 0
	c.sent++
	return true, left
}

// forget drops what is over, and reports whether there is room now.
func (l *noticeLimit) forget(now time.Time) bool {
	for key, c := range l.keys {
		if now.Sub(c.since) >= time.Hour {
			delete(l.keys, key)
		}
	}
	return len(l.keys) < maxNoticeKeys
}

// giveBack undoes a take, for a notice that was not made.
func (l *noticeLimit) giveBack(key [sha256.Size]byte, left int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c := l.keys[key]; c != nil {
		c.sent, c.left = max(0, c.sent-1), c.left+left
	}
}
