package milter

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/emersion/go-milter"
)

// Commands of the MTA (SMFIC_*).
const (
	codeAbort   = byte(milter.CodeAbort)
	codeBody    = byte(milter.CodeBody)
	codeConnect = byte(milter.CodeConn)
	codeMacro   = byte(milter.CodeMacro)
	codeEOM     = byte(milter.CodeEOB)
	codeHelo    = byte(milter.CodeHelo)
	codeHeader  = byte(milter.CodeHeader)
	codeMail    = byte(milter.CodeMail)
	codeEOH     = byte(milter.CodeEOH)
	codeOptNeg  = byte(milter.CodeOptNeg)
	codeQuit    = byte(milter.CodeQuit)
	codeRcpt    = byte(milter.CodeRcpt)
	codeData    = byte(milter.CodeData)
	codeQuitNC  = byte(milter.CodeQuitNewConn)
	codeUnknown = byte('U') // SMFIC_UNKNOWN
)

// actProgress is SMFIR_PROGRESS.
const actProgress = milter.ActionCode('p')

const (
	// needActions are what any verdict may require. Without them a session is refused: a filter
	// that cannot take out what it found must not look as if it could. What few policies use is
	// wanted only: a message that needs it and cannot have it is refused for now.
	needActions = milter.OptAddHeader | milter.OptChangeHeader | milter.OptChangeBody
	wantActions = needActions | milter.OptAddRcpt | milter.OptRemoveRcpt | milter.OptQuarantine

	// wantProtocol is agreed as far as the MTA offers it: no waiting for answers to what is
	// only collected, and header fields exactly as they stand.
	wantProtocol = milter.OptNoHeaderReply | milter.OptNoBodyReply | milter.OptHeaderLeadingSpace
)

// abortFrame is what the library is given before a new envelope when the MTA, such as
// Sendmail, has not told it that the last message is over.
var abortFrame = []byte{0, 0, 0, 1, codeAbort}

// commandName is the command for the log.
func commandName(code byte) string {
	return fmt.Sprintf("command %q", code)
}

// intercept looks at a frame before the library does, takes from it what the library would
// lose, and tells whether the library gets it. An error ends the session.
func (c *conn) intercept(code byte, data []byte) (forward bool, err error) {
	if !c.greeted && code != codeOptNeg {
		return false, errNoTurn
	}
	switch s := c.session; code {
	case codeOptNeg:
		return true, c.negotiate(data)
	case codeMacro:
		s.macros.set(data)
		return false, nil
	case codeConnect:
		return true, s.connected(data)
	case codeMail:
		return true, c.beginMail(data)
	case codeRcpt, codeHelo:
		s.args, err = splitArgs(data)
		return true, err
	case codeHeader:
		return c.field(data)
	case codeAbort:
		c.dirty = false
		return true, nil
	case codeUnknown: // an SMTP command that the MTA does not know either
		return false, c.reply(milter.ActContinue)
	case codeQuitNC: // the next SMTP session comes on this connection
		s.reset()
		c.greeted = false
		return false, nil
	case codeEOM:
		return true, s.lastChunk(data)
	case codeBody, codeEOH, codeData, codeQuit:
		return true, nil
	}
	return false, errors.New("unknown command")
}

// negotiate reads the offer of the MTA, so that the answer can be made to fit it.
func (c *conn) negotiate(data []byte) error {
	if c.greeted {
		return errNoTurn
	}
	o, err := parseOffer(data)
	if err != nil {
		return err
	}
	c.offer, c.greeted, c.answering = o, true, true
	return nil
}

// beginMail takes the sender, and makes the library forget the message before.
func (c *conn) beginMail(data []byte) (err error) {
	if !c.setBusy(true) {
		return errDraining
	}
	c.session.macros.newMessage()
	if c.session.args, err = splitArgs(data); err != nil {
		return err
	}
	if c.dirty {
		c.dirty = false
		c.held, c.cur = c.cur, abortFrame
	}
	return nil
}

