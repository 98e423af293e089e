package pdf

const (
	// maxNodes is how many values one object may have, and maxText how many bytes of strings and names.
	// Of the rest nothing is kept.
	maxNodes = 300_000
	maxText  = 16 << 20
	// maxNesting is how many arrays and dictionaries may lie in one another.
	maxNesting = 200
)

// A kind is what a value is.
type kind uint8

const (
	kindNull kind = iota // null, and every word that is unknown
	kindInt
	kindReal
	kindBool
	kindString
	kindName
	kindArray
	kindDict
	kindRef
)

// A node is one value of an object.
type node struct {
	kind        kind
	num         int64 // kindInt; of kindRef the number of the object; of kindName and kindString the offset of the token
	start, end  int32 // of the text
	child, next int32 // the first one in it, and the next one beside it; 0: none
}

// An object is one indirect object, or a trailer. Its nodes stand in the order of the file, the first of
// them (0) for the whole. It is used again and again, so what is in it is good until the next parse.
type object struct {
	nodes  []node
	text   []byte
	over   bool // it is larger than is kept
	escape bool // a name in it is written with #

	stack []frame
	skip  int // containers too deep within one another
}

// A frame is a container that is being read.
type frame struct {
	at         int32 // its node
	last, prev int32 // its last two children
}

// An ending is what an object ended with.
type ending uint8

const (
	endFile   ending = iota // of the file
	endObject               // "endobj"
	endStream               // "stream"
	endOther                // something that cannot be in an object; it is read again
	endBroken               // a string without an end
)

func (o *object) reset() {
	o.nodes = append(o.nodes[:0], node{kind: kindArray})
	o.text = o.text[:0]
	o.stack = append(o.stack[:0], frame{})
	o.over, o.escape, o.skip = false, false, 0
}

// parse reads values up to what ends an object. With one it ends behind the first value, as objects in
// object streams and trailers do.
func (o *object) parse(c *cursor, one bool) ending {
	o.reset()
	var before [2]token
	for {
		start := len(o.text)
		t := c.token(&o.text, maxText)
		if len(o.text) >= maxText {
			o.over = true
		}
		switch t.kind {
		case tokenEnd:
			return endFile
		case tokenArray:
			o.open(kindArray)
		case tokenDict:
			o.open(kindDict)
		case tokenArrayEnd:
			o.close(kindArray)
		case tokenDictEnd:
			o.close(kindDict)
		case tokenKeyword:
			if end, ok := o.keyword(c, t, before, start); ok {
				return end
			}
		default:
			if t.kind == tokenName || t.kind == tokenString {
				t.num = t.off
			}
			o.escape = o.escape || t.escape
			o.add(node{kind: kindOf(t.kind), num: t.num, start: int32(start), end: int32(len(o.text))})
			if t.broken {
				return endBroken
			}
		}
		if one && len(o.stack) == 1 && o.skip == 0 && o.whole(c) {
			return endObject
		}
		before[0], before[1] = before[1], t
	}
}

// whole reports whether the first value is there: a number may be the beginning of a reference.
func (o *object) whole(c *cursor) bool {
	n := o.nodes[0].child
	if n == 0 {
		return false
	}
	if o.nodes[n].kind != kindInt || len(o.nodes) >= 4 {
		return true
	}
	c.skipSpace()
	b, ok := c.peek()
	return !ok || !isDigit(b) && b != 'R'
}

func kindOf(t tokenKind) kind {
	switch t {
	case tokenInt:
		return kindInt
	case tokenReal:
		return kindReal
	case tokenString:
		return kindString
	}
	return kindName
}

// keyword handles a word. It reports whether it ends the object.
func (o *object) keyword(c *cursor, t token, before [2]token, start int) (ending, bool) {
	word := string(o.text[start:])
	o.text = o.text[:start]
	switch {
	case word == "R":
		o.reference()
		return 0, false
	case word == "true" || word == "false":
		o.add(node{kind: kindBool, num: int64(len(word)&1 ^ 1)}) // of "true" 1
		return 0, false
	case hasWord(word, "endobj"):
		c.seek(t.off + int64(len("endobj")))
		return endObject, true
	case hasWord(word, "stream"):
		c.seek(t.off + int64(len("stream")))
		return endStream, true
	case hasWord(word, "obj") && before[0].kind == tokenInt && before[1].kind == tokenInt: // the end is missing
		c.seek(before[0].off)
		return endOther, true
	case word == "endstream" || word == "xref" || word == "trailer" || word == "startxref":
		c.seek(t.off)
		return endOther, true
	}
	o.add(node{kind: kindNull})
	return 0, false
}

