package hashlist

import (
	"bytes"
	"encoding/binary"
	"math"
	"slices"
)

// A digest is a kind of hash.
type digest uint8

const (
	md5Digest digest = iota
	sha1Digest
	sha256Digest
	digests // how many there are
)

// size is the length of the hash in bytes.
func (d digest) size() int { return [...]int{16, 20, 32}[d] }

// ofLength is the digest whose hash has that many bytes.
func ofLength(n int) (digest, bool) {
	for d := range digests {
		if d.size() == n {
			return d, true
		}
	}
	return 0, false
}

// anySize stands for content of any size.
const anySize = math.MaxUint32

// A table holds hashes of one kind. Each is a record in one array: the hash, the size of the content and
// where the name is, both in four bytes. Records are sorted, and an index by the first bits of the hash
// leads next to each, so to look one up costs two accesses to memory that is not in a cache, and a record
// eight bytes more than the hash, and four for its place in the index.
type table struct {
	hash    int    // bytes of one
	records []byte // in the order of their hashes, once indexed
	shift   int    // the index is by hash >> shift
	index   []uint32
}

// width is the bytes of a record.
func (t *table) width() int { return t.hash + 8 }

func (t *table) len() int {
	if t.hash == 0 {
		return 0
	}
	return len(t.records) / t.width()
}

// add adds a record. It is found after build.
func (t *table) add(hash []byte, size, name uint32) {
	t.records = append(t.records, hash...)
	t.records = binary.LittleEndian.AppendUint32(t.records, size)
	t.records = binary.LittleEndian.AppendUint32(t.records, name)
}

// bucket is the place in the index for a hash.
func (t *table) bucket(hash []byte) uint32 {
	return binary.BigEndian.Uint32(hash) >> t.shift
}

// maxBits of a hash are in an index.
const maxBits = 24

// build sorts the records and makes the index, with about as many places as there are records.
func (t *table) build() {
	n, bits := t.len(), 0
	for bits < maxBits && 1<<(bits+1) <= n {
		bits++
	}
	t.shift = 32 - bits
	w := t.width()
	t.index = make([]uint32, 1<<bits+1)
	for i := range n {
		t.index[t.bucket(t.records[i*w:])+1]++
	}
	for i := range 1 << bits {
		t.index[i+1] += t.index[i]
	}
	sorted, next := make([]byte, len(t.records)), slices.Clone(t.index)
	for i := range n {
		r := t.records[i*w : (i+1)*w]
		b := t.bucket(r)
		copy(sorted[int(next[b])*w:], r)
		next[b]++
	}
	t.records = sorted
	for b := range 1 << bits {
		t.sort(int(t.index[b]), int(t.index[b+1]))
	}
}

// sort sorts the records [from, to). There are few, unless somebody made them so.
func (t *table) sort(from, to int) {
	if to-from < 2 {
		return
	}
	w := t.width()
	rows := make([][]byte, 0, to-from)
	for i := from; i < to; i++ {
		rows = append(rows, t.records[i*w:(i+1)*w])
	}
	slices.SortFunc(rows, bytes.Compare)
	copy(t.records[from*w:], bytes.Join(rows, nil))
}

// find gives the place of the name of content with that hash and size.
func (t *table) find(hash []byte, size uint32) (name uint32, ok bool) {
	if t.len() == 0 {
		return 0, false
	}
	w, b := t.width(), t.bucket(hash)
	from, to := int(t.index[b]), int(t.index[b+1])
	for to-from > 8 { // the first record that is not less
		m := (from + to) / 2
		if bytes.Compare(t.records[m*w:m*w+t.hash], hash) < 0 {
			from = m + 1
		} else {
			to = m
		}
	}
	for ; from < t.len(); from++ {
		r := t.records[from*w : (from+1)*w]
		switch c := bytes.Compare(r[:t.hash], hash); {
		case c > 0:
			return 0, false
		case c == 0:
			if s := binary.LittleEndian.Uint32(r[t.hash:]); s == size || s == anySize {
				return binary.LittleEndian.Uint32(r[t.hash+4:]), true
			}
		}
	}
	return 0, false
}
