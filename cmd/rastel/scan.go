package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"rastel/policy"
	"rastel/policy/engine"
	"rastel/sanitize/eml"
)

var scanCommand = command{
	name: "scan", args: "FILE|DIR|-...", short: "examine messages in files and say what would become of them",
	long: `
Each file is one message; a directory stands for all files below it, and - for
standard input. The same engine runs as in serve, but nothing is held or sent.

Exit status:
  0  all messages would be delivered unchanged
  1  some would be changed, held or refused
  2  wrong arguments, or a configuration or policy that cannot be used
  3  a scanner failed, so that it is not known what a message is`,
	run: runScan,
}

// scanOptions are what scan and explain have in common.
type scanOptions struct {
	config, policy, from string
	to                   []string
	deadline             time.Duration
	workers              int
}

func (o *scanOptions) register(k *call) {
	k.flags.StringVar(&o.config, "config", "", "configuration `file`; without it the defaults apply")
	k.flags.StringVar(&o.policy, "policy", "", "policy `file` instead of the configured one")
	k.flags.StringVar(&o.from, "from", "", "envelope sender `address`")
	k.flags.Func("to", "envelope recipient `address`; may be repeated", func(s string) error {
		o.to = append(o.to, s)
		return nil
	})
	k.flags.IntVar(&o.workers, "workers", -1, "open containers in that `number` of limited processes; -1 means as configured, or none")
	k.flags.DurationVar(&o.deadline, "deadline", 4*time.Minute, "how long the examination of one message may take")
}

// examiner builds the engine as serve would, without a quarantine. The caller calls done.
func (o *scanOptions) examiner(k *call) (e *engine.Engine, done func(), err error) {
	cfg, err := loadConfig(o.config)
	if err != nil {
		return nil, nil, err
	}
	if o.policy != "" {
		cfg.Policy = o.policy
	}
	if o.workers >= 0 {
		cfg.Workers = &o.workers
	}
	cfg.Cache.Shared = nil // it is of serve, and so is its key
	b, err := build(cfg, newLogger(LogConfig{Level: "error"}, k.errOut))
	if err != nil {
		return nil, nil, err
	}
	return b.engine(nil), b.close, nil
}

func runScan(ctx context.Context, k *call) int {
	var opt scanOptions
	opt.register(k)
	asJSON := k.flags.Bool("json", false, "print one JSON object a message")
	outDir := k.flags.String("out", "", "write each accepted message as it would be delivered to this `directory`")
	if status, ok := k.parse(); !ok {
		return status
	}
	if k.flags.NArg() == 0 {
		return k.usagef("no messages given")
	}
	e, done, err := opt.examiner(k)
	if err != nil {
		return k.fail(exitUsage, err)
	}
	defer done()
	s := &scanRun{call: k, opt: &opt, engine: e, json: *asJSON, out: *outDir}
	for _, arg := range k.flags.Args() {
		if err := s.scanArg(ctx, arg); err != nil {
			return k.fail(exitUsage, err)
		}
	}
	return s.status
}

// A scanRun is one call of scan.
type scanRun struct {
	call   *call
	opt    *scanOptions
	engine *engine.Engine
	json   bool
	out    string
	status int // the worst so far
}

func (s *scanRun) scanArg(ctx context.Context, arg string) error {
	if arg == "-" {
		return s.scan(ctx, "-", s.call.in)
	}
	return filepath.WalkDir(arg, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		return s.scan(ctx, path, f)
	})
}

func (s *scanRun) scan(ctx context.Context, name string, r io.Reader) error {
	start := time.Now()
	x, done, err := examine(ctx, s.engine, s.opt, r)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	defer done()
	res := resultOf(name, x, time.Since(start))
	s.status = max(s.status, res.status())
	if s.out != "" && x.Verdict.Action == policy.Accept {
		if err := writeDelivered(filepath.Join(s.out, filepath.Base(name)), x); err != nil {
			return err
		}
	}
	if s.json {
		return json.NewEncoder(s.call.out).Encode(res)
	}
	res.print(s.call.out)
	return nil
}

