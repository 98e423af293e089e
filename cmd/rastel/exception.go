package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/user"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"rastel/cmd/rastel/api"
	"rastel/policy/engine"
	"rastel/policy/exceptions"
	"rastel/scanners/office"
)

var exceptionCommand = command{
	name: "exception", args: "list|show|add|remove|extend|log [ID]...", short: "look after exceptions from the policy",
	long: `
  list              all exceptions, and how often each made a difference
  show ID           all that is known about one
  add               make one, of what -sender, -recipient, -sha256, -macros, -rule and
                    -check say: all that are given must fit. -reason and -until are needed.
                    -item and -part take the sha256 from an item in quarantine
  extend ID         let it hold until -until
  remove ID...      remove it
  log [ID]          who changed what, the latest first

The sender is a domain from which a message comes provably (DKIM, SPF or DMARC). What is
known as malware, or was not examined, is excepted by the sha256 of the part only. It talks
to a running 'rastel serve' through the socket in its state directory.

Exit status:
  0  done
  1  not done: there is no such exception, or the server is not running
  2  wrong arguments`,
	run: runException,
}

// exceptionFlags are the options of all its subcommands.
type exceptionFlags struct {
	config, until string
	item, part    string
	req           api.ExceptionRequest
	limit         int
	json          bool
}

func runException(ctx context.Context, k *call) int {
	var f exceptionFlags
	k.flags.StringVar(&f.config, "config", "", "configuration `file`, for the place of the socket")
	k.flags.StringVar(&f.req.Sender, "sender", "", "add: mail that comes provably from this `domain`, or from those below it with *.domain")
	k.flags.StringVar(&f.req.Recipient, "recipient", "", "add: mail to this `address` or @domain")
	k.flags.StringVar(&f.req.SHA256, "sha256", "", "add: the part whose content has this `hash`, and what is in it")
	k.flags.StringVar(&f.req.Macros, "macros", "", "add: the macros that have this `hash` (office/vba-hash), in whichever document; with -item and -part: part")
	k.flags.StringVar(&f.item, "item", "", "add: with -part, the content of a part of the item in quarantine with this `ID`")
	k.flags.StringVar(&f.part, "part", "", "add: the `part`, such as 1.2; 'rastel explain ID' shows them")
	k.flags.StringVar(&f.req.Rule, "rule", "", "add: the rule with this `name` does not count")
	k.flags.StringVar(&f.req.Check, "check", "", "add: findings of this `check`, or of several as html/*, do not count")
	k.flags.StringVar(&f.req.Owner, "owner", "", "add: `who` answers for it; without it the user that you are")
	k.flags.StringVar(&f.req.Reason, "reason", "", "add: `why`")
	k.flags.StringVar(&f.until, "until", "", "add, extend: the last `day` on which it holds, as 2027-03-31, or in how many days, as 30d")
	k.flags.IntVar(&f.limit, "limit", 100, "log: at most so many")
	k.flags.BoolVar(&f.json, "json", false, "list, log: print JSON, one object a line")
	args, status, ok := k.parseMixed()
	if !ok {
		return status
	}
	if len(args) == 0 {
		return k.usagef("exception needs one of list, show, add, remove, extend, log")
	}
	cfg, err := loadConfig(f.config)
	if err != nil {
		return k.fail(exitUsage, err)
	}
	if f.req.Until, err = untilDay(f.until, time.Now()); err != nil {
		return k.usagef("%v", err)
	}
	f.req.By = whoami()
	x := &exceptionCall{quarantineCall: quarantineCall{call: k, client: api.NewClient(cfg.API.Socket)}, flags: f}
	return x.run(ctx, args[0], args[1:])
}

// untilDay takes a day, or a number of days from now.
func untilDay(text string, now time.Time) (string, error) {
	days, ok := strings.CutSuffix(text, "d")
	if !ok {
		return text, nil
	}
	n, err := strconv.Atoi(days)
	if err != nil || n < 0 || n > 10_000 {
		return "", fmt.Errorf("-until %q is neither a day such as 2027-03-31 nor a number of days such as 30d", text)
	}
	return now.AddDate(0, 0, n).Format(time.DateOnly), nil
}

type exceptionCall struct {
	quarantineCall
	flags exceptionFlags
}

func (x *exceptionCall) run(ctx context.Context, verb string, ids []string) int {
	switch {
	case verb == "list" && len(ids) == 0:
		return x.done(x.list(ctx))
	case verb == "add" && len(ids) == 0:
		return x.done(x.add(ctx))
	case verb == "show" && len(ids) == 1:
		return x.done(x.show(ctx, ids[0]))
	case verb == "extend" && len(ids) == 1 && x.flags.until != "":
		return x.done(x.extend(ctx, ids[0]))
	case verb == "extend" && len(ids) == 1:
		return x.usagef("exception extend needs -until")
	case verb == "log" && len(ids) <= 1:
		return x.done(x.log(ctx, strings.Join(ids, "")))
	case verb == "remove" && len(ids) > 0:
		var errs []error
		for _, id := range ids {
			if err := x.remove(ctx, id); err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", id, err))
			}
		}
		return x.done(errors.Join(errs...))
	}
	return x.usagef("exception: %q is none of list, show ID, add, remove ID..., extend ID, log [ID]", strings.Join(append([]string{verb}, ids...), " "))
}

