package scanners_test

import (
	"strings"
	"testing"

	"rastel/sanitize/eml"
	"rastel/scanners"
)

// arcSet is one set of ARC fields.
func arcSet(i, cv string) string {
	return "ARC-Seal: i=" + i + "; a=rsa-sha256; cv=" + cv + "; d=a.example; s=s; b=x\r\n" +
		"ARC-Message-Signature: i=" + i + "; a=rsa-sha256; d=a.example; s=s; h=from; bh=x; b=x\r\n" +
		"ARC-Authentication-Results: i=" + i + "; a.example; spf=pass\r\n"
}

func TestTellsOfARC(t *testing.T) {
	const whole, broken = "sets 2, cv=pass, not verified", "the chain is broken"
	for name, c := range map[string]struct{ header, want string }{
		"none":             {"", ""},
		"one":              {arcSet("1", "none"), "sets 1, cv=none, not verified"},
		"two":              {arcSet("2", "pass") + arcSet("1", "none"), whole},
		"first missing":    {arcSet("2", "pass"), broken},
		"twice":            {arcSet("1", "none") + arcSet("1", "none"), broken},
		"failed before":    {arcSet("2", "fail") + arcSet("1", "none"), broken},
		"first says pass":  {arcSet("1", "pass"), broken},
		"a field is gone":  {strings.Replace(arcSet("1", "none"), "ARC-Seal", "X-Seal", 1), broken},
		"too many":         {arcSet("51", "pass"), broken},
		"no number at all": {arcSet("x", "none"), broken},
	} {
		t.Run(name, func(t *testing.T) {
			s := eml.NewSpool(eml.SpoolOptions{})
			defer s.Close()
			if _, err := s.Write([]byte(c.header + "From: a@example.org\r\n\r\nhello\r\n")); err != nil {
				t.Fatal(err)
			}
			s.CloseWrite(nil)
			m, _, err := eml.Parse(t.Context(), &eml.Envelope{}, s, eml.Limits{}, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close()
			findings, err := scanners.Crypto{}.ScanMessage(t.Context(), m)
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			for _, f := range findings {
				got += f.Detail
			}
			if got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}
