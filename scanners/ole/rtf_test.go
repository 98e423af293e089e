package ole

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"rastel/sanitize/eml"
	"rastel/scanners"
	"rastel/scanners/scannertest"
)

// object is an embedded object in the form of OLE 1.
func object(class, native string) string {
	b := binary.LittleEndian.AppendUint32([]byte{1, 5, 0, 0}, 2)
	return string(b) + sized(class+"\x00") + sized("") + sized("") + sized(native)
}

func digits(s string) string { return hex.EncodeToString([]byte(s)) }

func expandRTF(t testing.TB, content string) (members, findings []string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	size, start := int64(0), time.Now()
	list, err := RTF{}.Expand(ctx, part(t, []byte(content), "a.rtf"), scanners.NewBudget(limits, eml.SpoolOptions{}), func(m *eml.Part) error {
		defer m.Release()
		b, err := io.ReadAll(m.Content())
		if err != nil {
			t.Fatal(err)
		}
		size += m.Size
		members = append(members, fmt.Sprintf("%q %.20s", m.Names, b))
		return nil
	})
	if err != nil && !errors.Is(err, scanners.ErrBudget) {
		t.Errorf("got %v, want no error but that of the budget", err)
	}
	if took := time.Since(start); size > limits.Bytes || len(members) > limits.Members || took > hang {
		t.Errorf("%d members, %d bytes, %v", len(members), size, took)
	}
	for _, f := range withoutOffice(t, list) {
		if f.Part == nil || f.Unexamined == (f.Check == rtfAmbiguous) {
			t.Errorf("finding %+v", f)
		}
		findings = append(findings, f.Check)
	}
	return members, findings
}

// objectDigits is an object with a packed file, and objectFound what comes of it.
var objectDigits = digits(object("Package", packedFile("l", "a.exe", "p", "content")))

const objectFound = `["l" "a.exe" "p"] content`

func TestOpensObjectsInRTF(t *testing.T) {
	spaced := strings.Join(strings.Split(objectDigits, ""), " \r\n")
	half := len(objectDigits)/2 | 1 // between two digits of one byte
	first, second := objectDigits[:half], objectDigits[half:]
	escaped := fmt.Sprintf("%s\\'%02x%s", first[:len(first)-1], first[len(first)-1], second)
	for name, content := range map[string]string{
		"plain":                       `{\rtf1{\object\objemb{\*\objdata ` + objectDigits + `}{\result x}}}`,
		"upper case":                  `{\rtf1{\object{\*\objdata ` + strings.ToUpper(objectDigits) + `}}}`,
		"blanks and line ends":        `{\rt{\object{\*\objdata ` + spaced + `}}}`,
		"other letters":               `{\rtf1{\object{\*\objdata ` + strings.ReplaceAll(spaced, " ", "xyz!") + `}}}`,
		"not in a group":              `{\rtf1{\object\objdata ` + objectDigits + `}}`,
		"a parameter":                 `{\rtf1{\object\objdata0105 ` + objectDigits + `}}`,
		"a line end behind the word":  "{\\rtf1{\\object{\\*\\objdata\r\n" + objectDigits + `}}}`,
		"control words between":       `{\rtf1{\object{\*\objdata ` + first + `\par \foo12 ` + second + `}}}`,
		"symbols between":             `{\rtf1{\object{\*\objdata ` + first + `\~\-` + second + `}}}`,
		"an ignorable group":          `{\rtf1{\object{\*\objdata ` + first + `{\*\foo abcdef}` + second + `}}}`,
		"an ignorable group, divided": "{\\rtf1{\\object{\\*\\objdata " + first + "{\r\n\\*\n\\foo abcdef}" + second + `}}}`,
		"groups in groups":            `{\rtf1{\object{\*\objdata ` + first + `{\*\foo {{ab}{\*\bar cd}}ef}` + second + `}}}`,
		"digits in a group":           `{\rtf1{\object{\*\objdata {{` + first + `}{}{` + second + `}}}}}`,
		"digits in a group of a word": `{\rtf1{\object{\*\objdata ` + first + `{\foo ` + second + `}}}}`,
		"digits behind a mark":        `{\rtf1{\object{\*\objdata ` + first + `{\*\foo ` + second + `}}}}`,
		"other digits in a group":     `{\rtf1{\object{\*\objdata ` + first + `{\foo abc}` + second + `}}}`,
		"an escape":                   `{\rtf1{\object{\*\objdata ` + first + `\'ab` + second + `}}}`,
		"an escape for a digit":       `{\rtf1{\object{\*\objdata ` + escaped + `}}}`,
		"digits in an escape":         `{\rtf1{\object{\*\objdata ` + objectDigits[:half-1] + `\'` + objectDigits[half-1:] + `}}}`,
		"binary":                      `{\rtf1{\object{\*\objdata \bin` + fmt.Sprint(len(objectDigits)/2) + " " + object("Package", packedFile("l", "a.exe", "p", "content")) + `}}}`,
		"binary before":               `{\rtf1{\bin5 }}}}}{\object{\*\objdata ` + objectDigits + `}}}`,
		"an ignorable destination":    `{\rtf1{\*\foo{\object{\*\objdata ` + objectDigits + `}}}`,
		"an escaped brace":            `{\rtf1 \{\} \\{\object{\*\objdata ` + objectDigits + `}}}`,
		"behind the end":              `{\rtf1 x}{\object{\*\objdata ` + objectDigits + `}}`,
		"many braces before":          `{\rtf1 }}}}}}}}{\object{\*\objdata ` + objectDigits + `}}`,
		"a data store":                `{\rtf1{\*\datastore ` + objectDigits + `}}`,
		"another version":             `{\rtf1{\object{\*\objdata ffffffff` + objectDigits[8:] + `}}}`,
		"no class":                    `{\rtf1{\object{\*\objdata ` + digits(object("", packedFile("l", "a.exe", "p", "content"))) + `}}}`,
	} {
		t.Run(name, func(t *testing.T) {
			got, findings := expandRTF(t, content)
			if !slices.Contains(got, objectFound) || name == "plain" && len(got) != 1 || len(findings) > 0 && !slices.Contains(findings, rtfAmbiguous) {
				t.Errorf("%s: got %q and %q", content, got, findings)
			}
		})
	}
}

