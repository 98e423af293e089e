package clamd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const (
	// maxAll is the longest reply that tells all signatures.
	maxAll = 64 << 10
	// allPrefix begins the names of the files that clamd is to open.
	allPrefix = "rastel-scan-"
	// leftTime is when such a file is no longer in use.
	leftTime = time.Hour
)

// errNotAll says that clamd did not tell all signatures. It may have no access to the directory, so
// that is no failure of the daemon.
var errNotAll = errors.New("clamd did not tell all signatures")

// all has clamd tell all signatures that match the content, of which it has told one.
//
// clamd ends a scan with the first signature that matches, whatever it is: one for an unwanted program
// hides one for malware (seen with clamd 1.4.6, with and without HeuristicScanPrecedence). It goes on
// only for ALLMATCHSCAN, which takes the name of a file: neither INSTREAM nor FILDES can ask for it. A
// descriptor's name below /proc is no way round: clamd passes over it and says OK. So the content is
// written to a directory that clamd can read; and the first signature must be among them, or clamd
// has not looked at that file.
func (s *Scanner) all(ctx context.Context, c content, first *sighting) ([]sighting, error) {
	name, err := s.put(c)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errLocal, err)
	}
	defer os.Remove(name)
	c.path, c.first = name, first.detail
	found, err := s.pool.scan(ctx, c)
	if err != nil {
		return nil, err
	}
	return found.all, nil
}

// put writes the content to a file that the group of the directory may read. The caller removes it.
func (s *Scanner) put(c content) (string, error) {
	f, err := os.CreateTemp(s.cfg.AllMatchDir, allPrefix)
	if err != nil {
		return "", err
	}
	n, err := io.Copy(f, io.LimitReader(c.reader(), c.size))
	if err == nil && n != c.size {
		err = io.ErrUnexpectedEOF
	}
	if err = errors.Join(err, f.Chmod(0o640), f.Close()); err != nil {
		return "", errors.Join(err, os.Remove(f.Name()))
	}
	return f.Name(), nil
}

// tidy removes files that a program before this one has left behind when it was killed.
func (s *Scanner) tidy() {
	if s.cfg.AllMatchDir == "" {
		return
	}
	names, _ := filepath.Glob(filepath.Join(s.cfg.AllMatchDir, allPrefix+"*")) // the pattern is good
	for _, name := range names {
		if st, err := os.Lstat(name); err != nil || time.Since(st.ModTime()) < leftTime {
			continue
		}
		if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			s.pool.log.Warn("remove what a scan has left behind", "file", name, "error", err)
		}
	}
}

// parseAll reads the replies to ALLMATCHSCAN: one for each signature, each with NUL at its end.
func parseAll(reply []byte, c content) (*sighting, error) {
	text, ok := strings.CutSuffix(string(reply), "\x00")
	if !ok || len(reply) > maxAll {
		return nil, garbage(reply)
	}
	found, again := &sighting{}, false
	for line := range strings.SplitSeq(text, "\x00") {
		rest, ok := strings.CutPrefix(line, c.path+": ")
		if !ok || strings.ContainsFunc(rest, func(r rune) bool { return r < ' ' }) {
			return nil, garbage(reply)
		}
		name, ok := strings.CutSuffix(rest, " FOUND")
		if !ok || strings.TrimSpace(name) == "" {
			return nil, fmt.Errorf("%w: %.200q", errNotAll, rest)
		}
		again = again || name == c.first
		found.all = append(found.all, sighting{check: checkOf(name), detail: name, named: true})
	}
	if !again {
		return nil, fmt.Errorf("%w: %s is not found again", errNotAll, c.first)
	}
	return found, nil
}
