package script

import (
	"fmt"
	"strings"
)

// A disguise is a way to write a script so that nobody can read it.
type disguise int

const (
	escaped   disguise = iota // by characters that the command processor drops
	sliced                    // from pieces of variables
	numbered                  // characters as numbers
	joined                    // from short strings
	sealed                    // by the encoder of Microsoft
	disguises                 // how many there are
)

// disguiseNames say what they are, and from how many places on it is one: honest scripts do each of it
// here and there.
var disguiseNames = [disguises]struct {
	is   string
	from int
}{
	{"words are broken by ^ or `", 12}, {"commands are put together from pieces of variables", 8}, {"characters are written as numbers", 24},
	{"words are put together from short strings", 24}, {"it is encoded (Script Encoder)", 1},
}

// maxMarked is how many lines are searched for disguises.
const maxMarked = 5000

// findDisguise counts the signs of disguises in a line.
func (t *text) findDisguise(line string) {
	if t.marked++; t.marked > maxMarked {
		return
	}
	t.hidden[escaped] += broken(line)
	t.hidden[sliced] += strings.Count(line, ":~")
	t.hidden[sealed] += strings.Count(line, "#@~^")
	for _, s := range []string{`\x`, `\u00`, "chr(", "Chr(", "ChrW(", "[char]", "&H"} {
		t.hidden[numbered] += strings.Count(line, s)
	}
	for _, s := range []string{`"+"`, `'+'`, `" + "`, `' + '`, `"&"`, `" & "`} {
		t.hidden[joined] += strings.Count(line, s)
	}
}

// broken counts words with a ^ or a ` in them.
func broken(line string) (n int) {
	for i := 1; i+1 < len(line); i++ {
		if (line[i] == '^' || line[i] == '`') && isLetter(line[i-1]) && isLetter(line[i+1]) {
			n++
		}
	}
	return n
}

func isLetter(c byte) bool { c |= 0x20; return c >= 'a' && c <= 'z' }

// scripts are the kinds that run on Windows by a double click.
func (k *kind) isWindowsScript() bool {
	switch k.check {
	case batch, powershell, visualBasic, javascript, application:
		return true
	}
	return false
}

// marks tell how a script is made unreadable.
func (t *text) marks(k *kind) (list []string) {
	if !k.isWindowsScript() {
		return nil
	}
	for d, n := range t.hidden {
		if n >= disguiseNames[d].from && n > 0 {
			list = append(list, fmt.Sprintf("%s (%d times)", disguiseNames[d].is, n))
		}
	}
	if t.encoded > 0 && len(t.evidence[hides]) > 0 {
		list = append(list, fmt.Sprintf("%d bytes are encoded, and decoded by %s", t.encoded, strings.Join(t.evidence[hides], ", ")))
	}
	return list
}

// downloadRun says what a script downloads, or has encoded in it, to run it; empty if it does not do both.
func (t *text) downloadRun(k *kind) string {
	if !k.isWindowsScript() || len(t.evidence[runs]) == 0 {
		return ""
	}
	by := "runs it by " + strings.Join(t.evidence[runs], ", ")
	switch {
	case len(t.evidence[downloads]) > 0 && len(t.places) > 0:
		return fmt.Sprintf("downloads (%s) from %s, and %s", strings.Join(t.evidence[downloads], ", "), strings.Join(t.places, ", "), by)
	case t.encoded > 0 && len(t.evidence[hides]) > 0:
		return fmt.Sprintf("decodes (%s) %d bytes that it carries, and %s", strings.Join(t.evidence[hides], ", "), t.encoded, by)
	}
	return ""
}
