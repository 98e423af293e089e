package eml

// A Stage is a moment of an SMTP session at which something can be decided. The zero value is the
// last one, when most is known.
type Stage uint8

const (
	AtData    Stage = iota // the message is complete
	AtConnect              // the client has connected
	AtMail                 // MAIL came: HELO, TLS, the authenticated user and the sender are known
	AtRcpt                 // RCPT came: one recipient is known too
)

var stageNames = [...]string{"data", "connect", "mail", "rcpt"}

// String is the word that policies and logs use.
func (s Stage) String() string {
	if int(s) < len(stageNames) {
		return stageNames[s]
	}
	return stageNames[AtData]
}

// KnownAt reports whether what is known from this stage on is known at the other one.
func (s Stage) KnownAt(other Stage) bool { return s-1 <= other-1 } // AtData becomes the greatest
