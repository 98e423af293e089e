package pdf

import (
	"crypto/sha256"
	"fmt"
	"io"
	"slices"
	"strings"

	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"
)

const (
	// maxWants is how many objects may be of interest for what others say of them.
	maxWants = 100_000
	// maxNames is how many names of one file are kept, and maxName how many bytes of one, from its end.
	maxNames, maxName = 16, 4 << 10
	// formType is the media type of forms (XFA 3.3), by which who looks at pages knows them.
	formType = "application/vnd.adobe.xdp+xml"
	// maxScripts is how many different scripts are told from others.
	maxScripts = 100_000
)

// A role is what an object is for another one.
type role uint8

const (
	roleFile   role = iota // an embedded file
	roleFiles              // a dictionary or array of them
	roleScript             // a script, a string or a stream
	roleForm               // a packet of a form in XFA, or an array of them
)

// A want is an object in a role.
type want struct {
	num  uint32
	role role
}

// want notes what an object is wanted for. The names add up.
func (o *opening) want(ref value, r role, names []string) {
	w := want{uint32(clamp(ref.node().num, 1<<32-1)), r}
	old, ok := o.wants[w]
	if !ok {
		if len(o.queue) >= maxWants {
			o.d.limit("more than 100000 files and scripts")
			return
		}
		o.queue = append(o.queue, w)
	}
	for _, n := range names {
		old = addName(old, n)
	}
	o.wants[w] = old
}

func addName(list []string, name string) []string {
	name = name[max(len(name)-maxName, 0):]
	if name == "" || len(list) >= maxNames || slices.Contains(list, name) {
		return list
	}
	return append(list, name)
}

// look finds out what is of interest for what.
func (o *opening) look() error {
	named, err := o.nameTrees()
	if err != nil {
		return err
	}
	var obj object
	for i := range o.d.entries {
		e := &o.d.entries[i]
		if !e.has(hasEF | hasJS | hasXFA | hasAction | hasEscape) {
			continue
		}
		if err := o.d.load(e, &obj); err != nil {
			return err
		}
		if err := o.tick(); err != nil {
			return err
		}
		for dict := range obj.dicts {
			if err := o.dictionary(e, dict, named[e.num]); err != nil {
				return err
			}
			if err := o.act(e, &obj, dict); err != nil {
				return err
			}
		}
		if e.has(hasEscape) {
			if err := o.disguises(e, &obj); err != nil {
				return err
			}
		}
	}
	for i := 0; i < len(o.queue); i++ { // gets longer on the way
		if err := o.resolve(o.queue[i], &obj); err != nil {
			return err
		}
	}
	return nil
}

