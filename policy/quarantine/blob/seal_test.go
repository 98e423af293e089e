package blob_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"rastel/policy/quarantine"
	"rastel/policy/quarantine/blob"
	"rastel/policy/quarantine/quarantinetest"
)

var (
	keyA = strings.Repeat("0a1b2c3d", 8)
	keyB = strings.Repeat("b0b1b2b3", 8)
)

func keys(t testing.TB, list ...string) *blob.Keys {
	t.Helper()
	k, err := blob.ParseKeys(strings.Join(list, "\n"))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// sealed opens dir/messages with keys.
func sealed(t testing.TB, dir string, list ...string) *blob.Dir {
	t.Helper()
	d, err := blob.Open(filepath.Join(dir, "messages"), blob.Options{Keys: keys(t, list...)})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestSealedBlobs(t *testing.T) {
	quarantinetest.TestBlobs(t, func(t *testing.T, dir string) quarantine.Blobs { return sealed(t, dir, keyA) })
}

func TestReadsKeys(t *testing.T) {
	many := make([]string, 51)
	for n := range many {
		many[n] = strings.Repeat("0123456789abcde"+string("0123456789abcdef"[n%16])+strings.Repeat("a", n/16)+strings.Repeat("b", 16-n/16), 4)[:64]
	}
	for _, c := range []struct{ text, want string }{ // want empty: no error
		{keyA, ""}, {strings.ToUpper(keyA) + "\r\n", ""}, {"# new\n" + keyA + " # since May\n\n" + keyB + "\n", ""},
		{"", "no key"}, {"# none", "no key"}, {keyA[1:], "line 1"}, {keyA + "00", "line 1"}, {keyA + "\n" + strings.Replace(keyA, "0", "g", 1), "line 2"},
		{keyA + "\n" + keyA, "twice"}, {strings.Repeat("0", 64), "one digit"}, {strings.Join(many, "\n"), "more than"},
	} {
		_, err := blob.ParseKeys(c.text)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("ParseKeys(%.80q) = %v, want %q in the error", c.text, err, c.want)
		}
		if err != nil && strings.Contains(err.Error(), "0a1b") {
			t.Errorf("%v tells the key", err)
		}
	}
}

func TestSealedFilesTellNothing(t *testing.T) {
	dir, plain := t.TempDir(), t.TempDir()
	d := sealed(t, dir, keyA)
	long := strings.Repeat(text, 10)
	id := putText(t, d, long)
	putText(t, open(t, plain), long)
	b, err := os.ReadFile(idFile(dir, id))
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(b, []byte("Subject")) || bytes.Contains(b, []byte{0x28, 0xb5, 0x2f, 0xfd}) {
		t.Errorf("the file shows what it holds: %q", b)
	}
	names := func(dir string) (list []string) {
		for _, f := range files(t, filepath.Join(dir, "messages", "objects")) {
			list = append(list, filepath.Base(f))
		}
		return list
	}
	if got := names(dir); len(got) != 1 || slices.Contains(names(plain), got[0]) {
		t.Errorf("the name %v is that of the plain message", got)
	}
	again := sealed(t, dir, keyA)
	wantText(t, again, putText(t, again, long), long)
	if n := inodes(t, dir); n != 1 {
		t.Errorf("%d files for one message", n)
	}
	other := t.TempDir()
	putText(t, sealed(t, other, keyB), long)
	if names(dir)[0] == names(other)[0] {
		t.Error("two keys give the same name")
	}
}

func TestOpensWithAnyOfTheKeys(t *testing.T) {
	dir := t.TempDir()
	plain := putText(t, open(t, dir), text)
	a := putText(t, sealed(t, dir, keyA), text)
	both := sealed(t, dir, keyB, keyA)
	b := putText(t, both, text)
	for _, id := range []string{plain, a, b} {
		wantText(t, both, id, text)
	}
	for _, d := range []quarantine.Blobs{open(t, dir), sealed(t, dir, keyB)} {
		if _, err := readText(d, a); !errors.Is(err, blob.ErrKey) || errors.Is(err, quarantine.ErrCorrupt) {
			t.Errorf("without its key: %v, want ErrKey", err)
		}
		wantText(t, d, plain, text)
	}
	if err := open(t, dir).Remove(t.Context(), a); err != nil {
		t.Errorf("Remove without its key = %v", err)
	}
	if n := inodes(t, dir); n != 2 {
		t.Errorf("%d files, want that of the plain message and that of key B", n)
	}
}

func TestNoticesWhatWasChangedInASealedFile(t *testing.T) {
	dir := t.TempDir()
	d := sealed(t, dir, keyA)
	long := string(noise(300 << 10)) // of several chunks
	id, other := putText(t, d, long), putText(t, d, string(noise(200<<10)))
	whole, err := os.ReadFile(idFile(dir, id))
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := os.ReadFile(idFile(dir, other))
	if err != nil {
		t.Fatal(err)
	}
	const head, chunk = blob.HeadLen, blob.ChunkLen
	at := func(n int) int { return head + n*chunk }
	tail := whole[len(whole)-blob.TailLen:]
	flip := func(n int) []byte { b := bytes.Clone(whole); b[n] ^= 0x80; return b }
	tests := map[string][]byte{
		"chunks in another order":      slices.Concat(whole[:at(0)], whole[at(1):at(2)], whole[at(0):at(1)], whole[at(2):]),
		"a chunk twice":                slices.Concat(whole[:at(1)], whole[at(0):]),
		"a chunk is missing":           slices.Concat(whole[:at(1)], whole[at(2):]),
		"cut off after a chunk":        slices.Concat(whole[:at(2)], tail),
		"cut off without a tail":       whole[:at(2)],
		"only a head":                  slices.Concat(whole[:at(0)], tail),
		"half a head":                  whole[:head/2],
		"without its tail":             whole[:len(whole)-blob.TailLen],
		"something after the tail":     append(bytes.Clone(whole), 'x'),
		"something before the tail":    slices.Concat(whole[:len(whole)-blob.TailLen], []byte("x"), tail),
		"a chunk of another message":   slices.Concat(whole[:at(0)], foreign[at(0):at(1)], whole[at(1):]),
		"the head of another message":  slices.Concat(foreign[:at(0)], whole[at(0):]),
		"the tail of another message":  slices.Concat(whole[:len(whole)-blob.TailLen], foreign[len(foreign)-blob.TailLen:]),
		"a bit of the salt":            flip(head - 1),
		"a bit of the first chunk":     flip(at(0)),
		"a bit of the tag of the last": flip(len(whole) - blob.TailLen - 1),
		"a bit of the address":         flip(len(whole) - 1),
	}
	for name, b := range tests {
		if err := os.WriteFile(idFile(dir, id), b, 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := readText(d, id); !errors.Is(err, quarantine.ErrCorrupt) {
			t.Errorf("%s: %d bytes, %v; want ErrCorrupt", name, len(got), err)
		} else if !strings.HasPrefix(long, got) {
			t.Errorf("%s: gives other bytes than were put", name)
		}
	}
}

func TestRekeys(t *testing.T) {
	dir := t.TempDir()
	long := strings.Repeat(text, 1000)
	old, plain := putOld(t, dir, long), putText(t, open(t, dir), long)
	a, a2 := putText(t, sealed(t, dir, keyA), long), putText(t, sealed(t, dir, keyA), long)
	d := sealed(t, dir, keyB, keyA)
	b := putText(t, d, long)
	for _, tt := range []struct {
		id   string
		want bool
	}{{old, true}, {plain, true}, {a, true}, {a2, true}, {b, false}, {a, false}} {
		if got, err := d.Rekey(t.Context(), tt.id); got != tt.want || err != nil {
			t.Errorf("Rekey(%s) = %v, %v; want %v", tt.id, got, err, tt.want)
		}
	}
	if n := inodes(t, dir); n != 1 {
		t.Errorf("%d files after all of one message have one key: %v", n, files(t, dir))
	}
	for _, id := range []string{old, plain, a, a2, b} {
		wantText(t, sealed(t, dir, keyB), id, long)
	}
	if _, err := d.Rekey(t.Context(), quarantinetest.ID(time.Now())); !errors.Is(err, quarantine.ErrNotFound) {
		t.Errorf("Rekey of none = %v, want ErrNotFound", err)
	}
}

func TestRekeyDoesNotBringBackWhatIsRemovedMeanwhile(t *testing.T) {
	dir := t.TempDir()
	id := putText(t, sealed(t, dir, keyA), text)
	d := sealed(t, dir, keyB, keyA)
	d.SetStep(func(step string) {
		if step == "exchange" {
			if err := open(t, dir).Remove(t.Context(), id); err != nil {
				t.Error(err)
			}
		}
	})
	if done, err := d.Rekey(t.Context(), id); done || !errors.Is(err, quarantine.ErrNotFound) {
		t.Errorf("Rekey = %v, %v; want ErrNotFound", done, err)
	}
	if left := files(t, dir); len(left) > 0 {
		t.Errorf("files left: %v", left)
	}
}

func TestRekeyKeepsWhatItCannotRead(t *testing.T) {
	dir := t.TempDir()
	id := putText(t, sealed(t, dir, keyA), text)
	if done, err := sealed(t, dir, keyB).Rekey(t.Context(), id); done || !errors.Is(err, blob.ErrKey) {
		t.Errorf("Rekey without its key = %v, %v; want ErrKey", done, err)
	}
	wantText(t, sealed(t, dir, keyA), id, text)
	damaged := putOld(t, dir, text)
	if err := os.WriteFile(idFile(dir, damaged), []byte("no message"), 0o600); err != nil {
		t.Fatal(err)
	}
	if done, err := sealed(t, dir, keyA).Rekey(t.Context(), damaged); done || !errors.Is(err, quarantine.ErrCorrupt) {
		t.Errorf("Rekey of a damaged one = %v, %v; want ErrCorrupt", done, err)
	}
	if b, err := os.ReadFile(idFile(dir, damaged)); err != nil || string(b) != "no message" {
		t.Errorf("the damaged file = %q, %v; want it as it was", b, err)
	}
}

// noise cannot be packed.
func noise(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(n >> 10)}).Read(b)
	return b
}
