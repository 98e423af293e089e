package engine

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"io"
	"mime"
	"mime/quotedprintable"
	"regexp"
	"slices"
	"strings"
	"time"

	"rastel/policy"
	"rastel/policy/quarantine"
	"rastel/policy/quarantine/zipseal"
	"rastel/sanitize/eml"
)

// releaseReason is why a part is missing in what is released.
const releaseReason = "It was taken out before the message was released from quarantine."

// dangerous are the checks whose attachments are left out of what is sanitised, where the policy in force would
// not deliver it at all.
const dangerous = `"*/malware", "*/blocked", "clamd/*", "name/executable", "type/executable", "name/double-extension", "name/hidden", ` +
	`"name/clsid", "script/*", "office/*", "rtf/*", "pdf/*", "ole/*", "onenote/*", "archive/*", "hidden/*", "html/smuggling"`

// sanitisedRules make a message harmless that the policy in force would not deliver. Hold has the notices name
// the item.
const sanitisedRules = `
rules:
  - {name: released, for: part, when: 'part.has(` + dangerous + `)', do: [{strip: "` + releaseReason + `"}]}
  - {name: pages, for: part, when: 'part.media_type == "text/html" or part.type == "html"', do: [clean]}
  - {name: unsafe, for: part, when: 'part.has("html/*")', do: [defang]}
  - {name: rest, when: true, then: accept, do: [hold]}
`

// A Renderer makes the copies that held messages are released as.
type Renderer struct {
	engine *Engine
	load   func(text []byte) (*policy.Policy, error) // a policy that can do what that in force can
}

// NewRenderer makes one that examines with the engine. Load reads a policy that has the editor of that in force.
func NewRenderer(e *Engine, load func(text []byte) (*policy.Policy, error)) (*Renderer, error) {
	if _, err := load([]byte(sanitisedRules)); err != nil { // rather at the start than at a release
		return nil, fmt.Errorf("rules of a sanitised release: %w", err)
	}
	return &Renderer{engine: e, load: load}, nil
}

// Render implements quarantine.Renderer.
func (r *Renderer) Render(ctx context.Context, it *quarantine.Item, req quarantine.ReleaseRequest, raw io.Reader) (_ *quarantine.Copy, err error) {
	spool := eml.NewSpool(r.engine.opt.Limits.Spool)
	defer func() {
		if err != nil {
			spool.Close()
		}
	}()
	c := &quarantine.Copy{Content: spool, Done: func() { spool.Close() }}
	switch req.As {
	case quarantine.AsSanitised, quarantine.AsWithout:
		err = r.changed(ctx, it, req, raw, spool)
	case quarantine.AsAttached:
		err = r.attached(it, req, raw, spool)
	case quarantine.AsZip:
		c.Password = rand.Text()[:20] // 100 bits
		err = r.zipped(it, req, raw, spool, c.Password)
	default:
		err = fmt.Errorf("%w: %q", quarantine.ErrVariant, string(req.As))
	}
	if err != nil {
		return nil, err
	}
	spool.CloseWrite(nil)
	c.Size = spool.Size()
	if changes := req.As == quarantine.AsSanitised || req.As == quarantine.AsWithout; changes && !req.Force {
		err = r.harmless(ctx, it, spool)
	}
	return c, err
}

// changed writes the message with some of it taken out.
func (r *Renderer) changed(ctx context.Context, it *quarantine.Item, req quarantine.ReleaseRequest, raw io.Reader, w io.Writer) error {
	x, done, err := r.engine.again(ctx, it, raw)
	if err != nil {
		return err
	}
	defer done()
	x.Item, x.Reference, x.policy = it.ID, it.ID, r.engine.opt.Policy()
	if r.engine.opt.Exceptions != nil {
		x.exceptions = r.engine.opt.Exceptions.Snapshot()
	}
	text := []byte(nil)
	if req.As == quarantine.AsWithout {
		if text, err = withoutRules(x, req.Parts); err != nil {
			return err
		}
	}
	if text == nil {
		if err := r.engine.decide(x); err != nil {
			return err
		}
		if x.Verdict.Action != policy.Accept || len(x.Verdict.Others) > 0 {
			text = []byte(sanitisedRules)
		}
	}
	if text != nil {
		if x.policy, err = r.load(text); err != nil {
			return fmt.Errorf("rules of a release: %w", err)
		}
		x.exceptions = nil
		if err := r.engine.decide(x); err != nil {
			return err
		}
	}
	if x.Verdict.Action != policy.Accept {
		return fmt.Errorf("%w: it could not be changed so; the rule %q says %s", quarantine.ErrVariant, x.Verdict.Rule, x.Verdict.Action)
	}
	if x.Verdict.Patch.Empty() {
		_, err = io.Copy(w, x.raw())
		return err
	}
	_, err = x.Verdict.Patch.WriteTo(w)
	return err
}

// partForm is what the id of a part looks like.
var partForm = regexp.MustCompile(`^[0-9]+([./~][0-9]+)*$`)

// noReason are the areas of checks that tell of a message, not of what is wrong with a part of it.
var noReason = []string{"signed", "dmarc", "spf", "network", "page"}