// field checks the frame of a header field. The library skips those that it does not
// understand, and then we would judge another message than is delivered; so a bad one spoils
// its message.
func (c *conn) field(data []byte) (forward bool, err error) {
	name, rest, ok := bytes.Cut(data, []byte{0})
	if ok && len(name) > 0 && bytes.IndexByte(rest, 0) == len(rest)-1 && len(rest) > 0 {
		c.dirty = true
		return true, nil
	}
	if err := c.session.badField(); err != nil {
		return false, err
	}
	if !c.agreed(milter.OptNoHeaderReply) {
		return false, c.reply(milter.ActContinue)
	}
	return false, nil
}

// agreed tells whether the MTA offered what we want.
func (c *conn) agreed(bit milter.OptProtocol) bool {
	return c.offer.protocol&wantProtocol&bit != 0
}

// may tells whether the MTA does that for us.
func (c *conn) may(action milter.OptAction) bool { return c.offer.actions&wantActions&action != 0 }

// An offer is what an MTA can do (SMFIC_OPTNEG).
type offer struct {
	version  uint32
	actions  milter.OptAction
	protocol milter.OptProtocol
}

func parseOffer(data []byte) (offer, error) {
	if len(data) < 12 {
		return offer{}, fmt.Errorf("offer of %d bytes, less than 12", len(data))
	}
	o := offer{
		version:  binary.BigEndian.Uint32(data),
		actions:  milter.OptAction(binary.BigEndian.Uint32(data[4:])),
		protocol: milter.OptProtocol(binary.BigEndian.Uint32(data[8:])),
	}
	if missing := needActions &^ o.actions; missing != 0 {
		return offer{}, fmt.Errorf("the MTA does not offer actions %#x, which are required", uint32(missing))
	}
	return o, nil
}

// answer makes the library's answer fit the offer: it sends what it would like, whatever the
// MTA can do.
func (o offer) answer(frame []byte) {
	if len(frame) < 17 {
		return
	}
	order := binary.BigEndian
	version, actions, protocol := frame[5:9], frame[9:13], frame[13:17]
	order.PutUint32(version, min(order.Uint32(version), o.version))
	order.PutUint32(actions, order.Uint32(actions)&uint32(o.actions))
	order.PutUint32(protocol, order.Uint32(protocol)&uint32(o.protocol))
}

// splitArgs takes apart strings that each end in NUL.
func splitArgs(data []byte) ([]string, error) {
	if len(data) == 0 || data[len(data)-1] != 0 {
		return nil, errors.New("argument without its final NUL")
	}
	return strings.Split(string(data[:len(data)-1]), "\x00"), nil
}

// parseConnect reads the host name and the address of an SMTP client. A client without an IP
// address, or with one that nobody can read, has the zero Addr.
func parseConnect(data []byte) (name string, addr netip.Addr, err error) {
	host, rest, ok := bytes.Cut(data, []byte{0})
	if !ok || len(rest) == 0 {
		return "", addr, errors.New("no host name and address family")
	}
	family, rest := rest[0], rest[1:]
	if family != '4' && family != '6' {
		return string(host), addr, nil
	}
	if len(rest) < 2 {
		return "", addr, errors.New("no port")
	}
	text, _, _ := strings.Cut(string(rest[2:]), "\x00")
	return string(host), parseClient(text), nil
}

// parseClient reads an address as Postfix ("2001:db8::1") or Sendmail ("IPv6:2001:db8:0:...")
// writes it. An IPv4-mapped address is the IPv4 address.
func parseClient(text string) netip.Addr {
	const prefix = "IPv6:"
	if len(text) > len(prefix) && strings.EqualFold(text[:len(prefix)], prefix) {
		text = text[len(prefix):]
	}
	a, err := netip.ParseAddr(text)
	if err != nil {
		return netip.Addr{}
	}
	return a.Unmap().WithZone("")
}
