// Command rastel is a mail gateway filter: a milter for Postfix and Sendmail that examines
// each message, defangs what is unsafe, and rejects, quarantines or rewrites it by a policy.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"
)

// Exit statuses that all commands share. A command's help names the others.
const (
	exitOK     = 0
	exitActed  = 1 // scan, explain: some message was acted on; others: the thing asked for was not done
	exitUsage  = 2 // wrong arguments, or a configuration or policy that cannot be used
	exitUnsure = 3 // scan: a scanner failed
)

// A command is one of rastel's subcommands.
type command struct {
	name  string
	args  string // what follows the options, for the usage line
	short string // one line
	long  string // the rest of the help, exit status included
	run   func(ctx context.Context, c *call) int
}

// A call is one invocation of a command.
type call struct {
	flags  *flag.FlagSet
	args   []string // what the command was called with, options first
	in     io.Reader
	out    io.Writer
	errOut io.Writer
}

// commands are all subcommands, in the order of the help.
func commands() []command {
	return []command{
		serveCommand, scanCommand, explainCommand, policyCommand, quarantineCommand, exceptionCommand, hostsCommand,
		versionCommand, workerCommand,
	}
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run dispatches to a command and returns the exit status.
func run(ctx context.Context, args []string, in io.Reader, out, errOut io.Writer) int {
	if len(args) == 0 {
		usage(errOut)
		return exitUsage
	}
	switch args[0] {
	case "help", "-h", "-help", "--help":
		return help(args[1:], out, errOut)
	}
	for _, c := range commands() {
		if c.name == args[0] {
			return c.call(ctx, &call{args: args[1:], in: in, out: out, errOut: errOut})
		}
	}
	return unknownCommand(args[0], errOut)
}

func (c command) call(ctx context.Context, k *call) int {
	k.flags = flag.NewFlagSet("rastel "+c.name, flag.ContinueOnError)
	k.flags.SetOutput(k.errOut)
	k.flags.Usage = func() { c.help(k) }
	return c.run(ctx, k)
}

// parse reads the options. It reports false, with the exit status, if the command is to end.
func (k *call) parse() (int, bool) {
	err := k.flags.Parse(k.args)
	if errors.Is(err, flag.ErrHelp) {
		return exitOK, false
	}
	return exitUsage, err == nil
}

// usagef says what is wrong with the arguments.
func (k *call) usagef(format string, a ...any) int {
	fmt.Fprintf(k.errOut, "rastel: "+format+"\n", a...)
	fmt.Fprintf(k.errOut, "Run '%s -h' for help.\n", k.flags.Name())
	return exitUsage
}

// fail says why the command could not do its work.
func (k *call) fail(status int, err error) int {
	fmt.Fprintf(k.errOut, "rastel: %v\n", err)
	return status
}

func (c command) help(k *call) {
	fmt.Fprintf(k.errOut, "Usage: %s\n\n%s.\n", strings.TrimSpace("rastel "+c.name+" [option]... "+c.args), upperFirst(c.short))
	if c.long != "" {
		fmt.Fprintf(k.errOut, "\n%s\n", strings.TrimSpace(c.long))
	}
	any := false
	k.flags.VisitAll(func(*flag.Flag) { any = true })
	if any {
		fmt.Fprintf(k.errOut, "\nOptions:\n")
		k.flags.PrintDefaults()
	}
}

func upperFirst(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

func usage(w io.Writer) {
	fmt.Fprintf(w, "Usage: rastel COMMAND [option]... [argument]...\n\nA mail gateway filter for Postfix and Sendmail.\n\nCommands:\n")
	for _, c := range commands() {
		fmt.Fprintf(w, "  %-12s %s\n", c.name, c.short)
	}
	fmt.Fprintf(w, "\nRun 'rastel COMMAND -h' for the options and exit status of one.\n")
}

func help(args []string, out, errOut io.Writer) int {
	if len(args) == 0 {
		usage(out)
		return exitOK
	}
	for _, c := range commands() {
		if c.name == args[0] {
			return c.call(context.Background(), &call{args: []string{"-h"}, out: out, errOut: out})
		}
	}
	return unknownCommand(args[0], errOut)
}

func unknownCommand(name string, errOut io.Writer) int {
	fmt.Fprintf(errOut, "rastel: there is no command %q\n", name)
	usage(errOut)
	return exitUsage
}

// version is the module's version, or the revision that it was built from.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	v := info.Main.Version
	if v == "" {
		v = "(devel)"
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			v += " " + s.Value[:min(12, len(s.Value))]
		}
	}
	return v
}
