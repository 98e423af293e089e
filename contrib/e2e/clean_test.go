package e2e

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/emersion/go-msgauth/dkim"

	"rastel/contrib/rig"
)

// cleanMessages are innocent, and have what a filter that writes messages anew would change.
func cleanMessages(t *testing.T) map[string][]byte {
	messages := map[string][]byte{
		"blanks in fields": []byte("From:alice@sender.test\r\nTo:  bob@example.test\r\nSubject:\ttab \t \r\n" +
			"Date: Mon, 23 Nov 2026 10:00:00 +0000\r\nMessage-ID: <blanks@sender.test>\r\nX-Folded: a\r\n\tb\r\n  c\r\nX-Empty:\r\n" +
			"x-case: 1\r\nX-CASE: 2\r\nX-Case: 3\r\n\r\ntext\r\n"),
		"8-bit header": []byte("From: alice@sender.test\r\nTo: bob@example.test\r\nSubject: na\xc3\xafve \xff\r\n" +
			"Date: Mon, 23 Nov 2026 10:00:00 +0000\r\nMessage-ID: <8bit@sender.test>\r\n\r\n\xe9\r\n"),
		"dots and blank lines": rig.Text("dots", "\r\n\r\n.\r\n..\r\n.x\r\n \t\r\n\r\n\r\n"),
		"empty body":           rig.Text("empty", ""),
		"no last line end":     rig.Text("no last line end", "text"),
		"long line":            rig.Text("long line", strings.Repeat("0123456789", 90)+"\r\n"),
		"large":                rig.Attachment("large", "large.txt", "text/plain", bytes.Repeat([]byte("nothing but text in here\n"), 100_000)),
	}
	for _, s := range samples(t) {
		if s.Outcome == rig.Delivered {
			messages[s.Name] = s.Raw
		}
	}
	return messages
}

func TestCleanMailIsByteIdentical(t *testing.T) {
	eachMTA(t, func(t *testing.T, mta string) {
		with, without := newWorld(t, setup{mta: mta}), newWorld(t, setup{mta: mta, noFilter: true})
		i := 0
		for name, raw := range cleanMessages(t) {
			to := fmt.Sprintf("clean%d@%s", i, rig.Domain)
			i++
			t.Run(name, func(t *testing.T) {
				with, without := with.in(t), without.in(t)
				without.mustTake(to, raw)
				with.mustTake(to, raw)
				wantSame(t, with.only(to).Raw, without.only(to).Raw, raw)
				wantNoEdits(t, with.tap.counts())
			})
		}
	})
}

// wantNoEdits reports packets that change a message: all but the answer to the negotiation,
// continue, skip, progress and accept.
func wantNoEdits(t *testing.T, seen map[string]int) {
	t.Helper()
	for k, n := range seen {
		if strings.HasPrefix(k, "<") && !strings.Contains("Ocspa", k[1:]) {
			t.Errorf("the filter sent %d packets %q for a clean message", n, k)
		}
	}
	if seen["<a"]+seen["<c"] == 0 {
		t.Errorf("the filter was not asked: %v", seen)
	}
}

// wantSame compares what was delivered with and without the filter, apart from the fields
// that the MTA itself adds, differently each time.
func wantSame(t *testing.T, with, without, sent []byte) {
	t.Helper()
	with, without = withoutTrace(with, sent), withoutTrace(without, sent)
	if !bytes.Equal(with, without) {
		t.Errorf("delivered with the filter\n%.3000q\nand without\n%.3000q", with, without)
	}
}

// withoutTrace takes off the Received field that the MTA put on top, and the fields that it
// adds where a message has none.
func withoutTrace(delivered, sent []byte) []byte {
	header, body := splitHeader(delivered)
	sentHeader, _ := splitHeader(sent)
	var out []byte
	for i, f := range fields(header) {
		name, _, _ := strings.Cut(strings.ToLower(f), ":")
		switch name = strings.TrimSpace(name); {
		case i == 0 && name == "received":
			continue
		case (name == "message-id" || name == "date" || name == "from") && !hasField(sentHeader, name):
			continue
		}
		out = append(out, f...)
	}
	return append(out, body...)
}

// splitHeader divides a message at its first empty line, which goes to the body.
func splitHeader(raw []byte) (header string, body []byte) {
	if bytes.HasPrefix(raw, []byte("\r\n")) {
		return "", raw
	}
	i := bytes.Index(raw, []byte("\r\n\r\n"))
	if i < 0 {
		return string(raw), nil
	}
	return string(raw[:i+2]), raw[i+2:]
}

// fields divides a header into its fields, continuation lines included.
func fields(header string) []string {
	var all []string
	for line := range strings.Lines(header) {
		if len(all) > 0 && (line[0] == ' ' || line[0] == '\t') {
			all[len(all)-1] += line
		} else {
			all = append(all, line)
		}
	}
	return all
}

func hasField(header, name string) bool {
	for _, f := range fields(header) {
		if n, _, ok := strings.Cut(f, ":"); ok && strings.EqualFold(strings.TrimSpace(n), name) {
			return true
		}
	}
	return false
}

