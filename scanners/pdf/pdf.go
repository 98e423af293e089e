// Package pdf opens PDF documents (ISO 32000): the files that are attached to them, their scripts and
// their forms. It says what a document does by itself or by a click, and how to take that out. It follows no reader: it finds what any of them would find, however broken the file is.
//
// Every object of a document goes through document.classify once, and its dictionaries are read again
// where it is of interest: what else they say about the document is to be told from there.
package pdf

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"rastel/sanitize/eml"
	"rastel/scanners"
)

// The checks of this package.
const (
	encrypted = "pdf/encrypted"
	damaged   = "pdf/damaged"
	limit     = "pdf/limit"
	inMessage = "pdf/password-in-message"
	known     = "pdf/password-known"
	listed    = "pdf/password-listed"
)

// maxFindings is how many findings about one document are kept.
const maxFindings = 20

// Documents opens PDF documents.
type Documents struct{}

// Checks are all checks that Expand may report.
func (Documents) Checks() []eml.Check {
	return []eml.Check{
		{ID: encrypted, Doc: "A PDF document cannot be opened without a password, or without a key, and what is in it was not examined."},
		{ID: damaged, Doc: "A file, a script or a form in a PDF document is damaged, and was not examined, or not to its end."},
		{ID: limit, Doc: "A PDF document has more objects, or larger ones, than are looked at, so what is in it was not all examined."},
		{ID: inMessage, Doc: "A PDF document is encrypted, and the message says its password: that keeps programs from looking into it, and nobody else. It was opened and examined."},
		{ID: known, Doc: "A PDF document is encrypted with a password that everybody knows, and the message does not say it. It was opened and examined."},
		{ID: javascript, Doc: "A PDF document has scripts. Forms have them for their calculations, and attacks on programs that show documents for nothing good. The detail tells where they are and how they begin."},
		{ID: openAction, Doc: "A PDF document does more than show a page when it is opened, or when one of its pages is: it runs a script, opens a URL, sends a form. The detail tells what."},
		{ID: launch, Doc: "A PDF document starts a program, or opens a file that is no document, by a launch action; the detail has the command."},
		{ID: server, Doc: "A PDF document contacts a server of Windows when it is opened, which is told the name of the user and a hash of the password by that."},
		{ID: submitForm, Doc: "A PDF document sends what was filled in to the place that the detail tells."},
		{ID: importData, Doc: "A PDF document fills its fields from a file."},
		{ID: uriExecutable, Doc: "A link in a PDF document leads to a program, to a script, to a file of the reader's own disk or of a server of Windows, or starts a program of Windows."},
		{ID: remote, Doc: "A PDF document opens another file, or has content that is in one."},
		{ID: richMedia, Doc: "A PDF document has a film, a Flash or a scene in 3D."},
		{ID: xfa, Doc: "A PDF document has a form in XFA, which may have scripts of its own. It was examined like an attached file."},
		{ID: embeddedFile, Doc: "A PDF document has files attached to it. They were examined like members of an archive; the detail tells their names."},
		{ID: nameDisguise, Doc: "Names in a PDF document by which it is known what it does are written with escapes for letters (/J#61vaScript), which no program does that has nothing to hide."},
		{ID: listed, Doc: "A PDF document is encrypted with one of the passwords in the configuration. It was opened and examined."},
	}
}

// Scan finds nothing: all that is to be said about a document is said by Expand.
func (Documents) Scan(context.Context, *eml.Part) ([]eml.Finding, error) { return nil, nil }

// maxHeader is where the header of a document begins at the latest (PDF 1.7, implementation note 13).
const maxHeader = 1024

// Opens reports whether p may be a PDF document, whatever else it is: readers ask for the header only,
// and skip what is before it. Of archives, in which a document may be at the beginning, those that are
// called one.
func (Documents) Opens(p *eml.Part) bool {
	if p.Type == "pdf" {
		return true
	}
	if !p.Leaf() || p.Is("container") && !isLabelled(p) {
		return false
	}
	return bytes.Contains(p.Head(maxHeader), []byte("%PDF-"))
}

// isLabelled reports whether a part is called a PDF document.
func isLabelled(p *eml.Part) bool {
	return strings.HasSuffix(p.MediaType, "pdf") || slices.ContainsFunc(p.Names, func(n string) bool { return strings.EqualFold(path.Ext(n), ".pdf") })
}

