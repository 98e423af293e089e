package policy

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"rastel/sanitize/eml"
)

// A Policy is a list of rules, compiled and checked. It does not change, and is safe for
// concurrent use. The zero value knows nothing about messages, so it tempfails all of them.
type Policy struct {
	// Version is the beginning of the SHA-256 of the file, and of the files of its lists, in
	// hexadecimal.
	Version string

	rules      []*rule
	inside     inside
	zone       *time.Location // of the facts about time; nil: that of now
	signatures []*exception
	watch      bool     // nothing is refused, held or changed
	checks     []string // all that there are; empty if they are not known
	now        func() time.Time
	editor     Editor
	tests      []string // files
	languages  []string // of notices and banners, unless a rule has others
	banners    []string // the texts of all that the rules put in
	forms      func(name string) []string
	host       func(*eml.Message) netip.Addr
}

// An Editor knows how parts are changed. Its methods must be safe for concurrent use.
type Editor interface {
	// Strip gives the edits that replace an entity by a notice.
	Strip(p *eml.Part, r Removal) ([]eml.Edit, error)
	// Disarm gives the edits that take all of that out of an entity, which is a document. The findings
	// are about it or about members in it. If it cannot be done wholly, that is an error.
	Disarm(p *eml.Part, list []eml.Finding) ([]eml.Edit, error)
	// Rename gives the edits that give an entity a harmless name.
	Rename(p *eml.Part) ([]eml.Edit, error)
	// Mangle gives the edits that give an entity a name and a type that open nothing.
	Mangle(p *eml.Part) ([]eml.Edit, error)
	// Banners puts banners at the top of what the reader of a message sees, in that order, and the
	// notice about renamed parts behind them. It gives all edits that are to be made then: those it
	// was given, and its own. It reports whether there was no place for that notice.
	Banners(root *eml.Part, list []Banner, edits []eml.Edit) (all []eml.Edit, untold bool, err error)
	// Rewrite gives the edits that write an HTML part anew, as plain text if that is asked for.
	// The edits are nil if it is no HTML that can be written anew.
	Rewrite(p *eml.Part, text bool) ([]eml.Edit, error)
}

// A Removal is what the notice in the place of an entity can tell.
type Removal struct {
	Reason    string        // the rule's, or else its name
	Findings  []eml.Finding // those that the entity was stripped for
	Item      string        // what the original is called in quarantine; empty if it is not kept
	Languages []string      // of the notice, one after the other; none means those by default
}

// A Banner is a short text at the top of a message.
type Banner struct {
	Text      string      // in lines that end in "\n"; empty if there is a name
	Name      string      // of one that the editor has a text for
	Languages []string    // of the text with that name
	Keep      []*eml.Part // what is not to be changed, with all that is in it: signed, or stripped
	Others    []string    // the texts of all banners of the policy, which may be there already

	// Renamed are the parts that got another name, if the banner is the notice about that, which
	// has neither text nor name.
	Renamed []Renaming
	Item    string      // what the original is called in quarantine, as in a Removal
	Anew    []*eml.Part // the entities that are written anew besides, of all banners
}

// A Renaming is a part that got another name.
type Renaming struct {
	Part    *eml.Part
	Mangled bool   // by Mangle; otherwise by Rename
	Reason  string // the rule's, or else its name
}

// Options of a policy.
type Options struct {
	// Checks are all that there are. A policy that names others is not loaded. Without any,
	// check IDs are taken as they are.
	Checks []eml.Check
	// Editor makes the changes "strip", "disarm", "rename", "mangle", "clean" and "text". Without one, a message that needs them is
	// quarantined.
	Editor Editor
	// Lists are those that are built in. A policy's own list takes the place of one of the same
	// name. If it is nil, lists that the policy names and does not have are empty.
	Lists []List
	// Forms gives all readings of a file name by which some desktop opens it, in lower case and
	// without directories; nil: there is only the name as it stands.
	Forms func(name string) []string
	// Host gives the address of the host that a message comes from, behind relays of our own; nil: it
	// is the SMTP client.
	Host func(*eml.Message) netip.Addr
	// Now tells the time, for exceptions that end and the facts about time; nil means time.Now. It is
	// asked once for a message.
	Now func() time.Time
	// Dir is where the names of files of lists begin that are not absolute. LoadFile and NewLive
	// put that of the policy there.
	Dir string
	// Languages are those that the editor writes notices and banners in. A policy that names
	// others is not loaded. Without any, languages are taken as they are.
	Languages []string
	// Banners are the names of those that the editor has a text for. Without any, names are taken
	// as they are.
	Banners []string
	// Test runs the files that a policy names as its tests (Policy.Tests); an error says which of them
	// fail. Live puts no policy in force for which it gives one. Nil: they are not run.
	Test func(ctx context.Context, p *Policy) error
	// Engines are the names of those that may examine content. Without any, names are taken as they are.
	Engines []string
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
	p := &Policy{editor: opt.Editor, forms: opt.Forms, host: opt.Host}
	if p.now = opt.Now; p.now == nil {
		p.now = time.Now
	}
	s.file(p, opt)
	for i := range s.files {
		s.files[i].data = nil
	}
	if len(s.errs) > 0 {
		return nil, s.files, s.errs.sorted()
	}
	p.Version = versionOf(data, s.files)
	return p, s.files, nil
}

func versionOf(data []byte, files []listFile) string {
	sum := sha256.Sum256(data)
	for _, f := range files {
		sum = sha256.Sum256(append(sum[:], f.sum[:]...))
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
