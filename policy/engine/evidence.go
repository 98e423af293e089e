package engine

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"rastel/policy"
	"rastel/policy/quarantine"
	"rastel/sanitize/eml"
)

// EvidenceVersion is that of the form of an Evidence. Fields are added without another version, never changed.
const EvidenceVersion = 1

// Limits of an evidence that is kept.
const (
	maxEntries    = 1000 // of each list, and fewer if that is too much
	maxEvidence   = 300  // bytes of a text that the sender wrote
	maxGaps       = 20   // parts that one engine has not examined
	maxRecipients = 100  // that one verdict names
)

// An Evidence is the record of one message: what it is, what was found where, which rules held, and what is done with
// it. It is the same in quarantine, in "rastel scan -json", and behind the reference in the log and in replies. Texts of the
// sender are cut, and in UTF-8; escaping is for whoever shows them.
type Evidence struct {
	Version    int       `json:"version"`
	Reference  string    `json:"reference"`
	Policy     string    `json:"policy"`      // the version that decided
	Watching   bool      `json:"watching"`    // the policy only watches
	At         time.Time `json:"at"`          // when the examination began
	DurationMS float64   `json:"duration_ms"` // until the verdict
	Released   bool      `json:"released"`    // an administrator had released it before

	Envelope EvidenceEnvelope `json:"envelope"`
	Size     int64            `json:"size"`

	Parts      []EvidencePart    `json:"parts"`
	Findings   []EvidenceFinding `json:"findings"`
	Unexamined []EvidenceGap     `json:"unexamined"`
	Engines    []EvidenceEngine  `json:"engines"`
	Verdicts   []EvidenceVerdict `json:"verdicts"` // the first is that of the transaction
	Exceptions []string          `json:"exceptions"`
	Watched    []EvidenceWatched `json:"watched"` // what rules that only watch would have done

	// LeftOut is how many entries of a list there were besides, because the record would be too large.
	LeftOut map[string]int `json:"left_out,omitempty"`
}

// An EvidenceEnvelope is who sends a message to whom.
type EvidenceEnvelope struct {
	QueueID    string   `json:"queue_id"`
	Session    string   `json:"session"`
	Client     string   `json:"client"`
	ClientName string   `json:"client_name"`
	Helo       string   `json:"helo"`
	TLS        string   `json:"tls"`
	AuthUser   string   `json:"auth_user"`
	Sender     string   `json:"sender"`
	Recipients []string `json:"recipients"`
}

// An EvidencePart is a part of the message.
type EvidencePart struct {
	ID        string   `json:"id"`
	Path      string   `json:"path"` // the types of what it is in, and its own
	MediaType string   `json:"media_type"`
	Names     []string `json:"names"`
	Size      int64    `json:"size"`
	SHA256    string   `json:"sha256"` // of the content; empty if there is none
	Reading   string   `json:"reading,omitempty"`
}

// An EvidenceFinding is what was found in a part.
type EvidenceFinding struct {
	Check  string `json:"check"`
	Part   string `json:"part"`
	Detail string `json:"detail"`
}

// An EvidenceGap is what was not examined.
type EvidenceGap struct {
	Part      string `json:"part"`
	Why       string `json:"why"`
	Temporary bool   `json:"temporary"`
}

// An EvidenceEngine is how much of a message an engine has examined.
type EvidenceEngine struct {
	Engine   string        `json:"engine"`
	Examined int           `json:"examined"` // parts with content
	Parts    int           `json:"parts"`    // with content, all of them
	Gaps     []EvidenceGap `json:"gaps"`     // the first that it has not examined
}

// An EvidenceStep is what became of a rule; see policy.Step.
type EvidenceStep struct {
	Rule    string   `json:"rule"`
	Part    string   `json:"part,omitempty"`
	Matched bool     `json:"matched,omitempty"`
	Final   bool     `json:"final,omitempty"`
	Failed  bool     `json:"failed,omitempty"`
	Watched bool     `json:"watched,omitempty"`
	Did     []string `json:"did,omitempty"`
	Why     string   `json:"why,omitempty"`
}

