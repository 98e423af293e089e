package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"rastel/cmd/rastel/api"
	"rastel/policy/engine"
	"rastel/policy/policytest"
	"rastel/policy/quarantine"
	"rastel/sanitize/eml"
)

// replayPage is how many records are in memory at a time.
const replayPage = 100

// fromQuarantine gives the messages that a running filter holds or has sampled, newest first, but for those
// that are gone, and at most so many.
func fromQuarantine(client *api.Client, since time.Time, limit int) func(context.Context, func(*oldMessage) error) error {
	return func(ctx context.Context, each func(*oldMessage) error) error {
		f := quarantine.Filter{Class: quarantine.AnyClass, Since: since, Limit: replayPage}
		for n := 0; ; {
			items, err := client.List(ctx, f)
			if err != nil {
				return err
			}
			for i := range items {
				if !items[i].Stored || items[i].Purpose != "" { // gone, or made by the filter
					continue
				}
				if n++; n > limit {
					return nil
				}
				if err := each(heldMessage(client, &items[i])); err != nil {
					return err
				}
			}
			if len(items) < f.Limit {
				return nil
			}
			f.Cursor = items[len(items)-1].ID
		}
	}
}

func heldMessage(client *api.Client, it *quarantine.Item) *oldMessage {
	return &oldMessage{
		name: it.ID, item: it, env: envelopeOf(it),
		open:   func(ctx context.Context) (io.ReadCloser, error) { return client.Raw(ctx, it.ID) },
		record: func(ctx context.Context) (*engine.Evidence, error) { return evidenceOf(ctx, client, it.ID) },
	}
}

// envelopeOf is the envelope as far as the record has it.
func envelopeOf(it *quarantine.Item) *eml.Envelope {
	return &eml.Envelope{
		QueueID: it.QueueID, Session: it.Session, Client: it.Client, ClientName: it.ClientName, Helo: it.Helo, AuthUser: it.AuthUser,
		Sender: it.Sender, SenderArgs: slices.Clone(it.SenderArgs), Recipients: slices.Clone(it.Recipients),
	}
}

// fromFiles gives the messages in files, and in all files below directories. A case file has its envelope,
// and what it gives.
func fromFiles(opt *scanOptions, args []string) func(context.Context, func(*oldMessage) error) error {
	return func(_ context.Context, each func(*oldMessage) error) error {
		for _, arg := range args {
			err := filepath.WalkDir(arg, func(path string, d fs.DirEntry, err error) error {
				if err != nil || d.IsDir() {
					return err
				}
				m, err := messageFile(opt, path)
				if err != nil {
					return err
				}
				return each(m)
			})
			if err != nil {
				return err
			}
		}
		return nil
	}
}

func messageFile(opt *scanOptions, path string) (*oldMessage, error) {
	if !strings.HasSuffix(path, ".case") {
		open := func(context.Context) (io.ReadCloser, error) { return os.Open(path) }
		return &oldMessage{name: path, env: &eml.Envelope{Sender: opt.from, Recipients: opt.to}, open: open}, nil
	}
	c, err := policytest.Read(path)
	if err != nil {
		return nil, err
	}
	env := c.Envelope
	open := func(context.Context) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(c.Raw)), nil }
	return &oldMessage{name: path, env: &env, open: open, give: c.Give}, nil
}

// days is a duration that may be said in days, such as "7d".
type days time.Duration

func (d *days) String() string { return time.Duration(*d).String() }

func (d *days) Set(s string) error {
	if n, ok := strings.CutSuffix(s, "d"); ok {
		k, err := strconv.Atoi(n)
		if err != nil || k < 0 || k > 10_000 {
			return fmt.Errorf("%.40q is no number of days", n)
		}
		*d = days(time.Duration(k) * 24 * time.Hour)
		return nil
	}
	t, err := time.ParseDuration(s)
	if err != nil || t < 0 {
		return fmt.Errorf("%.40q is no time like 7d or 12h", s)
	}
	*d = days(t)
	return nil
}
