package script

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode"

	"rastel/sanitize/eml"
	"rastel/scanners"
)

// The checks of shortcuts, besides that of all that act as one.
const (
	lnkCommand = "lnk/command"
	lnkServer  = "lnk/server"
	lnkHidden  = "lnk/hidden-arguments"
	lnkOverlay = "lnk/overlay"
)

var lnkChecks = []eml.Check{
	{ID: lnkCommand, Doc: "A shortcut (.lnk) gives a command to a program that carries out whatever it is told: cmd, PowerShell, mshta, rundll32 and the like."},
	{ID: lnkServer, Doc: "A shortcut (.lnk) has its target, its directory or its icon on a server of Windows, which is told the name of the user and a hash of the password when the folder is looked at."},
	{ID: lnkHidden, Doc: "A shortcut (.lnk) has arguments that its properties do not show: behind blanks, or more than Windows shows there."},
	{ID: lnkOverlay, Doc: "A shortcut (.lnk) has other content behind its end, which its command can take out. It was examined like a member of an archive."},
}

// interpreters are programs that carry out what their arguments say.
var interpreters = []string{"cmd", "command", "powershell", "powershell_ise", "pwsh", "mshta", "rundll32", "regsvr32", "wscript", "cscript", "wmic", "msiexec", "certutil", "bitsadmin",
	"forfiles", "pcalua", "conhost", "explorer", "hh", "installutil", "msbuild", "odbcconf", "cmstp", "schtasks", "curl", "ssh", "scp", "sftp", "bash", "wsl", "python", "pythonw", "node",
	"javaw", "java", "msedge", "control", "ftp", "finger", "scriptrunner", "syncappvpublishingserver", "regasm", "regsvcs", "xwizard", "msdt", "wt", "runas", "devicecredentialdeployment", "cdb"}

// opens is what a shortcut opens.
func (l *link) opens() string {
	if l.environment != "" {
		return l.environment
	}
	return l.target
}

// interpreter is the program that carries out the arguments; empty if it is none that is known.
func (l *link) interpreter() string {
	for _, s := range []string{l.environment, l.target} {
		name := strings.TrimSuffix(base(strings.Trim(s, `" `)), ".exe")
		if short, _, ok := strings.Cut(name, "~"); ok && len(short) >= 4 { // POWERS~1
			for _, i := range interpreters {
				if strings.HasPrefix(i, short) {
					return i
				}
			}
		}
		if slices.Contains(interpreters, name) {
			return name
		}
	}
	return ""
}

const (
	// shownArguments is how many characters of the arguments the properties of a shortcut show.
	shownArguments = 260
	// padding is how many blanks in a row push what follows out of sight (CVE-2025-9491).
	padding = 40
)

// isPadded reports whether the properties of a shortcut do not show all its arguments.
func (l *link) isPadded() bool {
	run := 0
	for _, r := range l.arguments {
		if !unicode.IsSpace(r) && !unicode.IsControl(r) {
			run = 0
		} else if run++; run >= padding {
			return true
		}
	}
	return len(l.arguments) > shownArguments
}

// server is the first of its places that is on a server.
func (l *link) server() string {
	for _, s := range []string{l.environment, l.target, l.dir, l.icon, l.arguments} {
		s = strings.Trim(s, `" `)
		if isServer(s) {
			return s
		}
	}
	return ""
}

// isServer reports whether a place is on a server of Windows.
func isServer(value string) bool {
	low := strings.ToLower(value)
	return strings.HasPrefix(value, `\\`) && len(value) > 2 && value[2] != '?' && value[2] != '.' ||
		strings.HasPrefix(low, "file://") && !strings.HasPrefix(low, "file:///") && !strings.HasPrefix(low, "file://localhost/")
}

// findings are those of its own checks.
func (l *link) findings(p *eml.Part) (list []eml.Finding) {
	add := func(check, detail string) { list = append(list, eml.Finding{Check: check, Part: p, Detail: detail}) }
	args := short(strings.Join(strings.Fields(l.arguments), " "))
	if i := l.interpreter(); i != "" && args != "" {
		say := fmt.Sprintf("has %s carry out %s", i, args)
		if l.window == 7 {
			say += ", in a window that is not seen"
		}
		add(lnkCommand, say)
	}
	if s := l.server(); s != "" {
		add(lnkServer, "contacts "+short(s))
	}
	if l.isPadded() {
		add(lnkHidden, fmt.Sprintf("arguments of %d characters, not all of which are shown: %s", len(l.arguments), args))
	}
	if l.behind > 0 {
		add(lnkOverlay, fmt.Sprintf("%d bytes behind its end", l.behind))
	}
	return list
}

// minOverlay is how many bytes behind the end of a shortcut are looked at as a file.
const minOverlay = 16

// Expand yields what is behind the end of a shortcut: what its command takes out of it.
func (Scanner) Expand(ctx context.Context, p *eml.Part, b *scanners.Budget, yield func(*eml.Part) error) ([]eml.Finding, error) {
	if p.Type != "lnk" {
		return nil, nil
	}
	l := readLink(p.Content(), p.Size)
	if l.behind < minOverlay {
		return nil, nil
	}
	m, err := b.Member(ctx, p, 1, nil, io.NewSectionReader(p.Content(), l.end, l.behind))
	if m == nil {
		return nil, err
	}
	if err != nil {
		m.Release()
		return nil, err
	}
	return nil, yield(m)
}
