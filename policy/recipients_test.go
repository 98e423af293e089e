package policy

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"rastel/sanitize/eml"
	"rastel/scanners"
)

// messageTo is threeParts for these recipients.
func messageTo(t testing.TB, recipients ...string) *eml.Message {
	m := parse(t, threeParts)
	m.Envelope.Recipients = recipients
	return m
}

// tellVerdict is a verdict with its others on one line each.
func tellVerdict(v *Verdict) string {
	var b strings.Builder
	for _, v := range append([]*Verdict{v}, v.Others...) {
		fmt.Fprint(&b, v.Action)
		for _, s := range []struct {
			mark string
			list []string
		}{{"for", v.Recipients}, {"add", v.Add}, {"remove", v.Remove}} {
			if s.list != nil {
				fmt.Fprintf(&b, " %s %s", s.mark, strings.Join(s.list, ","))
			}
		}
		if v.Rule != "" {
			fmt.Fprintf(&b, " by %s", v.Rule)
		}
		if !v.Patch.Empty() {
			fmt.Fprintf(&b, ", %d edits", len(v.Patch.Edits()))
		}
		if v.Hold {
			b.WriteString(", held")
		}
		if v.Class != "" || v.Retention != 0 {
			fmt.Fprintf(&b, ", kept as %q for %v", v.Class, v.Retention)
		}
		if v.MTAHold != "" {
			fmt.Fprintf(&b, ", MTA: %s", v.MTAHold)
		}
		if v.Reply != (Reply{}) {
			fmt.Fprintf(&b, ", %d", v.Reply.Code)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func TestRulesForRecipients(t *testing.T) {
	const eve = `for: recipient, when: 'recipient == "eve@x.test"'`
	for _, tt := range []struct{ name, rules, want string }{
		{"one group", `{name: r, for: recipient, when: recipient_domain == "x.test", then: quarantine}`, "quarantine by r\n"},
		{"no group", `{name: r, for: recipient, when: recipient_domain == "y.test", then: quarantine}`, "accept\n"},
		{"quarantine for one", `{name: r, ` + eve + `, then: quarantine, class: bad, retention: 2w}`,
			"accept for bob@x.test,zoe@x.test remove eve@x.test\nquarantine for eve@x.test by r, kept as \"bad\" for 336h0m0s\n"},
		{"discard for one", `{name: r, ` + eve + `, then: discard}`, "accept for bob@x.test,zoe@x.test remove eve@x.test\ndiscard for eve@x.test by r\n"},
		{"reject for one", `{name: r, ` + eve + `, then: reject, reply: {text: no}}`, "accept for bob@x.test,zoe@x.test remove eve@x.test\nquarantine for eve@x.test by r\n"},
		{"reject for one, discard for others", `{name: r, ` + eve + `, then: reject}, {name: d, when: true, then: discard}`, "discard for bob@x.test,zoe@x.test by d\nquarantine for eve@x.test by r\n"},
		{"reject for all", `{name: r, ` + eve + `, then: reject, reply: {text: no}}, {name: s, when: true, then: reject, reply: {code: 554}}`, "reject by s, 554\n"},
		{"tempfail for one", `{name: r, ` + eve + `, then: tempfail, reply: {code: 450}}, {name: q, when: true, do: [hold], then: quarantine}`, "tempfail by r, 450\n"},
		{"fails for one", `{name: r, for: recipient, when: 'int(replace(recipient, "eve@x.test", "x") != recipient ? recipient : "1") > 1', then: accept}`, "tempfail by r\n"},
		{"fails for one, and is quarantined", `{name: r, for: recipient, when: 'int(recipient == "eve@x.test" ? "x" : "1") > 1', then: accept}, {name: q, when: true, then: quarantine}`, "quarantine by q\n"},
		{"a final action before", `{name: m, when: sender != "", then: quarantine}, {name: r, ` + eve + `, then: discard}`, "quarantine by m\n"},
		{"changes for one", `{name: r, ` + eve + `, do: [{tag_subject: "[X]"}]}`, "accept for bob@x.test,zoe@x.test remove eve@x.test\naccept for eve@x.test, 1 edits\n"},
		{"changes for two of them", `{name: r, for: recipient, when: 'recipient != "eve@x.test"', do: [{tag_subject: "[X]"}]}`,
			"accept for bob@x.test,zoe@x.test remove eve@x.test, 1 edits\naccept for eve@x.test\n"},
		{"the same by different rules", `{name: r, ` + eve + `, do: [{tag_subject: "[X]"}], then: accept}, {name: s, when: true, do: [{tag_subject: "[X]"}]}`, "accept, 1 edits\n"},
		{"the same page written anew", `{name: p, for: part, when: 'part.type == "html"', do: [clean]}, {name: r, ` + eve + `, then: accept}`, "accept, 1 edits\n"},
		{"other pages written anew", `{name: r, ` + eve + `, then: accept}, {name: p, for: part, when: 'part.type == "html"', do: [text]}`,
			"accept for bob@x.test,zoe@x.test remove eve@x.test, 1 edits\naccept for eve@x.test by r\n"},
		{"quarantined by different rules", `{name: r, ` + eve + `, then: quarantine}, {name: s, when: true, then: quarantine}`,
			"quarantine for bob@x.test,zoe@x.test by s\nquarantine for eve@x.test by r\n"},
		{"quarantined by the same rule", `{name: r, ` + eve + `, do: [{tag_subject: "[X]"}]}, {name: s, when: true, then: quarantine}`, "quarantine by s\n"},
		{"three groups", `{name: r, ` + eve + `, then: quarantine}, {name: s, for: recipient, when: 'recipient startsWith "b"', do: [{tag_subject: "[X]"}]}`,
			"accept for bob@x.test remove eve@x.test,zoe@x.test, 1 edits\nquarantine for eve@x.test by r\naccept for zoe@x.test\n"},
		{"a copy is kept for one", `{name: r, ` + eve + `, do: [hold], class: audit}`, "accept, held, kept as \"audit\" for 0s\n"},
		{"redirect one", `{name: r, ` + eve + `, do: [{redirect: adam@x.test}]}`, "accept add adam@x.test remove eve@x.test\n"},
		{"redirect one to another", `{name: r, ` + eve + `, do: [{redirect: Bob@x.test}]}`, "accept remove eve@x.test\n"},
		{"redirect one to another, who does not get it otherwise", `{name: r, ` + eve + `, do: [{redirect: bob@x.test}]}, {name: b, for: recipient, when: 'recipient == "bob@x.test"', then: quarantine}`,
			"accept for eve@x.test,zoe@x.test remove eve@x.test\nquarantine for bob@x.test by b\n"},
		{"redirect all", `{name: r, when: true, do: [{redirect: [adam@x.test, zoe@x.test]}]}`, "accept add adam@x.test remove bob@x.test,eve@x.test\n"},
		{"redirect twice", `{name: r, when: true, do: [{redirect: a@x.test}, {add_recipient: b@x.test}, {redirect: c@x.test}]}`, "accept add b@x.test,c@x.test remove bob@x.test,eve@x.test,zoe@x.test\n"},
		{"add", `{name: r, when: true, do: [{add_recipient: [a@x.test, A@x.test, ZOE@x.test]}]}`, "accept add a@x.test\n"},
		{"add and remove", `{name: r, when: true, do: [{add_recipient: a@x.test}, {remove_recipient: [a@x.test, bob@x.test, no@x.test]}, {remove_recipient: zoe@x.test}, {add_recipient: zoe@x.test}]}`, "accept remove bob@x.test\n"},
		{"remove one", `{name: r, ` + eve + `, do: [remove_recipient]}`, "accept remove eve@x.test\n"},
		{"remove one that is redirected", `{name: a, when: true, do: [{redirect: a@x.test}]}, {name: r, ` + eve + `, do: [remove_recipient]}`, "accept add a@x.test remove bob@x.test,eve@x.test,zoe@x.test\n"},
		{"remove all", `{name: r, for: recipient, when: true, do: [remove_recipient, {tag_subject: "[X]"}, {mta_hold: x}]}`, "discard\n"},
		{"remove one of which the copy would differ", `{name: r, ` + eve + `, do: [remove_recipient, {tag_subject: "[X]"}]}`, "accept for bob@x.test,zoe@x.test remove eve@x.test\ndiscard for eve@x.test\n"},
		{"no change of the envelope where it is not accepted", `{name: r, ` + eve + `, do: [{add_recipient: a@x.test}, {redirect: b@x.test}, mta_hold], then: quarantine}`, "accept for bob@x.test,zoe@x.test remove eve@x.test\nquarantine for eve@x.test by r\n"},
		{"MTA hold", `{name: r, when: true, do: [mta_hold, {mta_hold: again}]}`, "accept, MTA: r\n"},
		{"MTA hold for one", `{name: r, ` + eve + `, do: [{mta_hold: look}]}`, "accept for eve@x.test remove bob@x.test,zoe@x.test, MTA: look\naccept for bob@x.test,zoe@x.test\n"},
		{"MTA hold for two in two ways", `{name: r, ` + eve + `, do: [{mta_hold: look}]}, {name: z, for: recipient, when: 'recipient == "zoe@x.test"', do: [{mta_hold: look}, {tag_subject: "[X]"}]}`,
			"accept for eve@x.test remove bob@x.test,zoe@x.test, MTA: look\naccept for bob@x.test\nquarantine for zoe@x.test\n"},
		{"MTA hold for one who is removed", `{name: r, ` + eve + `, do: [{mta_hold: look}, remove_recipient]}`, "accept for bob@x.test,zoe@x.test remove eve@x.test\ndiscard for eve@x.test\n"},
	} {
		m := messageTo(t, "bob@x.test", "eve@x.test", "zoe@x.test")
		v := load(t, "rules: ["+tt.rules+"]").Decide(m, scanners.Report{})
		if got := tellVerdict(v); got != tt.want {
			t.Errorf("%s: got\n%swant\n%s%s", tt.name, got, tt.want, traceOf(v))
		}
		for _, o := range append([]*Verdict{v}, v.Others...) {
			if n := strings.Count(traceOf(o), "final=true"); n != 1 {
				t.Errorf("%s: %d final steps in\n%s", tt.name, n, traceOf(o))
			}
			if len(o.Recipients) > 0 && len(v.Others) == 0 || o != v && len(o.Others) > 0 {
				t.Errorf("%s: recipients %v, others %v", tt.name, o.Recipients, o.Others)
			}
		}
	}
}

// TestRulesForRecipientsThatOnlyWatch: they divide nothing, and no limit of theirs stops anything.
func TestRulesForRecipientsThatOnlyWatch(t *testing.T) {
	const rule = `{name: w, for: recipient, mode: watch, when: 'recipient startsWith "e"', do: [{redirect: a@x.test}], then: quarantine}`
	v := load(t, "rules: ["+rule+"]").Decide(messageTo(t, "bob@x.test", "eve@x.test"), scanners.Report{})
	if got := tellVerdict(v); got != "accept\n" || len(v.Watched) != 1 || !slices.Equal(v.Watched[0].Did, []string{"redirect a@x.test", "quarantine"}) {
		t.Errorf("%s%v\n%s", got, v.Watched, traceOf(v))
	}
	v = load(t, "rules: ["+rule+"]").Decide(messageTo(t, "bob@x.test"), scanners.Report{})
	if got := tellVerdict(v); got != "accept\n" || len(v.Watched) != 0 {
		t.Errorf("%s%v\n%s", got, v.Watched, traceOf(v))
	}
	var many []string
	for i := range maxGroups + 10 {
		many = append(many, fmt.Sprintf("r%d@x.test", i))
	}
	var rules strings.Builder
	for i, a := range many {
		fmt.Fprintf(&rules, "- {name: r%d, for: recipient, mode: watch, when: 'recipient == %q', do: [hold]}\n", i, a)
	}
	v = load(t, "rules:\n"+rules.String()).Decide(messageTo(t, many...), scanners.Report{})
	if got := tellVerdict(v); got != "accept\n" || len(v.Watched) != len(many) {
		t.Errorf("%s%d watched", got, len(v.Watched))
	}
	// A whole policy that watches tells what it would have done for each group.
	v = load(t, "mode: watch\nrules: ["+strings.Replace(rule, ", mode: watch", "", 1)+"]").Decide(messageTo(t, "bob@x.test", "eve@x.test"), scanners.Report{})
	if got := tellVerdict(v); got != "accept\n" || !strings.Contains(traceOf(v), "quarantine") {
		t.Errorf("%s%s", got, traceOf(v))
	}
}

// TestTraceTellsTheClauseForRecipients: the one that was nearest to hold for one of the group.
func TestTraceTellsTheClauseForRecipients(t *testing.T) {
	p := load(t, `rules: [{name: r, for: recipient, when: 'recipient_domain == "x.test" and recipient startsWith "a"', then: quarantine}]`)
	v := p.Decide(messageTo(t, "a@x.test", "b@x.test", "c@y.test"), scanners.Report{})
	if got, want := v.Trace[0].Why, `not true: recipient startsWith "a"`; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	v = p.Decide(messageTo(t, "a@x.test", "c@y.test"), scanners.Report{})
	if got, want := v.Trace[0].Why, `not true: recipient_domain == "x.test"`; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestTraceOfEachGroup(t *testing.T) {
	p := load(t, `rules:
- {name: tag, for: recipient, when: 'recipient == "eve@x.test"', do: [{add_recipient: a@x.test}]}
- {name: keep, for: recipient, when: 'recipient == "zoe@x.test"', then: quarantine}`)
	v := p.Decide(messageTo(t, "bob@x.test", "eve@x.test", "zoe@x.test"), scanners.Report{})
	want := `tag [] matched=false final=false did=[] why="not true: recipient == \"eve@x.test\""
keep [] matched=false final=false did=[] why="not true: recipient == \"zoe@x.test\""
(default) [] matched=false final=true did=["accept"] why="no rule decided, and everything was examined"
(recipients) [] matched=false final=false did=[] why="the same for \"eve@x.test\""
tag [] matched=true final=false did=["add_recipient a@x.test"] why="true: recipient == \"eve@x.test\""
`
	if got := traceOf(v); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	want = `tag [] matched=false final=false did=[] why="not true: recipient == \"eve@x.test\""
keep [] matched=true final=true did=["quarantine"] why="true: recipient == \"zoe@x.test\""
`
	if len(v.Others) != 1 || traceOf(v.Others[0]) != want {
		t.Errorf("got\n%v", v.Others)
	}
}

// TestRecipientsThatAreOneMailbox: Sendmail takes both away if it is told to remove one, so they must not
// differ.
func TestRecipientsThatAreOneMailbox(t *testing.T) {
	p := load(t, `rules: [{name: r, for: recipient, when: 'recipient == "eve@x.test"', then: quarantine}]`)
	v := p.Decide(messageTo(t, "bob@x.test", "eve@x.test", "EVE@X.test", `"eve"@x.test.`, "@a,@b:eve@x.test"), scanners.Report{})
	if got, want := tellVerdict(v), "accept for bob@x.test remove eve@x.test,EVE@X.test,\"eve\"@x.test.,@a,@b:eve@x.test\nquarantine for eve@x.test,EVE@X.test,\"eve\"@x.test.,@a,@b:eve@x.test by r\n"; got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

// TestSpellingOfRecipientsChoosesNoRule: whoever writes RCPT TO must not choose which rules hold.
func TestSpellingOfRecipientsChoosesNoRule(t *testing.T) {
	for _, condition := range []string{`recipient == "kate@x.test"`, `recipient in ["kate@x.test"]`, `recipient startsWith "kate@"`, `any(recipients, # == "kate@x.test")`, `"kate@x.test" in recipients`} {
		p := load(t, fmt.Sprintf(`rules: [{name: r, for: recipient, when: '%s', then: quarantine}]`, condition))
		for _, to := range [][]string{{"KATE@x.test"}, {"Kate@X.TEST."}, {"KATE@x.test", "kate@x.test"}, {`"KATE"@x.test`}} {
			if v := p.Decide(messageTo(t, to...), scanners.Report{}); v.Action != Quarantine {
				t.Errorf("%s for %q: %s\n%s", condition, to, v.Action, traceOf(v))
			}
		}
	}
	p := load(t, `rules: [{name: r, for: recipient, when: 'recipient == "kate@x.test"', then: quarantine}]`)
	v := p.Decide(messageTo(t, "\u212aate@x.test", "kate@x.test"), scanners.Report{}) // the Kelvin sign
	if got, want := tellVerdict(v), "accept for \u212aate@x.test remove kate@x.test\nquarantine for kate@x.test by r\n"; got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func TestWithoutRecipients(t *testing.T) {
	p := load(t, `rules: [{name: r, for: recipient, when: true, then: quarantine}]`)
	if v := p.Decide(messageTo(t), scanners.Report{}); v.Action != Accept || len(v.Trace) != 2 {
		t.Errorf("%s\n%s", v.Action, traceOf(v))
	}
}

// TestRecipientsAreBounded also wants what is beyond a limit to be quarantined, or refused for now, for all.
func TestRecipientsAreBounded(t *testing.T) {
	many := func(n int) (list []string) {
		for i := range n {
			list = append(list, fmt.Sprintf("r%d@x.test", i))
		}
		return list
	}
	var asked, groups strings.Builder
	for i := range maxAsked/10_000 + 1 {
		fmt.Fprintf(&asked, "- {name: r%d, for: recipient, when: 'recipient == sender', do: [hold]}\n", i)
	}
	for i := range maxGroups {
		fmt.Fprintf(&groups, "- {name: r%d, for: recipient, when: 'recipient == \"r%d@x.test\"', do: [{tag_subject: '[%d]'}]}\n", i, i, i)
	}
	for _, tt := range []struct {
		name, rules string
		recipients  int
		want, why   string
	}{
		{"asked", asked.String(), maxAsked / (maxAsked/10_000 + 1), "accept\n", ""},
		{"asked too often", asked.String(), 10_000, fmt.Sprintf("quarantine by r%d\n", maxAsked/10_000), errAsked.Error()},
		{"groups", groups.String(), maxGroups, "", ""},
		{"too many groups", groups.String(), maxGroups + 1, fmt.Sprintf("quarantine by r%d\n", maxGroups-1), errGroups.Error()},
		{"loops", "- {name: r, for: recipient, when: 'any(recipients, # == sender)', then: accept}\n", 2000, "tempfail by r\n", errRounds.Error()},
	} {
		v := load(t, "rules:\n"+tt.rules).Decide(messageTo(t, many(tt.recipients)...), scanners.Report{})
		if tt.want == "" {
			if len(v.Others) != tt.recipients-1 {
				t.Errorf("%s: %d groups, want %d", tt.name, 1+len(v.Others), tt.recipients)
			}
			continue
		}
		if got := tellVerdict(v); got != tt.want || !strings.Contains(traceOf(v), tt.why) {
			t.Errorf("%s: got %swant %s%.2000s", tt.name, got, tt.want, traceOf(v))
		}
	}
}

// randomRules makes a policy by chance.
func randomRules(r *rand.Rand) string {
	pick := func(list ...string) string { return list[r.IntN(len(list))] }
	var b strings.Builder
	b.WriteString("rules:\n")
	for i := range 1 + r.IntN(6) {
		forWhom := pick("message", "recipient", "recipient", "part")
		when := pick("true", "subject == ''", "sender != ''")
		if forWhom == "recipient" {
			when = pick("true", "recipient startsWith 'a'", "recipient startsWith 'b'", "recipient_domain == 'x.test'", "recipient in ['c@y.test', 'a@x.test']", "not (recipient endsWith 'y.test')")
			if r.IntN(20) == 0 {
				when = "int(recipient == 'b@x.test' ? 'x' : '1') > 1"
			}
		}
		var do []string
		for range r.IntN(3) {
			other := pick("a@x.test", "b@x.test", "c@y.test", "new@z.test", "other@z.test")
			list := []string{"{tag_subject: '[A]'}", "{tag_subject: '[B]'}", "{add_header: {name: X-List, value: a}}", "{set_header: {name: X-List, value: b}}", "{remove_header: X-List}",
				"{redirect: " + other + "}", "{add_recipient: " + other + "}", "{remove_recipient: " + other + "}", "hold"}
			if forWhom == "recipient" {
				list[7] = "remove_recipient"
			}
			do = append(do, list[r.IntN(len(list))])
		}
		then := pick("", "", "accept", "quarantine", "reject", "discard")
		if r.IntN(20) == 0 {
			then = "tempfail"
		}
		if then == "" && do == nil {
			do = []string{"hold"}
		}
		fmt.Fprintf(&b, "- {name: r%d, for: %s, when: \"%s\"", i, forWhom, when)
		if then != "" {
			fmt.Fprintf(&b, ", then: %s", then)
		}
		if do != nil {
			fmt.Fprintf(&b, ", do: [%s]", strings.Join(do, ", "))
		}
		b.WriteString("}\n")
	}
	return b.String()
}

// An account is who gets which text, and for whom the message is held.
type account struct{ delivered, held map[string]bool }

func (a *account) add(t *testing.T, m *eml.Message, v *Verdict) {
	switch v.Action {
	case Accept:
		text := delivered(t, m, v)
		for _, r := range v.To(m.Envelope) {
			a.delivered[sameMailbox(r)+" "+text] = true
		}
	case Quarantine:
		own := v.Recipients
		if own == nil {
			own = m.Envelope.Recipients
		}
		for _, r := range own {
			a.held[r] = true
		}
	}
}

// TestEveryRecipientHasTheOutcomeOfAMessageOfItsOwn: but for tempfail, which is for all, and reject, which
// becomes quarantine if it is not for all.
func TestEveryRecipientHasTheOutcomeOfAMessageOfItsOwn(t *testing.T) {
	all := []string{"a@x.test", "b@x.test", "c@y.test", "d@x.test", "a@y.test"}
	r := rand.New(rand.NewPCG(1, 2))
	outcomes := map[string]int{}
	for range 3000 {
		rules := randomRules(r)
		p, err := Load("test.yaml", []byte(rules), Options{Editor: fakeEditor{}})
		if err != nil && strings.Count(err.Error(), "\n")+1 == strings.Count(err.Error(), "unreachable")+strings.Count(err.Error(), "shadowed") {
			outcomes["not loaded"]++
			continue
		} else if err != nil {
			t.Fatalf("%s%v", rules, err)
		}
		list := slices.Clone(all)
		r.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
		m := messageTo(t, list[:1+r.IntN(len(list))]...)
		list = m.Envelope.Recipients
		want := account{map[string]bool{}, map[string]bool{}}
		actions := map[Action]int{}
		for _, a := range list {
			m.Envelope.Recipients = []string{a}
			v := p.Decide(m, scanners.Report{})
			actions[v.Action]++
			want.add(t, m, v)
			if v.Action == Reject {
				want.held[a] = true
			}
		}
		m.Envelope.Recipients = list
		v := p.Decide(m, scanners.Report{})
		outcomes[fmt.Sprintf("%s, %d others", v.Action, min(len(v.Others), 2))]++
		switch {
		case actions[TempFail] > 0:
			if v.Action != TempFail || len(v.Others) > 0 || v.Hold {
				t.Fatalf("%s%v: got\n%swant tempfail", rules, list, tellVerdict(v))
			}
			continue
		case actions[Reject] == len(list):
			if v.Action != Reject || len(v.Others) > 0 {
				t.Fatalf("%s%v: got\n%swant reject", rules, list, tellVerdict(v))
			}
			continue
		}
		got := account{map[string]bool{}, map[string]bool{}}
		var seen []string
		for _, o := range append([]*Verdict{v}, v.Others...) {
			got.add(t, m, o)
			seen = append(seen, o.Recipients...)
			if o != v && o.Action == Accept && len(o.To(m.Envelope)) == 0 || o.Action == Reject || o.Action == TempFail {
				t.Fatalf("%s%v: an outcome is\n%s", rules, list, tellVerdict(o))
			}
		}
		if !maps.Equal(got.delivered, want.delivered) || !maps.Equal(got.held, want.held) {
			t.Fatalf("%s%v: got\n%s%v\nwant %v\nheld %v, want %v", rules, list, tellVerdict(v), slices.Sorted(maps.Keys(got.delivered)), slices.Sorted(maps.Keys(want.delivered)), got.held, want.held)
		}
		if slices.Sort(seen); len(v.Others) > 0 && !slices.Equal(seen, slices.Sorted(slices.Values(list))) {
			t.Fatalf("%s%v: outcomes are for %v", rules, list, seen)
		}
	}
	t.Logf("%v", outcomes)
	for _, want := range []string{"accept, 0 others", "accept, 1 others", "accept, 2 others", "quarantine, 1 others", "discard, 1 others", "tempfail, 0 others", "reject, 0 others"} {
		if outcomes[want] == 0 {
			t.Errorf("never %s", want)
		}
	}
}

// TestExampleOfRulesForRecipients loads what the reference shows.
func TestExampleOfRulesForRecipients(t *testing.T) {
	_, example, ok := strings.Cut(recipientsDoc, "```yaml\n")
	example, _, closed := strings.Cut(example, "```")
	if !ok || !closed {
		t.Fatal("there is no example")
	}
	v := load(t, example).Decide(messageTo(t, "ann@example.com", "eve@example.com"), scanners.Report{})
	if got, want := tellVerdict(v), "accept add adam@example.com remove eve@example.com\n"; got != want {
		t.Errorf("got %swant %s", got, want)
	}
}
