package main

import (
	"context"
	"fmt"
	"time"

	"rastel/cmd/rastel/api"
	"rastel/scanners/clamd"
)

// clamdReady tells of each clamd whether it can be used, and whether all scans can be done: one must
// be up, and none may have a database that is too old.
func clamdReady(ctx context.Context, c *clamd.Scanner) []api.Check {
	if c == nil {
		return []api.Check{{Name: "clamd", OK: true, Detail: "none found and none configured: no message is scanned for malware"}}
	}
	var each []api.Check
	up, stale := 0, 0
	for _, d := range c.Status(ctx) {
		one := api.Check{Name: "clamd " + d.Address, OK: d.Why == nil && !d.Stale, Optional: true, Detail: clamdDetail(d)}
		if d.Why == nil {
			up++
		}
		if d.Why == nil && d.Stale {
			stale++
		}
		each = append(each, one)
	}
	all := api.Check{Name: "clamd", OK: up > 0 && stale == 0, Detail: fmt.Sprintf("%d of %d up", up, len(each))}
	if stale > 0 {
		all.Detail += fmt.Sprintf(", %d with a database older than max_database_age", stale)
	}
	return append([]api.Check{all}, each...)
}

func clamdDetail(d clamd.Daemon) string {
	if d.Why != nil {
		return d.State + ": " + d.Why.Error()
	}
	text := fmt.Sprintf("%s, %d scans, ClamAV %s", d.State, d.Scans, d.Engine)
	switch {
	case d.Database == "":
		text += ", no official database"
	case d.Built.IsZero():
		text += ", database " + d.Database
	default:
		text += fmt.Sprintf(", database %s, %.1f days old", d.Database, time.Since(d.Built).Hours()/24)
	}
	return text
}
