// Package script says in words what scripts, shortcuts and configurations would do if somebody
// opened them: those that trojans bring along in archives and images of disks. It runs nothing, and
// decodes nothing; what is hidden well is said to be hidden.
package script

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"

	"rastel/sanitize/eml"
)

// Scanner looks at files that are attached or lie in containers. The text of the message itself is
// none of its business.
type Scanner struct{}

// The checks of this package.
const (
	mirc        = "script/mirc"
	autorun     = "script/autorun"
	folder      = "script/folder"
	shortcut    = "script/shortcut"
	task        = "script/task"
	registry    = "script/registry"
	batch       = "script/batch"
	powershell  = "script/powershell"
	visualBasic = "script/visual-basic"
	javascript  = "script/javascript"
	application = "script/application"
	shell       = "script/shell"

	remoteDesktop = "script/remote-desktop"
	webQuery      = "script/web-query"
	downloadRun   = "script/download-run"
	obfuscated    = "script/obfuscated"
)

// Checks are all checks that Scan may report.
func (Scanner) Checks() []eml.Check {
	return append([]eml.Check{
		{ID: mirc, Doc: "A script or configuration of the IRC client mIRC, or the client itself. Trojans of the kind that takes orders over IRC bring them along."},
		{ID: autorun, Doc: "An autorun.inf that starts a program when the disk is opened."},
		{ID: folder, Doc: "A desktop.ini that makes a folder look or act like something else, or has Windows contact a server when the folder is opened."},
		{ID: shortcut, Doc: "A shortcut (.lnk, .url, .scf, .library-ms and the like); the detail says what it starts or whom it contacts."},
		{ID: task, Doc: "A task for the Windows Task Scheduler, or settings with a command in them (.settingcontent-ms); the detail says what it starts."},
		{ID: registry, Doc: "A file that changes the Windows registry; the detail says what matters of it."},
		{ID: batch, Doc: "A batch file; the detail says what it does."},
		{ID: powershell, Doc: "A PowerShell script; the detail says what it does."},
		{ID: visualBasic, Doc: "A script in Visual Basic (VBScript); the detail says what it does."},
		{ID: javascript, Doc: "A script in JavaScript for the Windows Script Host, or one that looks so; the detail says what it does."},
		{ID: application, Doc: "An HTML application or a script in XML (.hta, .wsf, .sct); the detail says what it does."},
		{ID: shell, Doc: "A script that names its interpreter (#!); the detail says what it does."},
		{ID: remoteDesktop, Doc: "A file that connects to a computer by Remote Desktop (.rdp); the detail says to which, and what it hands over: disks, the clipboard, smart cards."},
		{ID: webQuery, Doc: "A query of Excel (.iqy) that fills a table with what a server says, formulas included."},
		{ID: downloadRun, Doc: "A script for Windows, named or marked as one, that downloads something and runs it, or has what it runs encoded in it."},
		{ID: obfuscated, Doc: "A script is written so that nobody can read it; the detail says how."},
	}, lnkChecks...)
}

// Scan reports what kind of script the part is, and what it does; of shortcuts and of scripts that hide
// what they do, or download and run something, further findings say that.
func (Scanner) Scan(ctx context.Context, p *eml.Part) ([]eml.Finding, error) {
	if !p.Leaf() || !p.Member() && len(p.Names) == 0 && p.Disposition != "attachment" {
		return nil, nil
	}
	switch {
	case p.Type == "lnk":
		l := readLink(p.Content(), p.Size)
		return append([]eml.Finding{{Check: shortcut, Part: p, Detail: l.String()}}, l.findings(p)...), nil
	case p.Type == "pe" || p.Type == "dos":
		check, detail, err := examineProgram(ctx, p)
		if check == "" || err != nil {
			return nil, err
		}
		return []eml.Finding{{Check: check, Part: p, Detail: detail}}, nil
	case p.Is("text") || p.Type == "data" && namedKind(p.Names) != nil:
		return examineText(ctx, p)
	}
	return nil, nil
}

// A kind is one language of scripts.
type kind struct {
	check, is  string
	extensions []string
	names      []string // whole names
	// words is how many different words of the language make a script of a text that is not named
	// so; 0: the name decides, or what the content is by its type.
	words int
}

