package eml

import "net/netip"

// An Envelope is what the SMTP dialogue said about a message (RFC 5321), as opposed to
// what the message says about itself. It is complete, and does not change, once a message
// is being judged.
type Envelope struct {
	QueueID    string     // the MTA's queue id; empty if the MTA has not told it
	Session    string     // our own id of the SMTP session, for the log
	Client     netip.Addr // the peer of the SMTP session; the zero Addr if it has no IP address
	ClientName string     // its name as the MTA verified it, or "[1.2.3.4]"
	Helo       string     // the argument of HELO or EHLO
	TLS        string     // the protocol version such as "TLSv1.3"; empty without TLS
	AuthUser   string     // the authenticated user; empty without authentication

	Listener     string // the name of the MTA's listener that the client has connected to; empty if the MTA has not told it
	ListenerAddr string // and its IP address, likewise

	Sender     string   // MAIL FROM without angle brackets; empty is the null sender
	SenderArgs []string // its ESMTP arguments, such as "SIZE=1000" or "SMTPUTF8"
	Recipients []string // RCPT TO without angle brackets, those that the MTA accepted, in order
}
