package policy

import (
	"slices"
	"strings"
	"testing"

	"rastel/sanitize/eml"
	"rastel/scanners"
)

// TestChanges shows each word of "do" lists: what becomes of threeParts, as old and new text,
// and what the trace tells.
func TestChanges(t *testing.T) {
	const program = "MZ not really"
	for _, tt := range []struct {
		name, rules string
		findings    []string
		replaced    []string // old, new, old, new, ...
		did         string
	}{
		{
			"defang applies fixes", `{name: x, for: part, when: 'part.has("html/*")', do: [defang]}`,
			[]string{"+html/script 1.2"}, []string{"<p>x<script>", "FIXx<script>"}, "defang: 1 edits",
		},
		{
			"defang for messages acts on all parts", `{name: x, when: 'has("html/*")', do: [defang]}`,
			[]string{"+html/script 1.1", "+html/form 1.2"}, []string{"hello", "FIXlo", "<p>x<script>", "FIXx<script>"}, "defang: 2 edits",
		},
		{
			"defang leaves findings alone that the condition does not ask for", `{name: x, for: part, when: 'part.has("html/*")', do: [defang]}`,
			[]string{"+html/script 1.2", "clamd/pua 1.2"}, []string{"<p>x<script>", "FIXx<script>"}, "defang: 1 edits",
		},
		{
			"defang takes a check", `{name: x, for: part, when: 'part.has("html/*")', do: [{defang: html/form}]}`,
			[]string{"+html/script 1.2"}, nil, "defang: 0 edits",
		},
		{
			"defang takes a list", `{name: x, for: part, when: 'part.type == "html"', do: [{defang: [html/form, "html/sc*"]}]}`,
			[]string{"+html/script 1.2", "clamd/pua 1.2"}, []string{"<p>x<script>", "FIXx<script>"}, "defang: 1 edits",
		},
		{
			"defang of all findings where the condition asks for none", `{name: x, for: part, when: 'part.type == "html"', do: [defang]}`,
			[]string{"+html/script 1.2"}, []string{"<p>x<script>", "FIXx<script>"}, "defang: 1 edits",
		},
		{
			"defang strips what has no fix", `{name: page, for: part, when: 'part.has("html/*")', do: [defang]}`,
			[]string{"+html/script 1.2", "html/form 1.2"}, []string{"<p>x<script>y</script></p>", "[stripped: page]"},
			"defang: 1 edits, and stripped 1 parts with findings that have no fix",
		},
		{
			"defang strips the carrier of a member, whatever its fix", `{name: page, for: part, when: 'part.has("html/*")', do: [defang]}`,
			[]string{"+html/script 1.3/1"}, []string{program, "[stripped: page]"},
			"defang: 0 edits, and stripped 1 parts with findings that have no fix",
		},
		{
			"disarm applies fixes", `{name: x, for: part, when: 'part.has("html/*")', do: [disarm]}`,
			[]string{"+html/script 1.2"}, []string{"<p>x<script>", "FIXx<script>"}, "disarm: 1 edits",
		},
		{
			"disarm takes all of it out of a document, once", `{name: x, when: 'has("html/*")', do: [disarm]}, {name: y, for: part, when: 'part.has("clamd/pua")', do: [disarm]}`,
			[]string{"html/form 1.3", "html/script 1.3/1", "clamd/pua 1.3"}, []string{program, "[without html/form in 1.3 html/script in 1.3/1 clamd/pua in 1.3]"},
			"disarm: 0 edits, and all of it in 1.3|disarm: 0 edits",
		},
		{
			"disarm takes a list", `{name: x, for: part, when: 'part.has("*")', do: [{disarm: ["html/f*", "html/script"]}]}`,
			[]string{"html/form 1.3", "clamd/pua 1.3"}, []string{program, "[without html/form in 1.3]"}, "disarm: 0 edits, and all of it in 1.3",
		},
		{
			"disarm of what is stripped", `{name: x, for: part, when: 'part.has("*")', do: [disarm, strip]}`,
			[]string{"html/form 1.3"}, []string{program, "[stripped: x]"}, "disarm: 0 edits, and all of it in 1.3|strip 1.3",
		},
		{
			"strip", `{name: no programs, for: part, when: 'part.named("*.exe")', do: [strip]}`,
			nil, []string{program, "[stripped: no programs]"}, "strip 1.3",
		},
		{
			"strip with a reason", `{name: x, for: part, when: 'part.named("*.exe")', do: [{strip: Ask for it.}]}`,
			nil, []string{program, "[stripped: Ask for it.]"}, "strip 1.3",
		},
		{
			"strip of a member strips its carrier, once", `{name: x, for: part, when: 'part.id startsWith "1.3"', do: [strip]}`,
			nil, []string{program, "[stripped: x]"}, "strip 1.3|strip: 1.3 is stripped already",
		},
		{
			"strip wins over other changes of the part", `{name: a, for: part, when: 'part.has("html/*")', do: [defang]}, {name: b, for: part, when: 'part.type == "html"', do: [strip]}, {name: c, for: part, when: 'part.has("html/*")', do: [defang]}`,
			[]string{"+html/script 1.2"}, []string{"<p>x<script>y</script></p>", "[stripped: b]"}, "defang: 1 edits|strip 1.2|defang: 1 edits",
		},
		{
			"strip in the languages of the rule, and not kept", `{name: x, for: part, when: 'part.named("*.exe")', do: [strip], language: [de, en]}`,
			nil, []string{program, "[stripped: x, in de+en]"}, "strip 1.3",
		},
		{
			"strip of what another rule has held", `{name: x, for: part, when: 'part.named("*.exe")', do: [strip]}, {name: y, when: true, do: [hold]}`,
			nil, []string{program, "[stripped: x, kept as ITEM]"}, "strip 1.3|hold",
		},
		{
			"banners in their order, each once, not in what is stripped or signed", `{name: x, when: true, do: [{banner: One word and more.}, {banner: suspicious}, {banner: {text: word}}]}, {name: y, when: true, do: [{banner: suspicious}]}, {name: z, for: part, when: 'part.id == "1.3"', do: [strip]}`,
			[]string{"signed/pgp 1.1"}, []string{"boundary=b\n\n--b", "boundary=b\n\n[banner: One word and more., not in 1.3, not in 1.1][banner: suspicious, not in 1.3, not in 1.1][banner: word, not in 1.3, not in 1.1]--b", program, "[stripped: z]"},
			"banner|banner|banner|banner|strip 1.3",
		},
		{
			"a banner in what is signed", `{name: x, when: true, do: [{banner: {name: external, signed: yes}}]}`,
			[]string{"signed/pgp 1.1"}, []string{"boundary=b\n\n--b", "boundary=b\n\n[banner: external]--b"}, "banner",
		},
		{
			"clean, and nothing else of what is not there any more", `{name: x, for: part, when: 'part.type == "html"', do: [defang, clean, text]}`,
			[]string{"+html/script 1.2"}, []string{"<p>x<script>y</script></p>", "[written anew, as text: false]"}, "defang: 1 edits|clean 1.2|text: 1.2 is written anew already (clean)",
		},
		{
			"text", `{name: x, for: part, when: 'part.type == "html"', do: [text]}`,
			nil, []string{"<p>x<script>y</script></p>", "[written anew, as text: true]"}, "text 1.2",
		},
		{
			"strip wins over clean", `{name: x, for: part, when: 'part.type == "html"', do: [clean, strip]}`,
			nil, []string{"<p>x<script>y</script></p>", "[stripped: x]"}, "clean 1.2|strip 1.2",
		},
		{
			"clean leaves alone what is no page and safe", `{name: x, for: part, when: 'part.id == "1.1"', do: [clean]}`,
			[]string{"clamd/pua 1.1"}, nil, "clean: 1.1 is no HTML that can be written anew: defang: 0 edits",
		},
		{
			"text defangs what cannot be written anew", `{name: x, for: part, when: 'part.id == "1.1"', do: [text]}`,
			[]string{"+html/script 1.1"}, []string{"hello", "FIXlo"}, "text: 1.1 is no HTML that can be written anew: defang: 1 edits",
		},
		{
			"clean of an unsafe member strips its carrier", `{name: x, for: part, when: 'part.member', do: [clean]}`,
			[]string{"+html/script 1.3/1"}, []string{program, "[stripped: x]"}, "clean: 1.3/1 is no HTML that can be written anew: defang: 0 edits, and stripped 1 parts with findings that have no fix",
		},
		{
			"rename, and the reader is told", `{name: x, for: part, when: 'part.id == "1.3"', do: [{rename: Why not.}]}`,
			nil, []string{`Content-Disposition: attachment; filename="docs/Setup.EXE"`, "Content-Disposition: renamed", "boundary=b\n\n--b", "boundary=b\n\n[notice  in : 1.3 (false) Why not.]--b"}, "rename 1.3",
		},
		{
			"rename, and the reader is told without a reason", `{name: odd name, for: part, when: 'part.id == "1.3"', do: [{rename: {notice: yes}}]}`,
			nil, []string{`Content-Disposition: attachment; filename="docs/Setup.EXE"`, "Content-Disposition: renamed", "boundary=b\n\n--b", "boundary=b\n\n[notice  in : 1.3 (false) odd name]--b"}, "rename 1.3",
		},
		{
			"mangle, and the reader is told behind banners, with the item that is held, in all languages", `{name: x, for: part, when: 'part.id == "1.3"', do: [mangle], language: [de, fr]}, {name: y, for: part, when: 'part.id == "1.3"', do: [{mangle: "No."}, hold]}, {name: z, when: true, do: [{banner: suspicious}]}`,
			nil, []string{`Content-Disposition: attachment; filename="docs/Setup.EXE"`, "Content-Disposition: mangled", "boundary=b\n\n--b", "boundary=b\n\n[banner: suspicious][notice ITEM in de+fr: 1.3 (true) x]--b"}, "mangle 1.3|mangle: 1.3 is renamed already|hold|banner",
		},
		{
			"mangle without a notice", `{name: x, for: part, when: 'part.id == "1.3"', do: [{mangle: {notice: no}}]}`,
			nil, []string{`Content-Disposition: attachment; filename="docs/Setup.EXE"`, "Content-Disposition: mangled"}, "mangle 1.3",
		},
		{
			"no notice about what is stripped", `{name: x, for: part, when: 'part.id == "1.3"', do: [mangle, strip]}`,
			nil, []string{program, "[stripped: x]"}, "mangle 1.3|strip 1.3",
		},
		{
			"mangle of a member strips its carrier, for the reason given", `{name: x, for: part, when: 'part.member', do: [{mangle: Not here.}]}`,
			nil, []string{program, "[stripped: Not here.]"}, "mangle: a name in an archive cannot be changed: mangle 1.3",
		},
		{
			"rename", `{name: x, for: part, when: 'part.id == "1.3"', do: [rename, rename]}`,
			nil, []string{`Content-Disposition: attachment; filename="docs/Setup.EXE"`, "Content-Disposition: renamed"}, "rename 1.3|rename: 1.3 is renamed already",
		},
		{
			"mangle", `{name: x, for: part, when: 'part.id == "1.3"', do: [rename, mangle, rename]}`,
			nil, []string{`Content-Disposition: attachment; filename="docs/Setup.EXE"`, "Content-Disposition: mangled", "boundary=b\n\n--b", "boundary=b\n\n[notice  in : 1.3 (true) x]--b"}, "rename 1.3|mangle 1.3|rename: 1.3 is renamed already",
		},
		{
			"rename of a member strips its carrier", `{name: x, for: part, when: 'part.member', do: [rename]}`,
			nil, []string{program, "[stripped: x]"}, "rename: a name in an archive cannot be changed: rename 1.3",
		},
		{
			"add_header", `{name: x, when: true, do: [{add_header: {name: X-Filtered, value: by rastel}}]}`,
			nil, []string{"boundary=b\n", "boundary=b\nX-Filtered: by rastel\n"}, "add_header X-Filtered",
		},
		{
			"add_header adds what differs only", `{name: x, when: true, do: [{add_header: {name: x-list, value: two}}, {add_header: {name: X-List, value: three}}]}`,
			nil, []string{"boundary=b\n", "boundary=b\nX-List: three\n"}, "add_header x-list|add_header X-List",
		},
		{
			"add_header encodes", `{name: x, when: true, do: [{add_header: {name: X-A, value: für}}]}`,
			nil, []string{"boundary=b\n", "boundary=b\nX-A: =?utf-8?b?ZsO8cg==?=\n"}, "add_header X-A",
		},
		{
			"tag_subject", `{name: x, when: true, do: [{tag_subject: "[X] "}]}, {name: y, when: true, do: [{tag_subject: "[Y]"}]}`,
			nil, []string{"Subject: =?", "Subject: [X] [Y] =?"}, `tag_subject "[X]"|tag_subject "[Y]"`,
		},
		{
			"set_header in the place of all", `{name: x, when: true, do: [{set_header: {name: x-list, value: three}}]}`,
			nil, []string{"X-List: one\nX-List: two\n", "X-List: three\n"}, "set_header x-list",
		},
		{
			"set_header leaves what is there", `{name: x, when: true, do: [{set_header: {name: X-List, value: one}}]}`,
			nil, []string{"X-List: one\nX-List: two\n", "X-List: one\n"}, "set_header X-List",
		},
		{
			"set_header where there is none", `{name: x, when: true, do: [{set_header: {name: X-A, value: für}}]}`,
			nil, []string{"boundary=b\n", "boundary=b\nX-A: =?utf-8?b?ZsO8cg==?=\n"}, "set_header X-A",
		},
		{
			"changes of fields one after the other", `{name: x, when: true, do: [{add_header: {name: X-List, value: gone}}, {set_header: {name: X-List, value: one}}, {add_header: {name: X-List, value: three}}, {add_header: {name: X-list, value: three}}, {add_header: {name: X-A, value: a}}, {remove_header: X-A}, {remove_header: X-B}, {add_header: {name: X-B, value: b}}]}`,
			nil, []string{"X-List: two\n", "X-List: three\n", "boundary=b\n", "boundary=b\nX-B: b\n"}, "add_header X-List|set_header X-List|add_header X-List|add_header X-list|add_header X-A|remove_header X-A|remove_header X-B|add_header X-B",
		},
		{
			"remove_header", `{name: x, when: true, do: [{remove_header: x-LIST}]}`,
			nil, []string{"X-List: one\nX-List: two\n", ""}, "remove_header x-LIST",
		},
		{"hold", `{name: x, when: true, do: [hold]}`, nil, nil, "hold"},
	} {
		m := parse(t, threeParts)
		member(t, m, "1.3", "x.js", "x")
		v := load(t, "rules: ["+tt.rules+"]").DecideGiven(m, report(t, m, tt.findings...), Given{Item: "ITEM", Reference: "ITEM"})
		want := strings.NewReplacer(tt.replaced...).Replace(threeParts)
		if got := delivered(t, m, v); got != want || v.Action != Accept {
			t.Errorf("%s: %s\n%swant\n%s\n%s", tt.name, v.Action, got, want, traceOf(v))
		}
		var did []string
		for _, s := range v.Trace[:len(v.Trace)-1] {
			did = append(did, s.Did...)
		}
		if got := strings.Join(did, "|"); got != tt.did {
			t.Errorf("%s: did %s\nwant %s", tt.name, got, tt.did)
		}
		if v.Hold != strings.Contains(tt.rules, "hold") {
			t.Errorf("%s: hold is %v", tt.name, v.Hold)
		}
	}
}

