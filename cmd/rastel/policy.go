package main

import (
	"context"
	"fmt"

	"rastel/policy"
)

var policyCommand = command{
	name: "policy", args: "check FILE...", short: "check policies before they are used",
	long: `
  check FILE...     is this policy sound? Every error is one line: file, line,
                    column, what is wrong, and what was probably meant.

Exit status:
  0  all are sound
  2  one is not, or wrong arguments`,
	run: runPolicy,
}

func runPolicy(_ context.Context, k *call) int {
	args, status, ok := k.parseMixed()
	if !ok {
		return status
	}
	if len(args) < 2 || args[0] != "check" {
		return k.usagef("policy needs: check FILE...")
	}
	status = exitOK
	for _, name := range args[1:] {
		p, err := policy.LoadFile(name, policyOptions(&Config{}))
		if err != nil {
			status = exitUsage
			fmt.Fprintln(k.errOut, err)
			continue
		}
		fmt.Fprintf(k.out, "%s: ok, version %s\n", name, p.Version)
	}
	return status
}
