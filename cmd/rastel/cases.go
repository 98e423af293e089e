package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"rastel/policy"
	"rastel/policy/engine"
	"rastel/policy/policytest"
	"rastel/scanners"
)

// Limits of one run of cases.
const (
	maxCases    = 10_000 // files
	maxFailures = 20     // that the error about a policy tells of
)

// caseRunner runs cases with our own scanners, without engines and without network. What more opens
// containers in processes of its own, isolate has; nil: they are opened in this one.
func caseRunner(cfg *Config, isolate func([]scanners.Named) []scanners.Named) *policytest.Runner {
	list := builtin(cfg)
	if isolate != nil {
		list = isolate(list)
	}
	set := scanners.NewSet(scanners.Options{Budget: cfg.budget(), Spool: cfg.spool(), Passwords: cfg.Passwords}, list...)
	return &policytest.Runner{
		Engine: engine.New(engine.Options{Set: set, Limits: cfg.mimeLimits(), Host: cfg.relays.Host}),
		Spool:  cfg.spool(), Checks: knownChecks(cfg),
	}
}

// policyNames are the names under which cases know a policy.
func policyNames(path string) []string {
	if path == "" {
		return []string{"default"}
	}
	name := strings.TrimSuffix(filepath.Base(path), filepath.Ext(path))
	if abs, err := filepath.Abs(path); err == nil && name == "policy" {
		return []string{name, filepath.Base(filepath.Dir(abs))}
	}
	return []string{name}
}

// A caseCount is what came of a number of cases.
type caseCount struct {
	run, failed, passedOver int
	lines                   []string // what failed
}

// runCases runs those of the files that are for the policy. The error is that of a case that cannot be
// read or run, or of ctx.
func runCases(ctx context.Context, r *policytest.Runner, p *policy.Policy, names, files []string, each func(c *policytest.Case, failures []string)) (n caseCount, err error) {
	for _, file := range files {
		if err := ctx.Err(); err != nil {
			return n, fmt.Errorf("%s is not run: %w", file, err)
		}
		c, err := policytest.Read(file)
		if err != nil {
			return n, err
		}
		if !c.IsFor(names...) {
			n.passedOver++
			continue
		}
		failures, err := r.Run(ctx, p, c)
		if err != nil {
			return n, err
		}
		n.run++
		if len(failures) > 0 {
			n.failed++
			n.lines = append(n.lines, failures...)
		}
		if each != nil {
			each(c, failures)
		}
	}
	return n, nil
}

// policyTester runs the tests that a policy names, for policy.Options.Test.
func policyTester(path string, runner func() *policytest.Runner) func(context.Context, *policy.Policy) error {
	return func(ctx context.Context, p *policy.Policy) error {
		n, err := runCases(ctx, runner(), p, policyNames(path), p.Tests(), nil)
		switch {
		case err != nil:
			return err
		case n.run == 0:
			return errors.New("none of them is for this policy")
		case n.failed == 0:
			return nil
		}
		lines := n.lines[:min(len(n.lines), maxFailures)]
		if more := len(n.lines) - len(lines); more > 0 {
			lines = append(lines[:len(lines):len(lines)], fmt.Sprintf("and %d more", more))
		}
		return fmt.Errorf("%d of %d fail\n%s", n.failed, n.run, strings.Join(lines, "\n"))
	}
}

// caseFiles are the case files that arguments name: files, and those below directories.
func caseFiles(args []string) ([]string, error) {
	var out []string
	for _, arg := range args {
		info, err := os.Stat(arg)
		if err != nil {
			return nil, err
		}
		if !info.IsDir() {
			out = append(out, arg)
			continue
		}
		err = filepath.WalkDir(arg, func(path string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() && strings.HasSuffix(path, ".case") {
				out = append(out, path)
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	if len(out) > maxCases {
		return nil, fmt.Errorf("more than %d cases", maxCases)
	}
	return out, nil
}

// policyFile is the file that an argument means: itself, policy.yaml in a directory, or "" for the policy
// that is built in.
func policyFile(arg string) string {
	info, err := os.Stat(arg)
	switch {
	case err != nil && arg == "default":
		return ""
	case err == nil && info.IsDir():
		return filepath.Join(arg, "policy.yaml")
	}
	return arg
}

// loadPolicy loads the policy of a file; "" means the one that is built in.
func loadPolicy(path string, opt policy.Options) (*policy.Policy, error) {
	if path == "" {
		return policy.Load("built-in policy", policy.DefaultFile(), opt)
	}
	return policy.LoadFile(path, opt)
}

// testPolicy is "policy test".
func (k *call) testPolicy(ctx context.Context, cfg *Config, verbose bool, arg string, args []string) int {
	path := policyFile(arg)
	p, err := loadPolicy(path, policyOptions(cfg))
	if err != nil {
		fmt.Fprintln(k.errOut, err)
		return exitUsage
	}
	files := p.Tests()
	switch {
	case len(args) > 0:
		files, err = caseFiles(args)
	case len(files) == 0 && path != arg && path != "":
		files, err = caseFiles([]string{arg})
	}
	if err != nil {
		return k.fail(exitUsage, err)
	}
	start := time.Now()
	n, err := runCases(ctx, caseRunner(cfg, nil), p, policyNames(path), files, func(c *policytest.Case, failures []string) {
		for _, line := range failures {
			fmt.Fprintln(k.out, tidy(line))
		}
		if verbose && len(failures) == 0 {
			fmt.Fprintf(k.out, "%s: ok\n", c.File)
		}
	})
	if err != nil {
		return k.fail(exitUsage, err)
	}
	return k.tellCases(n, time.Since(start))
}

// tellCases tells what came of the cases, and gives the exit status. That none is run is no success.
func (k *call) tellCases(n caseCount, took time.Duration) int {
	if n.run == 0 {
		return k.usagef("no case was run: the policy names no tests, or none of the cases is for it")
	}
	fmt.Fprintf(k.out, "%d cases, %d failed", n.run, n.failed)
	if n.passedOver > 0 {
		fmt.Fprintf(k.out, ", %d for other policies passed over", n.passedOver)
	}
	fmt.Fprintf(k.out, " (%v)\n", took.Round(time.Millisecond))
	if n.failed > 0 {
		return exitActed
	}
	return exitOK
}
