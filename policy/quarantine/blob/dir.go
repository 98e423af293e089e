// Package blob keeps held messages: packed with zstd, the same message once, and sealed if there are keys. A Dir
// keeps them as files.
//
// A message is written to a file in tmp/, synced, renamed into place, and its directory
// synced. So under its own name there is always a whole message, and what a crash leaves is
// in tmp/, or in objects/ without another name.
//
// The name in objects/ is the address of the message: items with the same message are hard links to one
// file. That name only serves to find the file. To lose it costs room, never a message, and whoever removes
// an item's name cannot take that of another. So there is nothing that two processes could disagree about,
// and a file system without hard links does too.
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
	"syscall"
	"time"

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
	// installTries is how often a directory is made that others remove, being empty, before a file enters it.
	installTries = 100
	// maxDurable is how many directories are remembered: those of messages of three weeks.
	maxDurable = 60
)

// Options are for Open. The zero value is usable.
type Options struct {
	Keys *Keys // nil: messages are not sealed, and none that are can be read
}

// A Dir is a directory of messages.
type Dir struct {
	codec
	root string
	step func(name string) // in tests: what is about to be done

	mu      sync.Mutex
	durable map[string]fs.FileInfo // directories in root whose names are durable
}

var _ quarantine.Blobs = (*Dir)(nil)

// Open opens a directory, makes it if there is none, and removes what a crash has left in it.
func Open(root string, opt Options) (*Dir, error) {
	d := &Dir{codec: codec{keys: opt.Keys}, root: root, step: func(string) {}, durable: map[string]fs.FileInfo{}}
	if err := errors.Join(os.MkdirAll(d.tmp(), 0o700), os.MkdirAll(d.objects(), 0o700)); err != nil {
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

func (d *Dir) tmp() string     { return filepath.Join(d.root, "tmp") }
func (d *Dir) objects() string { return filepath.Join(d.root, "objects") }

// object is the file of an address, in one of 16 directories: each that is made costs the message that needs it
// a millisecond, and as much again until it is in the journal of the file system.
func (d *Dir) object(a address) string {
	s := a.String()
	return filepath.Join(d.objects(), s[:1], s[1:])
}

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
	tmp, a, err := d.write(&ctxReader{ctx: ctx, r: r})
	if err != nil {
		return err
	}
	if err := d.install(tmp, name); err != nil {
		return errors.Join(err, removeAll(tmp, name), d.release(a))
	}
	return nil
}

// write makes a file in tmp/ of what r gives, durably: one of its own, or a link to that of the same
// message.
func (d *Dir) write(r io.Reader) (tmp string, a address, err error) {
	f, err := os.CreateTemp(d.tmp(), "") // with mode 0600
	if err != nil {
		return "", a, err
	}
	d.step("write")
	a, err = d.pack(f, r)
	shared := err == nil && d.share(f.Name(), a)
	if err == nil && !shared {
		d.step("sync")
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return "", a, errors.Join(err, removeAll(f.Name()))
	}
	if !shared {
		d.publish(f.Name(), a)
	}
	return f.Name(), a, nil
}

// share replaces a file in tmp/ by a link to the file of the same message, if there is one that is whole. No
// error of that matters: then the file stays as it is.
//
// The time of the file becomes that of now. It is what Walk tells, and Sweep would else take a message that
// is just being held for one that was left long ago.
func (d *Dir) share(tmp string, a address) bool {
	object, link := d.object(a), tmp+".link"
	f, err := os.Open(object)
	if err != nil || d.verify(f, a) != nil {
		return false
	}
	now := time.Now()
	if err := os.Chtimes(object, now, now); err != nil {
		return false
	}
	d.step("link")
	if err := os.Link(object, link); err != nil { // such as EMLINK
		return false
	}
	d.step("replace")
	if err := os.Rename(link, tmp); err != nil {
		_ = os.Remove(link)
		return false
	}
	return true
}

// publish gives a file in tmp/ the name by which the same message finds it, in the place of what is damaged
// or has no room for more links. To do without costs room only.
func (d *Dir) publish(tmp string, a address) {
	object, link := d.object(a), tmp+".link"
	d.step("publish")
	err := os.Link(tmp, object)
	if errors.Is(err, fs.ErrNotExist) {
		_ = os.Mkdir(filepath.Dir(object), 0o700) // else the link fails again
		err = os.Link(tmp, object)
	}
	if !errors.Is(err, fs.ErrExist) {
		return
	}
	if err := os.Link(tmp, link); err != nil {
		return
	}
	d.step("supersede")
	if err := os.Rename(link, object); err != nil {
		_ = os.Remove(link)
	}
}

// release removes the name of an address whose file has no other.
func (d *Dir) release(a address) error {
	object := d.object(a)
	info, err := os.Lstat(object)
	if errors.Is(err, fs.ErrNotExist) || err == nil && links(info) != 1 {
		return nil
	}
	if err != nil {
		return err
	}
	return removeAll(object) // who links to it at this moment has it in tmp/, and keeps it
}

// links is how many names a file has.
func links(info fs.FileInfo) uint64 {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0
	}
	return uint64(st.Nlink) //nolint:unconvert // its type is another on other machines
}

