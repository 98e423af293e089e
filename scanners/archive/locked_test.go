package archive

import (
	"bytes"
	"encoding/base64"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"rastel/sanitize/eml"
	"rastel/scanners"
)

// mailed has the real run examine an attachment of a message with that text, and passwords of the
// configuration.
func mailed(t testing.TB, text, name string, content []byte, opt scanners.Options) result {
	t.Helper()
	raw := "Subject: the file\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n" + text +
		"\r\n--b\r\nContent-Type: application/octet-stream; name=\"" + name + "\"\r\nContent-Transfer-Encoding: base64\r\n\r\n" + base64.StdEncoding.EncodeToString(content) + "\r\n--b--\r\n"
	s := eml.NewSpool(eml.SpoolOptions{})
	s.Write([]byte(raw))
	s.CloseWrite(nil)
	c := &collector{}
	run := scanners.NewSet(opt, scanners.Named{Name: "archive", Scanner: New(Config{})}, scanners.Named{Name: "collect", Scanner: c}).Start(t.Context())
	m, _, err := eml.Parse(t.Context(), &eml.Envelope{}, s, eml.Limits{}, run.Add)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close(); s.Close() })
	run.Message(m)
	report := run.Wait()
	return result{c.list, report}
}

var lockedFixtures = []string{"zipcrypto.zip", "aes.zip", "encrypted.7z", "encrypted-header.7z"}

func TestOpensWithThePasswordInTheMessage(t *testing.T) {
	for _, name := range lockedFixtures {
		t.Run(name, func(t *testing.T) {
			r := mailed(t, "See the attachment.\r\n\r\nPassword: secret\r\n", name, fixture(t, name), scanners.Options{})
			r.wantMember(t, "letter.txt", letter)
			r.wantChecks(t, inMessage)
			if len(r.report.Unexamined) > 0 {
				t.Errorf("counts as unexamined: %+v", r.report.Unexamined)
			}
			if d := r.report.Findings[0].Detail; !strings.Contains(d, `"secret"`) {
				t.Errorf("detail is %q, want the password", d)
			}
		})
	}
}

func TestOpensWithThePasswordOfTheConfiguration(t *testing.T) {
	for _, name := range lockedFixtures {
		r := mailed(t, "As agreed.", name, fixture(t, name), scanners.Options{Passwords: []string{"other", "secret"}})
		r.wantMember(t, "letter.txt", letter)
		r.wantChecks(t, listed)
		if d := r.report.Findings[0].Detail; strings.Contains(d, "secret") {
			t.Errorf("detail %q tells a password of the configuration", d)
		}
	}
}

func TestStaysClosedWithoutThePassword(t *testing.T) {
	for _, name := range lockedFixtures {
		r := mailed(t, "The password is top secret1 Secret secrets.", name, fixture(t, name), scanners.Options{})
		r.wantChecks(t, encrypted)
		if d := r.report.Findings[0].Detail; !strings.Contains(d, "none of ") {
			t.Errorf("%s: detail is %q, want how many were tried", name, d)
		}
		if len(r.report.Unexamined) == 0 {
			t.Errorf("%s: counts as examined", name)
		}
	}
}

// What many words cost is bounded; that not all were tried is said.
func TestPasswordsEndWithTheirTime(t *testing.T) {
	var text strings.Builder
	for i := range 10_000 {
		text.WriteString("word" + string(rune('a'+i%26)) + string(rune('a'+i/26%26)) + string(rune('a'+i/676)) + " ")
		if i%10 == 9 {
			text.WriteString("\r\n")
		}
	}
	for _, name := range []string{"aes.zip", "encrypted-header.7z"} {
		r := mailed(t, text.String(), name, fixture(t, name), scanners.Options{Budget: scanners.BudgetLimits{PasswordTime: 1}})
		r.wantChecks(t, encrypted)
		if d := r.report.Findings[0].Detail; !strings.Contains(d, "the time for passwords was up after 1 of ") {
			t.Errorf("%s: detail is %q, want that the time was up", name, d)
		}
	}
	r := mailed(t, text.String(), "aes.zip", fixture(t, "aes.zip"), scanners.Options{})
	r.wantChecks(t, encrypted)
	t.Log(r.report.Findings[0].Detail)
}

func TestTellsThePasswordsOfTheCorpus(t *testing.T) {
	for file, tt := range map[string]struct{ text, member string }{
		"rarfile/rar3-comment-hpsw.rar": {"パスワードはpasswordです。", ""},
		"rarfile/rar5-psw.rar":          {"Das Archivpasswort lautet password.", "stest1.txt"},
		"rarfile/rar5-psw-blake.rar":    {"mot de passe : password", "stest1.txt"},
		"rarfile/rar5-hpsw.rar":         {"p a s s : p a s s w o r d", "stest1.txt"},
		"sevenzip/aes7z.7z":             {"pw (password)", ""},
	} {
		t.Run(file, func(t *testing.T) {
			content, err := os.ReadFile(filepath.Join(corpus, "archives", file))
			if err != nil {
				t.Skip("the corpus of archives is not there")
			}
			r := mailed(t, tt.text, filepath.Base(file), content, scanners.Options{})
			r.wantChecks(t, inMessage)
			holds := func(m seenMember) bool { return tt.member == "" || slices.Contains(m.names, tt.member) && m.size > 0 }
			if !slices.ContainsFunc(r.members, holds) {
				t.Errorf("got%s", r)
			}
		})
	}
}

// The note that says the password may lie beside the archive, in one around it.
func TestFindsThePasswordBesideAnArchiveInAnArchive(t *testing.T) {
	for _, order := range [][]string{{"a", "z"}, {"z", "a"}} {
		content := zipOf(t, file{order[0] + ".zip", string(fixture(t, "aes.zip"))}, file{order[1] + ".txt", "secret"})
		for range 5 {
			r := mailed(t, "", "outer.zip", content, scanners.Options{})
			r.wantMember(t, "letter.txt", letter)
			r.wantChecks(t, inMessage)
		}
	}
}

func TestFindsThePasswordInTheCommentOfAnArchive(t *testing.T) {
	content := fixture(t, "zipcrypto.zip")
	end := bytes.LastIndex(content, []byte("PK\x05\x06"))
	comment := "pass = secret"
	content = append(content[:end+20:end+20], byte(len(comment)), 0)
	r := mailed(t, "", "a.zip", append(content, comment...), scanners.Options{})
	r.wantMember(t, "letter.txt", letter)
	r.wantChecks(t, inMessage)
}

// BenchmarkPasswords is what one wrong password costs. (Those of zip are in package zipcrypt.)
func BenchmarkPasswords(b *testing.B) {
	key := szKey{cycles: 19, salt: []byte("salt")}
	b.Run("7z", func(b *testing.B) {
		for b.Loop() {
			key.derive("wrong")
		}
	})
	for _, name := range []string{"rar3-comment-hpsw.rar", "rar5-hpsw.rar"} {
		content, err := os.ReadFile(filepath.Join(corpus, "archives/rarfile", name))
		if err != nil {
			b.Skip("the corpus of archives is not there")
		}
		b.Run(name, func(b *testing.B) {
			o := newOpening(b.Context(), Config{}.withDefaults(), part(b, name, content), nil, nil)
			for b.Loop() {
				if ok, _ := (&rarWalk{o: o}).opens("wrong", 0); ok {
					b.Fatal("a wrong password opens it")
				}
			}
		})
	}
}
