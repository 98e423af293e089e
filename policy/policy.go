package policy

import (
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"rastel/sanitize/eml"
)

// A Policy is a list of rules, compiled and checked. It does not change, and is safe for
// concurrent use. The zero value knows nothing about messages, so it tempfails all of them.
type Policy struct {
	// Version is the beginning of the SHA-256 of the file, and of the files of its lists, in
	// hexadecimal.
	Version string

	rules  []*rule
	editor Editor
	forms  func(name string) []string
}

// An Editor knows how parts are changed. Its methods must be safe for concurrent use.
type Editor interface {
	// Strip gives the edits that replace an entity by a notice, which tells the reason.
	Strip(p *eml.Part, reason string) ([]eml.Edit, error)
	// Rename gives the edits that give an entity a harmless name.
	Rename(p *eml.Part) ([]eml.Edit, error)
	// Mangle gives the edits that give an entity a name and a type that open nothing.
	Mangle(p *eml.Part) ([]eml.Edit, error)
}

// Options of a policy.
type Options struct {
	// Checks are all that there are. A policy that names others is not loaded. Without any,
	// check IDs are taken as they are.
	Checks []eml.Check
	// Editor makes the changes "strip", "rename" and "mangle". Without one, a message that needs them is
	// quarantined.
	Editor Editor
	// Lists are those that are built in. A policy's own list takes the place of one of the same
	// name. If it is nil, lists that the policy names and does not have are empty.
	Lists []List
	// Forms gives all readings of a file name by which some desktop opens it, in lower case and
	// without directories; nil: there is only the name as it stands.
	Forms func(name string) []string
	// Dir is where the names of files of lists begin that are not absolute. LoadFile and NewLive
	// put that of the policy there.
	Dir string
}

// versionLength is how many hexadecimal digits a version has.
const versionLength = 12

// Load reads a policy. The name is that of the file, for messages. An error is of the type
// Errors: all that is wrong, with line and column.
func Load(name string, data []byte, opt Options) (*Policy, error) {
	p, _, err := loadWithFiles(name, data, opt)
	return p, err
}

// loadWithFiles is Load; it gives the files of lists besides, whether it fails or not.
func loadWithFiles(name string, data []byte, opt Options) (*Policy, []listFile, error) {
	s := newSource(name, data)
	rules := s.rules(opt)
	if len(s.errs) > 0 {
		return nil, s.files, s.errs.sorted()
	}
	return &Policy{Version: versionOf(data, s.files), rules: rules, editor: opt.Editor, forms: opt.Forms}, s.files, nil
}

func versionOf(data []byte, files []listFile) string {
	sum := sha256.Sum256(data)
	for _, f := range files {
		part := sha256.Sum256(fmt.Appendf(nil, "%s\n%v\n%s", f.path, f.err, f.data))
		sum = sha256.Sum256(append(sum[:], part[:]...))
	}
	return hex.EncodeToString(sum[:])[:versionLength]
}

// LoadFile reads a policy from a file. Besides those of Load, errors are those of reading it.
func LoadFile(path string, opt Options) (*Policy, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, err
	}
	opt.Dir = filepath.Dir(path)
	return Load(filepath.Base(path), data, opt)
}

// readFile reads a policy file, but no more than Load accepts.
func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("policy: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("policy: %w", err)
	}
	return data, nil
}

//go:embed default.yaml
var defaultFile []byte

// defaultName is how messages call the policy that is built in.
const defaultName = "built-in policy"

// DefaultFile is the text of the policy that is built in: an example to begin with.
func DefaultFile() []byte { return append([]byte(nil), defaultFile...) }

// Default is the policy that is built in, without an editor: what it would strip it
// quarantines. NewLive with an empty path gives one with an editor.
func Default() *Policy {
	p, err := Load(defaultName, defaultFile, Options{})
	if err != nil {
		panic(errors.Join(errors.New("policy: the built-in policy does not load"), err)) // a programmer's mistake; its test fails first
	}
	return p
}