// install gives a complete file its name, durably. Other processes remove directories that are empty, so
// that one may be gone again; and they may have made one whose name is not durable yet.
func (d *Dir) install(tmp, name string) error {
	dir := filepath.Dir(name)
	for try := 1; ; try++ {
		if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		d.step("rename")
		err := os.Rename(tmp, name)
		if err == nil {
			break
		}
		if !errors.Is(err, fs.ErrNotExist) || try == installTries {
			_ = os.Remove(dir) // if it is empty
			return err
		}
	}
	return d.installed(tmp, dir)
}

// installed ends an install, or an exchange.
func (d *Dir) installed(tmp, dir string) error {
	d.step("remove temporary")
	_ = os.Remove(tmp) // there if it is a second name of the same file (rename(2)), or what was exchanged
	d.step("sync directories")
	return errors.Join(syncDir(dir), d.syncName(dir))
}

// syncName makes the name of a directory in the root durable, if this process does not know that it is: a
// sync of what is durable already costs the disk a flush nevertheless.
func (d *Dir) syncName(dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	d.mu.Lock()
	known, ok := d.durable[dir]
	d.mu.Unlock()
	if ok && os.SameFile(info, known) {
		return nil
	}
	if err := syncDir(d.root); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.durable) >= maxDurable {
		clear(d.durable)
	}
	d.durable[dir] = info
	return nil
}

// Open implements quarantine.Blobs. What the reader returns is ErrCorrupt, ErrKey or an error of the disk.
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
	r, err := d.unpack(f)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("message of %s: %w", id, err), f.Close())
	}
	return r, nil
}

// Remove implements quarantine.Blobs.
func (d *Dir) Remove(_ context.Context, id string) error {
	name, err := d.path(id)
	if err != nil {
		return err
	}
	a, known := addressOf(name)
	d.step("remove")
	if err := removeAll(name); err != nil {
		return err
	}
	// Fails while other messages are in it, and that is all the reason it can have here.
	_ = os.Remove(filepath.Dir(name))
	if !known {
		return nil
	}
	d.step("release")
	return d.release(a)
}

// addressOf reads the address of a stored message. One of before there were any has none; and in one that is
// damaged it may be that of another message, whose name is then removed if nobody has it.
func addressOf(name string) (a address, ok bool) {
	f, err := os.Open(name)
	if err != nil {
		return a, false
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || info.Size() < int64(tailLen) {
		return a, false
	}
	b := make([]byte, tailLen)
	if _, err := f.ReadAt(b, info.Size()-int64(tailLen)); err != nil {
		return a, false
	}
	return readTail(b)
}

// Rekey seals the message of an item with the first key, if it is not yet. It returns whether it did, and
// ErrNotFound if the message was removed, also meanwhile.
func (d *Dir) Rekey(ctx context.Context, id string) (bool, error) {
	name, err := d.path(id)
	if err != nil {
		return false, err
	}
	old, known := addressOf(name)
	if done, err := d.isUpToDate(name); done || err != nil {
		return false, err
	}
	r, err := d.Open(ctx, id)
	if err != nil {
		return false, err
	}
	tmp, a, err := d.write(&ctxReader{ctx: ctx, r: r})
	if err := errors.Join(err, r.Close()); err != nil {
		return false, err
	}
	d.step("exchange")
	err = exchange(tmp, name)
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("message of %s: %w", id, quarantine.ErrNotFound)
	}
	if err != nil {
		return false, errors.Join(err, removeAll(tmp), d.release(a))
	}
	if err := d.installed(tmp, filepath.Dir(name)); err != nil {
		return false, err
	}
	if known {
		err = d.release(old)
	}
	return true, err
}

func (d *Dir) isUpToDate(name string) (bool, error) {
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, quarantine.ErrNotFound
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	return d.upToDate(f)
}

// Walk implements quarantine.Blobs. Files that are none of ours are passed over. In the end it removes files
// that a crash, or a rastel that knew of no addresses, has left without an item.
func (d *Dir) Walk(ctx context.Context, visit func(id string, stored time.Time) error) error {
	if err := d.walk(ctx, visit); err != nil {
		return err
	}
	return d.sweepObjects(ctx)
}

func (d *Dir) walk(ctx context.Context, visit func(id string, stored time.Time) error) error {
	shards, err := os.ReadDir(d.root)
	if err != nil {
		return err
	}
	for _, s := range shards {
		if s.Name() == "objects" {
			continue
		}
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
