package scanners

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"rastel/sanitize/eml"
)

// A candidate is to be found among the first so many words.
func TestCandidatesFindThePassword(t *testing.T) {
	long := strings.Repeat("Some more words about nothing of any importance follow here, as in any letter.\n", 30)
	for _, tt := range []struct {
		mail, want string
		first      int
	}{
		{"\nPassword: Abc-123!", "Abc-123!", 3},
		{"\n" + long + "The password for the attached archive is: xK9.\n" + long, "xK9", 3},
		{"\n" + long + "Please use the following password to open the file:\n\n   7312\n\n" + long, "7312", 15},
		{"\n" + long + "Passwort lautet geheim\n" + long, "geheim", 5},
		{"\n" + long + "Das Archiv-Kennwort ist »Sommer«.", "Sommer", 20},
		{"\nmot de passe : soleil", "soleil", 3},
		{"\nLa contraseña es: sol2024", "sol2024", 5},
		{"\nA senha é 4455", "4455", 5},
		{"\nПароль к архиву: 2938", "2938", 3},
		{"\n解压密码：a1b2", "a1b2", 5},
		{"\nパスワードは１２３４です。", "1234", 20},
		{"\n添付ファイルのパスワードはkx88です", "kx88", 20},
		{"\n비밀번호는 9876입니다", "9876", 20},
		{"\np a s s : 1 2 3 4", "1234", 10},
		{"\nP A S S W O R D  7 7 k k", "77kk", 12},
		{"\nsecretword is the password", "secretword", 20},
		{"\nCode: 12 34 56", "123456", 10},
		{"\n" + long + "\"two words\"", "two words", 20},
		{"\nBirthday 24.12.1980", "24121980", 10},
		{"Subject: Invoice 8831\n\n" + long, "8831", 10},
		{"Subject: the file (pass hugo)\n\n" + long, "hugo", 6},
		{"From: Anna <anna.meier@firma.example>\n\n" + long, "firma", 250},
		{"From: Anna <anna.meier@firma.example>\n\n" + long, "anna.meier", 250},
		{"Content-Type: application/zip; name=\"Report_pw_K3.zip\"\nContent-Transfer-Encoding: base64\n\nUEs=", "K3", 10},
		{"Content-Type: application/zip; name=\"A-77.tar.gz\"\nContent-Transfer-Encoding: base64\n\nUEs=", "A-77", 10},
		{"Content-Type: text/html\n\n<style>p{}</style><p>Pass<!-- x -->word: <b>a1</b><i>b2</i></p>", "a1b2", 3},
		{"Content-Type: text/html\n\n<table><tr><td>Password</td><td>zz&amp;9</td></tr></table>", "zz&9", 12},
		{"Content-Type: text/html\n\n<p>Password<br>hallo</p>" + long, "hallo", 5},
		{"Content-Type: text/html; charset=iso-8859-1\n\n<p class=no>Kennwort: <b>fo\xfcr</b></p><br", "foür", 3},
		{"Content-Type: multipart/mixed; boundary=b\n\n--b\n\n" + long + "\n--b\nContent-Type: text/plain; name=password.txt\nContent-Disposition: attachment\n\ntannenbaum\n--b--\n", "tannenbaum", 10},
		{"Content-Type: multipart/mixed; boundary=b\n\n--b\n\nx\n--b\nContent-Type: message/rfc822\n\nSubject: pin 5512\n\ny\n--b--\n", "5512", 10},
	} {
		m, _ := examine(t, NewSet(Options{}), tt.mail)
		got := Candidates(m)
		at := slices.Index(got, tt.want)
		if at < 0 || at >= tt.first {
			t.Errorf("%.60q: %q is number %d of %.40q, want it among the first %d", tt.mail[max(0, len(tt.mail)-60):], tt.want, at+1, got, tt.first)
		}
	}
}

// What a client does not show is no word; nor is a word given twice.
func TestCandidatesOfPagesAreWhatIsShown(t *testing.T) {
	m, _ := examine(t, NewSet(Options{}), "Content-Type: text/html\n\n<script>let hidden = 1</script><style>b{}</style><p class=no>one <b>one</b> two<br/>three</p>")
	got := Candidates(m)
	for _, w := range []string{"hidden", "class=no", "no", "b{}", "p"} {
		if slices.Contains(got, w) {
			t.Errorf("%q has %q", got, w)
		}
	}
	for _, w := range []string{"one", "two", "three"} {
		if n := strings.Count(fmt.Sprintf("%q", got), fmt.Sprintf("%q", w)); n != 1 {
			t.Errorf("%q has %q %d times", got, w, n)
		}
	}
}

func TestCutKeywordTakesWholeWords(t *testing.T) {
	for line, want := range map[string]bool{
		"the passenger": false, "keys": false, "spinning": false, "decode it": false, "my pass": true, "PIN: 1": true, "Zip-Passwort": true,
		"PASSWORD": true, "İ password": true, "Şifre": true, "ΚΩΔΙΚΌΣ": true, "kodeks": false, "": false,
	} {
		if before, after, ok := cutKeyword(line); ok != want || ok && !strings.HasPrefix(line, before) || !strings.HasSuffix(line, after) {
			t.Errorf("%q: got %q, %q, %v", line, before, after, ok)
		}
	}
}

// A message may be made to speak of nothing but passwords.
func FuzzCandidates(f *testing.F) {
	f.Add("Subject: pass 1234\n\nPassword: \"x\" p a s s : 1 2", false)
	f.Add(strings.Repeat("password ", 100), true)
	f.Add("<p>a<b>c</b><!--", true)
	f.Fuzz(func(t *testing.T, text string, page bool) {
		p := &eml.Part{MediaType: "text/plain"}
		if page {
			p.MediaType = "text/html"
		}
		var c candidates
		c.content(p, []byte(text))
		list := c.list()
		if len(list) > maxCandidates {
			t.Errorf("%d words", len(list))
		}
		for i, w := range list {
			if w == "" || len(w) > maxCandidate || slices.Contains(list[:i], w) && len(list) < 200 {
				t.Errorf("word %q", w)
			}
		}
	})
}

func BenchmarkCandidates(b *testing.B) {
	text := strings.Repeat("The password for the attached archive is: xK9. Some more words about nothing, as in any letter.\n", maxCandidateText/96)
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		WordsOf(text)
	}
}
