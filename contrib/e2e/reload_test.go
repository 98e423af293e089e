package e2e

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"

	"rastel/contrib/rig"
)

// numberedPolicy is policy number n, which says so in whatever it delivers.
func numberedPolicy(n int) string {
	return fmt.Sprintf("tests: good.case\nrules:\n"+
		"  - {name: 'first %[1]d', when: 'true', do: [{add_header: {name: X-First, value: \"%[1]d\"}}]}\n"+
		"  - {name: 'last %[1]d', when: 'true', do: [{add_header: {name: X-Last, value: \"%[1]d\"}}], then: accept}\n", n)
}

// brokenPolicy is one that must not be put in force, by turns for another reason: half of a file, an unknown
// word, and one that rejects all mail and so fails its own test.
func brokenPolicy(n int) string {
	text := numberedPolicy(n)
	return []string{text[:50], strings.Replace(text, "when", "whem", 1), strings.Replace(text, "then: accept", "then: reject", 1)}[n/2%3]
}

var (
	numberedVerdict = regexp.MustCompile(`msg=verdict .* rule="last (\d+)" .* policy=([0-9a-f]+)`)
	numberedField   = regexp.MustCompile(`(?m)^X-(First|Last): (\d+)\r?$`)
)

// The policy is replaced a hundred times under load, half of the times by one that is broken. Each message is
// taken, delivered once, and decided by exactly one version, which the log names.
func TestReloadUnderLoadAffectsNoMessage(t *testing.T) {
	const reloads, clients, perReload = 100, 4, 3
	w := newWorld(t, setup{policy: "rules: [{name: none, when: 'true', then: reject}]\n"})
	dir := filepath.Dir(w.rastel.config)
	writeFile(t, filepath.Join(dir, "good.case"), "why: mail passes\nexpect: accept\n\nSubject: x\n\nhello\n")
	loaded := w.putPolicy(dir, numberedPolicy(0), "policy loaded", 0)
	refused := 0
	stop, sent := make(chan struct{}), make(chan struct{})
	var mu sync.Mutex
	taken := map[string]bool{}
	var load sync.WaitGroup
	for i := range clients {
		load.Go(func() {
			for n := 0; ; n++ {
				to := fmt.Sprintf("load%d.%d@%s", i, n, rig.Domain)
				if r, err := rig.Send(w.mta.SMTP(), sender, []string{to}, rig.Text(to, "good\r\n")); err != nil || r.Code != 250 {
					t.Errorf("%s: reply %v, %v", to, r, err)
				}
				mu.Lock()
				taken[to] = true
				mu.Unlock()
				select {
				case sent <- struct{}{}:
				case <-stop:
					return
				}
			}
		})
	}
	for n := 1; n <= reloads; n++ {
		if n%2 == 0 {
			refused = w.putPolicy(dir, brokenPolicy(n), "policy not loaded", refused)
		} else {
			loaded = w.putPolicy(dir, numberedPolicy(n), "policy loaded", loaded)
		}
		for range perReload {
			<-sent
		}
	}
	close(stop)
	load.Wait()
	t.Logf("%d policies loaded, %d not, %d messages", loaded, refused, len(taken))
	delivered := w.delivered()
	wantTakenDelivered(t, taken, delivered)
	w.wantOneVersionEach(delivered)
}

// putPolicy replaces the policy, has it read, and waits until that is in the log once more than before.
func (w *world) putPolicy(dir, text, told string, before int) (times int) {
	w.t.Helper()
	name := filepath.Join(dir, "policy.yaml")
	writeFile(w.t, name+".new", text)
	if err := os.Rename(name+".new", name); err != nil {
		w.t.Fatal(err)
	}
	if err := w.rastel.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		w.t.Fatal(err)
	}
	w.rastel.await(func() error {
		log, err := os.ReadFile(w.rastel.log)
		if times = bytes.Count(log, []byte(told)); err == nil && times <= before {
			err = fmt.Errorf("%q is in the log %d times", told, times)
		}
		return err
	})
	return times
}

// wantOneVersionEach sees that what was delivered was changed by one policy, and that as many messages were decided by
// that one as the log says.
func (w *world) wantOneVersionEach(delivered []rig.Delivery) {
	w.t.Helper()
	changed, decided := map[string]int{}, map[string]int{}
	for _, d := range delivered {
		found := numberedField.FindAllSubmatch(d.Raw, -1)
		if len(found) != 2 || !bytes.Equal(found[0][2], found[1][2]) {
			w.t.Errorf("%v: changed by %q", d.Recipients, found)
			continue
		}
		changed[string(found[0][2])]++
	}
	log, err := os.ReadFile(w.rastel.log)
	if err != nil {
		w.t.Fatal(err)
	}
	versions := map[string]string{}
	for _, m := range numberedVerdict.FindAllStringSubmatch(string(log), -1) {
		decided[m[1]]++
		if v, ok := versions[m[2]]; ok && v != m[1] {
			w.t.Errorf("the log names version %s for the policies %s and %s", m[2], v, m[1])
		}
		versions[m[2]] = m[1]
	}
	if fmt.Sprint(changed) != fmt.Sprint(decided) {
		w.t.Errorf("changed by\n%v\ndecided by\n%v", changed, decided)
	}
	w.t.Logf("%d messages, %d versions", len(delivered), len(versions))
}
