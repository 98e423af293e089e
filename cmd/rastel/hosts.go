package main

import (
	"context"
	"encoding/json"
	"fmt"
	"text/tabwriter"
	"time"

	"rastel/cmd/rastel/api"
	"rastel/policy/hosts"
)

var hostsCommand = command{
	name: "hosts", short: "show the hosts and users that send what is infected or refused",
	long: `
Those with the most messages come first: a machine inside that sends spam, an
account whose password was stolen. A message counts once, however many reasons
there are; what is refused at connect, MAIL or RCPT counts too. A host behind
relays of ours (trusted in rastel.yaml) is counted, not the relay. IPv6 hosts are
counted by their network of 64 bits. Only the worst are kept if there are many.

It talks to a running 'rastel serve', which forgets the counts when it ends.

Exit status:
  0  done
  1  not done: the server is not running
  2  wrong arguments`,
	run: runHosts,
}

func runHosts(ctx context.Context, k *call) int {
	config := k.flags.String("config", "", "configuration `file`, for the place of the socket")
	by := k.flags.String("by", string(hosts.ByClient), "`client` or user")
	within := k.flags.String("within", string(hosts.WithinHour), "`hour` or day")
	limit := k.flags.Int("limit", 20, "at most so many")
	asJSON := k.flags.Bool("json", false, "print JSON, one object a host")
	if status, ok := k.parse(); !ok {
		return status
	}
	switch {
	case k.flags.NArg() > 0:
		return k.usagef("hosts takes no arguments")
	case *by != string(hosts.ByClient) && *by != string(hosts.ByUser):
		return k.usagef("-by: %q is none of client, user", *by)
	case *within != string(hosts.WithinHour) && *within != string(hosts.WithinDay):
		return k.usagef("-within: %q is none of hour, day", *within)
	case *limit < 1 || *limit > hosts.MaxTracked:
		return k.usagef("-limit: %d is not from 1 to %d", *limit, hosts.MaxTracked)
	}
	cfg, err := loadConfig(*config)
	if err != nil {
		return k.fail(exitUsage, err)
	}
	list, err := api.NewClient(cfg.API.Socket).Hosts(ctx, hosts.By(*by), hosts.Within(*within), *limit)
	if err == nil {
		err = k.printHosts(list, *asJSON)
	}
	if err != nil {
		return k.fail(exitActed, err)
	}
	return exitOK
}

// printHosts writes the list. Names of users are what clients said.
func (k *call) printHosts(list *api.TopList, asJSON bool) error {
	if asJSON {
		enc := json.NewEncoder(k.out)
		for _, e := range list.Hosts {
			if err := enc.Encode(e); err != nil {
				return err
			}
		}
		return nil
	}
	w := tabwriter.NewWriter(k.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "HOUR\tINFECTED\tREFUSED\tDAY\tINFECTED\tREFUSED\tLAST\tNAME")
	for _, e := range list.Hosts {
		fmt.Fprintf(w, "%d\t%d\t%d\t%d\t%d\t%d\t%s\t%s\n", e.Hour.Messages, e.Hour.Infected, e.Hour.Refused,
			e.Day.Messages, e.Day.Infected, e.Day.Refused, e.Last.Local().Format(time.DateTime), shown(e.Name))
	}
	fmt.Fprintf(w, "counted since %s\n", list.Since.Local().Format(time.DateTime))
	return w.Flush()
}
