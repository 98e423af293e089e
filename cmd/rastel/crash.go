//go:build crashpoints

package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"syscall"

	"rastel/policy/engine"
	"rastel/policy/quarantine"
)

// crashing gives a quarantine that kills this process, as kill -9 does, where RASTEL_CRASH_AT says: "before 2"
// or "after 2" is about the second message that is stored. It is for the end-to-end tests, which build the
// program with it.
func crashing(q engine.Quarantine) engine.Quarantine {
	return &crashPoints{Quarantine: q, at: os.Getenv("RASTEL_CRASH_AT")}
}

type crashPoints struct {
	engine.Quarantine
	at     string
	stored atomic.Int32
}

func (c *crashPoints) Hold(ctx context.Context, it *quarantine.Item, r io.Reader) error {
	return c.around(func() error { return c.Quarantine.Hold(ctx, it, r) })
}

func (c *crashPoints) Queue(ctx context.Context, it *quarantine.Item, r io.Reader) error {
	return c.around(func() error { return c.Quarantine.Queue(ctx, it, r) })
}

func (c *crashPoints) around(do func() error) error {
	n := c.stored.Add(1)
	c.point("before", n)
	err := do()
	c.point("after", n)
	return err
}

func (c *crashPoints) point(when string, n int32) {
	if c.at == fmt.Sprint(when, " ", n) {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}
}
