package sanitize

import "slices"

// An openElement is an element whose end is still to come.
type openElement struct {
	*htmlElement
	start int // of its tag, in those of all that are open
}

// A closedElement is one that is to be opened again.
type closedElement struct {
	*htmlElement
	tag string
}

// push opens an element. Its start tag is copied.
func (c *cleaner) push(el *htmlElement, tag []byte) {
	c.stack = append(c.stack, openElement{el, len(c.tags)})
	c.tags = append(c.tags, tag...)
	c.open[el.id]++
}

// tagOf is the start tag of the open element at i.
func (c *cleaner) tagOf(i int) []byte {
	if i+1 < len(c.stack) {
		return c.tags[c.stack[i].start:c.stack[i+1].start]
	}
	return c.tags[c.stack[i].start:]
}

// fitsTable reports whether a part of a table is in one; parsers drop others.
func (c *cleaner) fitsTable(el *htmlElement) bool {
	if el.is&isTablePart == 0 {
		return true
	}
	for i := len(c.stack) - 1; i >= 0; i-- {
		if is := c.stack[i].is; is&isBarrier != 0 {
			return is&isTable != 0
		}
	}
	return false
}

// implied writes the end tags that a start tag implies.
func (c *cleaner) implied(el *htmlElement) {
	switch {
	case el.is&implies == 0:
	case el.is&isTableRow != 0:
		c.closeUntil(isTable | isTableSection)
	case el.is&isTableCell != 0:
		c.closeUntil(isTable | isTableSection | isTableRow)
	case el.name == "col":
		c.closeUntil(isTable | isColumnGroup)
	case el.is&isTablePart != 0:
		c.closeUntil(isTable)
	case el.name == "li":
		c.closeItem(el, isItemList)
	case el.name == "dd", el.name == "dt":
		c.closeItem(ddElement, isTermList)
		c.closeItem(dtElement, isTermList)
	default: // a and nobr
		if i := c.find(el, isBarrier); i >= 0 {
			c.closeElement(i)
		}
	}
	if el.is&isParagraphEnd != 0 && (el != tableElement || !c.quirks) {
		if i := c.find(paragraphElement, isBarrier); i >= 0 {
			c.closeElement(i)
		}
	}
}

// closeItem closes an open item of the same list.
func (c *cleaner) closeItem(el *htmlElement, lists elementKind) {
	if i := c.find(el, lists|isBarrier|isOutline); i >= 0 {
		c.closeElement(i)
	}
}

// closeUntil closes all that is within the nearest of these elements.
func (c *cleaner) closeUntil(kinds elementKind) {
	for i := len(c.stack) - 1; i >= 0; i-- {
		if c.stack[i].is&kinds != 0 {
			c.closeTo(i + 1)
			c.pending = nil // a cell is a world of its own
			return
		}
	}
}

// find is the index of the nearest open element of that name; -1 if there is none, or one of the
// others is nearer.
func (c *cleaner) find(el *htmlElement, stop elementKind) int {
	if c.open[el.id] == 0 {
		return -1
	}
	for i := len(c.stack) - 1; i >= 0; i-- {
		switch e := c.stack[i].htmlElement; {
		case e == el:
			return i
		case e.is&stop != 0:
			return -1
		}
	}
	return -1
}

// unpend drops an element that was to be opened again.
func (c *cleaner) unpend(el *htmlElement) bool {
	for i := len(c.pending) - 1; i >= 0; i-- {
		if c.pending[i].htmlElement == el {
			c.pending = slices.Delete(c.pending, i, i+1)
			return true
		}
	}
	return false
}

// endOf is the index of the element that an end tag closes; -1 if there is none.
func (c *cleaner) endOf(el *htmlElement) int {
	switch {
	case el.is&isTable != 0:
		return c.find(el, 0)
	case el.is&isTablePart != 0:
		return c.find(el, isTable)
	case el.is&isPlainElement == 0:
		return c.find(el, isBarrier)
	}
	for i := len(c.stack) - 1; i >= 0; i-- {
		switch e := c.stack[i].htmlElement; {
		case e == el:
			return i
		case e.is&(isPlainElement|isFormatElement) == 0:
			return -1
		}
	}
	return -1
}

// closeElement closes the open element at i, and what is in it. Of that, what parsers open again
// comes again before what follows.
func (c *cleaner) closeElement(i int) {
	closed := c.stack[i].is
	if closed&(isBarrier|isTablePart) != 0 {
		c.closeTo(i)
		c.pending = nil
		return
	}
	for j := i + 1; j < len(c.stack); j++ {
		e := c.stack[j].htmlElement
		if e.is&isFormatElement != 0 || closed&isFormatElement != 0 && e.is&(isImpliedEnd|isBarrier) == 0 {
			c.pending = append(c.pending, closedElement{e, string(c.tagOf(j))})
		}
	}
	c.closeTo(i)
}

// closeTo closes all but the first n open elements.
func (c *cleaner) closeTo(n int) {
	if n >= len(c.stack) {
		return
	}
	for i := len(c.stack) - 1; i >= n; i-- {
		e := c.stack[i].htmlElement
		c.w.raw(e.end)
		c.open[e.id]--
	}
	c.tags = c.tags[:c.stack[n].start]
	c.stack = c.stack[:n]
	if cap(c.tags) > maxWriteRoom && len(c.tags) == 0 {
		c.tags = nil
	}
}

// reopen opens what was closed before its time. Before a block it does so only for blocks, as
// parsers do, and what they are in.
func (c *cleaner) reopen(block bool) {
	n := len(c.pending)
	if n == 0 {
		return
	}
	for block && n > 0 && c.pending[n-1].is&isFormatElement != 0 {
		n--
	}
	for _, e := range c.pending[:n] {
		if c.reopens -= len(e.tag); c.reopens < 0 {
			break
		}
		c.w.raw(e.tag)
		c.push(e.htmlElement, []byte(e.tag))
	}
	c.pending = slices.Delete(c.pending, 0, n)
}
