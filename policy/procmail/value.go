package procmail

import "strings"

// Limits of values: "A=$A$A" doubles one.
const (
	maxValue   = 64 << 10 // bytes of one
	maxValues  = 8 << 20  // bytes of all
	maxDefault = 8        // "${A:-${B:-...}}" in one another
	maxOpen    = 5        // names that are told of one value
)

// A value is what an assignment comes to.
type value struct {
	at   Place
	text string
	raw  string
	// open are what it depends on and is not known: variables that the files do not set, and
	// commands.
	open []string
}

// An expander works out values as procmail does (procmailrc(5), "Environment variable").
type expander struct {
	known  map[string]value
	total  int // bytes of all values
	tooBig bool
}

// value works out one value.
func (e *expander) value(s *statement) value {
	v := value{at: s.at, raw: s.raw}
	if s.output {
		v.open = []string{"a command"}
		return v
	}
	var b strings.Builder
	e.expand(&b, &v, s.raw, 0)
	v.text = b.String()
	if e.total += len(v.text); e.total > maxValues {
		e.tooBig = true
	}
	return v
}

func (e *expander) expand(b *strings.Builder, v *value, raw string, depth int) {
	quote := byte(0)
	for i := 0; i < len(raw) && !e.tooBig; i++ {
		switch c := raw[i]; {
		case c == '\\' && quote != '\'' && i+1 < len(raw):
			if i++; quote == '"' && !strings.ContainsRune("\"$`\\\n", rune(raw[i])) {
				b.WriteByte('\\')
			}
			if raw[i] != '\n' {
				b.WriteByte(raw[i])
			}
		case quote == 0 && (c == '"' || c == '\''):
			quote = c
		case c == quote:
			quote = 0
		case c == '`' && quote != '\'':
			v.needs("a command")
			end := strings.IndexByte(raw[i+1:], '`')
			if end < 0 {
				return
			}
			i += 1 + end
		case c == '$' && quote != '\'':
			i += e.variable(b, v, raw[i+1:], depth)
		default:
			b.WriteByte(c)
		}
		e.tooBig = e.tooBig || b.Len() > maxValue
	}
}

func (v *value) needs(what string) {
	for _, o := range v.open {
		if o == what {
			return
		}
	}
	if len(v.open) < maxOpen {
		v.open = append(v.open, what)
	}
}

// variable expands what follows a "$", and tells how many bytes that were.
func (e *expander) variable(b *strings.Builder, v *value, s string, depth int) int {
	if strings.HasPrefix(s, "{") {
		return e.braced(b, v, s, depth)
	}
	n := 0
	for n < len(s) && isNameByte(s[n], n == 0) {
		n++
	}
	if n == 0 { // $1, $$, $? and the like
		n = min(1, len(s))
		v.needs("$" + s[:n])
		return n
	}
	e.put(b, v, s[:n])
	return n
}

// braced expands "${NAME}", and "${NAME:-text}" and the like.
func (e *expander) braced(b *strings.Builder, v *value, s string, depth int) int {
	end := closingBrace(s)
	if end < 0 || depth == maxDefault {
		v.needs("$" + s[:min(len(s), 20)])
		return len(s)
	}
	inner := s[1:end]
	n := 0
	for n < len(inner) && isNameByte(inner[n], n == 0) {
		n++
	}
	name, op := inner[:n], inner[n:]
	k, set := e.known[name]
	full := set && (k.text != "" || len(k.open) > 0)
	switch {
	case name == "":
		v.needs("$" + s[:end+1])
	case op == "":
		e.put(b, v, name)
	case strings.HasPrefix(op, ":-") && !full, strings.HasPrefix(op, "-") && !set:
		e.expand(b, v, strings.TrimPrefix(strings.TrimPrefix(op, ":"), "-"), depth+1)
	case strings.HasPrefix(op, ":+") && full, strings.HasPrefix(op, "+") && set:
		e.expand(b, v, strings.TrimPrefix(strings.TrimPrefix(op, ":"), "+"), depth+1)
	case strings.HasPrefix(op, ":-"), strings.HasPrefix(op, "-"):
		e.put(b, v, name)
	case strings.HasPrefix(op, ":+"), strings.HasPrefix(op, "+"):
	default:
		v.needs("$" + s[:end+1])
	}
	return end + 1
}

// closingBrace finds the brace that closes the one at the beginning; -1 if there is none.
func closingBrace(s string) int {
	open := 0
	for i := range len(s) {
		switch s[i] {
		case '{':
			open++
		case '}':
			if open--; open == 0 {
				return i
			}
		}
	}
	return -1
}

// put writes the value of a variable.
func (e *expander) put(b *strings.Builder, v *value, name string) {
	k, ok := e.known[name]
	if !ok {
		v.needs("$" + name)
		return
	}
	for _, o := range k.open {
		v.needs(o)
	}
	b.WriteString(k.text)
}