// Expand yields the files that are in the document in p, its scripts as one text, and its forms.
func (Documents) Expand(ctx context.Context, p *eml.Part, b *scanners.Budget, yield func(*eml.Part) error) ([]eml.Finding, error) {
	if !(Documents{}).Opens(p) {
		return nil, nil
	}
	o := &opening{ctx: ctx, p: p, b: b, yield: yield, wants: map[want][]string{}, told: map[string]bool{}}
	o.d = &document{file: newCursor(p.Content(), p.Size)}
	defer o.close()
	err := o.expand()
	if errors.Is(err, errWork) {
		o.d.limit(err.Error())
		err = nil
	}
	for what := range o.d.over {
		o.report(limit, what)
	}
	if e := o.tellDeeds(err == nil && len(o.d.over) == 0); err == nil {
		err = e
	}
	return o.findings, err
}

// An opening is one call of Expand. One goroutine uses it.
type opening struct {
	ctx   context.Context //nolint:containedctx // lives as long as one call of Expand
	p     *eml.Part
	b     *scanners.Budget
	yield func(*eml.Part) error

	d       *document
	lock    *Lock // nil: the document is not encrypted
	mixed   bool  // some of it may not be encrypted, or in another way
	texts   *eml.Spool
	scripts *eml.Spool
	pool    inflaters
	buf     [carveHead]byte   // for copies and beginnings
	wants   map[want][]string // what objects are wanted for, and their names
	queue   []want            // all of them, in order

	index    int // of the last member
	findings []eml.Finding
	told     map[string]bool
	deeds    map[string]*deed // by check
	steps    int              // that tooMany has counted

	objStreams []objectStream
	keptText   map[int64]bool // object streams whose text is kept, by where they begin
}

func (o *opening) close() {
	for _, s := range []*eml.Spool{o.texts, o.scripts} {
		if s != nil {
			s.Close()
		}
	}
}

// report adds a finding, once.
func (o *opening) report(check, detail string) {
	if o.told[check+detail] || len(o.findings) >= maxFindings && o.told[check] {
		return
	}
	o.told[check+detail], o.told[check] = true, true
	unseen := check == encrypted || check == damaged || check == limit
	o.findings = append(o.findings, eml.Finding{Check: check, Part: o.p, Detail: detail, Unexamined: unseen})
}

// tick is the error for which the work ends.
func (o *opening) tick() error { return o.ctx.Err() }

// fatal is an error that is not one of the content.
func fatal(err error) error {
	if errors.Is(err, scanners.ErrBudget) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, errWork) {
		return err
	}
	return nil
}

// expand does all of it.
func (o *opening) expand() error {
	d := o.d
	if err := d.scan(o.tick); err != nil {
		return err
	}
	d.index()
	if err := d.measure(); err != nil {
		return err
	}
	if err := d.follow(o.table, o.tick); err != nil {
		return err
	}
	d.index()
	if err := o.unlock(); err != nil {
		return err
	}
	if err := o.objectStreams(); err != nil {
		return err
	}
	d.index()
	if err := o.look(); err != nil {
		return err
	}
	if err := o.streams(); err != nil {
		return err
	}
	return o.yieldScripts()
}

// table opens a cross-reference stream, which is never encrypted (7.5.8.2).
func (o *opening) table(e *entry) (io.Reader, error) {
	var obj object
	if err := o.d.load(e, &obj); err != nil {
		return nil, err
	}
	r, err := o.decoded(e, obj.value(), nil, false)
	if err != nil {
		return nil, err
	}
	return o.b.Reader(o.ctx, o.p, r), nil
}

// decoded opens a stream, decrypted by a lock and decoded. What is taken for an embedded file may be
// encrypted in a way of its own.
func (o *opening) decoded(e *entry, dict value, l *Lock, file bool) (io.Reader, error) {
	o.pool.done() // one stream is read at a time
	list, err := o.d.filters(dict)
	if err != nil {
		return nil, err
	}
	var r io.Reader = io.NewSectionReader(o.d.file.r, e.data, e.end-e.data)
	if l != nil {
		num := e.num
		if e.alias != 0 {
			num = e.alias
		}
		if r, err = l.reader(r, l.method(dict, list, file), num, e.gen); err != nil {
			return nil, err
		}
	}
	return decode(r, list, &o.pool, func(r io.Reader) io.Reader { return o.b.Reader(o.ctx, o.p, r) })
}

// method is how a stream is encrypted.
func (l *Lock) method(dict value, list []filter, file bool) method {
	for _, f := range list {
		if f.name == "Crypt" {
			if f.parms.crypt == "" {
				return methodNone
			}
			return l.filter(f.parms.crypt)
		}
	}
	switch kind := dict.get("Type").name(); {
	case kind == "EmbeddedFile", file && kind == "":
		return l.embedded
	case kind == "Metadata" && !l.metadata, kind == "XRef":
		return methodNone
	}
	return l.streams
}

