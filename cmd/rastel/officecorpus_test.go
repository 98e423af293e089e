package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"rastel/policy"
	"rastel/sanitize/eml"
	"rastel/scanners"
)

const officeCorpus = "../../../shared/corpus/office"

// An officeCase is a document of the corpus, and what is known of it.
type officeCase struct {
	File   string
	Benign bool
	Expect []string
}

func officeCases(t *testing.T) (list []officeCase) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(officeCorpus, "expect.jsonl"))
	if err != nil {
		t.Skip("the corpus is not here")
	}
	for d := json.NewDecoder(bytes.NewReader(b)); ; {
		var c officeCase
		if err := d.Decode(&c); err == io.EOF {
			return list
		} else if err != nil {
			t.Fatal(err)
		}
		list = append(list, c)
	}
}

// withDocument is a message with a file attached.
func withDocument(name string, content []byte) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "From: a@example.org\r\nTo: b@example.net\r\nSubject: document\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=bb\r\n\r\n"+
		"--bb\r\nContent-Type: text/plain\r\n\r\nSee the file.\r\n--bb\r\nContent-Type: application/octet-stream\r\n"+
		"Content-Disposition: attachment; filename=%q\r\nContent-Transfer-Encoding: base64\r\n\r\n", name)
	s := base64.StdEncoding.EncodeToString(content)
	for ; len(s) > 76; s = s[76:] {
		b.WriteString(s[:76] + "\r\n")
	}
	b.WriteString(s + "\r\n--bb--\r\n")
	return b.Bytes()
}

// TestCorpusOfOffice: documents with macros are told from those without, and nothing that the built-in
// policy acts on is found in those that are harmless.
func TestCorpusOfOffice(t *testing.T) {
	list := officeCases(t)
	cfg, err := loadConfig("")
	if err != nil {
		t.Fatal(err)
	}
	b := &built{cfg: cfg, log: slog.New(slog.DiscardHandler)}
	b.assemble(nil)
	if b.policy, err = policy.NewLive("", policyOptions(cfg), b.log); err != nil {
		t.Fatal(err)
	}
	for _, c := range list {
		if strings.Contains(c.File, "pdf/") {
			continue // see package pdf
		}
		content, err := os.ReadFile(filepath.Join(officeCorpus, c.File))
		if err != nil {
			t.Fatal(err)
		}
		t.Run(c.File, func(t *testing.T) {
			m, report := reported(t, b, withDocument(filepath.Base(c.File), content))
			macro := false
			for _, f := range report.Findings {
				macro = macro || f.Check == "office/macro"
				if strings.HasPrefix(f.Check, "office/") {
					t.Logf("%s %s: %s", f.Part.ID, f.Check, f.Detail)
				}
			}
			if macro != slices.Contains(c.Expect, "macro-vba") {
				t.Errorf("macros: %t, the corpus says %q: %+v", macro, c.Expect, report.Findings)
			}
			if v := b.policy.Load().Decide(m, report); c.Benign && (v.Action != policy.Accept || !v.Patch.Empty()) {
				t.Errorf("%s by %q, patched %t: %+v", v.Action, v.Rule, !v.Patch.Empty(), report.Findings)
			}
		})
	}
}

// reported is a message, and what all scanners say of it.
func reported(t *testing.T, b *built, raw []byte) (*eml.Message, scanners.Report) {
	t.Helper()
	s := eml.NewSpool(eml.SpoolOptions{})
	t.Cleanup(func() { s.Close() })
	if _, err := s.Write(raw); err != nil {
		t.Fatal(err)
	}
	s.CloseWrite(nil)
	run := b.set.Start(t.Context())
	m, findings, err := eml.Parse(t.Context(), &eml.Envelope{}, s, eml.Limits{}, run.Add)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	run.Message(m)
	report := run.Wait()
	report.Merge(findings)
	return m, report
}
