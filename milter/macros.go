package milter

import (
	"bytes"
	"strings"
)

// macroStages are the commands that macros come before, in the order of an SMTP session.
const macroStages = "CHMRTLNBE"

// stageMail is the place of MAIL, with which a message begins.
const stageMail = 2

// The macros that we use, by their place in macroNames.
const (
	macroQueueID = iota
	macroTLS
	macroAuth
	macroDaemonName
	macroDaemonAddr // of Postfix, the address that the client has connected to; of Sendmail, what the listener was told to listen on
	macroIfAddr     // of Sendmail only: the address that the client has connected to, unless it is one of the loopback net
	macroVersion    // of Postfix: "Postfix 3.7.11"
	macroCount
)

var macroNames = [macroCount]string{"i", "tls_version", "auth_authen", "daemon_name", "daemon_addr", "if_addr", "v"}

// maxMacro is the longest value that is believed; a longer one is taken for unknown.
const maxMacro = 1 << 10

// macros are what the MTA told of a session and its present message, by stage: Postfix tells
// the queue id with the header, Sendmail with MAIL and never again.
type macros struct {
	value [len(macroStages)][macroCount]string
	fresh bool // those of MAIL came since the last MAIL
}

// set takes the data of a macro frame: the command that they are for, then names and values,
// each with a final NUL. They replace those of that stage.
func (m *macros) set(data []byte) {
	if len(data) == 0 {
		return
	}
	stage := strings.IndexByte(macroStages, data[0])
	if stage < 0 {
		return
	}
	m.value[stage] = [macroCount]string{}
	m.fresh = m.fresh || stage == stageMail
	for rest := data[1:]; ; {
		name, after, ok := bytes.Cut(rest, []byte{0})
		if !ok {
			return
		}
		value, after, ok := bytes.Cut(after, []byte{0})
		if !ok {
			return
		}
		if i := macroIndex(name); i >= 0 && len(value) <= maxMacro {
			m.value[stage][i] = string(value)
		}
		rest = after
	}
}

// macroIndex finds a name, which is given with or without braces.
func macroIndex(name []byte) int {
	name = bytes.TrimSuffix(bytes.TrimPrefix(name, []byte("{")), []byte("}"))
	for i, want := range macroNames {
		if string(name) == want {
			return i
		}
	}
	return -1
}

// newMessage forgets the macros of the message before. Those of MAIL come before MAIL itself,
// so they may be new.
func (m *macros) newMessage() {
	clear(m.value[stageMail+1:])
	if !m.fresh {
		m.value[stageMail] = [macroCount]string{}
	}
	m.fresh = false
}

// get gives what the MTA said last.
func (m *macros) get(macro int) string {
	for stage := len(m.value) - 1; stage >= 0; stage-- {
		if v := m.value[stage][macro]; v != "" {
			return v
		}
	}
	return ""
}
