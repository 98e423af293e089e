package sanitize

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"rastel/sanitize/eml"
)

// putText puts the banners at the beginning of a text, in its charset if that has all their
// characters.
func (t *bannerTarget) putText(edits []eml.Edit) ([]eml.Edit, error) {
	at, end, missing, plain := t.missing()
	told, short := textBanners(t.told), textBanners(t.short)
	if missing+told == "" {
		return edits, nil
	}
	coded, ok := encodeCharset(t.code, t.head, missing)
	also, ok2 := encodeCharset(t.code, t.head, t.noBoundary(told))
	if ok && ok2 && (isASCII(coded) && isASCII(also) || t.holds8bit()) {
		return t.insertBoth(edits, at, coded, end, also), nil
	}
	if more, ok, err := t.rewrite(edits, missing+told); ok || err != nil {
		return more, err
	}
	coded, _ = encodeCharset(t.code, t.head, plain)
	also, _ = encodeCharset(t.code, t.head, t.noBoundary(short))
	return t.insertBoth(edits, at, coded, end, also), nil
}

// noBoundary gives text in which nothing can be taken for the boundary of a part where it stands as it is,
// not even by those who find one within a line. Elsewhere the encoding sees to that.
func (t *bannerTarget) noBoundary(s string) string {
	if t.p.Encoding != eml.Identity {
		return s
	}
	return strings.ReplaceAll(s, "--", `-\x2d`)
}

// missing gives the banners that the text does not begin with, as they are and in ASCII, where it
// begins, and where the banners end that are there. One that could only be put in in ASCII is not
// missing.
func (t *bannerTarget) missing() (at, end int, missing, plain string) {
	if mark, _ := encodeCharset(t.code, t.head, "\ufeff"); len(mark) > 1 && bytes.HasPrefix(t.head, mark) {
		at = len(mark)
	}
	there, end := t.there(at, func(s string) ([]byte, bool) { return encodeCharset(t.code, t.head, textBanner(s)) })
	for i, s := range t.texts {
		if !there[s] && !there[t.plain[i]] {
			missing += textBanner(s)
			plain += textBanner(t.plain[i])
		}
	}
	return at, end, missing, plain
}

// textBanner is a banner as it stands in a text.
func textBanner(s string) string {
	return strings.ReplaceAll(plainBanner(s), "\n", "\r\n")
}

func textBanners(list []string) string {
	var out string
	for _, s := range list {
		out += textBanner(s)
	}
	return out
}

// plainBanner is a banner as text, with lines that end in "\n".
func plainBanner(s string) string {
	return strings.ReplaceAll(strings.TrimSuffix(wrappedText(s), "\n")+"\n\n", string(hardBlank), " ")
}

// holds8bit reports whether bytes that are not ASCII can stand in the body as it is encoded.
func (t *bannerTarget) holds8bit() bool {
	if t.p.Encoding != eml.Identity {
		return true
	}
	v := strings.ToLower(strings.TrimSpace(t.p.Header.Get("Content-Transfer-Encoding")))
	return v == "8bit" || v == "binary"
}

// rewrite makes the part UTF-8, with the banners at its beginning and all other edits carried out. It
// reports false where that is not possible: the part is large, its charset is not known, or its
// fields are to be changed otherwise.
func (t *bannerTarget) rewrite(edits []eml.Edit, text string) ([]eml.Edit, bool, error) {
	if t.p.Size > maxBannerRewrite || t.typed || t.p.Header.Count("Content-Type") > 1 || t.p.Header.Count("Content-Transfer-Encoding") > 1 || hasName(t.p.Params) {
		return nil, false, nil
	}
	raw, err := t.edited(edits)
	if err != nil || raw == nil {
		return nil, false, err
	}
	utf8, ok := decodeCharset(t.code, raw)
	if !ok {
		return nil, false, nil
	}
	c := encodeUTF8([]byte(text + utf8))
	edits = slices.DeleteFunc(slices.Clone(edits), func(e eml.Edit) bool { return e.Part == t.p && e.Region == eml.InContent })
	edits = append(edits, eml.Edit{Part: t.p, Region: eml.InBody, Start: 0, End: -1, Text: c.body})
	return append(edits, t.utf8Fields(c.fields)...), true, nil
}

// edited is the content with the edits that are to be made; nil if they overlap.
func (t *bannerTarget) edited(edits []eml.Edit) ([]byte, error) {
	raw, err := io.ReadAll(t.p.Content())
	if err != nil {
		return nil, fmt.Errorf("read text: %w", err)
	}
	var mine []eml.Edit
	for _, e := range edits {
		if e.Part == t.p && e.Region == eml.InContent {
			if e.End == -1 {
				e.End = int64(len(raw))
			}
			mine = append(mine, e)
		}
	}
	slices.SortStableFunc(mine, func(a, b eml.Edit) int { return int(a.Start - b.Start) })
	out, at := []byte{}, int64(0)
	for i, e := range mine {
		if i > 0 && e.Start == mine[i-1].Start && e.End == mine[i-1].End && bytes.Equal(e.Text, mine[i-1].Text) {
			continue
		}
		if e.Start < at || e.End < e.Start || e.End > int64(len(raw)) {
			return nil, nil
		}
		out = append(append(out, raw[at:e.Start]...), e.Text...)
		at = e.End
	}
	return append(out, raw[at:]...), nil
}

// utf8Fields are the edits of the fields that say how the text is encoded.
func (t *bannerTarget) utf8Fields(encoding []byte) []eml.Edit {
	p, h := t.p, &t.p.Header
	kind := []byte("Content-Type: text/plain")
	params := maps.Clone(p.Params)
	if params == nil {
		params = map[string]string{}
	}
	params["charset"] = "utf-8"
	for _, k := range slices.Sorted(maps.Keys(params)) {
		if v := params[k]; isKeptParam(k, v) {
			kind = appendParam(kind, k, v)
		}
	}
	kind = append(kind, "\r\n"...)
	transfer := []byte("Content-Transfer-Encoding: " + string(encoding) + "\r\n")
	var edits []eml.Edit
	var added []byte
	if p.Parent == nil && h.Count("MIME-Version") == 0 {
		added = []byte("MIME-Version: 1.0\r\n")
	}
	for _, f := range []struct {
		name string
		text []byte
	}{{"Content-Type", kind}, {"Content-Transfer-Encoding", transfer}} {
		if fields := slices.Collect(h.All(f.name)); len(fields) > 0 {
			edits = replaceFields(edits, p, fields, f.text)
		} else {
			added = append(added, f.text...)
		}
	}
	if len(added) > 0 {
		end := int64(len(h.Bytes()))
		edits = append(edits, eml.Edit{Part: p, Region: eml.InHeader, Start: end, End: end, Text: added})
	}
	return edits
}
