package main

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"rastel/cmd/rastel/api"
	"rastel/policy"
	"rastel/policy/exceptions"
)

// policyFlags are the options of all of its subcommands.
type policyFlags struct {
	out, domain, compare   string
	scan                   scanOptions // config, from, to
	since                  days
	limit                  int
	wants                  []wanted
	verbose, json, engines bool
}

// maxReplayed is how many messages one replay takes at most.
const maxReplayed = 1_000_000

func (f *policyFlags) register(k *call) {
	k.flags.StringVar(&f.out, "out", "", "import-sanitizer: write the policy to this `file`, which must not exist")
	k.flags.StringVar(&f.domain, "domain", "", "import-sanitizer: the `domain` of addresses that have none, such as postmaster")
	k.flags.StringVar(&f.scan.config, "config", "", "configuration `file`, for engines, limits, notices, and the place of the socket; without it the defaults apply")
	k.flags.BoolVar(&f.verbose, "v", false, "test: name the cases that pass too")
	k.flags.Var(&f.since, "since", "diff, replay: only messages held since so long, such as 7d or 12h; without it all")
	k.flags.IntVar(&f.limit, "limit", 10_000, "diff, replay: at most so many messages of the quarantine, the newest")
	k.flags.StringVar(&f.compare, "compare", strings.Join(aspects, ","), "diff, replay: in what outcomes are compared")
	k.flags.BoolVar(&f.engines, "engines", false, "diff, replay: ask the engines that are configured, instead of believing what is on record")
	k.flags.BoolVar(&f.json, "json", false, "diff, replay: print one JSON object for each message whose outcome changes")
	k.flags.StringVar(&f.scan.from, "from", "", "diff, replay: envelope sender `address` of messages in files")
	k.flags.Func("to", "diff, replay: envelope recipient `address` of messages in files; may be repeated", func(s string) error {
		f.scan.to = append(f.scan.to, s)
		return nil
	})
	k.flags.Func("want", "diff, replay: what `count` is to be, such as changed=0 or \"accept->quarantine<=3\"; may be repeated", func(s string) error {
		w, err := parseWanted(s)
		f.wants = append(f.wants, w)
		return err
	})
}

// aspects are what the outcomes are compared in, or an error.
func (f *policyFlags) aspects() ([]string, error) {
	list := strings.Split(f.compare, ",")
	for _, a := range list {
		if !slices.Contains(aspects, a) {
			return nil, fmt.Errorf("-compare: %q is none of %s", a, strings.Join(aspects, ","))
		}
	}
	return list, nil
}

// replayPolicies is "policy diff" and "policy replay": old is empty for the latter.
func (k *call) replayPolicies(ctx context.Context, f *policyFlags, old, now string, args []string) int {
	cfg, err := loadConfig(f.scan.config)
	if err != nil {
		return k.fail(exitUsage, err)
	}
	r := &replay{call: k, json: f.json, progress: newProgress(k.errOut), spool: cfg.spool(), tally: tally{moves: map[string]int{}}}
	if r.compare, err = f.aspects(); err != nil {
		return k.usagef("%v", err)
	}
	if f.limit < 1 || f.limit > maxReplayed {
		return k.usagef("-limit: %d is not from 1 to %d", f.limit, maxReplayed)
	}
	if r.old, r.now, err = loadBoth(cfg, old, now); err != nil {
		fmt.Fprintln(k.errOut, err)
		return exitUsage
	}
	done, err := r.makeEngine(cfg, f.engines)
	if err != nil {
		return k.fail(exitUsage, err)
	}
	defer done()
	source := fromFiles(&f.scan, args)
	if len(args) == 0 {
		since := time.Time{}
		if f.since > 0 {
			since = time.Now().Add(-time.Duration(f.since))
		}
		client := api.NewClient(cfg.API.Socket)
		list, err := client.Exceptions(ctx)
		if err != nil {
			return k.fail(exitActed, err)
		}
		r.except, source = exceptions.NewSnapshot(list), fromQuarantine(client, since, f.limit)
	}
	return r.run(ctx, source, f.wants)
}

func loadBoth(cfg *Config, old, now string) (before, after *policy.Policy, err error) {
	if old != "" {
		if before, err = loadPolicy(policyFile(old), policyOptions(cfg)); err != nil {
			return nil, nil, err
		}
	}
	after, err = loadPolicy(policyFile(now), policyOptions(cfg))
	return before, after, err
}

// makeEngine makes what examines the messages. Without engines nothing is asked that is not ours: what
// they said then is on record, and counts.
func (r *replay) makeEngine(cfg *Config, engines bool) (done func(), err error) {
	done = func() {}
	if engines {
		cfg.Policy, cfg.Cache.Shared = "", nil // the policies that are compared are others
		b, err := build(cfg, slog.New(slog.DiscardHandler))
		if err != nil {
			return nil, err
		}
		r.engine, done = b.engine(nil), b.close
	} else {
		r.engine = caseRunner(cfg, nil).Engine
	}
	for _, c := range r.engine.Checks() {
		r.checks = append(r.checks, c.ID)
	}
	return done, nil
}

// run replays, tells, and gives the exit status.
func (r *replay) run(ctx context.Context, source func(context.Context, func(*oldMessage) error) error, wants []wanted) int {
	interrupted, err := r.all(ctx, source)
	if err != nil {
		return r.fail(exitActed, err)
	}
	if interrupted {
		fmt.Fprintln(r.errOut, "rastel: interrupted: what follows is about a part of the messages only")
	}
	r.summary()
	status := exitOK
	for _, w := range wants {
		if !w.holds(&r.tally) {
			status = exitActed
			fmt.Fprintf(r.errOut, "rastel: want %s: it is %d\n", w.text, r.tally.count(w.what))
		}
	}
	switch {
	case status == exitOK && len(wants) == 0 && r.tally.changed > 0:
		return exitActed
	case status == exitOK && (interrupted || r.tally.failed > 0):
		return exitUnsure
	}
	return status
}
