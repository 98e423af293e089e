package e2e

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rastel/contrib/rig"
)

// While the database is away clean mail flows, what must be held is held in the journal, also by a program that
// starts then, and once it is back the journal is handed on and released.
func TestMailFlowsWhileTheDatabaseIsAway(t *testing.T) {
	p, err := rig.StartPostgres()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Stop(); err != nil {
			t.Error(err)
		}
	})
	password := filepath.Join(t.TempDir(), "password")
	writeFile(t, password, rig.PostgresPassword+"\n")
	w := newWorld(t, setup{quarantine: fmt.Sprintf(", index: {postgres: %q, password_file: %q}", p.URL("postgres"), password)})
	w.mustTake(recipient, eicarMessage())
	before := w.onlyHeld()

	p.Kill()
	took := func(what string, raw []byte, to string) {
		begin := time.Now()
		w.mustTake(to, raw)
		t.Logf("%s took %v without the database", what, time.Since(begin).Round(time.Millisecond))
	}
	took("clean mail", rig.Text("clean", "good\r\n"), "clean1@"+rig.Domain)
	w.only("clean1@" + rig.Domain)
	took("the first that is held", eicarMessage(), "held1@"+rig.Domain)
	took("the second that is held", eicarMessage(), "held2@"+rig.Domain)
	waiting := w.rastel.quarantine("held")
	if len(waiting) != 2 || !waiting[0].Journal || !waiting[1].Journal {
		t.Fatalf("held without the database: %+v, want two in the journal", waiting)
	}
	if _, status := w.rastel.run("quarantine", "release", waiting[0].ID, "-config", w.rastel.config); status != 1 {
		t.Errorf("release from the journal: status %d, want 1", status)
	}

	w.rastel.kill()
	w.rastel.start()
	took("clean mail, after a restart", rig.Text("clean", "good\r\n"), "clean2@"+rig.Domain)
	w.only("clean2@" + rig.Domain)
	took("one that is held, after a restart", eicarMessage(), "held3@"+rig.Domain)
	if n := len(w.rastel.quarantine("held")); n != 3 {
		t.Errorf("%d held without the database after a restart, want 3", n)
	}

	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	var all []held
	w.rastel.await(func() error {
		if all = w.rastel.quarantine("held"); len(all) != 4 || strings.Contains(fmt.Sprintf("%+v", all), "Journal:true") {
			return fmt.Errorf("held with the database back: %+v", all)
		}
		return nil
	})
	for _, it := range all {
		w.release(it.ID)
	}
	for _, to := range []string{recipient, "held1@" + rig.Domain, "held2@" + rig.Domain, "held3@" + rig.Domain} {
		w.only(to)
	}
	if all[3].ID != before {
		t.Errorf("the oldest is %s, want %s, which was held before", all[3].ID, before)
	}
}
