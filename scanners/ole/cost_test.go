package ole

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"rastel/sanitize/eml"
	"rastel/scanners"
)

// What is written to cost much ends: with the budget, or before it. Times are logged, not judged.
func TestHostileDocumentsEnd(t *testing.T) {
	many := dir{}
	for i := range 4000 {
		many[fmt.Sprint(i)] = dir{"PowerPoint Document": "x", "Pictures": "x"}
	}
	all := string(compoundFile(dir{"shared": strings.Repeat("\x10\x00\x11\x10", 1<<19), "s": many}))
	// Each stream of a presentation becomes the one that is shared.
	first := strings.Index(all, utf16le("shared"))
	place := all[first+116 : first+128]
	shared := []byte(all)
	for _, name := range []string{"PowerPoint Document", "Pictures"} {
		for at := 0; ; at++ {
			i := strings.Index(all[at:], utf16le(name))
			if i < 0 {
				break
			}
			at += i
			copy(shared[at+116:], place)
		}
	}
	for name, test := range map[string]struct {
		s       scanners.Expander
		content string
	}{
		"streams that share their sectors": {Files{}, string(shared)},
		"many records":                     {Files{}, string(compoundFile(dir{"PowerPoint Document": strings.Repeat("\x10\x00\x11\x10\xff\xff\xff\x00aaaa\x78\x9c", 1<<18)}))},
		"many pictures":                    {Files{}, string(compoundFile(dir{"Pictures": strings.Repeat("\x00\x00\x1e\xf0\x00\x00\x00\x00", 1<<18)}))},
		"source in source":                 {Files{}, string(compoundFile(dir{"VBA": dir{"dir": "x", "a": strings.Repeat("\x01\x0b\xb0\x00Attribut", 1<<17)}}))},
		"objects":                          {RTF{}, `{\rtf1` + strings.Repeat(`{\*\objdata 41}`, 1<<17)},
		"objects in one another":           {RTF{}, `{\rtf1` + strings.Repeat(`{\*\objdata 41\'41`, 1<<16)},
		"pictures in one another":          {RTF{}, `{\rtf1` + strings.Repeat(`{\pict `, 1<<18)},
		"pictures":                         {RTF{}, `{\rtf1` + strings.Repeat(`{\pict 41424344}`, 1<<17)},
		"groups":                           {RTF{}, `{\rtf1\objdata` + strings.Repeat(`{`, 1<<21)},
		"marks of compound files":          {RTF{}, `{\rtf1\objdata ` + strings.Repeat(digits(magic), 1<<16)},
	} {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			members := 0
			b := scanners.NewBudget(scanners.BudgetLimits{}, eml.SpoolOptions{})
			list, err := test.s.Expand(t.Context(), part(t, []byte(test.content)), b, func(m *eml.Part) error {
				members++
				m.Release()
				return nil
			})
			took := time.Since(start)
			t.Logf("%s: %d bytes, %d members of %d bytes, %d findings, %v: %v", name, len(test.content), members, b.Usage().Bytes, len(list), err, took)
			if took > hang {
				t.Errorf("took %v", took)
			}
		})
	}
}
