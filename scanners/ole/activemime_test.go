package ole

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"rastel/sanitize/eml"
	"rastel/scanners"
	"rastel/scanners/scannertest"
)

// active is a file in the format, with its stream at an offset.
func active(at int, content string) string {
	h := "ActiveMime\x00\x00\x01\xf0\x04\x00\x00\x00\xff\xff\xff\xff\x00\x00\x07\xf0" + strings.Repeat("\x00", 4) + string([]byte{byte(at - activeBase), byte((at - activeBase) >> 8)})
	return h + strings.Repeat("\x00", at-len(h)) + deflated(content)
}

func expandActive(t testing.TB, content string) (members, findings []string) {
	t.Helper()
	list, err := ActiveMime{}.Expand(t.Context(), part(t, []byte(content)), scanners.NewBudget(limits, eml.SpoolOptions{}), func(m *eml.Part) error {
		defer m.Release()
		b, _ := io.ReadAll(m.Content())
		members = append(members, fmt.Sprintf("%.20s", b))
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	for _, f := range list {
		findings = append(findings, f.Detail)
	}
	return members, findings
}

func TestOpensActiveMime(t *testing.T) {
	wrong := []byte(active(0x32, "content"))
	wrong[activeOffset] = 99
	for name, content := range map[string]string{
		"as Word writes it": active(0x32, "content"),
		"further in":        active(5000, "content"),
		"a wrong offset":    string(wrong),
	} {
		if got, findings := expandActive(t, content); !slices.Equal(got, []string{"content"}) || len(findings) > 0 {
			t.Errorf("%s: got %q and %q", name, got, findings)
		}
	}
	whole := active(0x32, strings.Repeat("content and more of it ", 200))
	for name, content := range map[string]string{"no stream": whole[:0x32], "cut off": whole[:len(whole)-10]} {
		if got, findings := expandActive(t, content); len(findings) != 1 {
			t.Errorf("%s: got %q and %q, want a finding", name, got, findings)
		}
	}
}

func TestActiveMimeKeepsItsContract(t *testing.T) { scannertest.Run(t, ActiveMime{}) }

// FuzzActiveMime: what is in one comes out.
func FuzzActiveMime(f *testing.F) {
	f.Add([]byte(active(0x32, "content")), "content")
	f.Fuzz(func(t *testing.T, content []byte, in string) {
		expandActive(t, "ActiveMime"+string(content))
		if got, _ := expandActive(t, active(0x32, in)); in != "" && (len(got) == 0 || got[0] != fmt.Sprintf("%.20s", in)) {
			t.Errorf("%q gave %q", in, got)
		}
	})
}
