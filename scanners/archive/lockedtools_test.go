package archive

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"rastel/scanners"
)

// What the programs of other people encrypt is opened.
func TestOpensWhatToolsEncrypt(t *testing.T) {
	if os.Getenv("RASTEL_E2E") == "" {
		t.Skip("needs RASTEL_E2E=1 and zip, 7z and arj")
	}
	large := strings.Repeat(letter, 2000)
	for _, command := range []string{
		"zip -P secret a letter.txt large.txt", "zip -0 -P secret a letter.txt large.txt",
		"7z a -tzip -psecret a.zip letter.txt large.txt", "7z a -tzip -mem=AES128 -psecret a.zip letter.txt large.txt",
		"7z a -tzip -mem=AES192 -mx=0 -psecret a.zip letter.txt large.txt", "7z a -tzip -mem=AES256 -mm=LZMA -psecret a.zip letter.txt large.txt",
		"7z a -tzip -mem=AES256 -mm=BZip2 -psecret a.zip letter.txt large.txt",
		"7z a -psecret a.7z letter.txt large.txt", "7z a -mhe=on -psecret a.7z letter.txt large.txt", "7z a -mx=0 -psecret a.7z letter.txt large.txt",
		"7z a -m0=PPMd -ms=off -psecret a.7z letter.txt large.txt", "7z a -mhe=on -mhc=off -psecret a.7z letter.txt large.txt",
		"arj a -m0 -gsecret a.arj letter.txt large.txt", "arj a -m1 -gsecret a.arj letter.txt large.txt", "arj a -m4 -gsecret a.arj letter.txt large.txt",
	} {
		t.Run(command, func(t *testing.T) {
			d := t.TempDir()
			for name, content := range map[string]string{"letter.txt": letter, "large.txt": large} {
				if err := os.WriteFile(filepath.Join(d, name), []byte(content), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			words := strings.Fields(command)
			c := exec.Command(words[0], words[1:]...)
			c.Dir = d
			if out, err := c.CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			files, err := filepath.Glob(filepath.Join(d, "a.*"))
			if err != nil || len(files) != 1 {
				t.Fatal(files, err)
			}
			content, err := os.ReadFile(files[0])
			if err != nil {
				t.Fatal(err)
			}
			r := mailed(t, "Password: secret", filepath.Base(files[0]), content, scanners.Options{})
			r.wantMember(t, "letter.txt", letter)
			r.wantMember(t, "large.txt", large[:min(len(large), 1<<16)])
			r.wantChecks(t, inMessage)
			r = mailed(t, "Password: other", filepath.Base(files[0]), content, scanners.Options{})
			r.wantChecks(t, encrypted)
		})
	}
}
