package sanitize

import (
	"strconv"
	"strings"
)

// A look is what a style attribute says that matters for what is seen.
type look struct {
	none, invisible, away, empty bool    // display, visibility or opacity; beyond the window; of no size
	size                         float64 // of the font, in pixels or as a part of that around it
	relative, sized              bool    // so the size is; there is one
	color, background            string  // as six digits; empty if it is not told, "?" if it is a picture or not known
}

// styleOf reads a style attribute.
func styleOf(v string) look {
	var l look
	var clip, small, zero bool
	for decl := range strings.SplitSeq(v, ";") {
		name, value, ok := strings.Cut(decl, ":")
		if !ok {
			continue
		}
		name = strings.ToLower(strings.TrimSpace(name))
		value = strings.ToLower(strings.TrimSpace(value))
		value = strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(strings.TrimSuffix(value, "important")), "!"))
		switch name {
		case "display":
			l.none = value == "none"
		case "visibility":
			l.invisible = value == "hidden" || value == "collapse"
		case "opacity":
			f, err := strconv.ParseFloat(strings.TrimSuffix(value, "%"), 64)
			l.invisible = l.invisible || err == nil && f < 0.02
		case "font-size":
			l.size, l.relative, l.sized = fontSize(value)
		case "overflow", "overflow-y", "overflow-x":
			clip = clip || value == "hidden" || value == "clip"
		case "height", "max-height", "width", "max-width":
			n, ok := pixels(value)
			zero = zero || ok && n == 0
			small = small || ok && n <= 1
		case "text-indent", "left", "top", "right", "margin-left", "margin-top":
			n, ok := pixels(value)
			l.away = l.away || ok && n <= -900
		case "color":
			l.color = colorOf(value)
		case "background", "background-color", "background-image":
			if c := backgroundOf(value); c != "" && l.background != "?" {
				l.background = c
			}
		}
	}
	l.empty = clip && (zero || small)
	return l
}

// hides reports whether a style by itself makes that nothing of the element is seen, whatever is
// around and in it.
func (l *look) hides() bool { return l.none || l.away || l.empty || l.invisible }

// units are those of lengths, about.
var units = []struct {
	name   string
	pixels float64
}{{"px", 1}, {"pt", 4. / 3}, {"rem", 16}, {"em", 16}, {"ex", 8}, {"in", 96}, {"cm", 38}, {"mm", 3.8}, {"%", 1}}

// pixels reads a length.
func pixels(v string) (float64, bool) {
	factor := 1.0
	for _, u := range units {
		if rest, ok := strings.CutSuffix(v, u.name); ok {
			v, factor = rest, u.pixels
			break
		}
	}
	f, err := strconv.ParseFloat(strings.TrimSpace(v), 64)
	return f * factor, err == nil
}

func fontSize(v string) (size float64, relative, ok bool) {
	for _, unit := range []string{"em", "%"} {
		if rest, is := strings.CutSuffix(v, unit); is && !strings.HasSuffix(v, "rem") {
			f, err := strconv.ParseFloat(strings.TrimSpace(rest), 64)
			if unit == "%" {
				f /= 100
			}
			return f, true, err == nil
		}
	}
	size, ok = pixels(v)
	return size, false, ok
}

// colorOf gives a color as six hexadecimal digits; "?" if it is none that is known.
func colorOf(v string) string {
	v = strings.ToLower(strings.TrimSpace(v))
	if c, ok := namedColors[v]; ok {
		return c
	}
	if inner, ok := strings.CutPrefix(v, "rgb("); ok {
		return rgbOf(strings.TrimSuffix(inner, ")"))
	}
	hex := strings.TrimPrefix(v, "#")
	if strings.Trim(hex, "0123456789abcdef") != "" {
		return "?"
	}
	switch len(hex) {
	case 3:
		return string([]byte{hex[0], hex[0], hex[1], hex[1], hex[2], hex[2]})
	case 6:
		return hex
	}
	return "?"
}

func rgbOf(v string) string {
	fields := strings.FieldsFunc(v, func(r rune) bool { return r == ',' || r == ' ' })
	if len(fields) != 3 {
		return "?"
	}
	out := ""
	for _, f := range fields {
		n, err := strconv.ParseUint(f, 10, 8)
		if err != nil {
			return "?"
		}
		out += string("0123456789abcdef"[n>>4]) + string("0123456789abcdef"[n&15])
	}
	return out
}

// backgroundOf gives the color of a background; "?" if there is a picture or more.
func backgroundOf(v string) string {
	switch v {
	case "", "none", "transparent", "inherit", "initial":
		return ""
	}
	return colorOf(v)
}

var namedColors = map[string]string{
	"white": "ffffff", "black": "000000", "red": "ff0000", "green": "008000", "blue": "0000ff", "yellow": "ffff00",
	"gray": "808080", "grey": "808080", "silver": "c0c0c0", "navy": "000080", "maroon": "800000", "purple": "800080",
	"teal": "008080", "lime": "00ff00", "aqua": "00ffff", "fuchsia": "ff00ff", "orange": "ffa500", "snow": "fffafa",
	"ivory": "fffff0", "whitesmoke": "f5f5f5", "transparent": "?",
}

// areAlike reports whether a text in one color cannot be read on the other.
func areAlike(a, b string) bool {
	if len(a) != 6 || len(b) != 6 {
		return false
	}
	for i := 0; i < 6; i += 2 {
		x, _ := strconv.ParseUint(a[i:i+2], 16, 8)
		y, _ := strconv.ParseUint(b[i:i+2], 16, 8)
		if max(x, y)-min(x, y) > 6 {
			return false
		}
	}
	return true
}
