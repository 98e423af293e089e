package sanitize

import "slices"

// An openElement is an element whose end is still to come.
type openElement struct{ name, tag string }

func (c *cleaner) push(e openElement) {
	c.stack = append(c.stack, e)
	c.open[e.name]++
}

// fitsTable reports whether a part of a table is in one; parsers drop others.
func (c *cleaner) fitsTable(name string) bool {
	if !tableParts[name] {
		return true
	}
	i := c.find("table", nil)
	return i >= 0 && i == c.lastOf(barriers)
}

// implied writes the end tags that a start tag implies.
func (c *cleaner) implied(name string) {
	switch name {
	case "tr":
		c.closeUntil("table", "tbody", "thead", "tfoot")
	case "td", "th":
		c.closeUntil("table", "tr", "tbody", "thead", "tfoot")
	case "tbody", "thead", "tfoot", "caption", "colgroup":
		c.closeUntil("table")
	case "col":
		c.closeUntil("table", "colgroup")
	case "li":
		c.closeItem("li", "ul", "ol", "menu", "dir")
	case "dd", "dt":
		c.closeItem("dd", "dl")
		c.closeItem("dt", "dl")
	case "a", "nobr":
		if i := c.find(name, barriers); i >= 0 {
			c.closeElement(i)
		}
	}
	if closesParagraph[name] && (name != "table" || !c.quirks) {
		if i := c.find("p", barriers); i >= 0 {
			c.closeElement(i)
		}
	}
}

// closeItem closes an open item of the same list.
func (c *cleaner) closeItem(name string, lists ...string) {
	for i := len(c.stack) - 1; i >= 0; i-- {
		switch n := c.stack[i].name; {
		case n == name:
			c.closeElement(i)
			return
		case slices.Contains(lists, n), barriers[n], n == "blockquote", n == "section", n == "article":
			return
		}
	}
}

// closeUntil closes all that is within the nearest of these elements.
func (c *cleaner) closeUntil(names ...string) {
	for i := len(c.stack) - 1; i >= 0; i-- {
		if slices.Contains(names, c.stack[i].name) {
			c.closeTo(i + 1)
			c.pending = nil // a cell is a world of its own
			return
		}
	}
}

// find is the index of the nearest open element of that name; -1 if there is none, or one of the
// others is nearer.
func (c *cleaner) find(name string, stop map[string]bool) int {
	if c.open[name] == 0 {
		return -1
	}
	for i := len(c.stack) - 1; i >= 0; i-- {
		switch n := c.stack[i].name; {
		case n == name:
			return i
		case stop[n]:
			return -1
		}
	}
	return -1
}

// lastOf is the index of the nearest open element of these; -1 if there is none.
func (c *cleaner) lastOf(names map[string]bool) int {
	for i := len(c.stack) - 1; i >= 0; i-- {
		if names[c.stack[i].name] {
			return i
		}
	}
	return -1
}

// unpend drops an element that was to be opened again.
func (c *cleaner) unpend(name string) bool {
	for i := len(c.pending) - 1; i >= 0; i-- {
		if c.pending[i].name == name {
			c.pending = slices.Delete(c.pending, i, i+1)
			return true
		}
	}
	return false
}

// endOf is the index of the element that an end tag closes; -1 if there is none.
func (c *cleaner) endOf(name string) int {
	switch {
	case name == "table":
		return c.find(name, nil)
	case tableParts[name]:
		return c.find(name, tableOnly)
	case !plainElements[name]:
		return c.find(name, barriers)
	}
	for i := len(c.stack) - 1; i >= 0; i-- {
		switch n := c.stack[i].name; {
		case n == name:
			return i
		case !plainElements[n] && !formatElements[n]:
			return -1
		}
	}
	return -1
}

// closeElement closes the open element at i, and what is in it. Of that, what parsers open again
// comes again before what follows.
func (c *cleaner) closeElement(i int) {
	closed := c.stack[i].name
	inner := slices.Clone(c.stack[i+1:])
	c.closeTo(i)
	if barriers[closed] || tableParts[closed] {
		c.pending = nil
		return
	}
	for _, e := range inner {
		if formatElements[e.name] || formatElements[closed] && !impliedEnds[e.name] && !barriers[e.name] {
			c.pending = append(c.pending, e)
		}
	}
}

// closeTo closes all but the first n open elements.
func (c *cleaner) closeTo(n int) {
	for i := len(c.stack) - 1; i >= n; i-- {
		c.w.raw("</" + c.stack[i].name + ">")
		c.open[c.stack[i].name]--
	}
	c.stack = c.stack[:n]
}

// reopen opens what was closed before its time. Before a block it does so only for blocks, as
// parsers do, and what they are in.
func (c *cleaner) reopen(block bool) {
	n := len(c.pending)
	for block && n > 0 && formatElements[c.pending[n-1].name] {
		n--
	}
	for _, e := range c.pending[:n] {
		if c.reopens -= len(e.tag); c.reopens < 0 {
			break
		}
		c.w.raw(e.tag)
		c.push(e)
	}
	c.pending = slices.Delete(c.pending, 0, n)
}
