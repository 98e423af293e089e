package script

import (
	"strings"
)

// handed are the settings of a connection by Remote Desktop that give the other side something, and what.
var handed = []struct{ key, what string }{
	{"drivestoredirect:s:", "hands over the disks"},
	{"redirectclipboard:i:1", "hands over the clipboard"},
	{"redirectsmartcards:i:1", "hands over smart cards"},
	{"redirectwebauthn:i:1", "hands over security keys"},
	{"redirectprinters:i:1", "hands over printers"},
	{"remoteapplicationprogram:s:", "shows the program"},
	{"alternate shell:s:", "starts there"},
	{"signature:s:", "is signed"},
}

// connection takes a line of a file for Remote Desktop, of a query of Excel, or of a reference to an
// application (.appref-ms).
func (t *text) connection(line string) {
	if !strings.Contains(line, ":") && line[0] != '\\' {
		return
	}
	if rest := line[strings.IndexByte(line, ':')+1:]; !strings.HasPrefix(rest, "s:") && !strings.HasPrefix(rest, "i:") && !strings.HasPrefix(rest, "//") && line[0] != '\\' {
		return // and most lines are none of this
	}
	low := strings.ToLower(line)
	if host, ok := strings.CutPrefix(low, "full address:s:"); ok && host != "" {
		t.did(remoteDesktop, "connects to "+short(host))
		return
	}
	for _, h := range handed {
		if rest, ok := strings.CutPrefix(low, h.key); ok {
			if strings.HasSuffix(h.key, ":s:") {
				if rest = strings.TrimSpace(rest); rest == "" {
					return
				}
				if h.what != "is signed" {
					t.did(remoteDesktop, h.what+" "+short(rest))
					return
				}
			}
			t.did(remoteDesktop, h.what)
			return
		}
	}
	if isURL(low) {
		if strings.Contains(strings.ToUpper(string(t.head[:min(len(t.head), 8)])), "WEB") {
			t.did(webQuery, "asks "+short(line))
		}
		if strings.Contains(low, ".application") {
			t.did(shortcut, "starts the application "+short(line))
		}
	}
}

func isURL(low string) bool {
	return strings.HasPrefix(low, "http://") || strings.HasPrefix(low, "https://") || strings.HasPrefix(low, "ftp://") || strings.HasPrefix(low, `\\`) || strings.HasPrefix(low, "file:")
}
