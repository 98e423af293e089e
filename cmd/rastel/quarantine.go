package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"rastel/cmd/rastel/api"
	"rastel/policy/quarantine"
)

var quarantineCommand = command{
	name: "quarantine", args: "list|show|release|rescan|delete|export|rekey [ID]...", short: "look after held messages",
	long: `
  list              the held messages, newest first
  show ID           all that is known about one; with -evidence the record of its message
  release ID...     deliver with the original envelope, or to -to; not if today's engines find
                    malware that was not found before, or fail, unless -force; in the form -as:
                    original, sanitised, without (-part, or all parts with findings), attached (as a
                    message in a new one), zip (in one with a password, which is printed here)
  rescan ID...      what today's engines find in it; nothing is changed
  delete ID...      remove the message; its record stays
  export ID         write the message as it was held to -out, or standard output
  rekey             seal all messages with the first key of quarantine.encryption.key_file

It talks to a running 'rastel serve' through the socket in its state directory; rekey works on the
messages themselves, whether one runs or not, and must be run by the same user.

Exit status:
  0  done
  1  not done: there is no such message, or the server is not running
  2  wrong arguments`,
	run: runQuarantine,
}

// quarantineFlags are the options of all its subcommands.
type quarantineFlags struct {
	config, state, class, sender, recipient, text, out, as string
	to, parts                                              []string
	limit                                                  int
	json, evidence, force                                  bool
}

func runQuarantine(ctx context.Context, k *call) int {
	var f quarantineFlags
	k.flags.StringVar(&f.config, "config", "", "configuration `file`, for the place of the socket")
	k.flags.StringVar(&f.state, "state", "held", "list: only items in this `state`, such as \"queued\" for what the filter is to send; \"all\" for all")
	k.flags.StringVar(&f.class, "class", "", "list: only of this `class`; \"sample\" for samples of delivered mail, \"*\" for all with them")
	k.flags.StringVar(&f.sender, "sender", "", "list: only from this `address` or @domain")
	k.flags.StringVar(&f.recipient, "recipient", "", "list: only to this `address` or @domain")
	k.flags.StringVar(&f.text, "text", "", "list: only with this `text` in subject, addresses or rule")
	k.flags.IntVar(&f.limit, "limit", 100, "list: at most so many")
	k.flags.StringVar(&f.out, "out", "", "export: write to this `file`")
	k.flags.BoolVar(&f.json, "json", false, "list, show, rescan: print JSON, one object an item")
	k.flags.BoolVar(&f.evidence, "evidence", false, "show: the record of the message: parts, findings, rules, verdicts")
	k.flags.BoolVar(&f.force, "force", false, "release: in spite of what is found in it today")
	k.flags.StringVar(&f.as, "as", "", "release: in this `form`: original (default), sanitised, without, attached, zip")
	k.flags.Func("part", "release -as without: leave out the part with this `id`, such as 1.2; may be repeated", func(s string) error {
		f.parts = append(f.parts, s)
		return nil
	})
	k.flags.Func("to", "release: to this `address` instead of the recipients; may be repeated", func(s string) error {
		f.to = append(f.to, s)
		return nil
	})
	args, status, ok := k.parseMixed()
	if !ok {
		return status
	}
	if len(args) == 0 {
		return k.usagef("quarantine needs one of list, show, release, rescan, delete, export")
	}
	cfg, err := loadConfig(f.config)
	if err != nil {
		return k.fail(exitUsage, err)
	}
	if args[0] == "rekey" {
		return k.rekey(ctx, cfg.Quarantine, args[1:])
	}
	q := &quarantineCall{call: k, client: api.NewClient(cfg.API.Socket), flags: f}
	return q.run(ctx, args[0], args[1:])
}

// parseMixed reads options that may stand before, between and behind the arguments.
func (k *call) parseMixed() (args []string, status int, ok bool) {
	for rest := k.args; ; {
		k.args = rest
		if status, ok := k.parse(); !ok {
			return nil, status, false
		}
		if rest = k.flags.Args(); len(rest) == 0 {
			return args, exitOK, true
		}
		args, rest = append(args, rest[0]), rest[1:]
	}
}

type quarantineCall struct {
	*call
	client *api.Client
	flags  quarantineFlags
}

func (q *quarantineCall) run(ctx context.Context, verb string, ids []string) int {
	if verb == "list" && len(ids) == 0 {
		return q.done(q.list(ctx))
	}
	one, each := map[string]func(context.Context, string) error{"show": q.show, "export": q.export},
		map[string]func(context.Context, string) error{"release": q.release, "rescan": q.rescan, "delete": q.remove}
	if f, ok := one[verb]; ok {
		if len(ids) != 1 {
			return q.usagef("quarantine %s takes one ID", verb)
		}
		return q.done(f(ctx, ids[0]))
	}
	f, ok := each[verb]
	if !ok || len(ids) == 0 {
		return q.usagef("quarantine: %q is none of list, show ID, release ID..., rescan ID..., delete ID..., export ID", strings.Join(append([]string{verb}, ids...), " "))
	}
	var errs []error
	for _, id := range ids {
		if err := f(ctx, id); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", id, err))
		}
	}
	return q.done(errors.Join(errs...))
}