// dictionary looks at one dictionary of an object, whose names in name trees are given.
func (o *opening) dictionary(e *entry, dict value, named []string) error {
	for key, v := range dict.pairs {
		var err error
		switch string(key.bytes()) {
		case "EF", "RF":
			var names []string
			if names, err = o.fileNames(e, dict, named); err == nil {
				o.files(v, names)
			}
		case "JS", "OnInstantiate":
			err = o.script(e, v)
		case "XFA":
			err = o.form(e, v)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// files wants what is in EF or RF: a dictionary of references (7.11.3), or of arrays of names and
// references (7.11.4.3).
func (o *opening) files(v value, names []string) {
	switch v.kind() {
	case kindRef:
		o.want(v, roleFiles, names)
	case kindDict:
		for _, item := range v.pairs {
			o.listed(item, names)
		}
	case kindArray:
		o.listed(v, names)
	}
}

// listed wants one thing in EF or RF.
func (o *opening) listed(v value, names []string) {
	switch v.kind() {
	case kindRef:
		o.want(v, roleFile, names)
		o.want(v, roleFiles, names) // an array, if it is in RF
	case kindArray:
		var own []string
		for item := range v.items {
			if item.kind() == kindString {
				own = addName(own, text(item.bytes()))
			} else if item.kind() == kindRef {
				o.want(item, roleFile, append(own, names...))
				own = nil
			}
		}
	}
}

// script takes note of a script.
func (o *opening) script(e *entry, v value) error {
	switch v.kind() {
	case kindRef:
		o.want(v, roleScript, nil)
	case kindString:
		b, err := o.decrypted(e, v)
		if err != nil {
			return o.broken("a script", err)
		}
		return o.addScript(strings.NewReader(text(b)))
	}
	return nil
}

// form takes note of a form in XFA (12.7.8): a stream, or names and streams of its packets.
func (o *opening) form(e *entry, v value) error {
	switch v.kind() {
	case kindRef:
		o.want(v, roleForm, []string{"form.xml"})
	case kindArray:
		name := ""
		for item := range v.items {
			if item.kind() == kindString {
				b, err := o.decrypted(e, item)
				if err = o.broken("the name of a form", err); err != nil {
					return err
				}
				name = text(b)
			} else if item.kind() == kindRef {
				o.want(item, roleForm, []string{name + ".xml"})
			}
		}
	}
	return nil
}

// resolve looks at all versions of a wanted object that are no streams: they lead to streams.
func (o *opening) resolve(w want, obj *object) error {
	names := o.wants[w]
	for _, i := range o.d.all(w.num) {
		e := &o.d.entries[i]
		if e.has(hasStream) {
			continue
		}
		if err := o.d.load(e, obj); err != nil {
			return err
		}
		v := obj.value()
		var err error
		switch {
		case v.kind() == kindRef:
			o.want(v, w.role, names)
		case w.role == roleFiles:
			o.files(v, names)
		case w.role == roleScript:
			err = o.script(e, v)
		case w.role == roleForm:
			err = o.form(e, v)
		}
		if err != nil {
			return err
		}
	}
	return o.tick()
}

// nameTrees are the names that name trees give to file specifications (7.9.6), by the number of those.
func (o *opening) nameTrees() (map[uint32][]string, error) {
	named := map[uint32][]string{}
	var obj object
	for i := range o.d.entries {
		e := &o.d.entries[i]
		if !e.has(hasNames) {
			continue
		}
		if err := o.d.load(e, &obj); err != nil {
			return nil, err
		}
		if err := o.tick(); err != nil {
			return nil, err
		}
		for dict := range obj.dicts {
			v, err := o.d.deref(dict.get("Names"))
			if err != nil {
				return nil, err
			}
			if v.kind() == kindArray {
				if err := o.nameTree(e, v, named); err != nil {
					return nil, err
				}
			}
		}
	}
	return named, nil
}

func (o *opening) nameTree(e *entry, list value, named map[uint32][]string) error {
	var key value
	for item := range list.items {
		if item.kind() == kindString {
			key = item
			continue
		}
		num := uint32(clamp(item.node().num, 1<<32-1))
		if item.kind() != kindRef || key.o == nil || len(named[num]) >= maxNames || !o.isSpecification(num) {
			continue
		}
		b, err := o.decrypted(e, key)
		if err = o.broken("the name of a file", err); err != nil {
			return err
		}
		named[num] = addName(named[num], text(b))
		key = value{}
	}
	return nil
}

// isSpecification reports whether an object is a file specification, in one of its versions.
func (o *opening) isSpecification(num uint32) bool {
	list := o.d.all(num)
	for _, i := range list[max(len(list)-maxVersions, 0):] {
		if o.d.entries[i].has(hasEF) {
			return true
		}
	}
	return false
}

// nameKeys are the names that a file specification may have (7.11.3).
var nameKeys = []string{"UF", "F", "DOS", "Unix", "Mac"}

// fileNames are all names of a file specification. Its description is one where it has no other.
func (o *opening) fileNames(e *entry, dict value, named []string) ([]string, error) {
	var names []string
	for key, v := range dict.pairs {
		if slices.Contains(nameKeys, string(key.bytes())) {
			for _, s := range o.strings(e, v) {
				names = addName(names, s)
			}
		}
	}
	for _, n := range named {
		names = addName(names, n)
	}
	if len(names) == 0 {
		for _, s := range o.strings(e, dict.get("Desc")) {
			names = addName(names, s)
		}
	}
	return names, o.d.file.err
}

// strings are the texts of a string, or of all versions of one that is referred to. What cannot be
// decrypted is not among them.
func (o *opening) strings(e *entry, v value) (list []string) {
	if v.kind() == kindString {
		if b, err := o.decrypted(e, v); err == nil {
			list = append(list, text(b))
		}
		return list
	}
	if v.kind() != kindRef {
		return nil
	}
	all := o.d.all(uint32(clamp(v.node().num, 1<<32-1)))
	for _, i := range all[max(len(all)-maxVersions, 0):] {
		var obj object
		if o.d.load(&o.d.entries[i], &obj) == nil && obj.value().kind() == kindString {
			if b, err := o.decrypted(&o.d.entries[i], obj.value()); err == nil {
				list = append(list, text(b))
			}
		}
	}
	return list
}

// decrypted is a string of an object. Those in object streams are encrypted with all of the stream.
func (o *opening) decrypted(e *entry, v value) ([]byte, error) {
	if o.lock == nil || e.has(inObjects) {
		return v.bytes(), nil
	}
	num := e.num
	if e.alias != 0 {
		num = e.alias
	}
	return o.lock.text(v.bytes(), num, e.gen)
}

// addScript adds a script to the text of all scripts.
func (o *opening) addScript(r io.Reader) error {
	if o.scripts == nil {
		o.scripts = o.b.Spool()
	}
	if s, ok := r.(*strings.Reader); ok {
		sum := make([]byte, 0, 8)
		h := sha256.New()
		_, _ = s.WriteTo(h)
		key := "script " + string(h.Sum(sum))
		if o.told[key] {
			return nil
		}
		if len(o.told) < maxScripts {
			o.told[key] = true
		}
		_, _ = s.Seek(0, io.SeekStart)
	}
	_, err := o.copy(o.scripts, r)
	if err = o.broken("a script", err); err != nil {
		return err
	}
	_, err = o.scripts.Write([]byte("\n"))
	return err
}

// yieldScripts yields all scripts as one member: an honest form may have thousands of them. It has no
// name and no type, for nobody can save it and run it as a program.
func (o *opening) yieldScripts() error {
	if o.scripts == nil || o.scripts.Size() == 0 {
		return nil
	}
	o.scripts.CloseWrite(nil)
	return o.member("scripts", nil, "", o.scripts.NewReader())
}

// streams yields the streams that are wanted, and those that are by their content.
func (o *opening) streams() error {
	var obj object
	for i := range o.d.entries {
		e := &o.d.entries[i]
		if !e.has(hasStream) || e.has(isTable) || e.alias != 0 && !o.isWanted(e.num) {
			continue
		}
		if err := o.d.load(e, &obj); err != nil {
			return err
		}
		if err := o.tick(); err != nil {
			return err
		}
		if err := o.stream(e, obj.value()); err != nil {
			return err
		}
	}
	return nil
}

func (o *opening) isWanted(num uint32) bool {
	for _, r := range []role{roleFile, roleScript, roleForm} {
		if _, ok := o.wants[want{num, r}]; ok {
			return true
		}
	}
	return false
}

func (o *opening) stream(e *entry, dict value) error {
	wanted := false
	names, isWantedFile := o.wants[want{e.num, roleFile}]
	if isWantedFile || e.has(isFile) && dict.get("Type").is("EmbeddedFile") {
		wanted = true
		if err := o.file(e, dict, "a file", names, ""); err != nil {
			return err
		}
	}
	if names, ok := o.wants[want{e.num, roleForm}]; ok {
		wanted = true
		if err := o.file(e, dict, "a form", names, formType); err != nil {
			return err
		}
	}
	if _, ok := o.wants[want{e.num, roleScript}]; ok {
		wanted = true
		if err := o.scriptStream(e, dict); err != nil {
			return err
		}
	}
	if !wanted && !e.has(isObjects) {
		if err := o.carve(e, dict, o.lock); err != nil {
			return err
		}
	}
	if o.lock != nil && (o.mixed || e.has(isHidden)) {
		return o.carve(e, dict, nil)
	}
	return nil
}

// file yields a stream. One that cannot be decrypted is yielded for its names.
func (o *opening) file(e *entry, dict value, what string, names []string, mediaType string) error {
	if mediaType == "" {
		o.saw(embeddedFile, e, fmt.Sprintf("object %d", e.num), shorten(strings.Join(names, ", ")))
	}
	r, err := o.decoded(e, dict, o.lock, mediaType == "")
	if err == nil {
		if e.has(isHidden) {
			r = &untilDamage{r}
		}
		return o.member(what, names, mediaType, r)
	}
	if err = o.ofHidden(e, what, err); err != nil {
		return err
	}
	if len(names) == 0 {
		return nil
	}
	return o.member(what, names, mediaType, strings.NewReader(""))
}

// An untilDamage reads what could be decoded, and says of damage that it is the end.
type untilDamage struct{ r io.Reader }

func (u *untilDamage) Read(p []byte) (int, error) {
	n, err := u.r.Read(p)
	if err != nil && fatal(err) == nil {
		err = io.EOF
	}
	return n, err
}

// ofHidden reports an error, unless no reader but a few would see the stream.
func (o *opening) ofHidden(e *entry, what string, err error) error {
	if e.has(isHidden) {
		return fatal(err)
	}
	return o.broken(what, err)
}

// scriptStream adds a stream to the scripts.
func (o *opening) scriptStream(e *entry, dict value) error {
	r, err := o.decoded(e, dict, o.lock, false)
	if err != nil {
		return o.ofHidden(e, "a script", err)
	}
	return o.addScript(transform.NewReader(r, unicode.BOMOverride(transform.Nop)))
}

// carve yields a stream that begins like a program, an archive or a document, whatever it is said to be.
func (o *opening) carve(e *entry, dict value, l *Lock) error {
	head := o.buf[:]
	r, err := o.decoded(e, dict, l, false)
	if err != nil {
		return fatal(err)
	}
	n, err := io.ReadFull(r, head)
	if fatal(err) != nil {
		return err
	}
	if !isCarved(head[:n]) {
		return nil
	}
	if r, err = o.decoded(e, dict, l, false); err != nil {
		return fatal(err)
	}
	return o.member("a file in a stream", nil, "", r)
}

// member yields what r gives as a member of that name and type.
func (o *opening) member(what string, names []string, mediaType string, r io.Reader) error {
	o.index++
	m, err := o.b.Member(o.ctx, o.p, o.index, names, r)
	if m == nil {
		return err
	}
	m.MediaType = mediaType
	if e := o.broken(what, err); e != nil {
		m.Release()
		return e
	}
	return o.yield(m)
}
