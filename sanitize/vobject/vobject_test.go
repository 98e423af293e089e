package vobject

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// show is what a reader makes of a file.
func show(file string) string {
	r := NewReader([]byte(file))
	var out []string
	var l Line
	for r.Next(&l) {
		s := l.Name
		for _, p := range l.Params {
			s += fmt.Sprintf(" %s=%s", p.Name, p.Value)
		}
		if l.Colon {
			s += " :"
		}
		s += string(l.Value.Bytes(1000))
		for _, f := range []struct {
			is   bool
			word string
		}{{l.Divided, "divided"}, {l.Over, "over"}, {l.Base64(), "base64"}, {l.Quoted(), "quoted"}} {
			if f.is {
				s += " [" + f.word + "]"
			}
		}
		out = append(out, s)
	}
	if r.BareCR {
		out = append(out, "[bare CR]")
	}
	return strings.Join(out, " | ")
}

func TestLines(t *testing.T) {
	for _, tt := range []struct{ name, file, want string }{
		{"nothing", "", ""},
		{"line ends", "A:1\r\nB:2\nC:3", "A :1 | B :2 | C :3"},
		{"folds", "A:1\r\n 2\n\t3\r\nB:4", "A :123 | B :4"},
		{"a fold before anything", " A:1\n\n \n  B:2", "A :1 | B :2"},
		{"bare CR", "A:1\rB:2", "A :1 | B :2 | [bare CR]"},
		{"bare CR at the end", "A:1\r", "A :1"},
		{"a fold in the name", "AT\r\n TACH:x", "ATTACH :x [divided]"},
		{"a fold in parameters is usual", "A;B=\r\n c;\r\n D=e:x", "A B=c D=e :x"},
		{"a control character in the name", "AT\x00TA\x7fCH:x", "ATTACH :x [divided]"},
		{"a group", "item1.url:x", "URL :x"},
		{"blanks around the name", " URL :x", "URL :x"},
		{"quotes", `A;B="c;d:e",f;G=h:i"j`, `A B=c;d:e B=f G=h :i"j`},
		{"a quote that is not closed", `A;B="c;D=e:f`, `A B=c D=e :f`},
		{"parameters of vCard 2.1", "PHOTO;JPEG;BASE64:AA\nBB\n CC\n\nX:1", "PHOTO TYPE=JPEG TYPE=BASE64 :AABB CC [base64] | X :1"},
		{"base64 up to the next property", "KEY;ENCODING=b:AA\nBB\nEND:x", "KEY ENCODING=b :AABB [base64] | END :x"},
		{"quoted-printable", "NOTE;ENCODING=QUOTED-PRINTABLE:a=\r\nb= \n c\nX:1", "NOTE ENCODING=QUOTED-PRINTABLE :ab c [quoted] | X :1"},
		{"quoted-printable that ends the file", "NOTE;QUOTED-PRINTABLE:a=", "NOTE TYPE=QUOTED-PRINTABLE :a= [quoted]"},
		{"no colon", "A;B=c\nhello <b>", "A B=cA;B=c | HELLO<B>hello <b>"},
		{"an empty value", "A:\n b", "A :b"},
		{"a byte order mark", "\xef\xbb\xbfBEGIN:x", "BEGIN :x"},
		{"a name without an end", strings.Repeat("A", maxHead) + "B:x", strings.Repeat("A", maxHead) + strings.Repeat("A", 1000) + " [over]"},
		{"many parameters", "A" + strings.Repeat(";B", maxParams+1) + ":x", "A" + strings.Repeat(" TYPE=B", maxParams) + " :x [over]"},
	} {
		if got := show(tt.file); got != tt.want {
			t.Errorf("%s: got\n%.300q\nwant\n%.300q", tt.name, got, tt.want)
		}
	}
}

func TestKindOf(t *testing.T) {
	for _, tt := range []struct {
		media, name, head string
		want              Kind
	}{
		{"text/calendar", "", "", Calendar}, {"text/x-vcard", "", "", Card}, {"text/directory", "", "", Card},
		{"application/octet-stream", "x.ICS.", "", Calendar}, {"text/plain", "a.vcf", "", Card},
		{"text/plain", "", "\xef\xbb\xbf\r\nbegin:vcalendar", Calendar}, {"image/png", "", "B\x00E\x00G\x00I\x00N\x00:\x00V\x00C\x00A\x00R\x00D\x00", Card},
		{"text/plain", "a.txt", "BEGIN:VEVENT", None}, {"", "", "", None},
	} {
		var names []string
		if tt.name != "" {
			names = []string{tt.name}
		}
		if got := KindOf(tt.media, names, []byte(tt.head)); got != tt.want {
			t.Errorf("%v: %d, want %d", tt, got, tt.want)
		}
	}
}

// FuzzReader looks for a text whose places are not those of its bytes, and for a reader that does not
// go on.
func FuzzReader(f *testing.F) {
	files, err := filepath.Glob("../../testdata/cases/i-*.case")
	if err != nil || len(files) == 0 {
		f.Fatal("no seeds")
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r := NewReader(b)
		var l Line
		for before := -1; r.Next(&l); before = r.pos {
			if r.pos <= before {
				t.Fatalf("the reader stays at byte %d", r.pos)
			}
			if l.NameAt < 0 || l.NameAt > len(b) {
				t.Fatalf("the name of %+v is at %d", l, l.NameAt)
			}
			v := l.Value.Bytes(l.Value.Len())
			if len(v) != l.Value.Len() {
				t.Fatalf("%d bytes, said to be %d", len(v), l.Value.Len())
			}
			for i, c := range v {
				if at := l.Value.At(i); at >= len(b) || b[at] != c {
					t.Fatalf("byte %d of %q is said to be at %d", i, v, at)
				}
			}
			blanks, at := l.Value.WithBlanks(1000)
			if len(blanks) != len(at) {
				t.Fatalf("%d bytes at %d places", len(blanks), len(at))
			}
		}
	})
}
