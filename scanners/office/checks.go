// Package office says in words what documents of office programs do besides showing text: macros and
// when they run, commands in fields, what is loaded from elsewhere, what is packed in. And it takes
// some of that out of documents again (Disarm).
//
// Documents are containers: others open them, and what is in them is looked at here part by part, as
// text that is searched and never as a format that is followed. What is in compound files is found
// where they are opened (package ole), with the words of this package.
package office

import "rastel/sanitize/eml"

// The checks, some of which are found where compound files and RTF are opened.
const (
	Macro           = "office/macro"
	MacroAutorun    = "office/macro-autorun"
	MacroSuspicious = "office/macro-suspicious"
	MacroHidden     = "office/macro-hidden"
	MacroHash       = "office/vba-hash"
	XLM             = "office/xlm"
	XLMAutorun      = "office/xlm-autorun"
	DDE             = "office/dde"
	RemoteTemplate  = "office/remote-template"
	RemoteObject    = "office/remote-object"
	External        = "office/external"
	Package         = "office/package"
	ActiveX         = "office/activex"
	Equation        = "office/equation"
	EquationExploit = "office/equation-exploit"
)

var docs = map[string]string{
	Macro:           "A document has macros (Visual Basic, or Basic and other scripts of OpenDocument); the detail says in which modules.",
	MacroAutorun:    "A macro of a document runs by itself, such as when the document is opened; the detail says which.",
	MacroSuspicious: "A macro of a document starts programs, loads from the network, writes into memory, or hides what it does; the detail says by which words.",
	MacroHidden:     "A macro of a document is there as what Office made of it, and its source is not (VBA stomping): nobody has seen what it does.",
	MacroHash:       "The detail is the SHA-256 of a project of macros (Visual Basic), the same in whichever document it is; there is none if not all of it was read. It means nothing by itself, and nothing should act on it: it is what exceptions name (`macros`).",
	XLM:             "A workbook has sheets of macros as Excel 4.0 had them (XLM); the detail says which, and whether they are hidden.",
	XLMAutorun:      "A macro of Excel 4.0 runs when the workbook is opened or closed (Auto_Open, Auto_Close).",
	DDE:             "A field or link of a document talks to another program (DDE), which may start it; the detail says which.",
	RemoteTemplate:  "A document loads its template, and the macros in it, from a server; the detail says from where.",
	RemoteObject:    "A document loads an object, a frame or another document from a server; the detail says what, and from where.",
	External:        "A document refers to something outside of it that is no link to click: pictures, other workbooks, files; the detail says to what.",
	Package:         "A document has a file packed in it that opens by a double click; the detail says which.",
	ActiveX:         "A document has controls (ActiveX) in it, as forms do; the detail says which.",
	Equation:        "A document has a formula for the equation editor, which Office no longer has since it could be taken over (CVE-2017-11882).",
	EquationExploit: "A formula for the equation editor is made so that it overflows (CVE-2017-11882, CVE-2018-0802), or for nothing else.",
}

// Checks are those with these IDs.
func Checks(ids ...string) []eml.Check {
	out := make([]eml.Check, len(ids))
	for i, id := range ids {
		out[i] = eml.Check{ID: id, Doc: docs[id]}
	}
	return out
}
