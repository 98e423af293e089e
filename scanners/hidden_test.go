package scanners

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"rastel/sanitize/eml"
)

// hang is how long something may take before it is held for one that never ends. It bounds no
// speed: other programs may have the processor, and benchmarks measure.
const hang = time.Minute

// letter is what the tests hide.
const letter = "RASTEL HARMLESS TEST PAYLOAD 5d1f8c72\r\nand a second line, to be sure\r\n"

// An opened is what came out of a part: its members, as names and content, and its findings.
type opened struct {
	members  []string
	contents []string
	findings []string
}

// partOf is an entity with that content.
func partOf(t testing.TB, header string, content []byte) *eml.Part {
	t.Helper()
	s := eml.NewSpool(eml.SpoolOptions{})
	s.Write(append([]byte(strings.ReplaceAll(header, "\n", "\r\n")+"\r\n\r\n"), content...))
	s.CloseWrite(nil)
	m, _, err := eml.Parse(context.Background(), &eml.Envelope{}, s, eml.Limits{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close(); s.Close() })
	return m.Root
}

// openHidden has one expander open one part.
func openHidden(t testing.TB, e Expander, p *eml.Part) opened {
	t.Helper()
	var o opened
	findings, err := e.Expand(t.Context(), p, NewBudget(BudgetLimits{}, eml.SpoolOptions{}), func(m *eml.Part) error {
		defer m.Release()
		content, err := io.ReadAll(m.Content())
		o.members = append(o.members, fmt.Sprintf("%q %q", m.Names, content))
		o.contents = append(o.contents, string(content))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range findings {
		o.findings = append(o.findings, f.Check+": "+f.Detail)
	}
	return o
}

// want fails unless exactly these members came out, given by name and content in turn, and exactly
// this check was reported; "" is none.
func (o opened) want(t *testing.T, check string, namesAndContents ...string) {
	t.Helper()
	var want []string
	for i := 0; i < len(namesAndContents); i += 2 {
		var names []string
		if n := namesAndContents[i]; n != "" {
			names = strings.Split(n, "|")
		}
		want = append(want, fmt.Sprintf("%q %q", names, namesAndContents[i+1]))
	}
	if !slices.Equal(o.members, want) {
		t.Errorf("got members\n\t%s\nwant\n\t%s", strings.Join(o.members, "\n\t"), strings.Join(want, "\n\t"))
	}
	o.wantCheck(t, check)
}

func (o opened) wantCheck(t *testing.T, check string) {
	t.Helper()
	if check == "" && len(o.findings) > 0 || check != "" && (len(o.findings) == 0 || !strings.HasPrefix(o.findings[0], check+":")) {
		t.Errorf("got findings %q, want %q", o.findings, check)
	}
}

// encode4 writes data in lines of at most per bytes, each with a letter for its length.
func encode4(data []byte, per int, letter func(byte) byte) string {
	var b strings.Builder
	for len(data) > 0 {
		line := data[:min(per, len(data))]
		data = data[len(line):]
		b.WriteByte(letter(byte(len(line))))
		for len(line) > 0 {
			var g [3]byte
			n := copy(g[:], line)
			line = line[n:]
			v := uint32(g[0])<<16 | uint32(g[1])<<8 | uint32(g[2])
			for shift := 18; shift >= 0; shift -= 6 {
				b.WriteByte(letter(byte(v >> shift & 0x3f)))
			}
		}
		b.WriteString("\r\n")
	}
	return b.String() + string(letter(0)) + "\r\nend\r\n"
}

func uuLetter(v byte) byte { // as most encoders do, with a backquote for 0
	if v == 0 {
		return '`'
	}
	return v + ' '
}

func uuBlank(v byte) byte { return v + ' ' }

func xxLetter(v byte) byte {
	return "+-0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"[v]
}

func uuencoded(name, content string) string {
	return "begin 644 " + name + "\r\n" + encode4([]byte(content), 45, uuLetter)
}

func TestOpensUUEncodedFiles(t *testing.T) {
	lines := encode4([]byte(letter), 45, uuLetter)
	zeros := strings.Repeat("\x00", 60) + "end"
	long := strings.Repeat(letter, 3000)
	for _, tt := range []struct {
		name, text string
		check      string
		want       []string
	}{
		{"alone", uuencoded("x.com", letter), "", []string{"x.com", letter}},
		{"in text", "Hello\r\n\r\n" + uuencoded("x.com", letter) + "\r\nBye\r\n", "", []string{"x.com", letter}},
		{"not behind a blank line", "Hello\r\n" + uuencoded("x.com", letter), "", []string{"x.com", letter}},
		{"several", uuencoded("a", letter) + "and\r\n" + uuencoded("b", "b") + uuencoded("c", ""), "", []string{"a", letter, "b", "b"}},
		{"empty, with a name that matters", "begin 644 x.com\r\n`\r\nend\r\n", "", []string{"x.com", ""}},
		{"large", uuencoded("x.com", long), "", []string{"x.com", long}},
		{"blanks for zeros", "begin 644 z\r\n" + encode4([]byte(zeros), 45, uuBlank), "", []string{"z", zeros}},
		{"blanks at line ends lost", "begin 644 z\r\n" + strings.ReplaceAll(strings.ReplaceAll(encode4([]byte(zeros), 45, uuBlank), strings.Repeat(" ", 60)+"\r", "\r"), "  \r", "\r"), "", []string{"z", zeros}},
		{"LF", strings.ReplaceAll(uuencoded("x.com", letter), "\r", ""), "", []string{"x.com", letter}},
		{"CR", strings.ReplaceAll("Hello\n"+uuencoded("x.com", letter), "\n", ""), "", nil},
		{"only CR", strings.ReplaceAll(uuencoded("x.com", letter), "\n", ""), "", []string{"x.com", letter}},
		{"UTF-16", utf16Of("\ufeff" + uuencoded("x.com", letter)), "", []string{"x.com", letter}},
		{"UTF-8 with a mark", "\ufeff" + uuencoded("x.com", letter), "", []string{"x.com", letter}},
		{"capitals", "BEGIN 644 X.COM\r\n" + strings.ReplaceAll(lines, "end", "END"), "", []string{"X.COM", letter}},
		{"tabs", "begin\t644\tx.com\r\n" + lines, "", []string{"x.com", letter}},
		{"indented", "  begin 644 x.com\r\n" + lines, "", []string{"x.com", letter}},
		{"mode of six", "begin 100644 x.com\r\n" + lines, "", []string{"x.com", letter}},
		{"odd mode", "begin 9 x.com\r\n" + lines, "", []string{"9 x.com|x.com", letter}},
		{"no mode", "begin  x.com\r\n" + lines, "", []string{"x.com", letter}},
		{"name with blanks", "begin 644 my program .exe \r\n" + lines, "", []string{"my program .exe", letter}},
		{"name in quotes", "begin 644 \"x.com\"\r\n" + lines, "", []string{"\"x.com\"|x.com", letter}},
		{"name in Latin-1", "begin 644 \xe4.com\r\n" + lines, "", []string{"ä.com", letter}},
		{"blank lines", strings.ReplaceAll(uuencoded("x.com", letter), "\r\n", "\r\n\r\n"), "", []string{"x.com", letter}},
		{"checksums", "begin 644 x.com\r\n" + encode4([]byte(letter[:45]), 45, uuLetter)[:61] + "x\r\n`\r\nend\r\n", "", []string{"x.com", letter[:45]}},
		{"short lines", "begin 644 x.com\r\n" + encode4([]byte(letter), 7, uuLetter), "", []string{"x.com", letter}},

		{"no end", "begin 644 x.com\r\n" + strings.ReplaceAll(lines, "`\r\nend\r\n", ""), hiddenDamaged, []string{"x.com", letter}},
		{"no end, and text", "begin 644 x.com\r\n" + strings.ReplaceAll(lines, "end\r\n", "Yours\r\n"), hiddenDamaged, []string{"x.com", letter}},
		{"no end, and another", "begin 644 a\r\n" + strings.ReplaceAll(lines, "`\r\nend\r\n", "") + uuencoded("b", "b"), hiddenDamaged, []string{"a", letter, "b", "b"}},
		{"behind the end", "begin 644 x.com\r\n`\r\n" + lines, hiddenDamaged, []string{"x.com", letter}},
		{"letters of no alphabet", "begin 644 x.com\r\n" + strings.Replace(lines, "M4", "Mt", 1), hiddenDamaged, []string{"x.com", letter}},
		{"long lines", "begin 644 x.com\r\n" + strings.Replace(lines, "\r\n", "12345\r\n", 1), hiddenDamaged, []string{"x.com", letter}},
		{"longer than the buffer", "begin 644 x.com\r\n" + strings.Replace(lines, "\r\n", strings.Repeat("1", 2*lineRoom)+"\r\n", 1), hiddenDamaged, []string{"x.com", letter}},

		{"behind text", "begin 644 x\r\n(see below)\r\n" + lines, hiddenDamaged, []string{"x", letter}},
		{"behind text, no mode", "begin  x.com\r\n(see below)\r\n" + lines, hiddenDamaged, []string{"x.com", letter}},
		{"XXEncode behind text", "begin 644 x\r\n(see below)\r\n" + encode4([]byte(letter), 45, xxLetter), hiddenDamaged, []string{"x", letter}},

		{"XXEncode", "begin 644 x.com\r\n" + encode4([]byte(letter), 45, xxLetter), "", []string{"x.com", letter}},
		{"XXEncode, short", "begin 644 x\r\n" + encode4([]byte("12345678"), 45, xxLetter), "", []string{"x", "12345678"}},
		{"base64", base64File("begin-base64 644 x.com", letter), "", []string{"x.com", letter}},
		{"base64, encoded name", base64File("begin-base64-encoded 644 eC5jb20=", letter), "", []string{"x.com", letter}},
		{"encoded name", "begin-encoded 644 eC5jb20=\r\n" + lines, "", []string{"x.com", letter}},
		{"base64 in one line", "begin-base64 644 x.com\r\n" + base64.StdEncoding.EncodeToString([]byte(long)) + "\r\n====\r\n", "", []string{"x.com", long}},
		{"base64, no end", "begin-base64 644 x.com\r\nYWJj\r\n", hiddenDamaged, []string{"x.com", "abc"}},

		{"text: 10 minutes", "We\r\nbegin 10 minutes early\r\nThe talk is short.\r\nend\r\n", "", nil},
		{"text: 100 days", "begin 100 days of sun\r\nAnd of rain.\r\n", "", nil},
		{"text: 5", "begin 5\r\n\r\nend\r\n", "", nil},
		{"text: code", "begin  writeln\r\n  x := 1;\r\nend\r\n", "", nil},
		{"text: a short line that fits", "begin 5 miles\r\n#NOTE\r\nis a mark\r\n", "", []string{"5 miles|miles", "\xba\xfd%L\x00@4\x14\x8b\x00\x00\x00"}},
		{"text: beginning", "beginning 644 x.com\r\n" + lines, "", nil},
		{"text: the line alone", "begin 644 x.txt", "", []string{"x.txt", ""}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := openHidden(t, UUEncode{}, partOf(t, "Content-Type: text/plain\nContent-Transfer-Encoding: binary", []byte(tt.text)))
			o.want(t, tt.check, tt.want...)
		})
	}
}

func utf16Of(s string) string {
	var b []byte
	for _, u := range utf16.Encode([]rune(s)) {
		b = binary.LittleEndian.AppendUint16(b, u)
	}
	return string(b)
}

func base64File(begin, content string) string {
	b := begin + "\r\n"
	for s := base64.StdEncoding.EncodeToString([]byte(content)); s != ""; {
		n := min(len(s), 60)
		b, s = b+s[:n]+"\r\n", s[n:]
	}
	return b + "====\r\n"
}

// TestUUEncodeOfOtherPrograms opens what uu of Python and pack of Perl wrote.
func TestUUEncodeOfOtherPrograms(t *testing.T) {
	python := "begin 644 p.bin\nM2&5L;&\\L(#,P(&)Y=&5S(&%N9\"  _P\"YE2!Z97)O<P                  \nG                                                96YD\n \nend\n"
	perl := "begin 644 p.bin\nM2&5L;&\\L(#,P(&)Y=&5S(&%N9\"``_P\"YE2!Z97)O<P``````````````````\nG````````````````````````````````````````````````96YD\n`\nend\n"
	for _, text := range []string{python, perl} {
		o := openHidden(t, UUEncode{}, partOf(t, "Content-Transfer-Encoding: binary", []byte(text)))
		o.want(t, "", "p.bin", "Hello, 30 bytes and \x00\xff\x00\xb9\x95 zeros"+strings.Repeat("\x00", 50)+"end")
	}
}

// TestOpensUUEncodedBodies: as a transfer encoding its name would be lost.
func TestOpensUUEncodedBodies(t *testing.T) {
	p := partOf(t, "Content-Type: application/octet-stream\nContent-Transfer-Encoding: x-uuencode", []byte(uuencoded("x.com", letter)))
	openHidden(t, UUEncode{}, p).want(t, "", "x.com", letter)
}

// yEncoded is a whole file in yEnc.
func yEncoded(name, content string) string {
	return fmt.Sprintf("=ybegin line=128 size=%d name=%s\r\n%s=yend size=%d crc32=%08x\r\n",
		len(content), name, yLines(content), len(content), crc32.ChecksumIEEE([]byte(content)))
}

func yLines(content string) string {
	var b strings.Builder
	n := 0
	for i := range len(content) {
		c := content[i] + 42
		if c == 0 || c == '\n' || c == '\r' || c == '=' || n == 0 && c == '.' {
			b.WriteByte('=')
			c += 64
			n++
		}
		b.WriteByte(c)
		if n++; n >= 128 {
			b.WriteString("\r\n")
			n = 0
		}
	}
	return b.String() + "\r\n"
}

func TestOpensYEnc(t *testing.T) {
	var all string
	for i := range 256 {
		all += string([]byte{byte(i)})
	}
	long := strings.Repeat(all+letter, 400)
	whole := yEncoded("x.com", letter)
	part := fmt.Sprintf("=ybegin part=2 total=3 line=128 size=1000 name=x.com\r\n=ypart begin=101 end=%d\r\n%s=yend size=%d part=2 pcrc32=%08x\r\n",
		100+len(letter), yLines(letter), len(letter), crc32.ChecksumIEEE([]byte(letter)))
	for _, tt := range []struct {
		name, text string
		check      string
		want       []string
	}{
		{"whole", whole, "", []string{"x.com", letter}},
		{"in text", "Hello\r\n" + whole + "Bye\r\n", "", []string{"x.com", letter}},
		{"several", whole + yEncoded("b", "b"), "", []string{"x.com", letter, "b", "b"}},
		{"all bytes", yEncoded("a", all), "", []string{"a", all}},
		{"large", yEncoded("a b.com", long), "", []string{"a b.com", long}},
		{"LF", strings.ReplaceAll(whole, "\r\n", "\n"), "", []string{"x.com", letter}},
		{"CR", strings.ReplaceAll(whole, "\r\n", "\r"), "", []string{"x.com", letter}},
		{"in quotes", yEncoded("\"x.com\"", letter), "", []string{"\"x.com\"|x.com", letter}},
		{"one part of one", strings.Replace(whole, "=ybegin ", "=ybegin part=1 total=1 ", 1), "", []string{"x.com", letter}},
		{"one long line", strings.ReplaceAll(yEncoded("x.com", strings.Repeat("x", 3*lineRoom)), "\xa2\r\n\xa2", "\xa2\xa2"), "", []string{"x.com", strings.Repeat("x", 3*lineRoom)}},

		{"second of three", part, hiddenPartial, []string{"x.com", letter}},
		{"no end", strings.Split(whole, "=yend")[0], hiddenDamaged, []string{"x.com", letter}},
		{"no end, and another", strings.Split(whole, "=yend")[0] + yEncoded("b", "b"), hiddenDamaged, []string{"x.com", letter, "b", "b"}},
		{"other size", strings.Replace(whole, "size=", "size=1", 1), hiddenDamaged, []string{"x.com", letter}},
		{"other size at the end", strings.Replace(whole, "=yend size=", "=yend size=1", 1), hiddenDamaged, []string{"x.com", letter}},
		{"other checksum", strings.Replace(whole, "crc32=", "crc32=f", 1), hiddenDamaged, []string{"x.com", letter}},

		{"text about it", "A file begins with\r\n=ybegin line=128 size=123456 name=mybinary.dat\r\n... data\r\n=yend size=123456\r\n", "", []string{"mybinary.dat", "\x04\x04\x04\xf6\x3a7J7"}},
		{"text that only names it", "See =ybegin and =yend.\r\n", "", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := openHidden(t, YEnc{}, partOf(t, "Content-Type: text/plain\nContent-Transfer-Encoding: binary", []byte(tt.text)))
			o.want(t, tt.check, tt.want...)
		})
	}
}

