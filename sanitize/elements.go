package sanitize

import (
	"slices"
	"strings"
)

// An htmlElement is what those who write a page anew, or look at it as people do, know of an element by
// its name.
type htmlElement struct {
	name, tag, end string       // "p", "<p", "</p>"
	id             int          // less than maxElements; 0 for one that is not known
	is             elementKind  // all that it is
	same           *htmlElement // what a parser, or the eye, takes it for: mostly itself
	attrs          attrSet      // those that it may have in a clean page
}

// An elementKind is a set of the lists that an element is in.
type elementKind uint32

const (
	isCleanElement elementKind = 1 << iota
	isVoidElement
	isFormatElement
	isPlainElement
	isParagraphEnd // it ends an open paragraph
	isImpliedEnd
	isSilentElement
	isRawElement
	isSVGEnd
	isParagraph
	isTextLine
	isSilentVoid
	isTablePart
	isBarrier
	isTable
	isTableSection
	isTableRow
	isTableCell
	isColumnGroup
	isItemList
	isTermList
	isOutline
	isSelect
	implies // some end tags: a switch knows which
	isShown // by more than its lines: a switch knows how
)

// elementLists are the lists by their kind.
var elementLists = map[elementKind]map[string]bool{
	isCleanElement:  cleanElements,
	isVoidElement:   voidElements,
	isFormatElement: formatElements,
	isPlainElement:  plainElements,
	isParagraphEnd:  closesParagraph,
	isImpliedEnd:    impliedEnds,
	isSilentElement: silentElements,
	isRawElement:    rawElements,
	isSVGEnd:        leavesSVG,
	isParagraph:     paragraphs,
	isTextLine:      textLines,
	isSilentVoid:    silentVoid,
	isTablePart:     tableParts,
	isBarrier:       barriers,
	isTable:         set("table"),
	isTableSection:  set("tbody thead tfoot"),
	isTableRow:      set("tr"),
	isTableCell:     set("td th"),
	isColumnGroup:   set("colgroup"),
	isItemList:      set("ul ol menu dir"),
	isTermList:      set("dl"),
	isOutline:       set("blockquote section article"),
	isSelect:        set("select"),
	implies:         set("tr td th tbody thead tfoot caption colgroup col li dd dt a nobr option"),
	isShown:         set("br hr img blockquote ul ol menu dir dd q li td th"),
	0:               set("html head style svg template noscript"),
}

// maxElements is how many elements may be known.
const maxElements = 192

// htmlElements are all that are known.
var htmlElements = newLexicon(knownElements())

// otherElement stands for all that are not known.
var otherElement = newElement("", 0)

func newElement(name string, id int) *htmlElement {
	e := &htmlElement{name: name, tag: "<" + name, end: "</" + name + ">", id: id}
	e.same = e
	return e
}

func knownElements() map[string]*htmlElement {
	all := map[string]*htmlElement{}
	add := func(name string) *htmlElement {
		if all[name] == nil {
			all[name] = newElement(name, len(all)+1)
		}
		return all[name]
	}
	for kind, names := range elementLists {
		for name := range names {
			add(name).is |= kind
		}
	}
	for name, same := range sameElements {
		add(name).same = add(same)
	}
	for name, e := range all {
		for _, words := range []map[string]bool{cleanAttrs, cleanElementAttrs[name]} {
			for attr := range words {
				e.attrs.add(htmlAttrs.find([]byte(attr)).id)
			}
		}
	}
	if len(all) >= maxElements {
		panic("sanitize: more elements than maxElements")
	}
	return all
}

// elementNamed is a known element.
func elementNamed(name string) *htmlElement { return htmlElements.find([]byte(name)) }

// Elements that the code names.
var (
	tableElement     = elementNamed("table")
	paragraphElement = elementNamed("p")
	ddElement        = elementNamed("dd")
	dtElement        = elementNamed("dt")
	imgElement       = elementNamed("img")
	linkElement      = elementNamed("a")
	preElement       = elementNamed("pre")
	tdElement        = elementNamed("td")
	thElement        = elementNamed("th")
)

// An attribute is what is known of an attribute by its name.
type attribute struct {
	name, lead string // "href", ` href="`
	id         int    // less than maxAttributes
	kind       cleanKind
}

// A cleanKind is how the value of an attribute becomes clean.
type cleanKind uint8

const (
	cleanWord cleanKind = iota
	cleanStyle
	cleanLink
	cleanImage
	cleanImages
	cleanMap
	cleanTarget
)

var cleanKinds = map[string]cleanKind{
	"style": cleanStyle, "href": cleanLink, "longdesc": cleanLink, "src": cleanImage, "background": cleanImage,
	"srcset": cleanImages, "usemap": cleanMap, "target": cleanTarget,
}

// maxAttributes is how many attributes may be known.
const maxAttributes = 128

// An attrSet is a set of attributes by their id.
type attrSet [maxAttributes / 64]uint64

func (s *attrSet) add(id int)      { s[id/64] |= 1 << (id % 64) }
func (s *attrSet) has(id int) bool { return s[id/64]&(1<<(id%64)) != 0 }

// htmlAttrs are all that any element may have in a clean page.
var htmlAttrs = newLexicon(knownAttributes())

func knownAttributes() map[string]*attribute {
	all := map[string]*attribute{}
	add := func(words map[string]bool) {
		for name := range words {
			if all[name] == nil {
				all[name] = &attribute{name, " " + name + `="`, len(all), cleanKinds[name]}
			}
		}
	}
	add(cleanAttrs)
	for _, words := range cleanElementAttrs {
		add(words)
	}
	if len(all) > maxAttributes {
		panic("sanitize: more attributes than maxAttributes")
	}
	return all
}

// A lexicon finds things by words in lower case. It does so faster than a map, and is never changed.
type lexicon[T any] struct {
	shift int
	slots []lexeme[T]
}

type lexeme[T any] struct {
	word string
	of   *T
}

func newLexicon[T any](all map[string]*T) *lexicon[T] {
	bits := 6
	for 1<<bits < 8*len(all) {
		bits++
	}
	l := &lexicon[T]{32 - bits, make([]lexeme[T], 1<<bits)}
	for _, word := range slices.Sorted(strings.SplitSeq(strings.Join(keysOf(all), " "), " ")) {
		i := l.first([]byte(word))
		for l.slots[i].word != "" {
			i = (i + 1) % len(l.slots)
		}
		l.slots[i] = lexeme[T]{word, all[word]}
	}
	return l
}

// first is where a word is, or others that are like it.
func (l *lexicon[T]) first(word []byte) int {
	n := len(word)
	h := uint32(word[0]) | uint32(word[n-1])<<8 | uint32(word[n/2])<<16 | uint32(n&0xff)<<24
	h ^= uint32(word[n/3]) * 0x85ebca6b
	return int(h * 0x9e3779b1 >> l.shift)
}

// find is what belongs to a word; nil if it is none of the lexicon.
func (l *lexicon[T]) find(word []byte) *T {
	if len(word) == 0 {
		return nil
	}
	for i := l.first(word); l.slots[i].word != ""; i = (i + 1) & (len(l.slots) - 1) {
		if l.slots[i].word == string(word) {
			return l.slots[i].of
		}
	}
	return nil
}