func (x *exceptionCall) list(ctx context.Context) error {
	list, err := x.client.Exceptions(ctx)
	if err != nil {
		return err
	}
	if x.flags.json {
		return printEach(x.call, list)
	}
	w := tabwriter.NewWriter(x.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tUNTIL\tHITS\tLAST HIT\tOWNER\tSCOPE\tREASON")
	for i := range list {
		e := &list[i]
		last := "never"
		if !e.LastHit.IsZero() {
			last = e.LastHit.Local().Format(time.DateTime)
		}
		fmt.Fprintf(w, "%s\t%s%s\t%d\t%s\t%.30s\t%s\t%.60s\n", e.ID, e.Until, ended(e), e.Hits, last, shown(e.Owner), shown(e.Scope.String()), shown(e.Reason))
	}
	return w.Flush()
}

// ended marks an exception that does not hold any more.
func ended(e *exceptions.Exception) string {
	if end, err := e.Ends(); err == nil && time.Now().Before(end) {
		return ""
	}
	return " (ended)"
}

func printEach[T any](k *call, list []T) error {
	enc := json.NewEncoder(k.out)
	for _, v := range list {
		if err := enc.Encode(v); err != nil {
			return err
		}
	}
	return nil
}

func (x *exceptionCall) show(ctx context.Context, id string) error {
	e, err := x.client.Exception(ctx, id)
	if err != nil {
		return err
	}
	return x.print(e)
}

func (x *exceptionCall) print(v any) error {
	enc := json.NewEncoder(x.out)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

func (x *exceptionCall) add(ctx context.Context) error {
	req := x.flags.req
	if req.Owner == "" {
		if u, err := user.Current(); err == nil {
			req.Owner = u.Username
		}
	}
	if x.flags.item != "" || x.flags.part != "" {
		sum, err := x.hashOf(ctx, x.flags.item, x.flags.part)
		if err != nil {
			return err
		}
		if req.Macros == ofPart {
			req.Macros = sum
		} else {
			req.SHA256 = sum
		}
	}
	e, err := x.client.SaveException(ctx, "", req)
	if err != nil {
		return err
	}
	fmt.Fprintf(x.out, "%s: until %s: %s\n", e.ID, e.Until, shown(e.Scope.String()))
	return nil
}

// hashOf takes the hash of a part from the record of an item.
func (x *exceptionCall) hashOf(ctx context.Context, item, part string) (string, error) {
	if item == "" || part == "" || x.flags.req.SHA256 != "" {
		return "", errors.New("-item and -part belong together, and take the place of -sha256")
	}
	e, err := x.client.Evidence(ctx, item)
	if err != nil {
		return "", err
	}
	if x.flags.req.Macros == ofPart {
		return macrosOf(e, item, part)
	}
	for i := range e.Parts {
		switch p := &e.Parts[i]; {
		case p.ID != part:
		case p.SHA256 == "":
			return "", fmt.Errorf("part %s of item %s has no content of its own; 'rastel explain %s' shows which parts have", part, item, item)
		default:
			return p.SHA256, nil
		}
	}
	return "", fmt.Errorf("item %s has no part %.80q; 'rastel explain %s' shows its parts", item, part, item)
}

// ofPart stands in -macros for the hash of the macros in the part that -item and -part name.
const ofPart = "part"

// macrosOf takes the hash of the macros of a part from the record of an item.
func macrosOf(e *engine.Evidence, item, part string) (string, error) {
	sum := ""
	for _, f := range e.Findings {
		switch {
		case f.Part != part || f.Check != office.MacroHash:
		case sum != "":
			return "", fmt.Errorf("part %.80q of item %s has macros of several documents; only one that has no others can be excepted by them", part, item)
		default:
			sum = f.Detail
		}
	}
	if sum == "" {
		return "", fmt.Errorf("the record of item %s has no hash of macros (%s) in part %.80q; 'rastel explain %s' shows what was found", item, office.MacroHash, part, item)
	}
	return sum, nil
}

// extend puts the same exception in its place, with another end.
func (x *exceptionCall) extend(ctx context.Context, id string) error {
	old, err := x.client.Exception(ctx, id)
	if err != nil {
		return err
	}
	e, err := x.client.SaveException(ctx, id, api.ExceptionRequest{
		Scope: old.Scope, Owner: old.Owner, Reason: old.Reason, Until: x.flags.req.Until, By: x.flags.req.By,
	})
	if err != nil {
		return err
	}
	fmt.Fprintf(x.out, "%s: until %s, before %s\n", id, e.Until, old.Until)
	return nil
}

func (x *exceptionCall) remove(ctx context.Context, id string) error {
	if err := x.client.RemoveException(ctx, id, x.flags.req.By); err != nil {
		return err
	}
	fmt.Fprintf(x.out, "%s: removed\n", id)
	return nil
}

func (x *exceptionCall) log(ctx context.Context, id string) error {
	entries, err := x.client.ExceptionLog(ctx, id, x.flags.limit)
	if err != nil {
		return err
	}
	if x.flags.json {
		return printEach(x.call, entries)
	}
	w := tabwriter.NewWriter(x.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "WHEN\tWHO\tWHAT\tID\tUNTIL\tSCOPE\tREASON")
	for i := range entries {
		e := &entries[i]
		fmt.Fprintf(w, "%s\t%.30s\t%s\t%s\t%s\t%s\t%.60s\n", e.At.Local().Format(time.DateTime), shown(e.By), e.What, e.Exception.ID, e.Exception.Until,
			shown(e.Exception.Scope.String()), shown(e.Exception.Reason))
	}
	return w.Flush()
}
