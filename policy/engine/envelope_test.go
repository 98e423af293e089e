package engine_test

import (
	"slices"
	"strings"
	"testing"

	"rastel/policy"
	"rastel/policy/engine"
	"rastel/policy/quarantine"
)

func TestChangesOfTheEnvelopeAreLogged(t *testing.T) {
	p, err := policy.Load("test", []byte(`rules:
- {name: moved, for: recipient, when: 'recipient == "bob@example.net"', do: [{redirect: [new@example.net, other@example.net]}]}
- {name: look, when: 'subject == "look"', do: [mta_hold]}
`), policy.Options{})
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, quarantine.Config{}, func(opt *engine.Options) { opt.Policy = func() *policy.Policy { return p } })
	v, _ := w.judge(t, "Subject: look\r\n\r\nhello\r\n")
	if v.Action != policy.Accept || v.MTAHold != "look" || !slices.Equal(v.Add, []string{"new@example.net", "other@example.net"}) || !slices.Equal(v.Remove, []string{"bob@example.net"}) {
		t.Errorf("%+v", v)
	}
	if log := w.log.String(); !strings.Contains(log, " added=2 removed=1 mta_hold=true") {
		t.Errorf("the log says\n%s", log)
	}
	w.log.Reset()
	p = policy.Default()
	w.judge(t, "Subject: look\r\n\r\nhello\r\n")
	if log := w.log.String(); strings.Contains(log, "added=") || strings.Contains(log, "mta_hold") {
		t.Errorf("the log says\n%s", log)
	}
}
