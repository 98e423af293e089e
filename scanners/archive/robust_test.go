package archive

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"rastel/sanitize/eml"
	"rastel/scanners"
)

// A failing is a reader that goes wrong in some way after its first byte.
type failing struct {
	n    int
	read func(p []byte) (int, error)
}

func (f *failing) Read(p []byte) (int, error) {
	if f.n++; f.n == 1 {
		return copy(p, "x"), nil
	}
	return f.read(p)
}

func TestDecodersThatGoWrongAreDamage(t *testing.T) {
	for name, read := range map[string]func(p []byte) (int, error){
		"panic":      func([]byte) (int, error) { panic("index out of range") },
		"stuck":      func([]byte) (int, error) { return 0, nil },
		"too much":   func(p []byte) (int, error) { return len(p) + 1, nil },
		"negative":   func([]byte) (int, error) { return -1, nil },
		"impossible": func([]byte) (int, error) { return 0, errors.New("corrupt") },
	} {
		d := &decoder{r: &failing{read: read}}
		got, err := io.ReadAll(d)
		if string(got) != "x" || err == nil || checkOf(err) != damaged {
			t.Errorf("%s: read %q, %v; want x and damage", name, got, err)
		}
		if _, again := d.Read(make([]byte, 1)); !errors.Is(again, err) {
			t.Errorf("%s: then %v, want %v again", name, again, err)
		}
	}
	if _, err := io.ReadAll(&decoder{r: iotest.OneByteReader(strings.NewReader("hello"))}); err != nil {
		t.Errorf("a slow reader: %v", err)
	}
}

// samples are archives of all kinds that need their decoders.
func samples(t testing.TB) map[string][]byte {
	return map[string][]byte{
		"zip": zipOf(t, file{"a", letter}, file{"b", letter}), "tar": tarOf(t, file{"a", letter}, file{"b", letter}), "gzip": gz(t, letter),
		"7z": fixture(t, "lzma2.7z"), "rar": storedRAR("a", letter), "lzip": lzipOf(t, letter), "program": join(program, storedRAR("a", letter)),
	}
}

func TestEndsWithItsContextInTheMiddle(t *testing.T) {
	for name, content := range samples(t) {
		ctx, cancel := context.WithCancel(t.Context())
		b := scanners.NewBudget(scanners.BudgetLimits{}, eml.SpoolOptions{})
		n := 0
		_, err := New(Config{}).Expand(ctx, part(t, "attachment", content), b, func(m *eml.Part) error {
			n++
			cancel()
			m.Release()
			return ctx.Err()
		})
		if n != 1 || !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %d members, %v; want 1, %v", name, n, err, context.Canceled)
		}
	}
}

func TestEndsBeforeItBeginsWithoutContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for name, content := range samples(t) {
		r := expandIn(ctx, t, New(Config{}), "attachment", content, scanners.BudgetLimits{})
		if len(r.members) > 0 || len(r.report.Unexamined) == 0 || !r.report.Unexamined[0].Temporary {
			t.Errorf("%s: unexamined is %+v, want one that is temporary; got%s", name, r.report.Unexamined, r)
		}
	}
}

// TestFullDisksAreNotDamage tells what failed here from what is wrong with the content: the
// one goes away.
func TestFullDisksAreNotDamage(t *testing.T) {
	for name, content := range samples(t) {
		b := scanners.NewBudget(scanners.BudgetLimits{}, eml.SpoolOptions{Max: 10})
		findings, err := New(Config{}).Expand(t.Context(), part(t, "attachment", content), b, func(*eml.Part) error { return nil })
		if !errors.Is(err, eml.ErrSpoolFull) {
			t.Errorf("%s: got %v, %v; want %v", name, findings, err, eml.ErrSpoolFull)
		}
	}
}

func TestErrorsOfTheInputAreReturned(t *testing.T) {
	gone := errors.New("disk is gone")
	for name, content := range samples(t) {
		if name == "program" {
			continue
		}
		p := part(t, "attachment", content)
		o := newOpening(t.Context(), Config{}.withDefaults(), p, scanners.NewBudget(scanners.BudgetLimits{}, eml.SpoolOptions{}), func(m *eml.Part) error { return nil })
		o.src.r = broken{gone}
		if err := o.typed(); !errors.Is(err, gone) {
			t.Errorf("%s: got %v, %v; want %v", name, o.findings, err, gone)
		}
	}
}

// A broken is a disk from which nothing can be read.
type broken struct{ err error }

func (b broken) ReadAt([]byte, int64) (int, error) { return 0, b.err }

func TestGivesUpAfterMuchDamage(t *testing.T) {
	z := rawZip{}
	for range 200 {
		h := stored("a", "hello")
		h.crc++
		z.central(h, z.local(h, "hello"))
	}
	r := expand(t, z.end(""), scanners.BudgetLimits{})
	if len(r.members) != maxDamaged {
		t.Errorf("%d members, want %d", len(r.members), maxDamaged)
	}
	r.wantChecks(t, damaged)
}

func TestConfigIsValidated(t *testing.T) {
	for _, tt := range []struct {
		cfg Config
		ok  bool
	}{
		{Config{}, true}, {Config{Dictionary: 32 << 20, Search: 1 << 20}, true},
		{Config{Dictionary: 1000}, false}, {Config{Dictionary: 1 << 40}, false}, {Config{Dictionary: -1}, false}, {Config{Search: -1}, false},
	} {
		if err := tt.cfg.Validate(); (err == nil) != tt.ok {
			t.Errorf("%+v: got %v, want ok %v", tt.cfg, err, tt.ok)
		}
	}
}

func TestDictionariesAreBoundedByTheConfiguration(t *testing.T) {
	content := compress7zip(t)
	r := expandIn(t.Context(), t, New(Config{Dictionary: minDictionary}), "a.7z", content, scanners.BudgetLimits{})
	r.wantChecks(t, limit)
	r = expandIn(t.Context(), t, New(Config{}), "a.7z", content, scanners.BudgetLimits{})
	r.wantMember(t, "letter.txt", letter)
	r.wantChecks(t)
}

// compress7zip is a 7z archive that asks for 4 MiB.
func compress7zip(t *testing.T) []byte {
	return patched7z(t, []byte{0x21, 0x21, 0x01, 0x00}, []byte{0x21, 0x21, 0x01, 20})
}
