package procmail

import (
	"fmt"
	"strings"
	"testing"
)

// told is what a script comes to, for comparison: "line name=value", with the lines of the recipes
// that it is under.
func told(s *script) string {
	var out []string
	x := &expander{known: map[string]value{}}
	for i := range s.statements {
		st := &s.statements[i]
		v := x.value(st)
		text := fmt.Sprintf("%d %s=%s", st.at.Line, st.name, v.text)
		if st.unset {
			text = fmt.Sprintf("%d %s unset", st.at.Line, st.name)
		}
		if st.name == "" {
			text = fmt.Sprintf("%d recipe %s", st.at.Line, st.raw)
		}
		if len(v.open) > 0 && st.name != "" {
			text += " needs " + strings.Join(v.open, ",")
		}
		for _, r := range st.under {
			text += fmt.Sprintf(" under %d", r.at.Line)
		}
		out = append(out, text)
		if st.unset {
			delete(x.known, st.name)
		} else if st.name != "" {
			x.known[st.name] = v
		}
	}
	return strings.Join(out, "|")
}

func TestRead(t *testing.T) {
	for _, tt := range []struct{ name, rc, want string }{
		{"nothing", "", ""},
		{"comments and blanks", "# A=1\n\n  # B=2\n\t\n", ""},
		{"bare", "A=b", "1 A=b"},
		{"with a comment", "A=b # c\nB=c#d\n", "1 A=b|2 B=c#d"},
		{"several on a line", "A=1 B=2\tC=3\n", "1 A=1|1 B=2|1 C=3"},
		{"blanks around =", "A = b\n", "1 A=b"},
		{"nothing behind =", "A=\nB=x\n", "1 A=|2 B=x"},
		{"unset", "A\nunset B\n", "1 A unset|2 unset unset|2 B unset"},
		{"quotes", `A="b c" B='d $e "f"' C=g"h i"'j k'` + "\n", `1 A=b c|1 B=d $e "f"|1 C=gh ij k`},
		{"backslashes", `A=a\ b B="\"\$\a" C='\'` + "\n", `1 A=a b|1 B="$\a|1 C=\`},
		{"a quote over lines", "A=\"\n\"\nB=1\n", "1 A=\n|3 B=1"},
		{"joined lines", "A=b\\\nc\nB=\"d\\\ne\"\n", "1 A=bc|3 B=de"},
		{"CRLF", "A=b\r\nB=c\r\n", "1 A=b|2 B=c"},
		{"ISO 8859-1", "A=f\xfcr\n", "1 A=für"},
		{"variables", "A=x\nB=$A/${A}y$C\n", "1 A=x|2 B=x/xy needs $C"},
		{"variables in quotes", `A=x` + "\n" + `B="$A" C='$A'` + "\n", "1 A=x|2 B=x|2 C=$A"},
		{"set and unset", "A=x\nA\nB=$A\n", "1 A=x|2 A unset|3 B= needs $A"},
		{"defaults", "A=x E=\nB=${A:-y} C=${D:-z${A}} F=${E:-1} G=${E-2} H=${A:+3} I=${D+4}\n", "1 A=x|1 E=|2 B=x|2 C=zx|2 F=1|2 G=|2 H=3|2 I="},
		{"special parameters", "A=$1 B=$$ C=$\n", "1 A= needs $1|1 B= needs $$|1 C= needs $"},
		{"commands", "A=`date` B=\"`date`\"\n:0\nC=|date\n", "1 A= needs a command|1 B= needs a command|3 C= needs a command"},
		{"what depends on a command", "A=`x`\nB=$A\n", "1 A= needs a command|2 B= needs a command"},
		{"a recipe", ":0 c:lock\n* ^A: *b\n* < 1000\nfolder/\nA=1\n", "1 recipe folder/|5 A=1"},
		{"a recipe that pipes", ":0fw\n| formail \\\n  -A \"X: y\"\nA=1\n", "1 recipe | formail   -A \"X: y\"|4 A=1"},
		{"a block", ":0\n* ^From:.*a\n{\n  A=1\n}\nB=2\n", "4 A=1 under 1|6 B=2"},
		{"a block on one line", ":0\n* a\n{ A=1 B }\nC=2\n", "3 A=1 under 1|3 B unset under 1|4 C=2"},
		{"a block without conditions", ":0\n{ A=1 }\n", "2 A=1"},
		{"a block that depends on the recipe before", ":0 E\n{ A=1 }\n:0a\n{ B=1 }\n", "2 A=1 under 1|4 B=1 under 3"},
		{"blocks in blocks", ":0\n* a\n{\n:0\n* b\n{ A=1 }\nB=2\n:0\n{ C=3 }\n}\nD=4\n", "6 A=1 under 1 under 4|7 B=2 under 1|9 C=3 under 1|11 D=4"},
		{"a condition over lines, a comment between", ":0\n* a \\\n  b\n# no condition\n* c\n{ A=1 }\n", "6 A=1 under 1"},
		{"a command in a recipe with conditions", ":0\n* a\nA=|x\n", "3 A= needs a command under 1"},
	} {
		s := read(File{"rc", []byte(tt.rc)}, nil)
		if got := told(s); got != tt.want || len(s.errs) > 0 {
			t.Errorf("%s: %q\ngot  %s\nwant %s\n%v", tt.name, tt.rc, got, tt.want, s.errs)
		}
	}
}

func TestReadIncludes(t *testing.T) {
	s := read(File{"rc", []byte("A=1\n:0\n* a\n{ INCLUDERC=$X/more.rc }\nINCLUDERC=other.rc\n")}, map[string]File{"more.rc": {"d/more.rc", []byte("\nB=$A\n")}})
	if got, want := told(s), "1 A=1|4 INCLUDERC=/more.rc needs $X under 2|2 B=1 under 2|5 INCLUDERC=other.rc"; got != want || len(s.errs) > 0 {
		t.Errorf("got  %s\nwant %s\n%v", got, want, s.errs)
	}
}

func TestReadErrors(t *testing.T) {
	for _, tt := range []struct{ rc, want string }{
		{"A=1\n\nB=\"x\nC=1\n", "rc:3: the quote \" is not closed"},
		{"A=`x\n", "rc:1: the quote ` is not closed"},
		{"\n:0\n* a\n", "rc:2: the recipe has no action"},
		{":0\n* a\n{ A=1\n", "rc:1: the block of this recipe is not closed"},
		{"A=1 }\n", "rc:1: there is no block that this } could close"},
		{"A=1\n* b\n", "rc:2: neither an assignment nor a recipe: \"* b\""},
		{"| x\n! y\n", "rc:1: neither an assignment nor a recipe: \"| x\"\nrc:2: neither an assignment nor a recipe: \"! y\""},
		{"A -x\n", "rc:1: neither an assignment nor a recipe: \"A -x\""},
		{"A=\x00\n", "rc: no text: it holds a NUL"},
		{strings.Repeat(":0\n{\n", 30), "rc:41: more than 20 blocks in one another"},
		{strings.Repeat("A\n", maxStatements+1), "rc: more than 20000 assignments and recipes"},
		{"INCLUDERC=self.rc\n", "self.rc:1: more than 20 files are included"},
	} {
		s := read(File{"rc", []byte(tt.rc)}, map[string]File{"self.rc": {"self.rc", []byte("INCLUDERC=self.rc\n")}})
		if got := s.errs.Error(); got != tt.want {
			t.Errorf("%.40q: got %s\nwant %s", tt.rc, got, tt.want)
		}
	}
	if n := len(read(File{"rc", []byte(strings.Repeat("=\n", 1000))}, nil).errs); n != maxErrors {
		t.Errorf("%d errors, want %d", n, maxErrors)
	}
}
