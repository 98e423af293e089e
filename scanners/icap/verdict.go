package icap

import (
	"bytes"
	"fmt"
	"io"
	"net/textproto"
	"strconv"
	"strings"

	"rastel/sanitize/eml"
	"rastel/scanners"
)

// A sighting is what a service says of content that is not clean.
type sighting struct{ check, detail string }

const (
	malware = "icap/malware"
	blocked = "icap/blocked"
	limit   = "icap/limit"
)

// The checks of this package.
var checks = []eml.Check{
	{ID: malware, Doc: "An ICAP service knows the content as malware."},
	{ID: blocked, Doc: "An ICAP service refuses or replaces the content, without calling it malware."},
	{ID: limit, Doc: "The content is larger than an ICAP service is asked about, so it was not examined."},
}

// sightings are what the fields of a reply say. There is no standard for them; these are what
// draft-stecher-icap-subid-00 lists and what the documentation of c-icap, Symantec, Trend Micro,
// Kaspersky and OPSWAT tells. A field that is there and cannot be read is a sighting too.
func sightings(h textproto.MIMEHeader) (list []sighting) {
	if v := h.Get("X-Infection-Found"); v != "" {
		list = append(list, infection(v))
	}
	for _, v := range h.Values("X-Virus-ID") {
		if v != "" {
			list = append(list, sighting{malware, v})
		}
	}
	if v := h.Get("X-Violations-Found"); v != "" && strings.Trim(v, "0 ") != "" {
		list = append(list, sighting{malware, violation(v)})
	}
	if v := h.Get("X-Blocked"); v != "" && !isNo(v) {
		list = append(list, sighting{blocked, strings.TrimSpace("blocked " + h.Get("X-Block-Reason"))})
	} else if v := h.Get("X-Block-Reason"); v != "" {
		list = append(list, sighting{blocked, v})
	}
	return distinct(list)
}

func isNo(v string) bool {
	switch strings.ToLower(v) {
	case "0", "no", "false", "none":
		return true
	}
	return false
}

// infection reads "Type=0; Resolution=2; Threat=Eicar-Test;". Type 0 is malware, 1 is what a policy
// for mail forbids, 2 is a container that cannot be opened or is too much to open.
func infection(value string) sighting {
	s := sighting{malware, value}
	kind := ""
	for _, field := range strings.Split(value, ";") {
		name, v, _ := strings.Cut(strings.TrimSpace(field), "=")
		switch v = strings.TrimSpace(v); strings.ToLower(strings.TrimSpace(name)) {
		case "threat":
			if v != "" {
				s.detail = v
			}
		case "type":
			kind = v
		}
	}
	switch kind {
	case "1":
		s.check, s.detail = blocked, "against a policy: "+s.detail
	case "2":
		s.check, s.detail = blocked, "a container that may not be opened: "+s.detail
	}
	return s
}

// violation reads the first of "N", then four lines for each: file, name, number, what was done. The
// lines of the folded field are joined by blanks.
func violation(value string) string {
	words := strings.Fields(value)
	if n, err := strconv.Atoi(words[0]); err != nil || n < 1 || len(words) < 5 {
		return value
	}
	if len(words) == 5 { // one violation, and neither the file nor the name has a blank
		return words[2]
	}
	return strings.Join(words[1:], " ")
}

// distinct leaves out what says the same again: services send several fields for one sighting.
func distinct(list []sighting) []sighting {
	seen := map[string]bool{}
	out := list[:0]
	for _, s := range list {
		s.detail = scanners.Said(s.detail)
		if seen[s.check+s.detail] {
			continue
		}
		seen[s.check+s.detail] = true
		out = append(out, s)
	}
	return out
}

func (s sighting) finding(p *eml.Part, service string) eml.Finding {
	return eml.Finding{Check: s.check, Part: p, Detail: service + ": " + s.detail, Unexamined: s.check == limit}
}

// replaced tells that the service answered with something else than it was sent.
func replaced(status int, reason string) []sighting {
	detail := "the content was replaced"
	if status != statusOK {
		detail = scanners.Said(fmt.Sprintf("answered by %d %s", status, reason))
	}
	return []sighting{{blocked, detail}}
}

// same reads both to their ends and reports whether they are alike. Of what is not it reads no more than
// shows that. An error is one of reading either.
func same(got, want io.Reader) (bool, error) {
	a, b := make([]byte, chunkSize), make([]byte, chunkSize)
	for {
		n, end, err := fill(got, a)
		if err != nil {
			return false, err
		}
		m, _, err := fill(want, b[:n])
		if err != nil {
			return false, fmt.Errorf("%w: %w", errLocal, err)
		}
		if !bytes.Equal(a[:n], b[:m]) {
			return false, nil
		}
		if end {
			more, _, err := fill(want, b[:1])
			return more == 0, err
		}
	}
}

// fill reads until the buffer is full, or there is no more.
func fill(r io.Reader, b []byte) (n int, end bool, err error) {
	n, err = io.ReadFull(r, b)
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return n, true, nil
	}
	return n, false, err
}
