package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"rastel/policy"
	"rastel/policy/policytest"
	"rastel/policy/procmail"
)

var policyCommand = command{
	name: "policy", args: "check|test|diff|replay|import-sanitizer ARGUMENT...", short: "check and test policies, tell what a change would do, import settings",
	long: `
  check FILE...     is this policy sound? Every error is one line: file, line,
                    column, what is wrong, and what was probably meant. The tests
                    that it names are run. Exceptions for signatures that have
                    ended are told of.

  test POLICY [CASE|DIR]...
                    run case files with a policy: those that are named, or else
                    those that the policy names ("tests"), or that are beside the
                    policy.yaml of a directory. All scanners of rastel run, but
                    neither engines nor the network are asked: what they find, the
                    case gives. One line for each failure: what was wanted, and
                    what is there instead.

  diff OLD NEW [FILE|DIR]...
                    what would another policy have done? Has both decide about
                    the messages in the files, or else about those that the
                    running filter holds in quarantine and has kept as samples, and
                    lists each whose outcome changes.

  replay POLICY [FILE|DIR]...
                    the same for one policy: compared is with what is on record of
                    what was decided then.

  import-sanitizer RCFILE [LIST]...
                    make a policy of an rc file in which the Procmail Email
                    Sanitizer is set up, and of the list files that it names
                    (poisoned-files and the like). Files that it includes may
                    be among them too. They are known by their names; lists that
                    are not given are read where the rc file says they are.
                    Nothing is run. The report tells of every setting whether it
                    is carried over; it goes to standard error, or with -out to
                    standard output.

A policy is a file, a directory with a policy.yaml, or "default" for the one that
is built in. What engines such as clamd found in a message that is replayed is
taken from its record, unless -engines has them asked again. An interrupt ends a
replay with what is known by then.

Exit status:
  0  check: all are sound. test: all cases pass. diff, replay: all is as -want
     says, or without that no outcome changes. The policy is made: see the
     report for what is not in it
  1  test: some cases fail. diff, replay: some outcomes change, or something is
     not as -want says, or the server is not running
  2  a policy or a case cannot be used, or wrong arguments; the files could not
     be read
  3  diff, replay: it was interrupted, or some messages could not be examined`,
	run: runPolicy,
}

func runPolicy(ctx context.Context, k *call) int {
	var f policyFlags
	f.register(k)
	args, status, ok := k.parseMixed()
	if !ok {
		return status
	}
	verb, args := first(args)
	switch {
	case verb == "check" && len(args) >= 1 && f.out == "":
		return k.withConfig(f.scan.config, func(cfg *Config) int { return k.checkPolicies(ctx, cfg, args) })
	case verb == "test" && len(args) >= 1:
		return k.withConfig(f.scan.config, func(cfg *Config) int { return k.testPolicy(ctx, cfg, f.verbose, args[0], args[1:]) })
	case verb == "diff" && len(args) >= 2:
		return k.replayPolicies(ctx, &f, args[0], args[1], args[2:])
	case verb == "replay" && len(args) >= 1:
		return k.replayPolicies(ctx, &f, "", args[0], args[1:])
	case verb == "import-sanitizer" && len(args) >= 1:
		return k.importSanitizer(&f, args[0], args[1:])
	}
	return k.usagef("policy needs: check FILE..., test POLICY [CASE]..., diff OLD NEW [FILE]..., replay POLICY [FILE]..., or import-sanitizer [-out FILE] [-domain DOMAIN] RCFILE [LIST]...")
}

// first takes the first argument off; it is empty if there is none.
func first(args []string) (string, []string) {
	if len(args) == 0 {
		return "", nil
	}
	return args[0], args[1:]
}

// withConfig runs with a configuration; an empty name gives the defaults.
func (k *call) withConfig(name string, run func(*Config) int) int {
	cfg, err := loadConfig(name)
	if err != nil {
		return k.fail(exitUsage, err)
	}
	return run(cfg)
}

func (k *call) checkPolicies(ctx context.Context, cfg *Config, names []string) int {
	status := exitOK
	for _, name := range names {
		p, err := policy.LoadFile(name, policyOptions(cfg))
		tests := 0
		if err == nil && len(p.Tests()) > 0 {
			tests = len(p.Tests())
			err = policyTester(name, func() *policytest.Runner { return caseRunner(cfg, nil) })(ctx, p)
		}
		if err != nil {
			status = exitUsage
			fmt.Fprintln(k.errOut, err)
			continue
		}
		fmt.Fprintf(k.out, "%s: ok, version %s%s\n", name, p.Version, passed(tests))
		for _, text := range p.Expired(time.Now()) {
			fmt.Fprintf(k.out, "%s: warning: an exception for signatures has ended: %s\n", name, tidy(text))
		}
	}
	return status
}

func passed(tests int) string {
	if tests == 0 {
		return ""
	}
	return fmt.Sprintf(", %d tests pass", tests)
}

// maxImported is how many files one import takes.
const maxImported = 100

// importSanitizer makes a policy of the settings of the Procmail Email Sanitizer.
func (k *call) importSanitizer(f *policyFlags, rcName string, listNames []string) int {
	out := f.out
	if len(listNames) > maxImported {
		return k.usagef("more than %d lists", maxImported)
	}
	files, err := readAll(append([]string{rcName}, listNames...))
	if err != nil {
		return k.fail(exitUsage, err)
	}
	r, err := procmail.Import(files[0], files[1:], procmail.Options{Checks: checkIDs(), Read: procmail.ReadFile, Domain: f.domain})
	if err != nil {
		fmt.Fprintln(k.errOut, err)
		return exitUsage
	}
	if err := soundPolicy(r.Policy); err != nil {
		return k.fail(exitUsage, err)
	}
	if out == "" {
		_, err = k.out.Write(r.Policy)
		k.report(k.errOut, r)
	} else if err = writeNew(out, r.Policy); err == nil {
		k.report(k.out, r)
	}
	if err != nil {
		return k.fail(exitUsage, err)
	}
	return exitOK
}

func readAll(names []string) ([]procmail.File, error) {
	var out []procmail.File
	for _, name := range names {
		f, err := procmail.ReadFile(name)
		if err != nil {
			return nil, err
		}
		out = append(out, f)
	}
	return out, nil
}

func checkIDs() []string {
	var out []string
	for _, c := range knownChecks(&Config{}) {
		out = append(out, c.ID)
	}
	return out
}

// soundPolicy loads what was made. What can be wrong with it is its size, and that of its lists.
func soundPolicy(data []byte) error {
	_, err := policy.Load("the policy that comes of it", data, policyOptions(&Config{}))
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w\nhint: take the list out of the rc file, and add it to the policy as \"{file: ...}\"", err)
}

// writeNew writes a file that must not exist.
func writeNew(name string, data []byte) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Close())
}

// report tells what became of each setting, and how many there are of each kind.
func (k *call) report(w io.Writer, r *procmail.Result) {
	count := map[procmail.Fate]int{}
	for _, e := range r.Report {
		fmt.Fprintln(w, tidy(e.String()))
		count[e.Fate]++
	}
	fmt.Fprintf(w, "%d carried over, %d carried over but unverified, %d not carried over, %d not needed\n",
		count[procmail.Carried], count[procmail.Unverified], count[procmail.NotCarried], count[procmail.NotNeeded])
}