// An EvidenceVerdict is what is done with the message for some of its recipients, or all.
type EvidenceVerdict struct {
	Recipients []string         `json:"recipients"` // empty: all of the envelope
	More       int              `json:"more_recipients,omitempty"`
	Action     string           `json:"action"`
	Reply      string           `json:"reply"` // "550 5.7.1 text"; empty: that of the action
	Rule       string           `json:"rule"`  // empty: none decided
	Patched    bool             `json:"patched"`
	Held       bool             `json:"held"`                // the original is in quarantine
	Retention  string           `json:"retention,omitempty"` // of what is held
	Class      string           `json:"class,omitempty"`
	MTAHold    string           `json:"mta_hold,omitempty"`
	Notices    []EvidenceNotice `json:"notices,omitempty"` // messages that are sent about it
	Add        []string         `json:"add,omitempty"`
	Remove     []string         `json:"remove,omitempty"`
	Rules      []EvidenceStep   `json:"rules"` // in the order in which they were asked
}

// An EvidenceNotice is a message that is sent about this one.
type EvidenceNotice struct {
	Rule string   `json:"rule"`
	To   []string `json:"to"`
}

// An EvidenceWatched is what a rule that only watches would have done.
type EvidenceWatched struct {
	Rule string   `json:"rule"`
	Did  []string `json:"did"`
}

// Evidence is the record of the message as it stands.
func (x *Examination) Evidence() *Evidence { return x.evidence(maxEntries) }

// EvidenceJSON is the record, in at most quarantine.MaxEvidence bytes: of long lists the end is left out.
func (x *Examination) EvidenceJSON() ([]byte, error) {
	for most := maxEntries; ; most /= 2 {
		data, err := json.Marshal(x.evidence(most))
		if err != nil {
			return nil, fmt.Errorf("record of the message: %w", err)
		}
		if len(data) <= quarantine.MaxEvidence || most == 0 {
			return data, nil
		}
	}
}

// evidenceFor is the record that is kept with an item. A message is not lost because there is none.
func (e *Engine) evidenceFor(x *Examination) []byte {
	if x.record == nil {
		var err error
		if x.record, err = x.EvidenceJSON(); err != nil {
			e.opt.Logger.Error("record of the message not kept", "queue_id", x.Message.Envelope.QueueID, "reference", x.Reference, "error", err)
		}
	}
	return x.record
}

// evidence makes the record, with at most so many entries of each list.
func (x *Examination) evidence(most int) *Evidence {
	v, env := x.Verdict, x.Message.Envelope
	e := &Evidence{
		Version: EvidenceVersion, Reference: x.Reference, Policy: v.Policy, Watching: x.policy.Watches(), At: x.began.UTC(), Released: x.released,
		DurationMS: float64(x.took.Microseconds()) / 1000, Size: x.Message.Size, Exceptions: orEmpty(v.AllExceptions()),
	}
	c := &cutter{most: most, left: map[string]int{}}
	e.Envelope = EvidenceEnvelope{
		QueueID: cutText(env.QueueID), Session: cutText(env.Session), ClientName: cutText(env.ClientName), Helo: cutText(env.Helo), TLS: cutText(env.TLS),
		AuthUser: cutText(env.AuthUser), Sender: cutText(env.Sender), Recipients: texts(c, "recipients", env.Recipients),
	}
	if env.Client.IsValid() {
		e.Envelope.Client = env.Client.String()
	}
	e.Parts = cutList(c, "parts", allParts(x.Message.Root), evidencePart)
	e.Findings = cutList(c, "findings", x.Report.Findings, func(f eml.Finding) EvidenceFinding {
		return EvidenceFinding{f.Check, f.Part.ID, cutText(f.Detail)}
	})
	e.Unexamined = cutList(c, "unexamined", x.Report.Unexamined, func(u eml.Unexamined) EvidenceGap { return EvidenceGap{partID(u.Part), cutText(u.Why), u.Temporary} })
	e.Engines = x.engines()
	for _, one := range x.verdicts() {
		w := verdictEvidence(one, min(most, maxRecipients))
		w.Rules = cutList(c, "rules", one.Trace, evidenceStep)
		e.Verdicts = append(e.Verdicts, w)
	}
	e.Watched = cutList(c, "watched", v.AllWatched(), func(w policy.Watched) EvidenceWatched { return EvidenceWatched{w.Rule, w.Did} })
	if len(c.left) > 0 {
		e.LeftOut = c.left
	}
	return e
}