func TestDKIMStillVerifies(t *testing.T) {
	eachMTA(t, func(t *testing.T, mta string) {
		w := newWorld(t, setup{mta: mta})
		_, ed, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		rs, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			t.Fatal(err)
		}
		i := 0
		for keyName, key := range map[string]crypto.Signer{"ed25519": ed, "rsa": rs} {
			for _, c := range []dkim.Canonicalization{dkim.CanonicalizationSimple, dkim.CanonicalizationRelaxed} {
				to := fmt.Sprintf("dkim%d@%s", i, rig.Domain)
				i++
				t.Run(keyName+" "+string(c), func(t *testing.T) {
					w := w.in(t)
					w.mustTake(to, signed(t, key, c))
					wantVerified(t, w.only(to).Raw, key.Public())
				})
			}
		}
	})
}

func signed(t *testing.T, key crypto.Signer, c dkim.Canonicalization) []byte {
	t.Helper()
	var out bytes.Buffer
	raw := samples(t)[1].Raw // the newsletter: several parts
	err := dkim.Sign(&out, bytes.NewReader(raw), &dkim.SignOptions{
		Domain: "sender.test", Selector: "s", Signer: key, HeaderCanonicalization: c, BodyCanonicalization: c,
	})
	if err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func wantVerified(t *testing.T, raw []byte, key crypto.PublicKey) {
	t.Helper()
	record := "v=DKIM1; k=ed25519; p="
	if k, ok := key.(ed25519.PublicKey); ok {
		record += base64.StdEncoding.EncodeToString(k)
	} else {
		der, err := x509.MarshalPKIXPublicKey(key)
		if err != nil {
			t.Fatal(err)
		}
		record = "v=DKIM1; k=rsa; p=" + base64.StdEncoding.EncodeToString(der)
	}
	got, err := dkim.VerifyWithOptions(bytes.NewReader(raw), &dkim.VerifyOptions{
		LookupTXT: func(string) ([]string, error) { return []string{record}, nil },
	})
	if err != nil || len(got) != 1 || got[0].Err != nil {
		t.Errorf("Verify = %+v, %v, want one good signature on\n%s", got, err, raw)
	}
}

// corpus is third-party test data beside the project; it is no part of it.
const corpus = "../../../shared/corpus/mime"

func TestCorpusWithoutFindingsIsByteIdentical(t *testing.T) {
	needServers(t)
	if _, err := os.Stat(corpus); err != nil {
		t.Skipf("needs the third-party messages in ../shared/corpus/mime beside the project: %v", err)
	}
	eachMTA(t, func(t *testing.T, mta string) {
		with, without := newWorld(t, setup{mta: mta}), newWorld(t, setup{mta: mta, noFilter: true})
		clean := cleanFiles(t, with.rastel)
		refused := 0
		for i, file := range clean {
			raw := readMessage(t, file)
			to := fmt.Sprintf("corpus%d@%s", i, rig.Domain)
			// What the MTA alone does not take is none of the filter's affair.
			if r, err := rig.Send(without.mta.SMTP(), sender, []string{to}, raw); err != nil || !r.OK() {
				refused++
				continue
			}
			t.Run(strings.TrimPrefix(file, corpus+"/"), func(t *testing.T) {
				with, without := with.in(t), without.in(t)
				with.mustTake(to, raw)
				wantSame(t, with.only(to).Raw, without.only(to).Raw, raw)
				wantNoEdits(t, with.tap.counts())
			})
		}
		t.Logf("%d messages without findings, of which the MTA itself refuses %d", len(clean), refused)
		if len(clean)-refused < 50 {
			t.Errorf("%d messages compared, want at least 50", len(clean)-refused)
		}
	})
}

// cleanFiles are the files of the corpus that raise no finding.
func cleanFiles(t *testing.T, r *rastel) []string {
	t.Helper()
	var clean []string
	err := filepath.WalkDir(corpus, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasSuffix(path, ".jsonl") {
			return err
		}
		// A file of its own, as it goes over the wire: with the line ends of SMTP.
		name := filepath.Join(t.TempDir(), "message")
		writeFile(t, name, string(readMessage(t, path)))
		if r.in(t).isClean(name) {
			clean = append(clean, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return clean
}

// isClean asks rastel scan.
func (r *rastel) isClean(name string) bool {
	r.t.Helper()
	out, status := r.run("scan", "-json", "-config", r.config, name)
	results := decodeLines[struct {
		Action   string
		Patched  bool
		Findings []struct{}
	}](r.t, out)
	if len(results) != 1 || status > 3 || status == 2 {
		r.t.Fatalf("scan of %s: status %d, output %.500q", name, status, out)
	}
	return status == 0 && len(results[0].Findings) == 0
}

// readMessage reads a message with the line ends that SMTP needs.
func readMessage(t *testing.T, name string) []byte {
	t.Helper()
	raw, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.ReplaceAll(bytes.ReplaceAll(raw, []byte("\r\n"), []byte("\n")), []byte("\n"), []byte("\r\n"))
}
