package blob

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"rastel/policy/quarantine"
)

// FuzzUnpack reads files that somebody has changed. Nothing that was sealed gives other bytes than were put,
// and nothing at all other bytes than its tail tells of. (Who puts another message with its tail in the place
// of one that is not sealed is found out by the record: see Store.Open.)
func FuzzUnpack(f *testing.F) {
	keys, err := ParseKeys(strings.Repeat("0a1b2c3d", 8))
	if err != nil {
		f.Fatal(err)
	}
	put := map[string]bool{}
	for _, c := range []*codec{{}, {keys: keys}} {
		for _, raw := range []string{"", "a", strings.Repeat("Subject: x\r\n\r\ntext\r\n", 50), strings.Repeat("0123456789", 7000)} {
			var b bytes.Buffer
			if _, err := c.pack(&b, strings.NewReader(raw)); err != nil {
				f.Fatal(err)
			}
			put[raw] = true
			f.Add(b.Bytes())
			f.Add(b.Bytes()[:b.Len()-tailLen])
			f.Add(b.Bytes()[b.Len()/2:])
		}
	}
	f.Add(frame(headMagic, make([]byte, idLen+saltLen)...))
	f.Add(frame(tailMagic, make([]byte, addressLen)...))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, file []byte) {
		c := &codec{keys: keys}
		const limit = 1 << 20 // as a Store stops at the size that it knows
		got, err := readSome(c, file, limit)
		sealed := isFrame(file, headMagic, headLen-frameLen)
		if sealed && err == nil && !put[string(got)] {
			t.Errorf("a sealed file gives %.100q, which was never put", got)
		}
		if !sealed && err == nil && len(got) < limit {
			checkTail(t, file, got)
		}
		if err != nil && !errors.Is(err, quarantine.ErrCorrupt) && !errors.Is(err, ErrKey) {
			t.Errorf("the error is %v, want ErrCorrupt or ErrKey", err)
		}
		name := filepath.Join(dir, "file")
		if err := os.WriteFile(name, file, 0o600); err != nil {
			t.Fatal(err)
		}
		addressOf(name)
		_, _ = c.upToDate(bytes.NewReader(file))
	})
}

func readSome(c *codec, file []byte, limit int64) ([]byte, error) {
	r, err := c.unpack(io.NopCloser(bytes.NewReader(file)))
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(io.LimitReader(r, limit))
}

// checkTail wants got to be what the tail of a file that is not sealed tells of, if it has one.
func checkTail(t *testing.T, file, got []byte) {
	t.Helper()
	if len(file) < tailLen {
		return
	}
	want, ok := readTail(file[len(file)-tailLen:])
	if !ok {
		return
	}
	var b bytes.Buffer
	if a, err := (&codec{}).pack(&b, bytes.NewReader(got)); err != nil || a != want {
		t.Errorf("the tail tells of %v, the message is %v, %v", want, a, err)
	}
}