func (q *quarantineCall) done(err error) int {
	if err != nil {
		return q.fail(exitActed, err)
	}
	return exitOK
}

func (q *quarantineCall) list(ctx context.Context) error {
	filter := quarantine.Filter{
		State: quarantine.State(q.flags.state), Class: q.flags.class, Sender: q.flags.sender, Recipient: q.flags.recipient, Text: q.flags.text, Limit: q.flags.limit,
	}
	if q.flags.state == "all" {
		filter.State = ""
	}
	items, err := q.client.List(ctx, filter)
	if err != nil {
		return err
	}
	if q.flags.json {
		enc := json.NewEncoder(q.out)
		for _, it := range items {
			if err := enc.Encode(it); err != nil {
				return err
			}
		}
		return nil
	}
	w := tabwriter.NewWriter(q.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tHELD\tEXPIRES\tSTATE\tCLASS\tRULE\tFROM\tTO\tSUBJECT")
	for _, it := range items {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%.20s\t%.40s\t%.40s\t%.40s\t%.60s\n", it.ID, it.Created.Local().Format(time.DateTime), it.Expires.Local().Format(time.DateOnly), it.State,
			shown(it.Class), shown(it.Rule), shown(it.Sender), shown(strings.Join(it.Recipients, ",")), shown(it.Subject))
	}
	return w.Flush()
}

// shown is text of the sender, safe for a terminal.
func shown(s string) string { return string(printable([]byte(strings.ReplaceAll(s, "\n", " ")))) }

func (q *quarantineCall) show(ctx context.Context, id string) error {
	var it any
	var err error
	if q.flags.evidence {
		it, err = q.client.Evidence(ctx, id)
	} else {
		it, err = q.client.Get(ctx, id)
	}
	if err != nil {
		return err
	}
	enc := json.NewEncoder(q.out)
	if !q.flags.json {
		enc.SetIndent("", "  ")
	}
	return enc.Encode(it)
}

func (q *quarantineCall) release(ctx context.Context, id string) error {
	it, err := q.client.Release(ctx, id, quarantine.ReleaseRequest{Recipients: q.flags.to, By: whoami(), Force: q.flags.force, As: quarantine.Variant(q.flags.as), Parts: q.flags.parts})
	if err != nil {
		return err
	}
	fmt.Fprintf(q.out, "%s: released to %s\n", id, shown(strings.Join(it.ReleaseTo, ", ")))
	if it.Password != "" {
		fmt.Fprintf(q.out, "%s: the password of the zip is %s; tell it by another way than mail, it is stored nowhere\n", id, shown(it.Password))
	}
	return nil
}

// rescan prints what is found in a message today: for people one line for each finding, those that are against a
// release first.
func (q *quarantineCall) rescan(ctx context.Context, id string) error {
	r, err := q.client.Rescan(ctx, id)
	if err != nil {
		return err
	}
	if q.flags.json {
		return json.NewEncoder(q.out).Encode(struct {
			ID string `json:"id"`
			*quarantine.Rescan
		}{id, r})
	}
	switch {
	case r.Failed != "":
		fmt.Fprintf(q.out, "%s: could not be examined: %s\n", id, shown(r.Failed))
	case len(r.New) > 0:
		fmt.Fprintf(q.out, "%s: %d findings of malware that are not in its record\n", id, len(r.New))
	default:
		fmt.Fprintf(q.out, "%s: nothing is against its release that is not in its record\n", id)
	}
	for _, f := range r.Findings {
		mark := " "
		if slices.Contains(r.New, f) {
			mark = "!"
		}
		fmt.Fprintf(q.out, "  %s %-24s %-8s %.200q\n", mark, shown(f.Check), shown(f.Part), f.Detail)
	}
	return nil
}

// whoami names the user for the record.
func whoami() string {
	if u, err := user.Current(); err == nil {
		return "cli:" + u.Username
	}
	return "cli"
}

func (q *quarantineCall) remove(ctx context.Context, id string) error {
	if err := q.client.Delete(ctx, id); err != nil {
		return err
	}
	fmt.Fprintf(q.out, "%s: deleted\n", id)
	return nil
}

func (q *quarantineCall) export(ctx context.Context, id string) (err error) {
	r, err := q.client.Raw(ctx, id)
	if err != nil {
		return err
	}
	defer r.Close()
	w := q.out
	if q.flags.out != "" {
		f, err := os.OpenFile(q.flags.out, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, f.Close()) }()
		w = f
	}
	_, err = io.Copy(w, r)
	return err
}