var kinds = []kind{
	{check: mirc, is: "a script or configuration of mIRC", extensions: []string{"mrc"}, words: 3,
		names: []string{"script.ini", "mirc.ini", "remote.ini", "servers.ini", "aliases.ini", "popups.ini", "users.ini"}},
	{check: autorun, is: "autorun.inf", names: []string{"autorun.inf"}},
	{check: folder, is: "desktop.ini", names: []string{"desktop.ini"}},
	{check: shortcut, is: "a shortcut", extensions: []string{"url", "website", "scf", "library-ms", "searchconnector-ms", "search-ms", "theme", "appref-ms"}},
	{check: task, is: "a task or setting", extensions: []string{"job", "settingcontent-ms", "appcontent-ms", "mmc", "msc"}},
	{check: registry, is: "changes to the registry", extensions: []string{"reg"}},
	{check: batch, is: "a batch file", extensions: []string{"bat", "cmd", "btm", "nt"}, words: 3},
	{check: powershell, is: "a PowerShell script", extensions: []string{"ps1", "psm1", "psd1", "ps1xml", "psc1", "cdxml"}, words: 3},
	{check: visualBasic, is: "a Visual Basic script", extensions: []string{"vbs", "vbe", "vb", "bas", "vba"}, words: 3},
	{check: javascript, is: "a JavaScript", extensions: []string{"js", "jse"}, words: 3},
	{check: application, is: "an HTML application or Windows Script file", extensions: []string{"hta", "wsf", "wsc", "sct", "ws", "wsh"}},
	{check: remoteDesktop, is: "a connection by Remote Desktop", extensions: []string{"rdp"}},
	{check: webQuery, is: "a query of Excel", extensions: []string{"iqy"}},
	{check: shell, is: "a script", extensions: []string{"sh", "command", "csh", "ksh"}},
}

// kindOf is the kind with that check.
func kindOf(check string) *kind {
	return &kinds[slices.IndexFunc(kinds, func(k kind) bool { return k.check == check })]
}

// namedKind is the kind that the names say; nil if none does.
func namedKind(names []string) *kind {
	for _, n := range names {
		n = base(n)
		_, ext, _ := cutLast(n, '.')
		for i := range kinds {
			if slices.Contains(kinds[i].names, n) || slices.Contains(kinds[i].extensions, ext) {
				return &kinds[i]
			}
		}
	}
	return nil
}

// base is a name without directories and without what Windows drops at its end, in lower case.
func base(name string) string {
	name = name[strings.LastIndexAny(name, `/\`)+1:]
	return strings.ToLower(strings.TrimRight(name, ". \t\r\n\x00"))
}

func cutLast(s string, sep byte) (before, after string, ok bool) {
	i := strings.LastIndexByte(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+1:], true
}

// typedKind is the kind of a type of content; nil if that says nothing.
func typedKind(typ string) *kind {
	switch typ {
	case "batch":
		return kindOf(batch)
	case "registry":
		return kindOf(registry)
	case "script":
		return kindOf(shell)
	}
	return nil
}

// examineText reads a text to its end.
func examineText(ctx context.Context, p *eml.Part) ([]eml.Finding, error) {
	t := newText()
	if err := t.read(ctx, p.Content()); err != nil {
		return nil, fmt.Errorf("read script: %w", err)
	}
	k := namedKind(p.Names)
	if p.Type == "xml" || p.Is("text") && bytes.HasPrefix(t.head, []byte("<")) {
		if x := settings(t.head); x != nil && (k == nil || k.check == task || k.check == shortcut) {
			return []eml.Finding{{Check: x.check, Part: p, Detail: x.detail}}, nil
		}
	}
	if k == nil {
		k = typedKind(p.Type)
	}
	sure := k != nil
	if k == nil {
		k = t.language()
	}
	if k == nil {
		return nil, nil
	}
	check, detail := t.verdict(k)
	if check == "" {
		return nil, nil
	}
	found := []eml.Finding{{Check: check, Part: p, Detail: detail}}
	if detail := t.downloadRun(k); sure && detail != "" {
		found = append(found, eml.Finding{Check: downloadRun, Part: p, Detail: detail})
	}
	if marks := t.marks(k); len(marks) > 0 {
		found = append(found, eml.Finding{Check: obfuscated, Part: p, Detail: strings.Join(marks, "; ")})
	}
	return found, nil
}

// verdict is what is to be said of a text that is of that kind.
func (t *text) verdict(k *kind) (check, detail string) {
	deeds := t.deeds(k.check)
	switch k.check {
	case autorun, folder, task, shortcut, remoteDesktop, webQuery:
		if len(deeds) == 0 {
			return "", "" // it only tells an icon or a name
		}
	case mirc:
		if t.counts[languageOf(mirc)] == 0 && len(deeds) == 0 {
			return "", "" // other programs have files of these names
		}
	}
	if len(deeds) == 0 {
		return k.check, k.is
	}
	return k.check, k.is + ": " + strings.Join(deeds, "; ")
}