// examine reads a message and examines it. done gives back what it holds.
func examine(ctx context.Context, e *engine.Engine, opt *scanOptions, r io.Reader) (x *engine.Examination, done func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, opt.deadline)
	spool := eml.NewSpool(eml.SpoolOptions{})
	if _, err := io.Copy(spool, r); err != nil {
		spool.Close()
		cancel()
		return nil, nil, err
	}
	spool.CloseWrite(nil)
	x, err = e.Examine(ctx, &eml.Envelope{Sender: opt.from, Recipients: opt.to}, spool)
	cancel()
	if err != nil {
		spool.Close()
		return nil, nil, err
	}
	return x, func() { x.Message.Close(); spool.Close() }, nil
}

// writeDelivered writes the message as the MTA would deliver it.
func writeDelivered(path string, x *engine.Examination) (err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if x.Verdict.Patch.Empty() {
		_, err = io.Copy(f, io.NewSectionReader(x.Message.Spool, 0, x.Message.Size))
		return err
	}
	_, err = x.Verdict.Patch.WriteTo(f)
	return err
}

// A result is what scan prints of one message. Its JSON form is an interface: fields are
// added, never changed.
type result struct {
	File       string          `json:"file"`
	Action     string          `json:"action"`
	Reply      string          `json:"reply"` // "550 5.7.1 text", for reject and tempfail
	Rule       string          `json:"rule"`
	Patched    bool            `json:"patched"`
	Held       bool            `json:"held"`
	Policy     string          `json:"policy"`
	Findings   []resultFinding `json:"findings"`
	Parts      []resultPart    `json:"parts"`
	Unexamined []resultGap     `json:"unexamined"`
	Watched    []resultWatched `json:"watched"` // what rules that only watch would have done
	DurationMS float64         `json:"duration_ms"`

	resultEnvelope
	Others []resultOther `json:"others,omitempty"` // verdicts for the recipients that this one is not for
	// Evidence is the record of the message, as it is kept with an item in quarantine.
	Evidence *engine.Evidence `json:"evidence"`
}

// A resultEnvelope is what a verdict says about recipients and about what is held.
type resultEnvelope struct {
	Recipients []string `json:"recipients,omitempty"` // whom the verdict is for; absent: all
	Add        []string `json:"add,omitempty"`
	Remove     []string `json:"remove,omitempty"`
	MTAHold    string   `json:"mta_hold,omitempty"`
	Class      string   `json:"class,omitempty"`
	Retention  float64  `json:"retention_hours,omitempty"`
}

// A resultOther is one of several verdicts about a message.
type resultOther struct {
	Action  string `json:"action"`
	Rule    string `json:"rule"`
	Patched bool   `json:"patched"`
	Held    bool   `json:"held"`
	resultEnvelope
}

func routeOf(v *policy.Verdict) resultEnvelope {
	return resultEnvelope{v.Recipients, v.Add, v.Remove, v.MTAHold, v.Class, v.Retention.Hours()}
}

type resultFinding struct {
	Check  string `json:"check"`
	Part   string `json:"part"`
	Detail string `json:"detail"`
}

type resultPart struct {
	ID        string   `json:"id"`
	Parent    string   `json:"parent"`
	MediaType string   `json:"media_type"`
	Type      string   `json:"type"`
	Names     []string `json:"names"`
	Size      int64    `json:"size"`
	SHA256    string   `json:"sha256"`
	// Engines are those that have examined the content, or could have, with the reason.
	Engines []resultLook `json:"engines"`
}

type resultWatched struct {
	Rule string   `json:"rule"`
	Did  []string `json:"did"`
}

type resultLook struct {
	Engine   string `json:"engine"`
	Examined bool   `json:"examined"`
	Why      string `json:"why,omitempty"`
}

type resultGap struct {
	Part string `json:"part"`
	Why  string `json:"why"`
}