// withoutRules strip the parts with these ids, or if there are none all with findings.
func withoutRules(x *Examination, ids []string) ([]byte, error) {
	known := map[string]bool{}
	for _, p := range allParts(x.Message.Root) {
		known[p.ID] = true
	}
	if ids == nil {
		for _, f := range x.Report.Findings {
			area, _, _ := strings.Cut(f.Check, "/")
			if f.Part.Leaf() && !slices.Contains(noReason, area) && !slices.Contains(ids, f.Part.ID) {
				ids = append(ids, f.Part.ID)
			}
		}
	}
	if len(ids) == 0 {
		return nil, fmt.Errorf("%w: no part of it has findings; name the parts", quarantine.ErrVariant)
	}
	quoted := make([]string, len(ids))
	for i, id := range ids {
		if !partForm.MatchString(id) || !known[id] {
			return nil, fmt.Errorf("%w: there is no part %.40q", quarantine.ErrVariant, id)
		}
		quoted[i] = `"` + id + `"`
	}
	return []byte(`
rules:
  - {name: released, for: part, when: 'part.id in [` + strings.Join(quoted, ", ") + `]', do: [{strip: "` + releaseReason + `"}]}
  - {name: rest, when: true, then: accept, do: [hold]}
`), nil
}

// harmless sees that what was to be taken out is not there any more.
func (r *Renderer) harmless(ctx context.Context, it *quarantine.Item, spool *eml.Spool) error {
	found, err := r.engine.Rescan(ctx, it, spool.NewReader())
	if err != nil {
		return err
	}
	for _, f := range found {
		if strings.HasSuffix(f.Check, "/malware") || f.Check == "scan/failed" {
			return fmt.Errorf("%w: the copy still has %.60s in part %.40s (%.100q)", quarantine.ErrVariant, f.Check, f.Part, f.Detail)
		}
	}
	return nil
}

// cover begins a new message that has the held one in it. What the sender wrote in it is plain text.
func (r *Renderer) cover(it *quarantine.Item, req quarantine.ReleaseRequest, boundary, what string, w io.Writer) error {
	from := r.engine.notify.From
	_, domain, _ := strings.Cut(from, "@")
	var b strings.Builder
	for _, f := range [][2]string{
		{"From", "Mail filter <" + from + ">"},
		{"To", noticeTo(req.Recipients)},
		{"Subject", mime.QEncoding.Encode("utf-8", "Released from quarantine: "+harmless(it.Subject, 100))},
		{"Date", time.Now().Format(time.RFC1123Z)},
		{"Message-ID", "<" + it.ID + "." + string(req.As) + "@" + domain + ">"}, // of a second try too
		{"Auto-Submitted", "auto-generated"},
		{"MIME-Version", "1.0"},
		{"Content-Type", `multipart/mixed; boundary="` + boundary + `"`},
	} {
		b.WriteString(f[0] + ": " + f[1] + "\r\n")
	}
	b.WriteString("\r\n--" + boundary + "\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n")
	var text strings.Builder
	text.WriteString(what + "\n\n")
	tell(&text, "Sender", "<"+it.Sender+">")
	tell(&text, "From", it.From)
	tell(&text, "Subject", it.Subject)
	tell(&text, "Received", it.Created.Format(time.RFC1123Z))
	tell(&text, "Item", it.ID)
	q := quotedprintable.NewWriter(&b)
	_, _ = q.Write([]byte(text.String())) // a Builder takes everything
	_ = q.Close()
	b.WriteString("\r\n--" + boundary + "\r\n")
	_, err := io.WriteString(w, b.String())
	return err
}

// attached writes a new message with the held one in it, byte for byte.
func (r *Renderer) attached(it *quarantine.Item, req quarantine.ReleaseRequest, raw io.Reader, w io.Writer) error {
	boundary := rand.Text() // nobody could have written it before
	err := r.cover(it, req, boundary, "The attached message was held in quarantine. Open it with care: it is as it came.", w)
	if err != nil {
		return err
	}
	if _, err := io.WriteString(w, "Content-Type: message/rfc822\r\nContent-Transfer-Encoding: 8bit\r\nContent-Disposition: attachment; filename=\""+it.ID+".eml\"\r\n\r\n"); err != nil {
		return err
	}
	if _, err := io.Copy(w, raw); err != nil {
		return err
	}
	_, err = io.WriteString(w, "\r\n--"+boundary+"--\r\n")
	return err
}

// zipped writes a new message with the held one in a zip that the password opens.
func (r *Renderer) zipped(it *quarantine.Item, req quarantine.ReleaseRequest, raw io.Reader, w io.Writer, password string) error {
	boundary := rand.Text()
	err := r.cover(it, req, boundary, "The attached zip has a message that was held in quarantine, as it came. Who released it tells you the password. Open it with care.", w)
	if err != nil {
		return err
	}
	if _, err := io.WriteString(w, "Content-Type: application/zip\r\nContent-Transfer-Encoding: base64\r\nContent-Disposition: attachment; filename=\""+it.ID+".zip\"\r\n\r\n"); err != nil {
		return err
	}
	lines := &lineWriter{w: bufio.NewWriter(w)}
	b64 := base64.NewEncoder(base64.StdEncoding, lines)
	member := eml.NewSpool(r.engine.opt.Limits.Spool)
	defer member.Close()
	if err := zipseal.Write(b64, it.ID+".eml", password, it.Created, raw, member); err != nil {
		return err
	}
	if err := b64.Close(); err != nil {
		return err
	}
	if err := lines.w.Flush(); err != nil {
		return err
	}
	_, err = io.WriteString(w, "\r\n--"+boundary+"--\r\n")
	return err
}

// A lineWriter breaks base64 into lines of 76 characters (RFC 2045 section 6.8).
type lineWriter struct {
	w *bufio.Writer
	n int
}

func (l *lineWriter) Write(p []byte) (int, error) {
	for _, c := range p {
		if l.n == 76 {
			_, _ = l.w.WriteString("\r\n")
			l.n = 0
		}
		_ = l.w.WriteByte(c)
		l.n++
	}
	_, err := l.w.Write(nil) // the first error of the writes before: it sticks
	return len(p), err
}
