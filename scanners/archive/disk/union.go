package disk

import "fmt"

const (
	// maxUnion is how many files of one disc are kept until all its trees have been read.
	maxUnion = 100_000
	// maxUnionNames is how many bytes their names may have.
	maxUnionNames = 32 << 20
	// maxSharedNames is how many names one file of a disc has; more of them are another file.
	maxSharedNames = 12
)

// A union collects the files of all trees of one disc. Systems differ in which tree they show:
// Windows prefers UDF to Joliet and Joliet to the rest, Linux Rock Ridge to Joliet. In an honest
// disc all have the same files under different names; a file that is only in some of them is
// there to be seen by some only.
type union struct {
	vol   volume
	views []string // the trees
	byKey map[unionKey]int
	list  []unionFile
	bytes int64 // of names
}

// A unionKey tells a file by where its content is.
type unionKey struct{ off, size, n int64 }

type unionFile struct {
	names []string
	ext   extents
	size  int64
	err   error
	link  bool
	views uint64
	fresh bool // nothing but its own content tells it: inline data, or none
}

func newUnion(vol volume) *union { return &union{vol: vol, byKey: map[unionKey]int{}} }

// view begins a further tree.
func (u *union) view(name string) error {
	if len(u.views) >= 64 {
		return fmt.Errorf("%w: more than 64 trees", ErrLimit)
	}
	u.views = append(u.views, name)
	return nil
}

// add adds a file of the last view.
func (u *union) add(f unionFile) error {
	for _, name := range f.names {
		u.bytes += int64(len(name))
	}
	if len(u.list) >= maxUnion || u.bytes > maxUnionNames {
		return fmt.Errorf("%w: more than %d files", ErrLimit, maxUnion)
	}
	f.views = 1 << (len(u.views) - 1)
	f.fresh = len(f.ext) == 0 || f.err != nil
	if f.fresh {
		u.list = append(u.list, f)
		return nil
	}
	key := unionKey{f.ext[0].off, f.size, int64(len(f.ext))}
	i, ok := u.byKey[key]
	if !ok || !u.list[i].ext.equal(f.ext) {
		u.byKey[key] = len(u.list)
		u.list = append(u.list, f)
		return nil
	}
	old := &u.list[i]
	old.views |= f.views
	if len(old.names)+len(f.names) > maxSharedNames {
		f.views = old.views // all that were seen under the names before
		u.byKey[key] = len(u.list)
		u.list = append(u.list, f)
		return nil
	}
	for _, name := range f.names {
		old.names = addName(old.names, name)
	}
	return nil
}

// covers are the extents of all files, for what must not be taken for structure.
func (u *union) covers(off int64) bool {
	for i := range u.list {
		for _, x := range u.list[i].ext {
			if x.off >= 0 && off >= x.off && off < x.off+x.n {
				return true
			}
		}
	}
	return false
}

// yield shows all files, and notes if the trees differ.
func (u *union) yield() error {
	all := uint64(1)<<len(u.views) - 1
	for i := range u.list {
		f := &u.list[i]
		if f.views != all && !f.fresh && len(f.ext) > 0 {
			u.vol.w.v.Note(fmt.Errorf("%w: not in all of its trees: %.100q", ErrAmbiguous, f.names))
			break
		}
	}
	for i := range u.list {
		f := &u.list[i]
		file := &File{Names: f.names, Err: f.err, Link: f.link}
		if f.err == nil && !f.link {
			file = f.ext.fileOf(u.vol, f.names, f.size)
		}
		if err := u.vol.w.file(file); err != nil {
			return err
		}
	}
	return nil
}