func TestEveryChangeIsTested(t *testing.T) {
	tested := []string{wordDefang, wordDisarm, wordStrip, wordRename, wordMangle, wordClean, wordText, wordHeader, wordTag, wordBanner, wordHold,
		wordSetHeader, wordRemoveHeader, wordRedirect, wordAddRecipient, wordRemoveRecipient, wordMTAHold, wordNotify}
	if got := changeNames(); !slices.Equal(got, tested) {
		t.Errorf("there are %v, tested are %v", got, tested)
	}
}

func TestDecideChangesNeitherMessageNorReport(t *testing.T) {
	m, r := testFacts(t)
	before := delivered(t, m, &Verdict{})
	fix := string(r.Findings[0].Fix[0].Text)
	load(t, manyChanges).Decide(m, r)
	if got := delivered(t, m, &Verdict{}); got != before || string(r.Findings[0].Fix[0].Text) != fix {
		t.Errorf("the message is now\n%s", got)
	}
}

// TestHeaderFixesOfAStrippedMessageStay: a stripped message of one part keeps its header, so
// what is wrong with that is still to be fixed.
func TestHeaderFixesOfAStrippedMessageStay(t *testing.T) {
	m := parse(t, "Subject: long\nX: y\n\nbody\n")
	root := m.Root
	f := root.Header.Fields[0]
	r := scanners.Report{Findings: []eml.Finding{
		{Check: "header/long", Part: root, Fix: []eml.Edit{{Part: root, Region: eml.InHeader, Start: f.Start, End: f.End, Text: []byte("Subject: cut\r\n")}}},
		{Check: "html/script", Part: root, Fix: []eml.Edit{{Part: root, Region: eml.InContent, Start: 0, End: 1, Text: []byte("!")}}},
	}}
	p := load(t, `rules: [{name: x, when: true, do: [defang, {tag_subject: "[X]"}]}, {name: y, for: part, when: true, do: [strip]}]`)
	if got, want := delivered(t, m, p.Decide(m, r)), "Subject: [X] cut\nX: y\n\n[stripped: y]"; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