// A cutter keeps lists short, and notes what it leaves out.
type cutter struct {
	most int
	left map[string]int
}

func cutList[T, E any](c *cutter, name string, list []T, entry func(T) E) []E {
	out := []E{}
	for i, v := range list {
		if i == c.most {
			c.left[name] += len(list) - i
			break
		}
		out = append(out, entry(v))
	}
	return out
}

func texts(c *cutter, name string, list []string) []string { return cutList(c, name, list, cutText) }

func orEmpty(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

// cutText is the beginning of a text, in UTF-8.
func cutText(s string) string { return strings.ToValidUTF8(s[:min(len(s), maxEvidence)], "\ufffd") }

func partID(p *eml.Part) string {
	if p == nil {
		return "1"
	}
	return p.ID
}

func allParts(root *eml.Part) (list []*eml.Part) {
	root.Walk(func(p *eml.Part) bool { list = append(list, p); return true })
	return list
}

// maxNames is how many names of a part are told.
const maxNames = 10

func evidencePart(p *eml.Part) EvidencePart {
	out := EvidencePart{ID: p.ID, Path: strings.Join(p.Path(), "/"), MediaType: cutText(p.MediaType), Names: []string{}, Size: p.Size, Reading: p.Reading}
	for _, n := range p.Names[:min(len(p.Names), maxNames)] {
		out.Names = append(out.Names, cutText(n))
	}
	if p.Leaf() {
		out.SHA256 = hex.EncodeToString(p.SHA256[:])
	}
	return out
}

func evidenceStep(s policy.Step) EvidenceStep {
	return EvidenceStep{s.Rule, s.Part, s.Matched, s.Final, s.Failed, s.Watched, s.Did, s.Why}
}

// engines are those that were asked, in their order.
func (x *Examination) engines() []EvidenceEngine {
	out := []EvidenceEngine{}
	for _, l := range x.Report.Looks {
		i := slices.IndexFunc(out, func(e EvidenceEngine) bool { return e.Engine == l.Engine })
		if i < 0 {
			i, out = len(out), append(out, EvidenceEngine{Engine: l.Engine, Gaps: []EvidenceGap{}})
		}
		e := &out[i]
		if e.Parts++; l.Examined {
			e.Examined++
		} else if len(e.Gaps) < maxGaps {
			e.Gaps = append(e.Gaps, EvidenceGap{Part: partID(l.Part), Why: cutText(l.Why)})
		}
	}
	return out
}

// verdictEvidence is a verdict; one of several names its recipients, at most so many.
func verdictEvidence(v *policy.Verdict, most int) EvidenceVerdict {
	out := EvidenceVerdict{
		Recipients: []string{}, Action: v.Action.String(), Reply: replyText(v.Reply), Rule: v.Rule, Patched: !v.Patch.Empty(), Held: v.Hold || v.Action == policy.Quarantine,
		Class: v.Class, MTAHold: v.MTAHold, Add: some(v.Add, most), Remove: some(v.Remove, most),
	}
	if v.Retention != 0 {
		out.Retention = v.Retention.String()
	}
	for _, n := range v.Notices {
		out.Notices = append(out.Notices, EvidenceNotice{n.Rule, some(n.To, most)})
	}
	if v.Recipients != nil {
		out.Recipients, out.More = orEmpty(some(v.Recipients, most)), max(0, len(v.Recipients)-most)
	}
	return out
}

func some(list []string, most int) (out []string) {
	for _, s := range list[:min(len(list), most)] {
		out = append(out, cutText(s))
	}
	return out
}

// replyText is a reply as the SMTP client sees it; empty if it is that of the action.
func replyText(r policy.Reply) string {
	if r.Code == 0 && r.Text == "" {
		return ""
	}
	return strings.Join(strings.Fields(fmt.Sprintf("%d %s %s", r.Code, r.Enhanced, r.Text)), " ")
}
