package script

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"rastel/sanitize/eml"
)

// clientMarks are in the version of the program mIRC, as Windows shows it (in UTF-16), and in the
// programs of old, which were packed but for that.
var clientMarks = [][]byte{wide("mIRC Co. Ltd"), wide("mIRC.exe"), wide("mirc32.exe"), []byte("Khaled Mardam-Bey"), wide("Khaled Mardam-Bey")}

// wide is ASCII as UTF-16.
func wide(s string) []byte {
	var b []byte
	for i := range len(s) {
		b = append(b, s[i], 0)
	}
	return b
}

// maxMark is the length of the longest of them.
const maxMark = 64

// examineProgram finds the IRC client mIRC, whatever it is called.
func examineProgram(ctx context.Context, p *eml.Part) (check, detail string, err error) {
	found, err := containsAny(ctx, p.Content(), clientMarks)
	if err != nil || !found {
		return "", "", err
	}
	for _, n := range p.Names {
		if strings.HasPrefix(base(n), "mirc") {
			return mirc, "the IRC client mIRC", nil
		}
	}
	return mirc, fmt.Sprintf("the IRC client mIRC under another name (%s)", short(strings.Join(p.Names, ", "))), nil
}

// containsAny reports whether one of the marks is in what r gives.
func containsAny(ctx context.Context, r io.Reader, marks [][]byte) (bool, error) {
	buf := make([]byte, 64<<10)
	kept := 0
	for {
		n, err := r.Read(buf[kept:])
		have := buf[:kept+n]
		for _, m := range marks {
			if bytes.Contains(have, m) {
				return true, nil
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return false, nil
		case err != nil:
			return false, fmt.Errorf("read program: %w", err)
		case ctx.Err() != nil:
			return false, ctx.Err()
		}
		kept = copy(buf, have[max(len(have)-maxMark, 0):])
	}
}
