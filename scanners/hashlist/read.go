package hashlist

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

const (
	// maxLine is the longest line of a list in bytes, and maxName what is kept of a name.
	maxLine = 1024
	maxName = 200
	// maxEntries bounds one list.
	maxEntries = 50_000_000
	// functionLevel is that of ClamAV 1.4.6: lines that are for others only are passed over, as it does.
	functionLevel = 216
)

// A list is what a file holds. It does not change.
type list struct {
	file    string // its name without the directory
	stamp   stamp
	sum     [sha256.Size]byte // of the file
	tables  [digests]table
	names   []byte // each behind its length in one byte
	entries int
}

// A stamp tells whether a file is still the one that was read.
type stamp struct {
	size, modified int64
	inode          uint64
}

// readList reads a file. Any line that is not understood is an error that says which: half of a list is
// none.
func readList(name string) (*list, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	before, err := stampOf(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	l := &list{file: filepath.Base(name), stamp: before, names: []byte{0}} // at 0 is no name
	for d := range digests {
		l.tables[d].hash = d.size()
	}
	if err := l.read(f, lineParser(name)); err != nil {
		return nil, fmt.Errorf("%s:%w", name, err)
	}
	if after, err := stampOf(f); err != nil || after != before {
		return nil, fmt.Errorf("%s: was changed while it was read", name)
	}
	for d := range digests {
		l.tables[d].build()
	}
	l.names = slices.Clone(l.names) // without room for more
	return l, nil
}

// read reads the lines. Its errors begin with the number of the line.
func (l *list) read(r io.Reader, parse func(*list, []byte) error) error {
	sum := sha256.New()
	b := bufio.NewReaderSize(io.TeeReader(r, sum), 64<<10)
	for n := 1; ; n++ {
		line, err := b.ReadSlice('\n')
		if err != nil && err != io.EOF && !errors.Is(err, bufio.ErrBufferFull) {
			return fmt.Errorf("%d: %w", n, err)
		}
		if len(line) > maxLine {
			return fmt.Errorf("%d: is longer than %d bytes", n, maxLine)
		}
		if n == 1 {
			line = bytes.TrimPrefix(line, []byte("\ufeff"))
		}
		if line = bytes.TrimSpace(line); len(line) > 0 && line[0] != '#' {
			if e := parse(l, line); e != nil {
				return fmt.Errorf("%d: %w", n, e)
			}
		}
		if err == io.EOF {
			copy(l.sum[:], sum.Sum(nil))
			return nil
		}
	}
}

// lineParser is the one for a file of that name: those of ClamAV have extensions of their own.
func lineParser(name string) func(*list, []byte) error {
	switch strings.ToLower(filepath.Ext(name)) {
	case ".hdb", ".hsb", ".hdu", ".hsu", ".fp", ".sfp":
		return (*list).clamLine
	}
	return (*list).plainLine
}

// clamLine reads hash:size:name, with the lowest and the highest functionality level behind it if there
// are any (docs.clamav.net/manual/Signatures/HashSignatures.html). The size may be "*".
func (l *list) clamLine(line []byte) error {
	fields := strings.Split(string(line), ":")
	if len(fields) < 3 || len(fields) > 5 || fields[2] == "" {
		return errors.New("want hash:size:name")
	}
	for i, text := range fields[3:] {
		level, err := strconv.ParseUint(text, 10, 31)
		if err != nil && text != "" {
			return fmt.Errorf("functionality level %q is no number", text)
		}
		if text != "" && ((i == 0 && level > functionLevel) || (i == 1 && level < functionLevel)) {
			return nil
		}
	}
	size := uint64(anySize)
	if fields[1] != "*" {
		var err error
		if size, err = strconv.ParseUint(fields[1], 10, 63); err != nil {
			return fmt.Errorf("size %q is neither a number nor *", fields[1])
		}
		if size == 0 || size >= anySize {
			return nil // no part is like that: nobody asks about what is empty
		}
	}
	return l.add(fields[0], uint32(size), fields[2])
}

// plainLine reads the SHA-256 of content of any size and, if there is more behind blanks, a comma or a
// semicolon, its name. So it takes what sha256sum writes, too.
func (l *list) plainLine(line []byte) error {
	hash, name := string(line), ""
	if i := strings.IndexAny(hash, " \t,;#"); i >= 0 {
		hash, name = hash[:i], strings.TrimLeft(hash[i:], " \t,;#*")
	}
	if len(hash) != hex.EncodedLen(sha256.Size) {
		return errors.New("want a SHA-256, 64 hexadecimal digits")
	}
	return l.add(hash, anySize, name)
}

func (l *list) add(text string, size uint32, name string) error {
	var buf [sha256.Size]byte
	if len(text) > hex.EncodedLen(len(buf)) {
		return fmt.Errorf("%.20q... is longer than any hash", text)
	}
	n, err := hex.Decode(buf[:], []byte(text))
	d, ok := ofLength(n)
	if err != nil || !ok {
		return fmt.Errorf("%q is neither an MD5, a SHA-1 nor a SHA-256 in hexadecimal digits", text)
	}
	if l.entries++; l.entries > maxEntries {
		return fmt.Errorf("more than %d entries", maxEntries)
	}
	at := uint32(0)
	if name != "" {
		if len(l.names) > math.MaxUint32-maxName-1 {
			return errors.New("the names are too long, all together")
		}
		at = uint32(len(l.names))
		name = name[:min(len(name), maxName)]
		l.names = append(append(l.names, byte(len(name))), name...)
	}
	l.tables[d].add(buf[:n], size, at)
	return nil
}

// find gives the name by which content is listed.
func (l *list) find(d digest, hash []byte, size int64) (string, bool) {
	if size >= anySize {
		return "", false
	}
	at, ok := l.tables[d].find(hash, uint32(size))
	if !ok {
		return "", false
	}
	return string(l.names[at+1 : at+1+uint32(l.names[at])]), true
}
