package office

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"slices"
	"strings"

	"rastel/sanitize/eml"
	"rastel/scanners"
)

// isTable reports whether a part is a table as text by its name or beginning: CSV, or SYLK, which Excel
// opens as well, and runs macros of.
func isTable(p *eml.Part) bool {
	if !p.Is("text") && p.Type != "data" && p.Type != "empty" {
		return false
	}
	return bytes.HasPrefix(p.Head(4), []byte("ID;P")) || slices.ContainsFunc(p.Names, func(n string) bool {
		n = strings.ToLower(strings.TrimRight(n, ". \t\r\n\x00"))
		return strings.HasSuffix(n, ".csv") || strings.HasSuffix(n, ".tsv") || strings.HasSuffix(n, ".slk")
	})
}

// table looks for formulas that talk to other programs, and for macros.
func (s *scan) table(ctx context.Context) error {
	sylk := bytes.HasPrefix(s.p.Head(2), []byte("ID"))
	in := bufio.NewReaderSize(scanners.WithoutZeros(scanners.ContextReader(ctx, s.p.Content())), window)
	for {
		line, err := in.ReadSlice('\n')
		if sylk {
			s.record(string(line))
		} else {
			s.cells(string(line))
		}
		if err == io.EOF {
			return nil
		}
		if err != nil && err != bufio.ErrBufferFull {
			return err
		}
	}
}

// cells looks for a cell that Excel takes for a formula with a link: =program|'topic'!item.
func (s *scan) cells(line string) {
	if !strings.Contains(line, "|") {
		return
	}
	for _, cell := range strings.FieldsFunc(line, func(r rune) bool { return r == ',' || r == ';' || r == '\t' || r == '"' || r == '\r' || r == '\n' }) {
		cell = strings.TrimSpace(cell)
		if cell == "" || cell[0] != '=' && (!strings.ContainsRune("+-@", rune(cell[0])) || !strings.Contains(cell, "|'")) {
			continue
		}
		if isLink(cell[1:]) {
			s.report(DDE, "a cell "+quoted(cell))
		}
	}
}

// isLink reports whether a formula has a link to another program.
func isLink(formula string) bool {
	program, rest, ok := strings.Cut(formula, "|")
	if !ok || !strings.Contains(rest, "!") {
		return false
	}
	program = program[strings.LastIndexAny(program, "=+-*/@( ")+1:]
	return program != "" && !strings.ContainsFunc(program, func(r rune) bool {
		return r != '_' && r != '.' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
	})
}

// record looks at a record of SYLK.
func (s *scan) record(line string) {
	line = strings.TrimSpace(line)
	upper := strings.ToUpper(line)
	switch {
	case strings.HasPrefix(upper, "NN;NAUTO_"):
		s.report(XLMAutorun, "the name "+quoted(line)+" is a macro that runs by itself")
	case strings.HasPrefix(upper, "O;") && slices.Contains(strings.Split(upper, ";"), "E"):
		s.report(XLM, "a sheet of macros in SYLK")
	case strings.HasPrefix(upper, "C;"):
		for _, f := range strings.Split(line, ";") {
			if len(f) > 1 && f[0] == 'E' && isLink(f[1:]) {
				s.report(DDE, "a cell "+quoted(f[1:]))
			}
		}
	}
}

// isBinaryWorkbook reports whether a part is the list of sheets of an .xlsb (MS-XLSB 2.1.7.62).
func isBinaryWorkbook(p *eml.Part) bool {
	return p.Member() && slices.ContainsFunc(p.Names, func(n string) bool { return strings.HasSuffix(strings.ToLower(n), "workbook.bin") })
}

// workbook looks for names of macros that run by themselves.
func (s *scan) workbook(ctx context.Context) error {
	for _, name := range []string{"Auto_Open", "Auto_Close", "auto_open", "auto_close", "AUTO_OPEN"} {
		found, err := scanners.Contains(scanners.WithoutZeros(scanners.ContextReader(ctx, s.p.Content())), []byte(name))
		if err != nil {
			return err
		}
		if found {
			s.defined("_xlnm."+name, "")
		}
	}
	return nil
}