// hasWord reports whether word is a keyword, or one with a number right behind it.
func hasWord(word, keyword string) bool {
	if len(word) < len(keyword) || word[:len(keyword)] != keyword {
		return false
	}
	return len(word) == len(keyword) || isDigit(word[len(keyword)])
}

// add adds a value to the container that is being read.
func (o *object) add(n node) int32 {
	if o.skip > 0 {
		return 0
	}
	if len(o.nodes) >= maxNodes {
		o.over = true
		return 0
	}
	at := int32(len(o.nodes))
	o.nodes = append(o.nodes, n)
	f := &o.stack[len(o.stack)-1]
	if f.last == 0 {
		o.nodes[f.at].child = at
	} else {
		o.nodes[f.last].next = at
	}
	f.prev, f.last = f.last, at
	return at
}

func (o *object) open(k kind) {
	if o.skip > 0 || len(o.stack) > maxNesting {
		o.over = true
		o.skip++
		return
	}
	at := o.add(node{kind: k})
	if at == 0 {
		o.skip++
		return
	}
	o.stack = append(o.stack, frame{at: at})
}

// close ends a container; also one that was opened as another kind, if it is the only one.
func (o *object) close(k kind) {
	if o.skip > 0 {
		o.skip--
		return
	}
	for i := len(o.stack) - 1; i > 0; i-- {
		if o.nodes[o.stack[i].at].kind == k {
			o.stack = o.stack[:i]
			return
		}
		if k == kindArray {
			return // a bracket does not end a dictionary
		}
	}
}

// reference makes one of the two numbers before an R.
func (o *object) reference() {
	if o.skip > 0 {
		return
	}
	f := &o.stack[len(o.stack)-1]
	if f.prev == 0 || f.last != int32(len(o.nodes)-1) || o.nodes[f.prev].kind != kindInt || o.nodes[f.last].kind != kindInt {
		return
	}
	o.nodes[f.prev].kind, o.nodes[f.prev].next = kindRef, 0
	o.nodes = o.nodes[:f.last]
	f.last, f.prev = f.prev, 0
}

// A value is one value of an object. The zero value is null.
type value struct {
	o  *object
	at int32
}

// value is the value of the object: its first one.
func (o *object) value() value { return value{o, o.nodes[0].child} }

func (v value) node() node {
	if v.o == nil || v.at == 0 {
		return node{}
	}
	return v.o.nodes[v.at]
}

func (v value) kind() kind { return v.node().kind }

// bytes are those of a string or name.
func (v value) bytes() []byte {
	n := v.node()
	if n.kind != kindString && n.kind != kindName {
		return nil
	}
	return v.o.text[n.start:n.end]
}

// name is a name; empty for anything else.
func (v value) name() string {
	if v.kind() != kindName {
		return ""
	}
	return string(v.bytes())
}

func (v value) is(name string) bool { return v.kind() == kindName && string(v.bytes()) == name }

// int is a whole number, or def.
func (v value) int(def int64) int64 {
	if n := v.node(); n.kind == kindInt {
		return n.num
	}
	return def
}

// items are the values in an array, or keys and values of a dictionary.
func (v value) items(yield func(value) bool) {
	for at := v.node().child; at != 0; at = v.o.nodes[at].next {
		if !yield(value{v.o, at}) {
			return
		}
	}
}

// pairs are the keys and values of a dictionary. What has no name before it is passed over.
func (v value) pairs(yield func(key, val value) bool) {
	if v.kind() != kindDict {
		return
	}
	var key value
	for item := range v.items {
		switch {
		case key.o != nil:
			if !yield(key, item) {
				return
			}
			key = value{}
		case item.kind() == kindName:
			key = item
		}
	}
}

// get is the value of a key of a dictionary. Where a key is there several times, the last one counts.
func (v value) get(key string) (found value) {
	for k, val := range v.pairs {
		if k.is(key) {
			found = val
		}
	}
	return found
}

// dicts are all dictionaries of an object, however deep.
func (o *object) dicts(yield func(value) bool) {
	for at := range o.nodes {
		if at > 0 && o.nodes[at].kind == kindDict && !yield(value{o, int32(at)}) {
			return
		}
	}
}
