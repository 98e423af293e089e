package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"

	"rastel/scanners"
	"rastel/scanners/worker"
)

var workerCommand = command{
	name: "worker", short: "open containers for serve, which starts it (not for use by hand)",
	long: `
A process with limits of memory and time, no files, no network and no other
programs, where the kernel can take them away. What decodes the content of mail
runs in it.

Exit status:
  0  serve has no more work for it
  1  it was not started by serve, or cannot be confined
  2  wrong arguments`,
	run: runWorker,
}

func runWorker(_ context.Context, k *call) int {
	if status, ok := k.parse(); !ok {
		return status
	}
	if k.flags.NArg() > 0 {
		return k.usagef("worker takes no arguments")
	}
	if err := worker.Main(workerScanners); err != nil {
		return k.fail(exitActed, err)
	}
	return exitOK
}

// workerConfig is what workers are told of a configuration: what Openers are made of, and no more.
// A worker that somebody has taken over should have nothing to tell.
func workerConfig(*Config) *Config { return &Config{} }

// workerScanners makes the scanners of a worker of what workerConfig has given.
func workerScanners(config json.RawMessage) ([]scanners.Named, error) {
	var cfg Config
	if err := json.Unmarshal(config, &cfg); err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	return builtin(&cfg), nil
}

// startWorkers makes the pool of workers that the configuration asks for; nil if it asks for none.
func startWorkers(cfg *Config, log *slog.Logger) (*worker.Pool, error) {
	if cfg.Workers == nil || *cfg.Workers == 0 {
		return nil, nil
	}
	config, err := json.Marshal(workerConfig(cfg))
	if err != nil {
		return nil, err
	}
	pool, err := worker.New(worker.Options{
		Workers: *cfg.Workers, Memory: cfg.Limits.WorkerMemory, Config: config,
		// The very program that runs, even if its file has been replaced since.
		Command: []string{"/proc/self/exe", "rastel", "worker"},
		Spool:   cfg.spool(), Limits: cfg.budget(), Logger: log,
	})
	if err != nil {
		return nil, fmt.Errorf("%w (workers: 0 does without them)", err)
	}
	return pool, nil
}