// binHexed is a file in BinHex 4.0.
func binHexed(name, data, resource string) string {
	head := append([]byte{byte(len(name))}, name...)
	head = append(head, 0)
	head = append(head, "TEXTttxt\x00\x00"...)
	head = binary.BigEndian.AppendUint32(head, uint32(len(data)))
	head = binary.BigEndian.AppendUint32(head, uint32(len(resource)))
	var all []byte
	for _, b := range [][]byte{head, []byte(data), []byte(resource)} {
		all = append(all, b...)
		all = binary.BigEndian.AppendUint16(all, crc16(0, b))
	}
	return "(This file must be converted with BinHex 4.0)\r\n\r\n" + hqxLines(hqxRuns(all))
}

// hqxRuns packs repetitions.
func hqxRuns(b []byte) (out []byte) {
	for i := 0; i < len(b); {
		n := 1
		for i+n < len(b) && b[i+n] == b[i] && n < 255 {
			n++
		}
		out = append(out, b[i])
		if b[i] == hqxRepeat {
			out = append(out, 0)
		}
		if n > 3 {
			out = append(out, hqxRepeat, byte(n))
			i += n
		} else {
			i++
		}
	}
	return out
}

func hqxLines(b []byte) string {
	const letters = "!\"#$%&'()*+,-012345689@ABCDEFGHIJKLMNPQRSTUVXYZ[`abcdefhijklmpqr"
	out, column := ":", 1
	var acc, bits uint
	put := func(v uint) {
		out += string(letters[v&0x3f])
		if column++; column == 64 {
			out += "\r\n"
			column = 0
		}
	}
	for _, c := range b {
		acc, bits = acc<<8|uint(c), bits+8
		for bits >= 6 {
			bits -= 6
			put(acc >> bits)
		}
	}
	if bits > 0 {
		put(acc << (6 - bits))
	}
	return out + ":\r\n"
}