func resultOf(name string, x *engine.Examination, took time.Duration) *result {
	v := x.Verdict
	res := &result{
		File: name, Action: v.Action.String(), Rule: v.Rule, Patched: !v.Patch.Empty(), Held: v.Hold || v.Action == policy.Quarantine,
		Policy: v.Policy, DurationMS: float64(took.Microseconds()) / 1000,
		Findings: []resultFinding{}, Parts: []resultPart{}, Unexamined: []resultGap{}, Watched: []resultWatched{}, Evidence: x.Evidence(),
	}
	for _, w := range v.AllWatched() {
		res.Watched = append(res.Watched, resultWatched(w))
	}
	res.resultEnvelope = routeOf(v)
	for _, o := range v.Others {
		res.Others = append(res.Others, resultOther{o.Action.String(), o.Rule, !o.Patch.Empty(), o.Hold || o.Action == policy.Quarantine, routeOf(o)})
	}
	if v.Reply.Code != 0 {
		res.Reply = strings.TrimSpace(fmt.Sprintf("%d %s %s", v.Reply.Code, v.Reply.Enhanced, v.Reply.Text))
	}
	for _, f := range x.Report.Findings {
		res.Findings = append(res.Findings, resultFinding{f.Check, f.Part.ID, f.Detail})
	}
	for _, u := range x.Report.Unexamined {
		res.Unexamined = append(res.Unexamined, resultGap{u.Part.ID, u.Why})
	}
	looks := map[*eml.Part][]resultLook{}
	for _, l := range x.Report.Looks {
		looks[l.Part] = append(looks[l.Part], resultLook{l.Engine, l.Examined, l.Why})
	}
	x.Message.Root.Walk(func(p *eml.Part) bool {
		part := partResult(p)
		part.Engines = append(part.Engines, looks[p]...)
		res.Parts = append(res.Parts, part)
		return true
	})
	return res
}

func partResult(p *eml.Part) resultPart {
	out := resultPart{ID: p.ID, MediaType: p.MediaType, Type: p.Type, Names: p.Names, Size: p.Size, Engines: []resultLook{}}
	if p.Parent != nil {
		out.Parent = p.Parent.ID
	}
	if p.Leaf() {
		out.SHA256 = hex.EncodeToString(p.SHA256[:])
	}
	if out.Names == nil {
		out.Names = []string{}
	}
	return out
}

// status is the exit status that this message alone would give.
func (r *result) status() int {
	for _, f := range r.Findings {
		if f.Check == "scan/failed" {
			return exitUnsure
		}
	}
	if r.Action != policy.Accept.String() || r.Patched || r.Held || len(r.Others)+len(r.Add)+len(r.Remove) > 0 || r.MTAHold != "" {
		return exitActed
	}
	return exitOK
}

// printEnvelope writes what is special for some recipients.
func (r *result) printEnvelope(b *bytes.Buffer) {
	if r.MTAHold != "" {
		fmt.Fprintf(b, "    kept by the MTA: %q\n", r.MTAHold)
	}
	if len(r.Add) > 0 {
		fmt.Fprintf(b, "    also to %s\n", addresses(r.Add))
	}
	if len(r.Remove) > 0 {
		fmt.Fprintf(b, "    not to %s\n", addresses(r.Remove))
	}
	for _, o := range r.Others {
		fmt.Fprintf(b, "    for %s: %s", addresses(o.Recipients), o.Action)
		if o.Patched {
			b.WriteString(", changed")
		}
		if o.Rule != "" {
			fmt.Fprintf(b, " (%s)", o.Rule)
		}
		b.WriteByte('\n')
	}
}

// print writes the result for people. What the sender wrote is quoted, so that it cannot
// play tricks on a terminal.
func (r *result) print(w io.Writer) {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s: %s", shown(r.File), r.Action)
	if r.Patched {
		b.WriteString(", changed")
	}
	if r.Held && r.Action != policy.Quarantine.String() {
		b.WriteString(", copy held")
	}
	if r.Rule != "" {
		fmt.Fprintf(&b, " (%s)", r.Rule)
	}
	b.WriteByte('\n')
	for _, w := range r.Watched {
		fmt.Fprintf(&b, "    would have, by %s: %s\n", w.Rule, strings.Join(w.Did, ", "))
	}
	r.printEnvelope(&b)
	for _, f := range r.Findings {
		fmt.Fprintf(&b, "    %-24s %-8s %.200q\n", f.Check, f.Part, f.Detail)
	}
	fmt.Fprint(w, b.String())
}
