package main

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"rastel/cmd/rastel/api"
	"rastel/scanners"
	programs "rastel/scanners/command"
	"rastel/scanners/icap"
)

// validateEngines sees that engines are set up well, and that their names tell them apart.
func (c *Config) validateEngines() error {
	if err := errors.Join(icap.ValidateAll(c.ICAP), programs.ValidateAll(c.Commands)); err != nil {
		return err
	}
	seen := map[string]bool{}
	for _, name := range engineNames(c) {
		if seen[name] {
			return fmt.Errorf("there is more than one engine with the name %q", name)
		}
		seen[name] = true
	}
	return nil
}

// An other is an engine besides clamd.
type other struct {
	kind string // of the setting that it comes from
	asked
}

// asked is what an other engine does.
type asked interface {
	scanners.Engine
	pinger
}

// makeOthers makes the engines that are asked by ICAP, or are programs.
func (b *built) makeOthers() error {
	for _, cfg := range b.cfg.ICAP {
		s, err := icap.New(cfg)
		if err != nil {
			return fmt.Errorf("icap: %w", err)
		}
		b.others = append(b.others, other{"icap", s})
	}
	for _, cfg := range b.cfg.Commands {
		s, err := programs.New(cfg)
		if err != nil {
			return fmt.Errorf("commands: %w", err)
		}
		b.others = append(b.others, other{"command", s})
	}
	return nil
}

// closeOthers ends what they keep.
func (b *built) closeOthers() {
	for _, e := range b.others {
		if c, ok := e.asked.(interface{ Close() }); ok {
			c.Close()
		}
	}
}

// otherNames are the names of the engines besides clamd.
func otherNames(cfg *Config) []string {
	var out []string
	for _, c := range cfg.ICAP {
		out = append(out, c.EngineName())
	}
	for _, c := range cfg.Commands {
		out = append(out, c.Name)
	}
	return out
}

// othersReady tells of each engine besides clamd whether it can be used: each must.
func othersReady(ctx context.Context, list []other) []api.Check {
	out := make([]api.Check, len(list))
	var wg sync.WaitGroup
	for i, e := range list {
		wg.Go(func() { out[i] = engineReady(ctx, e) })
	}
	wg.Wait()
	return out
}

// A pinger is an engine that can be asked whether it can be used, and who it is.
type pinger interface {
	Name() string
	Ping(ctx context.Context) (detail string, err error)
}

func engineReady(ctx context.Context, e other) api.Check {
	name := e.kind + " " + e.Name()
	detail, err := e.Ping(ctx)
	if err != nil {
		return api.Check{Name: name, Detail: err.Error()}
	}
	return api.Check{Name: name, OK: true, Detail: detail}
}
