package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"rastel/policy"
	"rastel/policy/procmail"
)

var policyCommand = command{
	name: "policy", args: "check FILE... | import-sanitizer RCFILE [LIST...]", short: "check policies, and make one of the Procmail Email Sanitizer's settings",
	long: `
  check FILE...     is this policy sound? Every error is one line: file, line,
                    column, what is wrong, and what was probably meant. Exceptions
                    for signatures that have ended are told of.

  import-sanitizer RCFILE [LIST...]
                    make a policy of an rc file in which the Procmail Email
                    Sanitizer is set up, and of the list files that it names
                    (poisoned-files and the like). Files that it includes may
                    be among them too. They are known by their names; lists that
                    are not given are read where the rc file says they are.
                    Nothing is run. The report tells of every setting whether it
                    is carried over; it goes to standard error, or with -out to
                    standard output.

Exit status:
  0  all are sound; the policy is made: see the report for what is not in it
  2  one is not, or wrong arguments; the files could not be read`,
	run: runPolicy,
}

func runPolicy(_ context.Context, k *call) int {
	out := k.flags.String("out", "", "of import-sanitizer: write the policy to this `file`, which must not exist")
	args, status, ok := k.parseMixed()
	switch {
	case !ok:
		return status
	case len(args) >= 2 && args[0] == "check" && *out == "":
		return k.checkPolicies(args[1:])
	case len(args) >= 2 && args[0] == "import-sanitizer":
		return k.importSanitizer(*out, args[1], args[2:])
	}
	return k.usagef("policy needs: check FILE..., or import-sanitizer [-out FILE] RCFILE [LIST...]")
}

func (k *call) checkPolicies(names []string) int {
	status := exitOK
	for _, name := range names {
		p, err := policy.LoadFile(name, policyOptions(&Config{}))
		if err != nil {
			status = exitUsage
			fmt.Fprintln(k.errOut, err)
			continue
		}
		fmt.Fprintf(k.out, "%s: ok, version %s\n", name, p.Version)
		for _, text := range p.Expired(time.Now()) {
			fmt.Fprintf(k.out, "%s: warning: an exception for signatures has ended: %s\n", name, tidy(text))
		}
	}
	return status
}

// maxImported is how many files one import takes.
const maxImported = 100

// importSanitizer makes a policy of the settings of the Procmail Email Sanitizer.
func (k *call) importSanitizer(out, rcName string, listNames []string) int {
	if len(listNames) > maxImported {
		return k.usagef("more than %d lists", maxImported)
	}
	files, err := readAll(append([]string{rcName}, listNames...))
	if err != nil {
		return k.fail(exitUsage, err)
	}
	r, err := procmail.Import(files[0], files[1:], procmail.Options{Checks: checkIDs(), Read: procmail.ReadFile})
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
