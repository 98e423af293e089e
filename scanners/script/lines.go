package script

import (
	"regexp"
	"slices"
	"strings"
)

// endLine looks at a whole line, or the beginning of one that is too long.
func (t *text) endLine() {
	b := t.line
	for len(b) > 0 && b[0] > 0x7f { // a byte order mark, or nothing that is looked for
		b = b[1:]
	}
	line := strings.TrimSpace(string(b))
	t.line = t.line[:0]
	if line == "" {
		return
	}
	t.findPlaces(line)
	t.findDisguise(line)
	t.connection(line)
	if line[0] == '[' {
		t.openSection(line)
		return
	}
	if key, value, ok := strings.Cut(line, "="); ok {
		t.assign(strings.ToLower(strings.TrimSpace(key)), strings.Trim(strings.TrimSpace(value), `"`))
	}
	t.mircLine(line)
}

// openSection begins a section of an .ini file, or a key of the registry.
func (t *text) openSection(line string) {
	name, _, _ := strings.Cut(line[1:], "]")
	t.section = strings.ToLower(strings.TrimSpace(name))
	if key := strings.TrimPrefix(t.section, "-"); strings.HasPrefix(key, "hkey") || strings.HasPrefix(key, "hk") && strings.Contains(key, `\`) {
		t.registryKey(name)
	}
}

// registryPlaces are keys whose change matters, by a part of their name, and what it does. The first
// that fits is told.
var registryPlaces = []struct{ part, does string }{
	{`\currentversion\run`, "has a program start with Windows"},
	{`\currentversion\policies\explorer\run`, "has a program start with Windows"},
	{`\winlogon`, "has a program start at logon"},
	{`\image file execution options`, "has one program start in place of another"},
	{`\windows defender`, "changes Windows Defender"},
	{`\safer\`, "changes what may be started"},
	{`\shell\open\command`, "changes what files are opened with"},
	{`\command processor`, "has a program start with every command window"},
	{`\appinit_dlls`, "has a library loaded into every program"},
	{`\currentcontrolset\services`, "changes services"},
	{`\policies\system`, "changes the rules of the system"},
	{`\internet settings`, "changes the settings of the network"},
	{`\firewallpolicy`, "changes the firewall"},
	{`\trusted locations`, "makes Office trust a place"},
	{`\office\`, "changes the settings of Office"},
	{`\root\certificates`, "makes Windows trust a certificate"},
}

func (t *text) registryKey(name string) {
	low := strings.ToLower(name) + `\`
	for _, p := range registryPlaces {
		if strings.Contains(low, p.part) {
			t.did(registry, p.does+": "+short(name))
			return
		}
	}
}

// assign takes one key of a section.
func (t *text) assign(key, value string) {
	switch {
	case value == "":
	case strings.HasPrefix(t.section, "autorun"):
		if key == "open" || key == "shellexecute" || strings.HasPrefix(key, `shell\`) && strings.HasSuffix(key, `\command`) {
			t.did(autorun, "starts "+short(value))
		}
	case t.section == ".shellclassinfo":
		t.folderKey(key, value)
	case t.section == "internetshortcut" || t.section == "{000214a0-0000-0000-c000-000000000046}":
		if key == "url" && !strings.HasPrefix(strings.ToLower(value), "http") {
			t.did(shortcut, "opens "+short(value))
		}
		t.contact(shortcut, value)
	case t.section == "shell" || t.section == "taskbar": // .scf
		t.contact(shortcut, value)
		if key == "command" && t.section == "taskbar" {
			t.did(shortcut, "gives the command "+short(value))
		}
	case strings.HasPrefix(t.section, "hkey") && strings.Contains(t.section, `\run`):
		t.did(registry, "starts "+short(value))
	default:
		t.contact(shortcut, value)
	}
}

// folderKey takes a key of desktop.ini.
func (t *text) folderKey(key, value string) {
	if key == "clsid" || key == "clsid2" || key == "uiclsid" {
		t.did(folder, "makes the folder act as "+short(value))
	}
	t.contact(folder, value)
}

// contact tells a server that Windows asks, with the name and password of the user, to show an icon
// or to find what is to be opened.
func (t *text) contact(check, value string) {
	if isServer(value) {
		t.did(check, "contacts "+short(value))
	}
}

// mircEvents are what a script of mIRC waits for ("on *:TEXT:...").
var mircEvents = regexp.MustCompile(`(?i)^(?:n\d+\s*=\s*)?(?:on\s+[^\s:]{1,40}:(text|join|part|connect|disconnect|start|exit|load|unload|input|nick|notice|action|op|kick|` +
	`invite|quit|dns|dialog|sockopen|sockread|sockclose|socklisten|filercvd|filesent|connectfail|raw|mode|topic|chat|open|ping|pong)\s*:|(ctcp|raw)\s+[^\s:]{1,40}:[^:]{0,60}:)`)

// mircServer is an entry of a list of servers, and mircHost a host that is called like one.
var (
	mircServer = regexp.MustCompile(`(?i)^n\d+\s*=.{0,80}server:([a-z0-9.-]{1,80}):`)
	mircHost   = regexp.MustCompile(`(?i)\birc\d*\.[a-z0-9.-]{2,80}[: ]+(?:6[67]\d\d|7000|194|6697)\b`)
)

// mircLine counts what only a line tells.
func (t *text) mircLine(line string) {
	switch line[0] | 0x20 { // all that is looked for begins so
	case 'n', 'o', 'c', 'r':
		if m := mircEvents.FindStringSubmatch(line); m != nil {
			event := strings.ToLower(m[1] + m[2])
			before := len(t.lines[mirc])
			t.did(mirc, "acts on the event "+event)
			t.counts[inMIRC] += len(t.lines[mirc]) - before // each kind of event is a word of the language
		}
		if mircServer.MatchString(line) {
			t.irc++
			t.counts[inMIRC]++
			return
		}
	}
	if !t.sawIRC || t.ircSearched >= maxSearched || !strings.Contains(line, ".") {
		return
	}
	t.ircSearched++
	if mircHost.MatchString(line) {
		t.irc++
		t.counts[inMIRC]++
	}
}

// place is a URL, or a server of Windows.
var place = regexp.MustCompile(`(?i)\b(?:https?|ftps?|file)://[^\s"'<>|)]{4,200}|\\\\[a-z0-9][a-z0-9.-]{2,80}(?:@[a-z0-9]+)?\\[^\s"'<>|)]{1,100}`)

// namespaces are in URLs that are names, not places.
var namespaces = []string{"schemas.microsoft.com", "www.w3.org", "schemas.openxmlformats.org"}

func (t *text) findPlaces(line string) {
	if len(t.places) >= maxEvidence || !strings.Contains(line, "://") && !strings.Contains(line, `\\`) {
		return
	}
	if t.searched++; t.searched > maxSearched {
		return
	}
	for _, p := range place.FindAllString(line, maxEvidence) {
		isName := slices.ContainsFunc(namespaces, func(n string) bool { return strings.Contains(p, n) })
		if p = short(p); !isName && len(t.places) < maxEvidence && !slices.Contains(t.places, p) {
			t.places = append(t.places, p)
		}
	}
}
