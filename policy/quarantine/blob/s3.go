package blob

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"time"

	"rastel/policy/quarantine"
)

// Names in the bucket, below the prefix. An object name is an address, or that and an id.
//
//	objects/OBJECT     a stored message
//	ids/ID             of an item: the names of objects, one a line, of which the first that is there is its message
//	refs/OBJECT/ID     an item names the object
//	marks/OBJECT/TEXT  somebody is about to remove the object
const (
	objectsDir = "objects/"
	idsDir     = "ids/"
	refsDir    = "refs/"
	marksDir   = "marks/"
)

const (
	// putTime is how long storing one message may take.
	putTime = 10 * time.Minute
	// orphanAge is how old an object without an item must be before it counts as left by a crash: it is more
	// than putTime, and than clocks differ.
	orphanAge = time.Hour
	// markAge is how old a mark must be: no request to remove an object takes that long.
	markAge = 24 * time.Hour
	// cleanTime is how long it tries to remove what it could not store.
	cleanTime = 5 * time.Second
	// maxNames bounds what is read of ids/ID: a few names.
	maxNames = 4 << 10
)

// An S3 keeps messages as objects in a bucket, in the form in which a Dir keeps them as files. It is safe for
// concurrent use, also by several processes.
//
// There are no hard links, so who stores an item says first that it names an object (ids/, refs/), and only then looks
// whether somebody is about to remove the object (marks/); who removes one marks it first, and only then looks
// whether somebody names it. What is read in a bucket is what was written before, so at least one of the two
// sees the other: and then the one stores an object of its own, and the other removes nothing. A crash at any
// point costs room, which Walk gives back.
//
// An object that is there is shared only after all of it was read and is right.
type S3 struct {
	codec
	bucket *bucket
}

var _ quarantine.Blobs = (*S3)(nil)

// OpenS3 opens a bucket. It does not speak to the server: see Check.
func OpenS3(opt S3Options) (*S3, error) {
	b, err := newBucket(opt)
	if err != nil {
		return nil, fmt.Errorf("open bucket: %w", err)
	}
	return &S3{codec: codec{keys: opt.Keys, tailed: true}, bucket: b}, nil
}

// Check reports why the bucket cannot be used, as far as can be told without writing.
func (s *S3) Check(ctx context.Context) error {
	_, err := s.bucket.get(ctx, idsDir+"none", maxNames)
	if errors.Is(err, quarantine.ErrNotFound) {
		return nil
	}
	return err
}

// Close closes the connections that nobody uses.
func (s *S3) Close() error { s.bucket.close(); return nil }

// Put implements quarantine.Blobs.
func (s *S3) Put(ctx context.Context, id string, r io.Reader) error {
	if err := checkID(id); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, putTime)
	defer cancel()
	b := newBody()
	defer b.Close()
	a, err := s.pack(b, &ctxReader{ctx: ctx, r: r})
	if err != nil {
		return err
	}
	if err := s.store(ctx, id, a, b); err != nil {
		clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanTime)
		defer cancel()
		return errors.Join(err, s.Remove(clean, id))
	}
	return nil
}

// store makes a stored message that of an item. If there was another, that is removed.
func (s *S3) store(ctx context.Context, id string, a address, b *body) error {
	names := []string{a.String()}
	old, err := s.name(ctx, id, names)
	if err != nil {
		return err
	}
	if err := s.bucket.put(ctx, refsDir+names[0]+"/"+id, nil); err != nil {
		return err
	}
	marked, err := s.bucket.any(ctx, marksDir+names[0]+"/")
	if err != nil {
		return err
	}
	if marked { // the object may be gone at any moment
		names = []string{a.String() + "_" + id, a.String()}
		if err := s.rename(ctx, id, slices.Concat(names, old)); err != nil {
			return err
		}
		if err := s.bucket.put(ctx, refsDir+names[0]+"/"+id, nil); err != nil {
			return err
		}
	}
	if err := s.upload(ctx, names[0], a, b); err != nil {
		return err
	}
	return s.forget(ctx, id, names[0], slices.Concat(names[1:], old))
}

// name writes the names of the objects of an item, and returns those that it had already, behind which they
// then are.
func (s *S3) name(ctx context.Context, id string, names []string) (old []string, err error) {
	err = s.bucket.putNew(ctx, idsDir+id, []byte(strings.Join(names, "\n")))
	if !errors.Is(err, errExists) {
		return nil, err
	}
	old, err = s.names(ctx, id)
	if err != nil && !errors.Is(err, quarantine.ErrNotFound) {
		return nil, err
	}
	old = slices.DeleteFunc(old, func(o string) bool { return slices.Contains(names, o) })
	return old, s.rename(ctx, id, slices.Concat(names, old))
}

func (s *S3) rename(ctx context.Context, id string, names []string) error {
	return s.bucket.put(ctx, idsDir+id, []byte(strings.Join(names, "\n")))
}

// names are those of the objects of an item.
func (s *S3) names(ctx context.Context, id string) ([]string, error) {
	b, err := s.bucket.get(ctx, idsDir+id, maxNames)
	if err != nil {
		return nil, err
	}
	names := strings.Split(string(b), "\n")
	for _, name := range names {
		hexa, own, _ := strings.Cut(name, "_")
		if b, err := hex.DecodeString(hexa); err != nil || len(b) != addressLen || own != "" && !quarantine.ValidID(own) {
			return nil, corrupt(fmt.Errorf("%.100q is no name of an object", name))
		}
	}
	return names, nil
}