// flipped changes a letter in the header of a file, so that its checksum is wrong.
func flipped(s string) string {
	at := strings.IndexByte(s, ':') + 20
	return s[:at] + string(s[at]^1) + s[at+1:]
}

func TestOpensBinHex(t *testing.T) {
	runs := strings.Repeat("a", 1000) + strings.Repeat("\x90", 300) + "b\x90"
	whole := binHexed("x.com", letter, "")
	var bare string
	if _, after, ok := strings.Cut(whole, "\r\n\r\n"); ok {
		bare = after
	}
	about := "In this format the line\r\n(This file must be converted with BinHex 4.0)\r\nis followed by a colon\r\n:)\r\nand data. I like that.\r\n:-)\r\n"
	for _, tt := range []struct {
		name, label, text string
		check             string
		want              []string
	}{
		{"data", "", whole, "", []string{"x.com", letter}},
		{"resources", "", binHexed("x", "", letter), "", []string{"x", letter}},
		{"both", "", binHexed("x", "data", letter), "", []string{"x", "data", "x", letter}},
		{"empty", "", binHexed("x.com", "", ""), "", []string{"x.com", ""}},
		{"repetitions", "", binHexed("x", runs, runs), "", []string{"x", runs, "x", runs}},
		{"in text", "", "Hello\r\n" + whole + "Bye :-)\r\n", "", []string{"x.com", letter}},
		{"several", "", whole + binHexed("y", "y", ""), "", []string{"x.com", letter, "y", "y"}},
		{"several, announced once", "", whole + strings.SplitN(binHexed("y", letter, ""), "\r\n\r\n", 2)[1], "", []string{"x.com", letter, "y", letter}},
		{"CR", "", strings.ReplaceAll(whole, "\n", ""), "", []string{"x.com", letter}},
		{"not announced", "", bare, "", []string{"x.com", letter}},
		{"labelled", "application/mac-binhex40", bare, "", []string{"x.com", letter}},

		{"no end", "", strings.TrimSuffix(whole, ":\r\n"), hiddenDamaged, []string{"x.com", letter}},
		{"cut off", "", whole[:150], hiddenDamaged, []string{"x.com", letter[:49]}},
		{"other letters", "", strings.Replace(whole, "\r\n", "\r\n", 1)[:130] + "~" + whole[130:], hiddenDamaged, []string{"x.com", letter}},
		{"other header", "", flipped(whole), hiddenDamaged, []string{"x.com", letter}},
		{"other header, not announced", "", flipped(bare), "", nil},
		{"labelled, and is not", "application/mac-binhex40", "hello\r\n", hiddenDamaged, nil},

		{"text about it", "", about, "", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			label := tt.label
			if label == "" {
				label = "text/plain"
			}
			o := openHidden(t, BinHex{}, partOf(t, "Content-Type: "+label+"\nContent-Transfer-Encoding: binary", []byte(tt.text)))
			o.want(t, tt.check, tt.want...)
		})
	}
}

