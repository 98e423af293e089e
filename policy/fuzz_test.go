package policy

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"rastel/sanitize/eml"
	"rastel/scanners"
)

// FuzzLoad: loading never panics, an error has a place, and what loads can decide.
func FuzzLoad(f *testing.F) {
	files, err := filepath.Glob("testdata/bad/*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add(defaultFile)
	f.Add([]byte(manyChanges))
	f.Add([]byte("networks: {a: [192.0.2.0/24]}\nrules: [{name: x, stage: rcpt, when: 'clientIn(\"a\") and recipient_domain != sender', then: reject}]"))
	f.Add([]byte("rules: [{name: x, stage: connect, when: 'any(findings, .part.sha256 == \"\" or .part.path == \"a\" or len(.part.around) > 0)', then: tempfail}]"))
	f.Add([]byte("rules: [{name: x, for: recipient, when: 'recipient startsWith \"b\"', do: [{redirect: [a@x, b@y]}, remove_recipient, hold, {set_header: {name: X, value: y}}, {remove_header: X-List}], class: c, retention: 3d}, {name: y, for: recipient, when: 'int(recipient) > 1', then: reject}]"))
	f.Add([]byte("rules: [{name: x, for: recipient, mode: watch, when: 'recipient_domain == \"example.com\"', do: [{add_recipient: a@x}, mta_hold], then: quarantine}]"))
	f.Add([]byte(testLists + "timezone: UTC\ninside: {authenticated: no, domains: [example.org], listeners: [a]}\nrules:\n- name: a\n  for: part\n  then: accept\n  when: |\n    addressIn(sender, \"people\") and part.text matches \"a+\" or lower(split(replace(trim(subject), \"a\", \"b\"), \"c\")[0] + \"d\") in [\"x\"] and direction != \"in\" and hour > 3"))
	for _, call := range []string{"len()", "lower()", "split(subject)", "join(1, 2)", "domain()", "count()", "any(parts)", "min()", "replace(1)", "int()", "[1][0:1]", "subject[0]", "map(parts, .ext + .names)", "-size in 1..2"} {
		f.Add([]byte("rules: [{name: x, then: accept, when: '" + call + " == 1'}]"))
	}
	m := parse(f, threeParts)
	r := report(f, m, "+html/script 1.2", "clamd/pua 1.3")
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := Load("x.yaml", data, Options{Checks: knownChecks, Editor: fakeEditor{}})
		if err != nil {
			var list Errors
			if strings.Contains(err.Error(), notCompiled) {
				t.Errorf("%q: %v", data, err)
			}
			if !errors.As(err, &list) || len(list) == 0 || list[0].Line < 1 || list[0].Column < 1 {
				t.Errorf("%q: the error is %#v", data, err)
			}
			return
		}
		about := 0
		for _, r := range p.rules {
			if r.stage == eml.AtData {
				about++
			}
		}
		for _, at := range []eml.Stage{eml.AtConnect, eml.AtMail, eml.AtRcpt} {
			v := p.DecideAt(at, m.Envelope, "a@example.net", []eml.Finding{{Check: "html/script"}})
			if v.Action != Accept && v.Action != TempFail && v.Action != Reject {
				t.Errorf("%q: %s at stage %s", data, v.Action, at)
			}
		}
		for _, report := range []scanners.Report{{}, r} {
			v := p.Decide(m, report)
			seen := 0
			for _, o := range append([]*Verdict{v}, v.Others...) {
				if o.Action == Undecided || len(o.Trace) < about || o != v && (len(o.Others) > 0 || len(o.Recipients) == 0) {
					t.Errorf("%q: %s after %d steps, for %q", data, o.Action, len(o.Trace), o.Recipients)
				}
				seen += len(o.Recipients)
			}
			if seen != 0 && seen != len(m.Envelope.Recipients) || len(v.Others) > 0 && seen == 0 {
				t.Errorf("%q: verdicts for %d recipients", data, seen)
			}
		}
	})
}
