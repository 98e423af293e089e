package zipseal_test

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rastel/policy/quarantine/zipseal"
	"rastel/sanitize/eml"
	"rastel/scanners/archive/zipcrypt"
)

func sealed(t *testing.T, password, text string) []byte {
	t.Helper()
	spool := eml.NewSpool(eml.SpoolOptions{})
	defer spool.Close()
	var b bytes.Buffer
	if err := zipseal.Write(&b, "message.eml", password, time.Now(), strings.NewReader(text), spool); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// The reader that the scanners have knows the password from another one.
func TestOpensWithThePasswordOnly(t *testing.T) {
	z := sealed(t, "right", "hello")
	if bytes.Contains(z, []byte("hello")) {
		t.Error("the text is in the zip in the clear")
	}
	// the local header has 30 bytes, the name 11, the extra fields as many as it says
	at := 30 + int(z[26]) + int(z[27])<<8 + int(z[28]) + int(z[29])<<8
	a, err := zipcrypt.NewAES(3, bytes.NewReader(z[at:]))
	if err != nil || !a.Opens([]byte("right")) || a.Opens([]byte("wrong")) {
		t.Errorf("NewAES: %v; it opens with right %v, with wrong %v", err, a.Opens([]byte("right")), a.Opens([]byte("wrong")))
	}
}

// Other programs read it. Which of them are there is said.
func TestOtherProgramsReadIt(t *testing.T) {
	for _, size := range []int{0, 1, 15, 16, 17, 100_000} {
		text := strings.Repeat("RASTEL HARMLESS TEST PAYLOAD 5d1f8c72\r\n", size/39+1)[:size]
		name := filepath.Join(t.TempDir(), "x.zip")
		if err := os.WriteFile(name, sealed(t, "pass word", text), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, c := range [][]string{
			{"7z", "x", "-so", "-ppass word", name}, {"bsdtar", "-xOf", name, "--passphrase", "pass word"},
		} {
			path, err := exec.LookPath(c[0])
			if err != nil {
				t.Logf("%s is not there", c[0])
				continue
			}
			cmd := exec.Command(path, c[1:]...)
			cmd.Stderr = io.Discard
			if out, err := cmd.Output(); err != nil || string(out) != text {
				t.Errorf("%s of %d bytes: %d bytes, %v", c[0], size, len(out), err)
			}
			wrong := exec.Command(path, append([]string{}, strings.Split(strings.ReplaceAll(strings.Join(c[1:], "\x00"), "pass word", "other"), "\x00")...)...)
			if out, err := wrong.Output(); err == nil && size > 0 {
				t.Errorf("%s opens it with another password: %.40q", c[0], out)
			}
		}
	}
}