// An entry is one of AppleSingle or AppleDouble.
type entry struct {
	id      uint32
	content string
}

func appleFile(magic string, entries ...entry) string {
	b := []byte(magic + "\x00\x02\x00\x00" + strings.Repeat("\x00", 16))
	b = binary.BigEndian.AppendUint16(b, uint16(len(entries)))
	off := len(b) + len(entries)*appleEntry
	var contents string
	for _, e := range entries {
		b = binary.BigEndian.AppendUint32(b, e.id)
		b = binary.BigEndian.AppendUint32(b, uint32(off+len(contents)))
		b = binary.BigEndian.AppendUint32(b, uint32(len(e.content)))
		contents += e.content
	}
	return string(b) + contents
}

const (
	appleSingle = "\x00\x05\x16\x00"
	appleDouble = "\x00\x05\x16\x07"
)

func macBinary(name, data, resource string, version byte) string {
	b := append([]byte(nil), make([]byte, macHeader)...)
	b[1] = byte(copy(b[2:65], name))
	binary.BigEndian.PutUint32(b[83:], uint32(len(data)))
	binary.BigEndian.PutUint32(b[87:], uint32(len(resource)))
	if version > 0 {
		b[122], b[123] = version, 129
		binary.BigEndian.PutUint16(b[124:], crc16(0, b[:124]))
	}
	for _, fork := range []string{data, resource} {
		b = append(b, fork...)
		b = append(b, make([]byte, roundUp(int64(len(b)), macHeader)-int64(len(b)))...)
	}
	return string(b)
}

