// Package blob keeps held messages as files in a directory, packed with zstd (RFC 8878).
//
// A message is written to a file in tmp/, synced, renamed into place, and its directory
// synced. So under its own name there is always a whole message, and what a crash leaves is
// in tmp/.
package blob

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/klauspost/compress/zstd"

	"rastel/policy/quarantine"
)

const (
	suffix = ".zst"
	// shardLen is how much of an id names its directory: the time in steps of nine hours, so
	// directories stay small, and empty themselves as messages expire.
	shardLen = 5
	// tmpAge is how old a file in tmp/ must be before it counts as left by a crash: another
	// process may be writing it. No message takes that long.
	tmpAge = time.Hour
	// window is how far back the packing looks; it bounds the memory of each writer.
	window = 1 << 20
)

// A Dir is a directory of messages.
type Dir struct {
	root     string
	encoders sync.Pool
	mu       sync.Mutex // held while directories are made and removed, and while files enter them
}

var _ quarantine.Blobs = (*Dir)(nil)

// Open opens a directory, makes it if there is none, and removes what a crash has left in it.
func Open(root string) (*Dir, error) {
	d := &Dir{root: root}
	if err := os.MkdirAll(d.tmp(), 0o700); err != nil {
		return nil, fmt.Errorf("open messages: %w", err)
	}
	if err := errors.Join(syncDir(root), syncDir(filepath.Dir(root))); err != nil {
		return nil, fmt.Errorf("open messages: %w", err)
	}
	if err := d.sweepTemp(time.Now().Add(-tmpAge)); err != nil {
		return nil, fmt.Errorf("open messages: %w", err)
	}
	return d, nil
}

// Close does nothing: no file stays open.
func (d *Dir) Close() error { return nil }

func (d *Dir) tmp() string { return filepath.Join(d.root, "tmp") }

// path is where the message of an item belongs. Only ids get through, so no "..".
func (d *Dir) path(id string) (string, error) {
	if !quarantine.ValidID(id) {
		return "", fmt.Errorf("%.100q is no id", id)
	}
	return filepath.Join(d.root, id[:shardLen], id+suffix), nil
}

func (d *Dir) sweepTemp(before time.Time) error {
	entries, err := os.ReadDir(d.tmp())
	if err != nil {
		return err
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || info.ModTime().After(before) {
			continue // gone, or somebody's
		}
		if err := os.Remove(filepath.Join(d.tmp(), e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// Put implements quarantine.Blobs.
func (d *Dir) Put(ctx context.Context, id string, r io.Reader) error {
	name, err := d.path(id)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(d.tmp(), "") // with mode 0600
	if err != nil {
		return err
	}
	err = d.write(f, &ctxReader{ctx: ctx, r: r})
	if err := errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	if err := d.install(f.Name(), name); err != nil {
		return errors.Join(err, removeAll(f.Name(), name))
	}
	return nil
}

// write packs r into f and makes it durable.
func (d *Dir) write(f *os.File, r io.Reader) error {
	enc, ok := d.encoders.Get().(*zstd.Encoder)
	if !ok {
		var err error
		enc, err = zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(window), zstd.WithLowerEncoderMem(true))
		if err != nil {
			return err
		}
	}
	defer d.encoders.Put(enc)
	enc.Reset(f)
	defer enc.Reset(nil) // so that the pool does not keep f
	if _, err := io.Copy(enc, r); err != nil {
		return err
	}
	if err := enc.Close(); err != nil {
		return err
	}
	return f.Sync()
}

// install gives a complete file its name, durably.
func (d *Dir) install(tmp, name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	dir := filepath.Dir(name)
	switch err := os.Mkdir(dir, 0o700); {
	case err == nil:
		if err := syncDir(d.root); err != nil {
			return err
		}
	case !errors.Is(err, fs.ErrExist):
		return err
	}
	if err := os.Rename(tmp, name); err != nil {
		return err
	}
	return syncDir(dir)
}

// Open implements quarantine.Blobs.
func (d *Dir) Open(_ context.Context, id string) (io.ReadCloser, error) {
	name, err := d.path(id)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("message of %s: %w", id, quarantine.ErrNotFound)
	}
	if err != nil {
		return nil, err
	}
	dec, err := zstd.NewReader(f, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(window))
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &reader{Decoder: dec, f: f}, nil
}

type reader struct {
	*zstd.Decoder
	f *os.File
}

func (r *reader) Close() error {
	r.Decoder.Close()
	return r.f.Close()
}

// Remove implements quarantine.Blobs.
func (d *Dir) Remove(_ context.Context, id string) error {
	name, err := d.path(id)
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := removeAll(name); err != nil {
		return err
	}
	// Fails while other messages are in it, and that is all the reason it can have here.
	_ = os.Remove(filepath.Dir(name))
	return nil
}

// Walk implements quarantine.Blobs. Files that are none of ours are passed over.
func (d *Dir) Walk(ctx context.Context, visit func(id string, stored time.Time) error) error {
	shards, err := os.ReadDir(d.root)
	if err != nil {
		return err
	}
	for _, s := range shards {
		files, err := os.ReadDir(filepath.Join(d.root, s.Name()))
		if errors.Is(err, fs.ErrNotExist) || !s.IsDir() {
			continue // removed meanwhile, or a file
		}
		if err != nil {
			return err
		}
		if err := visitAll(ctx, files, visit); err != nil {
			return err
		}
	}
	return nil
}

func visitAll(ctx context.Context, files []fs.DirEntry, visit func(string, time.Time) error) error {
	for _, f := range files {
		if err := ctx.Err(); err != nil {
			return err
		}
		id, ok := strings.CutSuffix(f.Name(), suffix)
		info, err := f.Info()
		if !ok || !quarantine.ValidID(id) || err != nil {
			continue
		}
		if err := visit(id, info.ModTime()); err != nil {
			return err
		}
	}
	return nil
}

// removeAll removes files, those that are not there included.
func removeAll(names ...string) error {
	var errs []error
	for _, n := range names {
		if err := os.Remove(n); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// syncDir makes the names in a directory durable.
func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// A ctxReader ends with its context.
type ctxReader struct {
	ctx context.Context //nolint:containedctx // lives as long as one Put
	r   io.Reader
}

func (c *ctxReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}