func TestOpensOtherObjectsInRTF(t *testing.T) {
	file := string(compoundFile(dir{"x": "x"}))
	found := fmt.Sprintf("%q %.20s", []string(nil), file)
	for name, test := range map[string]struct{ content, want string }{
		"compound file":               {`{\rtf1{\object{\*\objdata ` + digits(object("Word.Document.8", file)) + `}}}`, found},
		"no header":                   {`{\rtf1{\object{\*\objdata ` + digits("x"+file) + `}}}`, found},
		"behind the object":           {`{\rtf1{\object{\*\objdata ` + digits(object("x", "y")+file) + `}}}`, found},
		"behind other bytes":          {`{\rtf1{\object{\*\objdata ` + digits(object("x", "y"+file)) + `}}}`, found},
		"data":                        {`{\rtf1{\object{\*\objdata ` + digits(object("Equation.3", "equation")) + `}}}`, "[] equation"},
		"a picture that is a program": {`{\rtf1{\pict\pngblip\picw1{\*\blipuid abcd}` + digits("MZ program") + `}}`, "[] MZ program"},
		"a binary picture":            {`{\rtf1{\pict\wmetafile8\bin5 MZ}}}}}`, "[] MZ}}}"},
	} {
		t.Run(name, func(t *testing.T) {
			if got, findings := expandRTF(t, test.content); !slices.Contains(got, test.want) || len(findings) > 0 {
				t.Errorf("got %q and %q, want %q", got, findings, test.want)
			}
		})
	}
}

func TestHasNothingToSayOfPlainRTF(t *testing.T) {
	for _, content := range []string{
		`{\rtf1\ansi{\fonttbl{\f0 Times;}}\f0 hello \'e4 \u228?\par}`, `{\rtf1`, `{\rt`, `{\rtf1 hello`,
		`{\rtf1{\pict\pngblip{\*\blipuid ab}` + digits("\x89PNG\r\n\x1a\n") + `}}`, `{\rtf1{\pict}{\object{\*\objdata }}}`,
		`{\rtf1{\pict\emfblip ` + digits("\x01\x00\x00\x00"+strings.Repeat("x", 36)+" EMF") + `}}`,
	} {
		if got, findings := expandRTF(t, content); len(got)+len(findings) > 0 {
			t.Errorf("%s: got %q and %q", content, got, findings)
		}
	}
}

func TestDamagedRTF(t *testing.T) {
	for name, content := range map[string]string{
		"cut off":                `{\rtf1{\object{\*\objdata ` + objectDigits[:60],
		"a short object":         `{\rtf1{\object{\*\objdata ` + objectDigits[:60] + `}}}`,
		"binary without an end":  `{\rtf1{\bin999999 {\object{\*\objdata ` + objectDigits + `}}}`,
		"too many groups":        `{\rtf1{\object{\*\objdata ` + strings.Repeat("{", maxGroups+1),
		"objects in one another": `{\rtf1` + strings.Repeat(`{\object{\*\objdata 41\'41`, 3000),
	} {
		t.Run(name, func(t *testing.T) {
			got, findings := expandRTF(t, content)
			if !slices.Contains(findings, rtfDamaged) {
				t.Errorf("got %q and %q", got, findings)
			}
			if name == "binary without an end" && !slices.Contains(got, objectFound) {
				t.Errorf("got %q", got)
			}
		})
	}
}

func TestRTFKeepsItsContract(t *testing.T) { scannertest.Run(t, RTF{}) }

// FuzzRTF holds every document to the contract of Expand; what is embedded plainly comes out.
func FuzzRTF(f *testing.F) {
	f.Add(`{\rtf1{\object{\*\objdata ` + objectDigits + `}{\pict\pngblip 4d5a\bin2 ab\'41{\*\foo 1}}}}`)
	f.Add(`{\rtf1{\*\datastore 41{42{\*\foo 43}\'44}{\u12?}}}`)
	f.Fuzz(func(t *testing.T, content string) {
		expandRTF(t, `{\rt`+content)
		if len(content) > 16<<10 {
			return
		}
		expandRTF(t, `{\rt{\*\objdata `+content)
		got, findings := expandRTF(t, `{\rtf1{\object{\*\objdata `+digits(object("Package", packedFile("l", "a.exe", "p", content)))+`}}}`)
		if want := fmt.Sprintf("%q %.20s", []string{"l", "a.exe", "p"}, content); len(got) != 1 || got[0] != want || len(findings) > 0 {
			t.Errorf("%q gave %q and %q", content, got, findings)
		}
	})
}