func TestOpensFilesOfTheMacintosh(t *testing.T) {
	single := appleFile(appleSingle, entry{appleName, "x.com"}, entry{9, "TEXTttxt"}, entry{appleData, letter}, entry{appleResource, "r"})
	for _, tt := range []struct {
		name, label, content string
		check                string
		want                 []string
	}{
		{"AppleSingle", "", single, "", []string{"x.com", letter, "x.com", "r"}},
		{"AppleDouble", "", appleFile(appleDouble, entry{appleName, "x.com"}, entry{appleResource, letter}), "", []string{"x.com", letter}},
		{"only a name", "", appleFile(appleDouble, entry{appleName, "x.com\x00\x00"}), "", []string{"x.com", ""}},
		{"no name", "", appleFile(appleDouble, entry{appleResource, letter}), "", []string{"a", letter}},
		{"name stops", "", appleFile(appleDouble, entry{appleName, "x.com\x00.txt"}), "", []string{"x.com|x.com\x00.txt", ""}},
		{"no forks", "", appleFile(appleDouble, entry{9, "TEXTttxt"}), "", []string{"a", ""}},
		{"cut off", "", single[:len(single)-10], hiddenDamaged, []string{"x.com", letter[:len(letter)-9], "", ""}},
		{"too short", "", single[:20], hiddenDamaged, nil},
		{"more entries than there are", "", appleFile(appleSingle)[:24] + "\xff\xff", hiddenDamaged, []string{"a", ""}},
		{"label only", "application/applefile", "hello", hiddenDamaged, nil},
		{"MacBinary II", "", macBinary("x.com", letter, "r", 129), "", []string{"x.com", letter, "x.com", "r"}},
		{"MacBinary III, resources", "", macBinary("x.com", "", letter, 130), "", []string{"x.com", letter}},
		{"MacBinary I", "application/macbinary", macBinary("x.com", letter, "", 0), "", []string{"x.com", letter}},
		{"MacBinary, cut off", "", macBinary("x.com", letter, "", 130)[:140], hiddenDamaged, []string{"x.com", letter[:12]}},
		{"zeros", "", strings.Repeat("\x00", 1000), "", nil},
		{"text", "", letter, "", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			label := tt.label
			if label == "" {
				label = "application/octet-stream"
			}
			o := openHidden(t, Apple{}, partOf(t, "Content-Type: "+label+"; name=a\nContent-Transfer-Encoding: binary", []byte(tt.content)))
			if tt.name == "cut off" {
				tt.want = tt.want[:2] // nothing is left of the other fork
			}
			o.want(t, tt.check, tt.want...)
		})
	}
}

// attribute is one of TNEF.
func attribute(level byte, id uint32, data string) string {
	b := []byte{level}
	b = binary.LittleEndian.AppendUint32(b, id)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(data)))
	b = append(b, data...)
	var sum uint16
	for i := range len(data) {
		sum += uint16(data[i])
	}
	return string(binary.LittleEndian.AppendUint16(b, sum))
}

// A property is one of TNEF, with values that are text, bytes or objects.
type property struct {
	id, kind uint16
	values   []string
}

func propertyList(list ...property) string {
	b := binary.LittleEndian.AppendUint32(nil, uint32(len(list)))
	for _, p := range list {
		b = binary.LittleEndian.AppendUint32(b, uint32(p.id)<<16|uint32(p.kind))
		if p.id >= 0x8000 {
			b = append(b, strings.Repeat("g", 16)+"\x01\x00\x00\x00\x05\x00\x00\x00n\x00a\x00\x00\x00\x00\x00"[:24-8]...)
			b = append(b, make([]byte, roundUp(int64(len(b)), 4)-int64(len(b)))...)
		}
		if size, variable := propertySize(p.kind &^ 0x1000); !variable {
			b = append(b, make([]byte, size)...)
			continue
		}
		b = binary.LittleEndian.AppendUint32(b, uint32(len(p.values)))
		for _, v := range p.values {
			b = binary.LittleEndian.AppendUint32(b, uint32(len(v)))
			b = append(b, v...)
			b = append(b, make([]byte, roundUp(int64(len(v)), 4)-int64(len(v)))...)
		}
	}
	return string(b)
}

const tnefStart = "\x78\x9f\x3e\x22\x01\x00"

func tnefOf(attributes ...string) string {
	return tnefStart + attribute(1, 0x00089006, "\x00\x00\x01\x00") + strings.Join(attributes, "")
}

