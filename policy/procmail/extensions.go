package procmail

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Limits of a regular expression of extensions.
const (
	maxExtensions = 5000    // that it comes to
	maxGroups     = 10      // in one another
	maxProducts   = 500_000 // texts that are put together on the way
)

// extensions gives the patterns of names that the alternatives of a regular expression of
// extensions come to ("vb[se]?|html?"), and the errors of those of which there is no list.
func extensions(expr string) (patterns []string, errs []error) {
	seen := map[string]bool{}
	x := &expansion{}
	for _, alternative := range alternatives(strings.ToLower(expr)) {
		if alternative == "" {
			continue
		}
		list, err := x.expand(alternative)
		if err == nil && len(seen)+len(list) > maxExtensions {
			return patterns, append(errs, fmt.Errorf("it comes to more than %d extensions", maxExtensions))
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%.60q: %w", alternative, err))
			continue
		}
		for _, ext := range list {
			if p := "*." + strings.TrimPrefix(ext, "."); ext != "" && !seen[p] {
				seen[p] = true
				patterns = append(patterns, p)
			}
		}
	}
	return patterns, errs
}

// alternatives splits an expression at each "|" that is in no group. A group around all of it is
// taken away first.
func alternatives(expr string) []string {
	expr = strings.TrimSpace(expr)
	if inner, ok := strings.CutPrefix(expr, "("); ok && strings.HasSuffix(inner, ")") && len(split(expr)) == 1 {
		if inner = strings.TrimSuffix(inner, ")"); balanced(inner) {
			return alternatives(inner)
		}
	}
	return split(expr)
}

func split(expr string) []string {
	var out []string
	start, depth, class := 0, 0, false
	for i := 0; i < len(expr); i++ {
		switch c := expr[i]; {
		case c == '\\':
			i++
		case class:
			class = c != ']'
		case c == '[':
			class = true
		case c == '(':
			depth++
		case c == ')':
			depth--
		case c == '|' && depth == 0:
			out = append(out, expr[start:i])
			start = i + 1
		}
	}
	return append(out, expr[start:])
}

// balanced reports whether no group is closed that was not opened in it.
func balanced(expr string) bool {
	depth := 0
	for i := 0; i < len(expr) && depth >= 0; i++ {
		switch expr[i] {
		case '\\':
			i++
		case '(':
			depth++
		case ')':
			depth--
		}
	}
	return depth == 0
}

var (
	errRepeat = errors.New("what may be repeated has no list of extensions")
	errGroup  = errors.New("the parentheses do not match")
	errClass  = errors.New("the brackets do not match")
	errMany   = fmt.Errorf("it comes to more than %d extensions", maxExtensions)
	errSyntax = errors.New("not understood")
)

// expand gives all texts that a regular expression matches, as patterns of path.Match.
func (x *expansion) expand(expr string) ([]string, error) {
	x.text, x.pos = expr, 0
	out, err := x.alternation(0)
	if err == nil && x.pos < len(x.text) {
		err = errGroup
	}
	return out, err
}

type expansion struct {
	text     string
	pos      int
	products int // so far
}

func (x *expansion) alternation(depth int) ([]string, error) {
	if depth > maxGroups {
		return nil, fmt.Errorf("more than %d groups in one another", maxGroups)
	}
	var out []string
	for {
		list, err := x.sequence(depth)
		if err != nil {
			return nil, err
		}
		if out = append(out, list...); len(out) > maxExtensions {
			return nil, errMany
		}
		if x.pos == len(x.text) || x.text[x.pos] != '|' {
			return out, nil
		}
		x.pos++
	}
}

