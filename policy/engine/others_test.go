package engine_test

import (
	"io"
	"strings"
	"testing"

	"rastel/policy"
	"rastel/policy/engine"
	"rastel/policy/quarantine"
	"rastel/sanitize/eml"
)

// TestSeveralVerdictsAreNotHalfCarriedOut: the recipients of the others would get nothing, and nobody would
// know.
func TestSeveralVerdictsAreNotHalfCarriedOut(t *testing.T) {
	p, err := policy.Load("test", []byte(`rules: [{name: r, for: recipient, when: 'recipient == "bad@x.test"', then: quarantine}]`), policy.Options{})
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, quarantine.Config{}, func(opt *engine.Options) { opt.Policy = func() *policy.Policy { return p } })
	s := eml.NewSpool(eml.SpoolOptions{})
	defer s.Close()
	if _, err := io.WriteString(s, "Subject: x\r\n\r\nhello\r\n"); err != nil {
		t.Fatal(err)
	}
	s.CloseWrite(nil)
	env := &eml.Envelope{Recipients: []string{"bad@x.test", "good@x.test"}}
	v, err := w.Judge(t.Context(), env, s)
	if err != nil || v.Action != policy.TempFail || len(v.Others) > 0 || len(w.held(t)) > 0 {
		t.Errorf("%+v, %v; held %v", v, err, w.held(t))
	}
	if !strings.Contains(w.log.String(), "several verdicts") {
		t.Errorf("the log says\n%s", w.log.String())
	}
}
