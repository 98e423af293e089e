package main

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"rastel/policy/quarantine"
	"rastel/sanitize/eml"
)

// TestReplayTakesSamples, which lists do not show.
func TestReplayTakesSamples(t *testing.T) {
	config, _ := heldWorld(t, quarantine.Item{Rule: "malware", Findings: clamdFound}, quarantine.Item{Class: quarantine.SampleClass, Held: true})
	p := policyFileWith(t, malwareRule+"  - {name: all, when: 'true', then: reject}\n")
	for _, tt := range []struct {
		args []string
		want []string
		not  string
	}{
		{[]string{"policy", "replay", "-config", config, p}, []string{"2 messages, 1 changed", "number 1", "  accept -> reject: 1"}, "number 0"},
		{[]string{"quarantine", "list", "-config", config}, []string{"number 0"}, "number 1"},
		{[]string{"quarantine", "list", "-config", config, "-class", "sample"}, []string{"number 1"}, "number 0"},
		{[]string{"quarantine", "list", "-config", config, "-class", "*"}, []string{"number 1", "number 0"}, "nothing"},
	} {
		var out, errOut strings.Builder
		run(t.Context(), tt.args, nil, &out, &errOut)
		for _, want := range tt.want {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%q lacks %q\n%s%s", tt.args, want, &out, &errOut)
			}
		}
		if strings.Contains(out.String(), tt.not) {
			t.Errorf("%q has %q\n%s", tt.args, tt.not, &out)
		}
	}
}

// TestServeKeepsSamples by its configuration, once it has counted what there is.
func TestServeKeepsSamples(t *testing.T) {
	dir := t.TempDir()
	config := filepath.Join(dir, "rastel.yaml")
	writeFile(t, config, "state_dir: "+dir+"\nworkers: 0\nmilter: {listen: [\"unix:"+dir+"/milter\"]}\napi: {listen: \"127.0.0.1:0\"}\nsamples: {percent: 100, never: [\"@never.example\"]}\n")
	cfg, err := loadConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	b, err := build(cfg, log)
	if err != nil {
		t.Fatal(err)
	}
	defer b.close()
	s, err := newService(cfg, b, log)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var running sync.WaitGroup
	running.Go(func() { _ = s.run(ctx) })
	defer running.Wait()
	defer cancel()
	b.metrics = nil // they are those of the engine of the service
	e := b.engine(s.store)
	for n := 0; ; n++ {
		spool := eml.NewSpool(eml.SpoolOptions{})
		fmt.Fprintf(spool, "Subject: number %d\r\n\r\nhello\r\n", n)
		spool.CloseWrite(nil)
		sender := []string{"ann@example.org", "ann@never.example"}[n%2]
		if _, err := e.Judge(ctx, &eml.Envelope{Sender: sender, Recipients: []string{"bob@example.net"}}, spool); err != nil {
			t.Fatal(err)
		}
		spool.Close()
		items, err := s.store.List(ctx, quarantine.Filter{Class: quarantine.SampleClass})
		if err != nil {
			t.Fatal(err)
		}
		for _, it := range items {
			if it.Sender != "ann@example.org" {
				t.Errorf("a sample from %s", it.Sender)
			}
		}
		if len(items) >= 2 {
			return
		}
	}
}
