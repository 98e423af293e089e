package sanitize

import (
	"encoding/base64"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"
)

// TestPagesInUTF7AreReadAsAWholeWouldBe holds what is read along with pages that say they are in UTF-7 to all of
// it decoded and read for itself, as they are and as MTAs leave them: marks, costs, findings and fixes.
func TestPagesInUTF7AreReadAsAWholeWouldBe(t *testing.T) {
	rnd := rand.New(rand.NewPCG(7, 8))
	parts := slices.Concat(brokenParts, seeds)
	times := 1500
	if testing.Short() {
		times = 300
	}
	was := decodedAlong
	for range times {
		checkUTF7(t, rnd, longPage(rnd, parts))
	}
	if n := decodedAlong - was; n < times { // of at most three for each
		t.Errorf("of %d pages %d were decoded along: there is little to compare", times, n)
	}
}

// TestAttacksInUTF7AreReadAsAWholeWouldBe does the same to the corpus.
func TestAttacksInUTF7AreReadAsAWholeWouldBe(t *testing.T) {
	rnd := rand.New(rand.NewPCG(9, 10))
	for _, in := range slices.Concat(payloads(t), fragments(t)) {
		if len(in) < 10_000 || !testing.Short() {
			checkUTF7(t, rnd, in)
			checkUTF7(t, rnd, strings.Repeat("x", 900+rnd.IntN(100))+in)
		}
	}
}

// checkUTF7 checks a page of which pieces are encoded in UTF-7, and which says so somewhere, or of which its label says so.
func checkUTF7(t testing.TB, rnd *rand.Rand, in string) {
	t.Helper()
	in = inUTF7(rnd, in)
	switch rnd.IntN(4) {
	case 0:
		checkAlongside(t, htmlHeader+"; charset=utf-7", in)
	case 1:
		i := rnd.IntN(len(in) + 1)
		checkAlongside(t, htmlHeader, in[:i]+"<meta charset=utf7><meta charset=windows-65000>"+in[i:])
	default:
		checkAlongside(t, htmlHeader, "<meta charset=utf-7>"+in)
	}
}

// inUTF7 encodes some of a text.
func inUTF7(rnd *rand.Rand, in string) string {
	var b strings.Builder
	for len(in) > 0 {
		n := min(len(in), 1+rnd.IntN(200))
		if rnd.IntN(4) > 0 {
			b.WriteString(in[:n])
		} else {
			n = min(n, 1+rnd.IntN(20))
			var units []byte
			for _, u := range utf16.Encode([]rune(in[:n])) {
				units = append(units, byte(u>>8), byte(u))
			}
			b.WriteString("+" + base64.RawStdEncoding.EncodeToString(units) + []string{"-", "-", ""}[rnd.IntN(3)])
		}
		in = in[n:]
	}
	return b.String()
}

// FuzzUTF7 does the same to what the fuzzer makes, with pieces of it encoded in some way.
func FuzzUTF7(f *testing.F) {
	for i, c := range slices.Concat(brokenParts, seeds, payloads(f)) {
		f.Add("<p>", c, uint64(i))
		f.Add(strings.Repeat("x", 980), c, uint64(i))
	}
	f.Fuzz(func(t *testing.T, before, in string, how uint64) {
		if len(in) <= maxFuzzed && len(before) < 2*maxFuzzed {
			checkUTF7(t, rand.New(rand.NewPCG(how, 1)), before+in)
		}
	})
}

// TestPagesThatCannotBeReadAlong: what is not read along is read as a whole, with the same result.
func TestPagesThatCannotBeReadAlong(t *testing.T) {
	utf7 := "<meta charset=utf-7>"
	for name, tt := range map[string]struct {
		in    string
		along int
	}{
		"plain":                {utf7 + "<p>+ADw-p+AD4-" + strings.Repeat("x", 2000), 3},
		"says so late":         {strings.Repeat("<b>", maxConstructs-1) + utf7 + "+ADw-script+AD4-", 3},
		"says so too late":     {strings.Repeat("<b>", maxConstructs) + utf7 + "+ADw-script+AD4-", 0},
		"a drawing":            {utf7 + "<p>+ADw-svg+AD4-<style>a{b:<!-- -->c}</style>", 0},
		"much begins at once":  {utf7 + "<b +" + strings.Repeat("ADw", 800) + "-<script>", 3},
		"much is encoded":      {utf7 + "<img src='+" + strings.Repeat("ADw-+", 20_000) + "-'><script>", 3},
		"grows less":           {utf7 + strings.Repeat("<p a+AA>", 40_000), 3},
		"over":                 {utf7 + "<p " + strings.Repeat("a+AA ", maxAttrs) + "><script>", 3},
		"not over in UTF-7":    {utf7 + "<p " + strings.Repeat("a ", maxAttrs-9) + "+" + strings.Repeat("AA/", 99) + ">+<script>", 1},
		"other charsets too":   {utf7 + "<meta charset=hz-gb-2312>+ADw-script+AD4-", 1},
		"many charsets":        {utf7 + strings.Repeat("<meta charset=utf-7>", maxCharsets) + "+ADw-script+AD4-", 0},
		"all in one change":    {utf7 + "+" + strings.Repeat("ADwAcwBjAHIAaQBwAHQAPg", maxMarks/8), 2},
		"its own charset":      {utf7 + "<p>+ADw-meta charset+AD0-utf-7+AD4-<meta +AGM-harset=utf-32>", 1},
		"what it begins is it": {utf7 + strings.Repeat("+ADw-a b+AD0AIg-", 3000), 0},
	} {
		was := decodedAlong
		checkAlongside(t, htmlHeader, tt.in)
		if n := decodedAlong - was; n != tt.along {
			t.Errorf("%s: %d were decoded along, want %d", name, n, tt.along)
		}
	}
}