// forget makes name the only name of an item.
func (s *S3) forget(ctx context.Context, id, name string, others []string) error {
	if len(others) == 0 {
		return nil
	}
	if err := s.rename(ctx, id, []string{name}); err != nil {
		return err
	}
	for _, o := range others {
		if err := s.release(ctx, o, id); err != nil {
			return err
		}
	}
	return nil
}

// upload has the object of a name be the message, if it is not.
func (s *S3) upload(ctx context.Context, name string, a address, b *body) error {
	r, err := s.bucket.open(ctx, objectsDir+name)
	if err == nil {
		err = s.verify(r, a)
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, quarantine.ErrNotFound), errors.Is(err, quarantine.ErrCorrupt), errors.Is(err, ErrKey):
		return s.bucket.putBody(ctx, objectsDir+name, b)
	}
	return err
}

// Open implements quarantine.Blobs. What the reader returns is ErrCorrupt, ErrKey or an error of the server.
func (s *S3) Open(ctx context.Context, id string) (io.ReadCloser, error) {
	if err := checkID(id); err != nil {
		return nil, err
	}
	names, err := s.names(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("message of %s: %w", id, err)
	}
	for _, name := range names {
		var r io.ReadCloser
		r, err = s.bucket.open(ctx, objectsDir+name)
		if errors.Is(err, quarantine.ErrNotFound) {
			continue
		}
		if err != nil {
			break
		}
		u, err := s.unpack(r)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("message of %s: %w", id, err), r.Close())
		}
		return u, nil
	}
	return nil, fmt.Errorf("message of %s: %w", id, err)
}

// Remove implements quarantine.Blobs.
func (s *S3) Remove(ctx context.Context, id string) error {
	if err := checkID(id); err != nil {
		return err
	}
	names, err := s.names(ctx, id)
	if errors.Is(err, quarantine.ErrNotFound) {
		return nil
	}
	if err != nil && !errors.Is(err, quarantine.ErrCorrupt) { // then the objects stay
		return err
	}
	for _, name := range names {
		if err := s.release(ctx, name, id); err != nil {
			return err
		}
	}
	return s.bucket.remove(ctx, idsDir+id)
}

// release says that an item names an object no more, and removes the object if no other does.
func (s *S3) release(ctx context.Context, name, id string) error {
	return s.marked(ctx, name, func() error { return s.bucket.remove(ctx, refsDir+name+"/"+id) })
}

// marked removes an object that nobody names once before has run, under a mark.
func (s *S3) marked(ctx context.Context, name string, before func() error) error {
	mark := marksDir + name + "/" + rand.Text() // one of our own: another's must not end with ours
	if err := s.bucket.put(ctx, mark, nil); err != nil {
		return err
	}
	if err := before(); err != nil {
		return err
	}
	named, err := s.bucket.any(ctx, refsDir+name+"/")
	if err != nil {
		return err
	}
	if !named {
		if err := s.bucket.remove(ctx, objectsDir+name); err != nil {
			return err // the mark stays: the request may still reach the server
		}
	}
	return s.bucket.remove(ctx, mark)
}

// Rekey seals the message of an item with the first key, if it is not yet. It returns whether it did, and
// ErrNotFound if the message was removed.
func (s *S3) Rekey(ctx context.Context, id string) (bool, error) {
	r, err := s.Open(ctx, id)
	if err != nil {
		return false, err
	}
	u, ok := r.(*reader)
	if ok && (u.key == nil && s.keys == nil || s.keys != nil && u.key == s.keys.first()) {
		return false, r.Close()
	}
	b := newBody()
	defer b.Close()
	a, err := s.pack(b, &ctxReader{ctx: ctx, r: r})
	if err := errors.Join(err, r.Close()); err != nil {
		return false, err
	}
	return true, s.store(ctx, id, a, b)
}

// Walk implements quarantine.Blobs. In the end it removes what a crash has left without an item.
func (s *S3) Walk(ctx context.Context, visit func(id string, stored time.Time) error) error {
	for o, err := range s.bucket.list(ctx, idsDir) {
		if err != nil {
			return err
		}
		if id := strings.TrimPrefix(o.name, idsDir); quarantine.ValidID(id) {
			if err := visit(id, o.stored); err != nil {
				return err
			}
		}
	}
	return s.sweep(ctx, time.Now())
}

// sweep removes objects that no item names, and marks of who died.
func (s *S3) sweep(ctx context.Context, now time.Time) error {
	for o, err := range s.bucket.list(ctx, marksDir) {
		if err != nil {
			return err
		}
		if now.Sub(o.stored) > markAge {
			if err := s.bucket.remove(ctx, o.name); err != nil {
				return err
			}
		}
	}
	refs, stop := iter.Pull2(s.bucket.list(ctx, refsDir))
	defer stop()
	var ref string // the object that is named by the current one
	for o, err := range s.bucket.list(ctx, objectsDir) {
		if err != nil {
			return err
		}
		name := strings.TrimPrefix(o.name, objectsDir)
		// Both lists are in the order of bytes, of names too: the "_" in one comes behind the "/".
		for ref < name {
			next, err, ok := refs()
			if err != nil {
				return err
			}
			if ref, _, _ = strings.Cut(strings.TrimPrefix(next.name, refsDir), "/"); !ok {
				ref = "~" // behind all
			}
		}
		if ref != name && now.Sub(o.stored) > orphanAge {
			if err := s.marked(ctx, name, func() error { return nil }); err != nil {
				return err
			}
		}
	}
	return nil
}

func checkID(id string) error {
	if !quarantine.ValidID(id) {
		return fmt.Errorf("%.100q is no id", id)
	}
	return nil
}