func (x *expansion) sequence(depth int) ([]string, error) {
	out := []string{""}
	for x.pos < len(x.text) && x.text[x.pos] != '|' && x.text[x.pos] != ')' {
		item, err := x.item(depth)
		if err == nil {
			item, err = x.repeated(item)
		}
		if err != nil {
			return nil, err
		}
		if out, err = x.product(out, item); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (x *expansion) product(a, b []string) ([]string, error) {
	if len(b) == 1 && b[0] == "" {
		return a, nil
	}
	if x.products += len(a) * len(b); len(a)*len(b) > maxExtensions || x.products > maxProducts {
		return nil, errMany
	}
	out := make([]string, 0, len(a)*len(b))
	for _, head := range a {
		for _, tail := range b {
			if len(head)+len(tail) > maxPattern {
				return nil, fmt.Errorf("longer than %d bytes", maxPattern)
			}
			out = append(out, head+tail)
		}
	}
	return out, nil
}

// item takes one character, class or group.
func (x *expansion) item(depth int) ([]string, error) {
	c := x.text[x.pos]
	x.pos++
	switch c {
	case '(':
		x.text = x.text[:x.pos] + strings.TrimPrefix(x.text[x.pos:], "?:")
		out, err := x.alternation(depth + 1)
		if err == nil && (x.pos == len(x.text) || x.text[x.pos] != ')') {
			err = errGroup
		}
		x.pos++
		return out, err
	case '[':
		return x.class()
	case '.':
		return []string{"?"}, nil
	case '^', '$': // the Sanitizer had its own anchors around it
		return []string{""}, nil
	case '\\':
		return x.escaped()
	case '*', '+', '{', '?':
		return nil, errRepeat
	case '/', ' ', '\t':
		return nil, errSyntax
	}
	_, n := utf8.DecodeRuneInString(x.text[x.pos-1:])
	x.pos += n - 1
	return []string{escapeGlob(x.text[x.pos-n:x.pos], "")}, nil
}

func (x *expansion) escaped() ([]string, error) {
	if x.pos == len(x.text) {
		return nil, errSyntax
	}
	c := x.text[x.pos]
	x.pos++
	switch {
	case c == 'd':
		return characters("0123456789"), nil
	case c|0x20 >= 'a' && c|0x20 <= 'z' || c >= '0' && c <= '9' || c == '/':
		return nil, errSyntax
	}
	return []string{escapeGlob(string([]byte{c}), "")}, nil
}

// repeated applies a "?" behind an item; of other repetitions only those of any character have a
// pattern.
func (x *expansion) repeated(item []string) ([]string, error) {
	if x.pos == len(x.text) {
		return item, nil
	}
	any := len(item) == 1 && item[0] == "?"
	switch c := x.text[x.pos]; {
	case c == '?' && any:
		item = []string{"", "?"}
	case c == '?':
		item = append(item[:len(item):len(item)], "")
	case c == '*' && any:
		item = []string{"*"}
	case c == '+' && any:
		item = []string{"?*"}
	case c == '*' || c == '+' || c == '{':
		return nil, errRepeat
	default:
		return item, nil
	}
	x.pos++
	return item, nil
}

// class takes "[a-z_]"; one that excludes characters stays as it is.
func (x *expansion) class() ([]string, error) {
	end := strings.IndexByte(x.text[x.pos+min(1, len(x.text)-x.pos):], ']')
	if end < 0 {
		return nil, errClass
	}
	inner := x.text[x.pos : x.pos+1+end]
	x.pos += end + 2
	if rest, not := strings.CutPrefix(inner, "^"); not {
		p := "[^" + rest + "]"
		if !isPattern(p) || strings.ContainsAny(rest, `[\`) {
			return nil, errSyntax
		}
		return []string{p}, nil
	}
	if strings.ContainsAny(inner, `[\/`) {
		return nil, errSyntax
	}
	var chars []byte
	for i := 0; i < len(inner); i++ {
		if i+2 < len(inner) && inner[i+1] == '-' {
			if inner[i] > inner[i+2] || inner[i+2] >= 0x80 {
				return nil, errSyntax
			}
			for c := inner[i]; c <= inner[i+2]; c++ {
				chars = append(chars, c)
			}
			i += 2
			continue
		}
		chars = append(chars, inner[i])
	}
	return characters(string(chars)), nil
}

func characters(s string) []string {
	out := make([]string, 0, len(s))
	for _, r := range s {
		out = append(out, escapeGlob(string(r), ""))
	}
	return out
}
