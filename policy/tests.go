package policy

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/goccy/go-yaml/ast"
)

// Limits of the tests of a policy.
const (
	maxTestPatterns = 100
	maxTestFiles    = 1000
	maxTestBytes    = 64 << 20 // of all files
	testTime        = 2 * time.Minute
)

// Tests are the files that the policy names as its tests, sorted. They are read by who runs them.
func (p *Policy) Tests() []string { return slices.Clone(p.tests) }

// At is the policy as it decides at another time.
func (p *Policy) At(t time.Time) *Policy {
	q := *p
	q.now = func() time.Time { return t }
	return &q
}

// tests reads the patterns of the files with tests: one, or a list of them.
func (s *source) tests(n ast.Node, dir string) []string {
	if n == nil {
		return nil
	}
	items := []ast.Node{n}
	if l, ok := n.(*ast.SequenceNode); ok {
		items = l.Values
	}
	if len(items) > maxTestPatterns {
		s.errorf(nodePlace(n), "more than %d names of tests", maxTestPatterns)
		return nil
	}
	var out []string
	for _, item := range items {
		if v, ok := s.scalar(item, "the name of a test"); ok {
			out = append(out, s.testFiles(v, dir)...)
		}
	}
	slices.Sort(out)
	out = slices.Compact(out)
	if err := countTests(out); err != nil {
		s.errorf(nodePlace(n), "%v", err)
	}
	return out
}

// testFiles are the files that are like a pattern. There must be one: a policy with a mistyped pattern
// would count as tested.
func (s *source) testFiles(v scalar, dir string) []string {
	name := v.text
	if !filepath.IsAbs(name) {
		name = filepath.Join(dir, name)
	}
	found, err := filepath.Glob(name)
	switch {
	case err != nil:
		s.errorf(v.at, "%.200q is no pattern of files", v.text)
	case len(found) == 0:
		s.errorf(v.at, "there is no file %.200s; the tests of a policy are copied with it, or this key is left out", name)
	}
	return found
}

// countTests refuses tests that would cost too much.
func countTests(files []string) error {
	if len(files) > maxTestFiles {
		return fmt.Errorf("the tests are more than %d files", maxTestFiles)
	}
	size := int64(0)
	for _, name := range files {
		info, err := os.Stat(name)
		if err != nil {
			return err
		}
		if !info.Mode().IsRegular() {
			return fmt.Errorf("%s is no regular file", name)
		}
		if size += info.Size(); size > maxTestBytes {
			return fmt.Errorf("the tests have more than %d bytes", maxTestBytes)
		}
	}
	return nil
}

// testsDigest tells one state of the files from another.
func testsDigest(files []string) string {
	h, left := sha256.New(), int64(maxTestBytes)
	for _, name := range files {
		n, err := hashFile(h, name, left)
		left -= n
		fmt.Fprintf(h, "\n%s %d %v\n", name, n, err)
	}
	return fmt.Sprintf("%x", h.Sum(nil))
}

func hashFile(w io.Writer, name string, limit int64) (int64, error) {
	f, err := os.Open(name)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	return io.Copy(w, io.LimitReader(f, limit))
}

// ErrTests is in the error of a policy that does not pass its own tests.
var ErrTests = errors.New("the policy does not pass its own tests")

// test has the tests of a policy run, if it names any and there is somebody who can run them.
func (l *Live) test(p *Policy) error {
	if l.opt.Test == nil || len(p.tests) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), testTime)
	defer cancel()
	if err := l.opt.Test(ctx, p); err != nil {
		return fmt.Errorf("%w: %w", ErrTests, err)
	}
	return nil
}