// unlock finds out how the document is encrypted, and opens it if it can.
func (o *opening) unlock() error {
	locks, err := o.locks()
	if err != nil || len(locks) == 0 {
		return err
	}
	o.lock = locks[0]
	o.mixed = o.mixed || len(locks) > 1
	for _, l := range locks {
		if l.Opens("") { // as readers do without asking
			o.lock = l
			return nil
		}
	}
	if !o.lock.encrypted {
		return nil
	}
	detail := "encrypted in a way that needs more than a password"
	if o.lock.standard {
		g, err := o.b.Guess(o.ctx, nil, func(password string) (bool, error) { return o.lock.Opens(password), nil })
		if err != nil {
			return err
		}
		if g.Found() {
			o.report(map[scanners.Source]string{scanners.FromMessage: inMessage, scanners.FromList: listed, scanners.FromKnown: known}[g.From], g.Detail())
			return nil
		}
		detail = g.Detail()
	}
	if o.lock.streams != methodNone || o.lock.strings != methodNone {
		o.report(encrypted, detail)
	}
	return nil
}

// maxLocks is how many encryption dictionaries of one document are looked at.
const maxLocks = 4

// locks are the encryptions that trailers tell of, those of the last ones first. Trailers within
// streams are of files that are embedded, mostly.
func (o *opening) locks() ([]*Lock, error) {
	d := o.d
	f := lockFinder{d: d, seen: map[int64]bool{}}
	for _, hidden := range []bool{false, true} {
		for i := len(d.trailers) - 1; i >= 0; i-- {
			if t := d.trailers[i]; t.hidden == hidden {
				d.file.seek(t.off)
				obj := new(object)
				obj.parse(d.file, true)
				if err := d.spend(d.file, t.off); err != nil {
					return nil, err
				}
				if err := f.trailer(obj.value(), t.off); err != nil {
					return nil, err
				}
			}
		}
		for i := len(d.entries) - 1; i >= 0; i-- {
			if e := &d.entries[i]; e.has(isTable) && e.has(isHidden) == hidden {
				obj := new(object)
				if err := d.load(e, obj); err != nil {
					return nil, err
				}
				if err := f.trailer(obj.value(), e.off); err != nil {
					return nil, err
				}
			}
		}
		if f.any {
			break
		}
	}
	if len(f.id) == 0 {
		f.id = []byte{}
	}
	var list []*Lock
	for _, v := range f.found {
		l, err := d.lock(v.dict, cmpOr(v.id, f.id))
		if err != nil {
			return nil, err
		}
		list = append(list, l)
	}
	o.mixed = len(list) > 0 && f.plain
	return list, nil
}

func cmpOr(a, b []byte) []byte {
	if len(a) > 0 {
		return a
	}
	return b
}

// A lockFinder collects encryption dictionaries.
type lockFinder struct {
	d     *document
	seen  map[int64]bool
	found []foundLock
	id    []byte // of any trailer
	any   bool   // there was a trailer
	plain bool   // one of them tells of no encryption
}

type foundLock struct {
	dict value
	id   []byte
}

// trailer reads what a trailer tells of encryption.
func (f *lockFinder) trailer(dict value, off int64) error {
	if dict.kind() != kindDict {
		return nil
	}
	f.any = true
	f.d.sealed = f.d.sealed || dict.get("AuthCode").kind() != kindNull
	ids, err := f.d.deref(dict.get("ID"))
	if err != nil {
		return err
	}
	id := first(ids).bytes()
	if ids.kind() != kindArray {
		id = nil
	}
	if len(f.id) == 0 {
		f.id = id
	}
	v := dict.get("Encrypt")
	key := off
	switch v.kind() {
	case kindRef:
		key = -1 - v.node().num
	case kindDict:
	default:
		f.plain = f.plain || dict.get("Root").kind() == kindRef
		return nil
	}
	if f.seen[key] || len(f.found) >= maxLocks {
		return nil
	}
	f.seen[key] = true
	v, err = f.d.deref(v)
	if err == nil && v.kind() == kindDict {
		f.found = append(f.found, foundLock{v, id})
	}
	return err
}

// broken reports an error that reading something ended with; one that is not of the content is
// returned.
func (o *opening) broken(what string, err error) error {
	switch {
	case err == nil:
		return nil
	case fatal(err) != nil:
		return err
	case errors.Is(err, errEncrypted):
		if !o.told[encrypted] {
			o.report(encrypted, what+" is encrypted")
		}
	case errors.Is(err, errFilters):
		o.report(limit, what+" has more than 8 filters")
	case errors.Is(err, errStream), errors.Is(err, errFilter), errors.Is(err, io.ErrUnexpectedEOF):
		o.report(damaged, fmt.Sprintf("%s: %v", what, err))
	default:
		return err
	}
	return nil
}
