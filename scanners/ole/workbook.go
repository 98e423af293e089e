package ole

import (
	"bufio"
	"encoding/binary"
	"io"
	"strings"

	"rastel/scanners/office"
)

// Records of workbooks (MS-XLS 2.3.1; those of BIFF5 are alike).
const (
	biffFilePass    = 0x2f
	biffSheet       = 0x85
	biffName        = 0x18
	biffExternSheet = 0x17
	biffSupBook     = 0x1ae
	biffExternName  = 0x23
	biffBOF         = 0x809

	macroSheet = 1
	oldBIFF    = 0x500

	// maxRecord is how much of a record is looked at.
	maxRecord = 8 << 10
)

// A biff is what is known of a workbook while its records are read.
type biff struct {
	f       *file
	old     bool   // BIFF5, whose texts have one byte a character
	autorun string // a name that is a macro that runs by itself
	sheets  bool   // there are macro sheets
	link    string // of the last SupBook, if it is a link to another program
}

// workbook reads the records of a workbook that are not of its sheets, and looks for macros of Excel 4.0
// and for links. Damage ends it: Excel repairs a workbook by leaving out what it cannot read.
func (f *file) workbook(n *node) error {
	w := &biff{f: f}
	in := bufio.NewReader(f.read(f.c.content(n)))
	for {
		var h [4]byte
		if _, err := io.ReadFull(in, h[:]); err != nil {
			return w.end(err)
		}
		kind, size := binary.LittleEndian.Uint16(h[:]), int(binary.LittleEndian.Uint16(h[2:]))
		if kind == biffFilePass {
			return w.end(io.EOF) // what follows is encrypted, and looked at when it is not any more
		}
		data := make([]byte, min(size, maxRecord))
		if !w.wants(kind) {
			data = nil
		}
		if _, err := io.ReadFull(in, data); err != nil {
			return w.end(err)
		}
		if _, err := in.Discard(size - len(data)); err != nil {
			return w.end(err)
		}
		w.record(kind, data)
	}
}

func (w *biff) end(err error) error {
	w.endLink()
	if w.autorun != "" && w.sheets {
		w.f.report(office.XLMAutorun, "the name "+office.Quoted(w.autorun)+" is a macro that runs by itself")
	}
	if isFatal(w.f.ctx, err) {
		return err
	}
	return nil
}

func (*biff) wants(kind uint16) bool {
	switch kind {
	case biffSheet, biffName, biffExternSheet, biffSupBook, biffExternName, biffBOF:
		return true
	}
	return false
}

func (w *biff) record(kind uint16, b []byte) {
	switch kind {
	case biffBOF:
		w.old = len(b) >= 2 && binary.LittleEndian.Uint16(b) == oldBIFF
	case biffSheet:
		w.sheet(b)
	case biffName:
		w.name(b)
	case biffSupBook:
		w.endLink()
		if len(b) > 4 {
			w.setLink(w.text(b[4:], int(binary.LittleEndian.Uint16(b[2:]))))
		}
	case biffExternSheet:
		if w.old && len(b) > 1 {
			w.endLink()
			w.setLink(string(b[1:]))
		}
	case biffExternName:
		const oleLink = 0x10
		if w.link != "" && len(b) > 1 && b[0]&oleLink != 0 {
			w.f.report(office.External, "an object linked to "+office.Quoted(w.link))
			w.link = ""
		}
		w.endLink()
	}
}

// sheet looks at a BoundSheet8 (MS-XLS 2.4.28).
func (w *biff) sheet(b []byte) {
	if len(b) < 8 || b[5] != macroSheet {
		return
	}
	name := w.text(b[7:], int(b[6]))
	state := [...]string{"", ", which is hidden", ", which is hidden so that Excel does not show that it is there", ""}[b[4]&3]
	w.f.report(office.XLM, "the sheet of macros "+office.Quoted(name)+state)
	w.sheets = true
}

// name looks at a Lbl (MS-XLS 2.4.150).
func (w *biff) name(b []byte) {
	const builtin = 0x20
	if len(b) < 15 {
		return
	}
	name := w.text(b[14:], int(b[3]))
	if b[0]&builtin != 0 {
		name = map[string]string{"\x01": "Auto_Open", "\x02": "Auto_Close", "\x0a": "Auto_Activate", "\x0b": "Auto_Deactivate"}[name]
	}
	if strings.HasPrefix(strings.ToLower(name), "auto_") && w.autorun == "" {
		w.autorun = name
	}
}

// text is a text of n characters; before those of BIFF8 a byte tells how many bytes they have.
func (w *biff) text(b []byte, n int) string {
	wide := false
	if !w.old && len(b) > 0 {
		wide, b = b[0]&1 != 0, b[1:]
	}
	if wide {
		return utf16String(b[:min(2*n, len(b))])
	}
	return string(b[:min(n, len(b))])
}

// setLink notes a link to another program: its name and the topic, with a 3 between them.
func (w *biff) setLink(path string) {
	if program, topic, ok := strings.Cut(path, "\x03"); ok {
		w.link = strings.Trim(program, "\x00\x01") + "|" + topic
	}
}

func (w *biff) endLink() {
	if w.link != "" {
		w.f.report(office.DDE, "a link to "+office.Quoted(w.link))
	}
	w.link = ""
}
