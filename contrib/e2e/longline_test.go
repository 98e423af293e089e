package e2e

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"rastel/contrib/rig"
	"rastel/sanitize/eml"
)

// TestLinesThatTheMTABreaksHideNothing: an MTA breaks lines that are longer than SMTP allows
// (RFC 5321 section 4.5.3.1.6) when it hands a message on, after the filter has seen it, and
// what is one word for the filter is two for the recipient: "xonerror=" becomes "onerror=".
func TestLinesThatTheMTABreaksHideNothing(t *testing.T) {
	eachMTA(t, func(t *testing.T, mta string) {
		w := newWorld(t, setup{mta: mta})
		c := w.dial()
		dir := t.TempDir()
		for n := 980; n <= 1000; n++ {
			before := "<p>text</p><img src=x "
			line := before + strings.Repeat("x", n-len(before)) + "onerror=alert(1)>"
			from := fmt.Sprintf("long%d@sender.test", n)
			r, err := c.Message(from, []string{recipient}, rig.HTML("long", line+"\r\n"))
			if err != nil || r.Code != 250 {
				t.Fatalf("%v, %v", r, err)
			}
		}
		for _, d := range w.delivered() {
			writeFile(t, filepath.Join(dir, d.Sender), string(d.Raw))
		}
		out, _ := w.rastel.run("scan", "-json", "-config", w.rastel.config, dir)
		for _, r := range decodeLines[scanResult](t, out) {
			for _, f := range r.Findings {
				t.Errorf("%s: delivered with %s: %s", filepath.Base(r.File), f.Check, f.Detail)
			}
		}
	})
}

// TestMTAsBreakLinesAsThePagesAreExamined: where each MTA breaks a line is what eml says.
func TestMTAsBreakLinesAsThePagesAreExamined(t *testing.T) {
	var text strings.Builder
	for i := range 1100 {
		fmt.Fprintf(&text, "%05d", i)
	}
	for n := 980; n < 1005; n++ {
		text.WriteString("\r\n" + strings.Repeat("y", n))
	}
	raw := rig.HTML("long", text.String()+"\r\n.\r\n")
	eachMTA(t, func(t *testing.T, mta string) {
		w := newWorld(t, setup{mta: mta, noFilter: true})
		w.mustTake(recipient, raw)
		by := eml.ByPostfix
		if mta == rig.NeedSendmail {
			by = eml.BySendmail
		}
		if got, want := body(w.only(recipient).Raw), wrapped(t, raw, by); !bytes.Equal(got, want) {
			t.Error(difference(got, want))
		}
	})
}

func wrapped(t *testing.T, raw []byte, by eml.Wrapping) []byte {
	t.Helper()
	spool := eml.NewSpool(eml.SpoolOptions{})
	t.Cleanup(func() { spool.Close() })
	if _, err := spool.Write(raw); err != nil {
		t.Fatal(err)
	}
	spool.CloseWrite(nil)
	m, _, err := eml.Parse(context.Background(), &eml.Envelope{}, spool, eml.Limits{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	var b bytes.Buffer
	if err := m.Root.WriteWrapped(&b, by); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