func rend() string { return attribute(2, 0x00069002, strings.Repeat("\x00", 14)) }

// attached is an attachment as old programs write it.
func attached(name, content string) string {
	return rend() + attribute(2, 0x00018010, name+"\x00") + attribute(2, 0x0006800f, content)
}

func one(id, kind uint16, value string) property { return property{id, kind, []string{value}} }

func TestOpensTNEF(t *testing.T) {
	compressed := compressedRTF(t)
	inner := tnefOf(attached("y.com", letter))
	props := func(list ...property) string { return attribute(2, 0x00069005, propertyList(list...)) }
	msgProps := func(list ...property) string { return attribute(1, 0x00069003, propertyList(list...)) }
	for _, tt := range []struct {
		name, content string
		check         string
		want          []string
	}{
		{"nothing", tnefOf(), "", nil},
		{"attachment", tnefOf(attached("x.com", letter)), "", []string{"x.com", letter}},
		{"attachments", tnefOf(attached("a", "1"), attached("b", "2")), "", []string{"a", "1", "b", "2"}},
		{"without their beginning", tnefOf(attribute(2, 0x00018010, "x.com"), attribute(2, 0x0006800f, letter)), "", []string{"x.com", letter}},
		{"only a name", tnefOf(rend() + attribute(2, 0x00018010, "x.com\x00")), "", []string{"x.com", ""}},
		{"levels repeated", tnefOf(attached("a", "1"), attribute(1, 0x0002800c, "body\x00"), attached("b", "2")), "", []string{"", "body", "a", "1", "b", "2"}},
		{
			"long name", tnefOf(attached("X~1.COM", letter), props(one(propAttachLong, typeString8, "long.txt\x00"), property{0x3705, 3, nil}, one(propAttachName, typeUnicode, utf16Of("ä.com\x00")))), "",
			[]string{"long.txt|ä.com|X~1.COM", letter},
		},
		{"content in a property", tnefOf(rend(), props(one(propAttachLong, typeString8, "x.com\x00"), one(propAttachData, typeBinary, letter))), "", []string{"x.com", letter}},
		{"two contents", tnefOf(attached("x.com", "one"), props(one(propAttachData, typeBinary, letter))), "", []string{"x.com", "one", "x.com", letter}},
		{"name of a property", tnefOf(rend(), props(one(0x8001, typeString8, "value\x00"), one(propAttachLong, typeString8, "x.com\x00"))), "", []string{"x.com", ""}},
		{"several values", tnefOf(rend(), props(property{0x3000, 0x1000 | typeString8, []string{"a\x00", "b\x00"}}, one(propAttachLong, typeString8, "x.com\x00"))), "", []string{"x.com", ""}},
		{"shown name only", tnefOf(rend(), props(one(propDisplayName, typeString8, "x.com\x00"), one(propAttachData, typeBinary, letter))), "", []string{"x.com", letter}},
		{"message", tnefOf(rend(), attribute(2, 0x00018010, "Subject.com"), props(one(propDisplayName, typeString8, "Subject.com\x00"), one(propAttachData, typeObject, iidMessage+inner))), "", []string{"", inner}},
		{"message, as Outlook writes it", tnefOf(attached("Subject.com", ""), attribute(2, 0x00068011, "wmf"), props(one(propAttachData, typeObject, iidMessage+inner))), "", []string{"", "wmf", "", inner}},
		{"object", tnefOf(rend(), props(one(propAttachLong, typeString8, "x"), one(propAttachData, typeObject, strings.Repeat("i", 16)+letter))), "", []string{"x", letter}},
		{"body", tnefOf(attribute(1, 0x0002800c, letter+"\x00")), "", []string{"", letter}},
		{"bodies", tnefOf(msgProps(one(propBody, typeUnicode, utf16Of(letter+"\x00")), one(propHTML, typeBinary, "<p>x"), one(propRTF, typeBinary, compressed))), "", []string{"", letter, htmlBody, "<p>x", "", rtfText}},

		{"wrong checksum", strings.Replace(tnefOf(attached("x.com", letter)), "sure\r\n", "sure\r?", 1), "", []string{"x.com", strings.TrimSuffix(letter, "\n") + "?"}},
		{"zeros behind it", tnefOf(attached("x.com", letter)) + "\x00\x00", "", []string{"x.com", letter}},
		{"cut off", strings.TrimSuffix(tnefOf(attached("x.com", letter)), letter[50:]+"xx")[:len(tnefOf(attached("x.com", letter)))-30], hiddenDamaged, []string{"x.com", letter[:len(letter)-28]}},
		{"other level", tnefOf(attached("x.com", letter), attribute(7, 1, "x"), attached("y.com", "y")), hiddenDamaged, []string{"x.com", letter, "y.com", "y"}},
		{"size too large", tnefOf() + "\x02\x0f\x80\x06\x00\xff\xff\xff\xff" + letter, hiddenDamaged, []string{"", letter}},
		{"damaged properties", tnefOf(attached("x.com", letter), attribute(2, 0x00069005, "\xff\xff\xff\x7f\x01\x02\x03\x04")), hiddenDamaged, []string{"x.com", letter}},
		{"damaged RTF", tnefOf(msgProps(one(propRTF, typeBinary, compressed[:30]))), hiddenDamaged, []string{"", "{\\rtf1\\ansi\\ansicpg1"[:17]}},
		{"text", letter, "", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := openHidden(t, TNEF{}, partOf(t, "Content-Type: image/png; name=a\nContent-Transfer-Encoding: binary", []byte(tt.content)))
			if tt.name == "damaged RTF" {
				o.wantCheck(t, tt.check)
				return
			}
			o.want(t, tt.check, tt.want...)
		})
	}
	o := openHidden(t, TNEF{}, partOf(t, "Content-Type: application/ms-tnef\nContent-Transfer-Encoding: binary", []byte(letter)))
	o.want(t, hiddenDamaged)
}

