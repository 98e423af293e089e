package sqlindex

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"rastel/policy/quarantine"
)

// columns are those that make an item, in the order of values and scan.
const columns = `id, created, expires, queue_id, session, client, client_name, helo, auth_user,
	sender, sender_args, recipients, subject, from_field, message_id, rule, policy, reason, findings,
	is_copy, size, sha256, digest, envelope_key, stored, state, changed, changed_by, note,
	release_to, lease, attempt, class, purpose, tries, next_try, names`

// values are the columns of an item.
func values(it *quarantine.Item) []any {
	return []any{
		it.ID, millis(it.Created), millis(it.Expires), it.QueueID, it.Session, address(it.Client), it.ClientName, it.Helo, it.AuthUser,
		it.Sender, encodeList(it.SenderArgs), encodeList(it.Recipients), it.Subject, it.From, it.MessageID, it.Rule, it.Policy, it.Reason, encodeFindings(it.Findings),
		number(it.Held), it.Size, it.SHA256, it.Digest, it.Key, number(it.Stored), string(it.State), millis(it.Changed), it.ChangedBy, it.Note,
		encodeList(it.ReleaseTo), millis(it.Lease), it.Attempt, it.Class, string(it.Purpose), it.Tries, millis(it.Next), encodeList(it.Names),
	}
}

// maxSearch is how much text of an item is searched. The recipients are searched apart, too.
const maxSearch = 64 << 10

// keys are the columns that are only searched.
func keys(it *quarantine.Item) []any {
	text := append([]string{
		it.Subject, it.From, it.Sender, it.MessageID, it.Rule, address(it.Client), it.ClientName,
	}, it.Names...)
	for _, f := range it.Findings {
		text = append(text, f.Check, f.Detail)
	}
	search := key(append(text, it.Recipients...)...)
	if len(search) > maxSearch {
		search = strings.ToValidUTF8(search[:maxSearch], "")
	}
	return []any{key(it.Sender), key(it.Recipients...), search}
}

// key is a list in the form in which it is searched, each entry between line feeds.
func key(list ...string) string {
	var b strings.Builder
	b.WriteByte('\n')
	for _, s := range list {
		b.WriteString(fold(s))
		b.WriteByte('\n')
	}
	return b.String()
}

// fold makes text that compares without case and that any database takes: valid UTF-8, no
// control characters.
func fold(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' {
			return ' '
		}
		return r
	}, strings.ToLower(strings.ToValidUTF8(s, "\ufffd")))
}

// scan reads the columns of an item.
func scan(row interface{ Scan(...any) error }) (*quarantine.Item, error) {
	var it quarantine.Item
	var created, expires, changed, lease, next int64
	var client, args, recipients, findings, releaseTo, state, purpose, names string
	err := row.Scan(
		&it.ID, &created, &expires, &it.QueueID, &it.Session, &client, &it.ClientName, &it.Helo, &it.AuthUser,
		&it.Sender, &args, &recipients, &it.Subject, &it.From, &it.MessageID, &it.Rule, &it.Policy, &it.Reason, &findings,
		&it.Held, &it.Size, &it.SHA256, &it.Digest, &it.Key, &it.Stored, &state, &changed, &it.ChangedBy, &it.Note,
		&releaseTo, &lease, &it.Attempt, &it.Class, &purpose, &it.Tries, &next, &names,
	)
	if err != nil {
		return nil, err
	}
	it.Created, it.Expires, it.Changed, it.Lease = instant(created), instant(expires), instant(changed), instant(lease)
	it.State, it.Purpose, it.Next = quarantine.State(state), quarantine.Purpose(purpose), instant(next)
	it.Client, _ = netip.ParseAddr(client) // what is not an address was none: see address
	if err := decodeLists(&it, args, recipients, releaseTo, findings, names); err != nil {
		return nil, fmt.Errorf("record of %s: %w", it.ID, err)
	}
	return &it, nil
}

func decodeLists(it *quarantine.Item, args, recipients, releaseTo, findings, names string) error {
	var err1, err2, err3, err4, err5 error
	it.SenderArgs, err1 = decodeList(args)
	it.Recipients, err2 = decodeList(recipients)
	it.ReleaseTo, err3 = decodeList(releaseTo)
	it.Findings, err4 = decodeFindings(findings)
	it.Names, err5 = decodeList(names)
	return errors.Join(err1, err2, err3, err4, err5)
}

// address is the text of an address, empty if it is none.
func address(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

// number is how a truth value is stored: SQLite has no type for it.
func number(b bool) int {
	if b {
		return 1
	}
	return 0
}

// millis is a time as it is stored; the zero time is 0.
func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func instant(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

// encodeList writes strings with their lengths in bytes: "3:one,3:two,".
func encodeList(list []string) string {
	var b strings.Builder
	for _, s := range list {
		b.WriteString(strconv.Itoa(len(s)))
		b.WriteByte(':')
		b.WriteString(s)
		b.WriteByte(',')
	}
	return b.String()
}

var errList = errors.New("damaged list")

func decodeList(s string) ([]string, error) {
	var list []string
	for len(s) > 0 {
		size, rest, ok := strings.Cut(s, ":")
		n, err := strconv.Atoi(size)
		if !ok || err != nil || n < 0 || n >= len(rest) || rest[n] != ',' {
			return nil, errList
		}
		list, s = append(list, rest[:n]), rest[n+1:]
	}
	return list, nil
}

func encodeFindings(list []quarantine.Finding) string {
	flat := make([]string, 0, 3*len(list))
	for _, f := range list {
		flat = append(flat, f.Check, f.Part, f.Detail)
	}
	return encodeList(flat)
}

func decodeFindings(s string) ([]quarantine.Finding, error) {
	flat, err := decodeList(s)
	if err != nil {
		return nil, err
	}
	if len(flat)%3 != 0 {
		return nil, errList
	}
	var list []quarantine.Finding
	for i := 0; i < len(flat); i += 3 {
		list = append(list, quarantine.Finding{Check: flat[i], Part: flat[i+1], Detail: flat[i+2]})
	}
	return list, nil
}
