package e2e

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"rastel/contrib/rig"
)

// told are rules that tell what they go by, and one that only watches.
const told = `rules:
  - {name: new, mode: watch, when: 'subject contains "watched"', then: reject}
  - name: no programs
    for: part
    when: part.has("name/executable")
    then: reject
    reply: {code: 554, text: "{part} is refused ({rule}: {check}); quote {reference}"}
  - {name: kept, when: 'subject contains "kept"', then: quarantine}
  - {name: no, when: 'subject contains "refused"', then: reject}
`

// referenceIn finds the reference in a text.
var referenceIn = regexp.MustCompile(`\b01[0-9A-Z]{24}\b`)

// TestOneReferenceForAllThatIsTold: the sender, the log, the record in quarantine and the field of what is delivered
// have the same one.
func TestOneReferenceForAllThatIsTold(t *testing.T) {
	eachMTA(t, func(t *testing.T, mta string) {
		w := newWorld(t, setup{mta: mta, policy: told, config: "evidence_field: true\n"})
		program := rig.Attachment("program", `Set"up%n.exe`, "application/octet-stream", []byte("MZ RASTEL HARMLESS TEST PAYLOAD 5d1f8c72"))

		r := w.send("a@example.test", program)
		wantReply(t, r, nil, 554, `5.7.1 "Set`)
		wantReply(t, r, nil, 554, `is refused (no programs: name/executable); quote 01`)
		w.wantLogged("action=reject", `rule="no programs"`, "reference="+referenceIn.FindString(strings.Join(r.Lines, " ")))
		r = w.send("b@example.test", rig.Text("refused", "x\r\n"))
		wantReply(t, r, nil, 550, "5.7.1 The message was refused because of its content (reference 01")
		w.wantLogged("action=reject", "rule=no ", "reference="+referenceIn.FindString(strings.Join(r.Lines, " ")))

		w.mustTake("c@example.test", rig.Text("kept", "x\r\n"))
		id := w.rastel.quarantine("held")[0].ID
		w.wantLogged("action=quarantine", "reference="+id)
		if out, status := w.rastel.run("explain", "-config", w.rastel.config, id); status != 1 || !strings.Contains(out, "* kept: quarantine") || !strings.Contains(out, `Verdict: quarantine by rule "kept"`) {
			t.Errorf("explain %s: status %d\n%s", id, status, out)
		}

		forged := append([]byte("X-Rastel-Evidence: 01FORGED; verdict=accept\r\n"), rig.Text("watched", "x\r\n")...)
		w.mustTake("d@example.test", forged)
		raw := string(w.only("d@example.test").Raw)
		head, _ := splitHeader([]byte(raw))
		if !hasField(head, "X-Rastel-Evidence") || strings.Contains(raw, "FORGED") || strings.Count(raw, "X-Rastel-Evidence") != 1 || !strings.Contains(raw, "verdict=accept") {
			t.Errorf("delivered:\n%s", raw)
		}
		w.wantLogged("action=accept", "watched=new", "reference="+referenceIn.FindString(head))

		w.wantExcepted(program)
	})
}

// wantExcepted makes an exception for a program, for one recipient.
func (w *world) wantExcepted(program []byte) {
	t := w.t
	t.Helper()
	name := t.TempDir() + "/program.eml"
	if err := os.WriteFile(name, program, 0o600); err != nil {
		t.Fatal(err)
	}
	out, _ := w.rastel.run("scan", "-json", "-config", w.rastel.config, name)
	var scanned struct {
		Evidence struct {
			Parts []struct{ ID, SHA256 string }
		}
	}
	if err := json.Unmarshal([]byte(out), &scanned); err != nil {
		t.Fatal(err)
	}
	parts := scanned.Evidence.Parts
	i := slices.IndexFunc(parts, func(p struct{ ID, SHA256 string }) bool { return p.ID == "1.2" })
	if i < 0 {
		t.Fatalf("no part 1.2 in %s", out)
	}
	if _, status := w.rastel.run("exception", "add", "-config", w.rastel.config, "-sha256", parts[i].SHA256, "-recipient", "e@example.test", "-reason", "our setup", "-until", "2d"); status != 0 {
		t.Fatalf("exception add: status %d", status)
	}
	w.mustTake("e@example.test", program)
	w.only("e@example.test")
	wantReply(t, w.send("f@example.test", program), nil, 554, "is refused")
	if list, _ := w.rastel.run("exception", "list", "-json", "-config", w.rastel.config); !strings.Contains(list, `"hits":1,`) {
		t.Errorf("exceptions: %s", list)
	}
}