const rtfText = "{\\rtf1\\ansi\\ansicpg1252\\pard hello world}\r\n"

// compressedRTF is the example of MS-OXRTFCP 3.1.
func compressedRTF(t testing.TB) string {
	b, err := hex.DecodeString("2d0000002b0000004c5a4675f1c5c7a703000a007263706731323542320af32068656c090020627705b06c647d0a800fa0")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestReadsRTF(t *testing.T) {
	crossing := "1a0000001c0000004c5a4675e2d44b51410004205758595a0d6e7d010eb0" // MS-OXRTFCP 3.2: a reference into itself
	b, _ := hex.DecodeString(crossing)
	plain := "\x2d\x00\x00\x00\x2b\x00\x00\x00MELA\x00\x00\x00\x00" + rtfText
	for in, want := range map[string]string{
		compressedRTF(t): rtfText,
		string(b):        "{\\rtf1 WXYZWXYZWXYZWXYZWXYZ}",
		plain:            rtfText,
	} {
		f := &rtfReader{r: io.NewSectionReader(strings.NewReader(in), 0, int64(len(in)))}
		got, err := io.ReadAll(f)
		if err != nil || string(got) != want || f.bad {
			t.Errorf("%x: got %q, bad %v, %v; want %q", in, got, f.bad, err, want)
		}
	}
}

// TestOtherDecoderHung: this TNEF kept another decoder busy for ever.
func TestOtherDecoderHung(t *testing.T) {
	content, err := os.ReadFile("../../shared/corpus/damaged/hang-tnef")
	if err != nil {
		t.Skip("needs ../shared/corpus/damaged beside the project")
	}
	start := time.Now()
	o := openHidden(t, TNEF{}, partOf(t, "Content-Transfer-Encoding: binary", content))
	if took := time.Since(start); took > hang {
		t.Errorf("took %v", took)
	}
	t.Logf("%d members, findings %q", len(o.members), o.findings)
	o.wantCheck(t, hiddenDamaged)
}

// TestHiddenFilesKeepToTheBudget: all of them are members like those of archives.
func TestHiddenFilesKeepToTheBudget(t *testing.T) {
	zeros := strings.Repeat("\x00", 1<<20)
	for name, tt := range map[string]struct {
		e       Expander
		content string
	}{
		"uuencode": {UUEncode{}, uuencoded("x", zeros)}, "yEnc": {YEnc{}, yEncoded("x", zeros)}, "BinHex": {BinHex{}, binHexed("x", zeros, "")},
		"AppleSingle": {Apple{}, appleFile(appleSingle, entry{appleData, zeros})}, "TNEF": {TNEF{}, tnefOf(attached("x", zeros))},
	} {
		b := NewBudget(BudgetLimits{Bytes: 1000}, eml.SpoolOptions{})
		p := partOf(t, "Content-Transfer-Encoding: binary", []byte(tt.content))
		_, err := tt.e.Expand(t.Context(), p, b, func(*eml.Part) error { return nil })
		if !errors.Is(err, ErrBudget) {
			t.Errorf("%s: got %v, want %v", name, err, ErrBudget)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err = tt.e.Expand(ctx, p, NewBudget(BudgetLimits{}, eml.SpoolOptions{}), func(*eml.Part) error { return nil })
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: got %v, want %v", name, err, context.Canceled)
		}
	}
}

// TestMembersOfSeveralExpandersHaveTheirOwnIDs: a text may be a mail and hold encoded files too.
func TestMembersOfSeveralExpandersHaveTheirOwnIDs(t *testing.T) {
	set := NewSet(Options{}, Named{Name: "mail", Scanner: Mail{}}, Named{Name: "uuencode", Scanner: UUEncode{}}, Named{Name: "yenc", Scanner: YEnc{}})
	raw := "Content-Type: application/octet-stream\n\nFrom: a\nDate: b\nSubject: c\n\n" + uuencoded("x", "x") + yEncoded("y", "y")
	m, _ := examine(t, set, strings.ReplaceAll(raw, "\r", ""))
	seen := map[string]bool{}
	m.Root.Walk(func(p *eml.Part) bool {
		if seen[p.ID] {
			t.Errorf("two parts are %s", p.ID)
		}
		seen[p.ID] = true
		return true
	})
	if len(seen) < 6 {
		t.Errorf("got parts %v", seen)
	}
}

// TestHiddenFilesTakeLinearTime: nothing is read again and again.
func TestHiddenFilesTakeLinearTime(t *testing.T) {
	const size = 1 << 20
	for name, unit := range map[string]string{
		"begins": "begin 644 x.y\n", "begins that are none": "begin 5\nx\n", "blank lines": "begin 644 x\n\n\n\n\n", "CR": "\r", "NUL": "\x00", "yEnc": "=ybegin line=1 size=1 name=x\n",
		"colons": ":" + strings.Repeat("!", hqxLine) + "\n", "announced": "(This file must be converted with BinHex 4.0)\n:!\n", "one line": "begin 644 ",
		"TNEF": "\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00",
	} {
		content := []byte(strings.Repeat(unit, size/len(unit)))
		if name == "TNEF" {
			content = append([]byte(tnefStart), content...)
		}
		p := partOf(t, "Content-Transfer-Encoding: binary", content)
		for _, e := range []Expander{UUEncode{}, YEnc{}, BinHex{}, Apple{}, TNEF{}} {
			start := time.Now()
			_, err := e.Expand(t.Context(), p, NewBudget(BudgetLimits{}, eml.SpoolOptions{}), func(m *eml.Part) error { m.Release(); return nil })
			if took := time.Since(start); took > hang || err != nil && !errors.Is(err, ErrBudget) {
				t.Errorf("%s, %T: %v after %v", name, e, err, took)
			}
		}
	}
}

// fuzzHidden holds an expander to its contract: no panic, no more than the budget, no error but
// that of the budget, only its own checks, and an end in time.
func fuzzHidden(f *testing.F, e Expander, seeds ...string) {
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	files, _ := filepath.Glob("testdata/hidden/*")
	for _, name := range files {
		content, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(content)
	}
	lim := BudgetLimits{Bytes: 1 << 20, Members: 100, Depth: 2}
	f.Fuzz(func(t *testing.T, content []byte) {
		start, members, size := time.Now(), 0, int64(0)
		p := partOf(t, "Content-Type: application/octet-stream\nContent-Transfer-Encoding: binary", content)
		findings, err := e.Expand(t.Context(), p, NewBudget(lim, eml.SpoolOptions{}), func(m *eml.Part) error {
			defer m.Release()
			members++
			size += m.Size
			if len(m.Names) > maxHiddenNames {
				t.Errorf("%d names", len(m.Names))
			}
			return nil
		})
		if took := time.Since(start); members > lim.Members || size > lim.Bytes || took > hang {
			t.Errorf("%d members, %d bytes, %v; limits %+v", members, size, took, lim)
		}
		if err != nil && !errors.Is(err, ErrBudget) {
			t.Error(err)
		}
		for _, found := range findings {
			if found.Part != p || !found.Unexamined || !slices.ContainsFunc(e.Checks(), func(c eml.Check) bool { return c.ID == found.Check }) {
				t.Errorf("finding %+v", found)
			}
		}
	})
}

// roundTrip fails unless content comes out of what it was encoded to, and nothing is found.
func roundTrip(t *testing.T, e Expander, content, encoded string) {
	t.Helper()
	o := openHidden(t, e, partOf(t, "Content-Transfer-Encoding: binary", []byte("Hello\r\n"+encoded)))
	if len(o.contents) != 1 || o.contents[0] != content || len(o.findings) > 0 {
		t.Errorf("%q encoded to %q came out as %q with %q", content, encoded, o.contents, o.findings)
	}
}

func FuzzUUEncode(f *testing.F) {
	fuzzHidden(f, UUEncode{}, uuencoded("x.com", letter), "begin 644 x\n"+encode4([]byte(letter), 45, xxLetter), base64File("begin-base64 644 x.com", letter), "begin 5 minutes\n")
}

func FuzzYEnc(f *testing.F) {
	fuzzHidden(f, YEnc{}, yEncoded("x.com", letter), "=ybegin part=1 line=128 size=5 name=x\r\n=ypart begin=1 end=3\r\nabc\r\n=yend size=3\r\n")
}

func FuzzBinHex(f *testing.F) {
	fuzzHidden(f, BinHex{}, binHexed("x.com", letter, letter), binHexed("x", strings.Repeat("a\x90", 300), ""))
}

func FuzzApple(f *testing.F) {
	fuzzHidden(f, Apple{}, appleFile(appleSingle, entry{appleName, "x.com"}, entry{appleData, letter}), appleFile(appleDouble, entry{appleResource, letter}), macBinary("x.com", letter, letter, 130))
}

func FuzzTNEF(f *testing.F) {
	rtf := attribute(1, 0x00069003, propertyList(one(propRTF, typeBinary, compressedRTF(f)), one(propHTML, typeBinary, "<p>"), one(propBody, typeUnicode, utf16Of("b"))))
	fuzzHidden(f, TNEF{}, tnefOf(attached("x.com", letter)), tnefOf(rtf), tnefOf(rend(), attribute(2, 0x00069005, propertyList(one(propAttachData, typeObject, iidMessage+tnefOf())))))
}

// FuzzHiddenRoundTrip: what encoders write comes out as it went in, with no finding.
func FuzzHiddenRoundTrip(f *testing.F) {
	f.Add([]byte(letter))
	f.Add(bytes.Repeat([]byte{0}, 100))
	f.Add([]byte("\x90\x90\x90\x90\x90= \r\n.."))
	f.Fuzz(func(t *testing.T, b []byte) {
		content := string(b)
		if content == "" {
			return
		}
		roundTrip(t, UUEncode{}, content, uuencoded("x.com", content))
		roundTrip(t, UUEncode{}, content, "begin 644 x.com\r\n"+encode4(b, 45, uuBlank))
		roundTrip(t, UUEncode{}, content, base64File("begin-base64 644 x.com", content))
		roundTrip(t, YEnc{}, content, yEncoded("x.com", content))
		roundTrip(t, BinHex{}, content, binHexed("x.com", content, ""))
		for _, tt := range []struct {
			e       Expander
			encoded string
		}{
			{Apple{}, appleFile(appleSingle, entry{appleData, content})}, {Apple{}, macBinary("x", content, "", 130)}, {TNEF{}, tnefOf(attached("x", content))},
		} {
			o := openHidden(t, tt.e, partOf(t, "Content-Transfer-Encoding: binary", []byte(tt.encoded)))
			if len(o.contents) != 1 || o.contents[0] != content || len(o.findings) > 0 {
				t.Errorf("%T: %q came out as %q with %q", tt.e, content, o.contents, o.findings)
			}
		}
	})
}
