package network

import (
	"net/netip"
	"strings"
	"testing"

	"rastel/sanitize/eml"
)

// message is one with these header fields, from a client.
func message(t testing.TB, client, header string) *eml.Message {
	t.Helper()
	s := eml.NewSpool(eml.SpoolOptions{})
	raw := strings.ReplaceAll(strings.TrimLeft(header, "\n"), "\n", "\r\n") + "From: a@example.org\r\n\r\nx\r\n"
	if _, err := s.Write([]byte(raw)); err != nil {
		t.Fatal(err)
	}
	s.CloseWrite(nil)
	var a netip.Addr
	if client != "" {
		a = netip.MustParseAddr(client)
	}
	env := &eml.Envelope{Client: a, Helo: "mx.sender.example", Sender: "a@Sender.example", Recipients: []string{"b@example.net"}}
	m, _, err := eml.Parse(t.Context(), env, s, eml.Limits{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close(); s.Close() })
	return m
}

// What mail servers write, and what clients have them write.
func TestReceivedFields(t *testing.T) {
	for v, want := range map[string]string{
		// Postfix
		"from helo.example (name.example [203.0.113.9])\n\tby mx.example (Postfix) with ESMTP id 4X\n\tfor <b@example.net>; Mon, 1 Jan 2024 00:00:00 +0000 (UTC)":                                                      "203.0.113.9",
		"from helo (unknown [IPv6:2001:db8::9]) by mx (Postfix) with ESMTPS id 4X; x":                                                                                                                                  "2001:db8::9",
		"from h (n [203.0.113.9])\n\t(using TLSv1.3 with cipher X (256/256 bits)\n\t key-exchange X25519)\n\t(Client CN \"[198.51.100.1]\", Issuer \"(none)\" (not verified))\n\tby mx (Postfix) with ESMTPS id 4X; x": "203.0.113.9",
		"from [198.51.100.1] (n [203.0.113.9]) by mx (Postfix); x":                                                                                                                                                     "203.0.113.9",
		"from h (n [203.0.113.9]) (Authenticated sender: by by [198.51.100.1]) by mx (Postfix); x":                                                                                                                     "203.0.113.9",
		"by mx (Postfix, from userid 0) id 4X; x": "",
		// Sendmail
		"from h (n.example [203.0.113.9] (may be forged)) by mx (8.17.1/8.17.1) with ESMTP id 3A; x":             "203.0.113.9",
		"from h (IDENT:root@n.example [203.0.113.9]) by mx (8.9.3/8.9.3) with SMTP id X; x":                      "203.0.113.9",
		"from [198.51.100.1] ([203.0.113.9])\r\n\t(authenticated bits=0) by mx (8.17.1) with ESMTP id 3A; x":     "203.0.113.9",
		"from h (n [IPv6:2001:db8:0:0:0:0:0:9]) by mx (8.17.1) with ESMTPS id 3A (version=TLSv1.3 verify=NO); x": "2001:db8::9",
		"(from root@localhost) by mx (8.17.1/8.17.1/Submit) id 3A; x":                                            "",
		// qmail
		"from unknown (HELO h.example) (203.0.113.9)\n  by mx with SMTP; 1 Jan 2024 00:00:00 -0000": "203.0.113.9",
		"from n.example (HELO [198.51.100.1]) (user@203.0.113.9) by mx with SMTP; x":                "203.0.113.9",
		"from n.example (203.0.113.9) by mx with SMTP; x":                                           "203.0.113.9",
		"from n.example (HELO 198.51.100.1) (x@198.51.100.1@203.0.113.9) by mx with SMTP; x":        "203.0.113.9",
		"from n.example (EHLO h.example) (203.0.113.9) by mx (qpsmtpd/0.96) with ESMTP; x":          "203.0.113.9",
		"from network by mx with SMTP; x":                                                           "",
		// Exim
		"from n.example ([203.0.113.9] helo=[198.51.100.1])\n\tby mx with esmtp (Exim 4.96) id 1X; x":      "203.0.113.9",
		"from n.example ([203.0.113.9]:4567 helo=h)\n\tby mx with esmtp (Exim 4.96) id 1X; x":              "203.0.113.9",
		"from [203.0.113.9] (helo=[198.51.100.1]) by mx with esmtp (Exim 4.96) id 1X; x":                   "203.0.113.9",
		"from [203.0.113.9] (port=4567 helo=h ident=[198.51.100.1]) by mx with esmtp (Exim 4.96) id 1X; x": "203.0.113.9",
		"from n.example ([203.0.113.9] ident=[198.51.100.1]) by mx with esmtp (Exim 4.96) id 1X; x":        "203.0.113.9",
		// Exchange
		"from H.example (203.0.113.9) by MX.example (198.51.100.1) with Microsoft SMTP Server (version=TLS1_2) id 15.1; x": "203.0.113.9",
		// no known form
		"from [198.51.100.1] by mx; x":           "",
		"from h (n [203.0.113.9]":                "",
		"from h n [203.0.113.9]) by mx":          "",
		"from h (n [203.0.113.999]) by mx; x":    "",
		"from h (n [203.0.113.9]) standby mx; x": "",
		"from h ((n)) by mx":                     "",
		"from h () by mx":                        "",
		"from":                                   "",
		"":                                       "",
	} {
		got := ""
		if a := receivedFrom(strings.ReplaceAll(v, "\n", "\r\n")); a.IsValid() {
			got = a.String()
		}
		if got != want {
			t.Errorf("%q: %s, want %s", v, got, want)
		}
	}
}

const forged = "Received: from h (n [198.51.100.66]) by mx; x\n"

func TestHostBehindRelays(t *testing.T) {
	relays, err := ParseRelays([]string{"192.0.2.0/24", "2001:db8:1::/48", "10.1.2.3"})
	if err != nil {
		t.Fatal(err)
	}
	long := "Received: from h (n [203.0.113.9]) by mx (" + strings.Repeat("x", maxTrace) + ")\n"
	for name, c := range map[string]struct{ client, header, want string }{
		"not a relay":           {"203.0.113.9", forged, "203.0.113.9"},
		"relay":                 {"192.0.2.1", "Received: from h (n [203.0.113.9]) by relay; x\n" + forged, "203.0.113.9"},
		"relay, IPv6":           {"2001:db8:1::5", "Received: from h (n [IPv6:2001:db8:2::9]) by relay; x\n" + forged, "2001:db8:2::9"},
		"two relays":            {"192.0.2.1", "Received: from r2 (r2 [10.1.2.3]) by r1; x\nSubject: x\nReceived: from h (n [203.0.113.9]) by r2; x\n" + forged, "203.0.113.9"},
		"filter on the relay":   {"192.0.2.1", "Received: from localhost (localhost [127.0.0.1]) by r1 (Postfix); x\nReceived: from h (n [203.0.113.9]) by r1; x\n" + forged, "203.0.113.9"},
		"qmail as a relay":      {"192.0.2.1", "Received: (qmail 12 invoked from network); 1 Jan 2024 00:00:00 -0000\nReceived: from unknown (HELO h) (203.0.113.9)\n  by r1 with SMTP; x\n" + forged, "203.0.113.9"},
		"user of a relay":       {"192.0.2.1", "Received: by r1 (Postfix, from userid 33) id 4X; x\n" + forged, "192.0.2.1"},
		"user of a qmail relay": {"192.0.2.1", "Received: (qmail 12 invoked by uid 33); x\n" + forged, "192.0.2.1"},
		"no field":              {"192.0.2.1", "", "192.0.2.1"},
		"only relays":           {"192.0.2.1", "Received: from r2 (r2 [10.1.2.3]) by r1; x\n", "10.1.2.3"},
		"malformed":             {"192.0.2.1", "Received: from h ( [203.0.113.9] by r1; x\n" + forged, "192.0.2.1"},
		"too long":              {"192.0.2.1", long + forged, "192.0.2.1"},
		"too many":              {"192.0.2.1", strings.Repeat("Received: from r2 (r2 [10.1.2.3]) by r1; x\n", maxHops) + forged, "10.1.2.3"},
		"mapped":                {"192.0.2.1", "Received: from h (n [IPv6:::ffff:203.0.113.9]) by r1; x\n", "203.0.113.9"},
		"no address":            {"", forged, "invalid IP"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := relays.Host(message(t, c.client, c.header)).String(); got != c.want {
				t.Errorf("host %s, want %s", got, c.want)
			}
		})
	}
}

func TestNoRelayIsTrustedByDefault(t *testing.T) {
	if got := Relays(nil).Host(message(t, "127.0.0.1", forged)); got.String() != "127.0.0.1" {
		t.Errorf("host %s, want that of the client", got)
	}
}

func TestRelaysThatCannotBeMeant(t *testing.T) {
	for _, text := range []string{"0.0.0.0/0", "::/0", "192.0.2.1/33", "mx.example.org", ""} {
		if _, err := ParseRelays([]string{text}); err == nil {
			t.Errorf("%q is trusted", text)
		}
	}
}

// Whatever a field holds, the address that is read stands in it, and never behind "by".
func FuzzReceived(f *testing.F) {
	for _, v := range []string{"from h (n [203.0.113.9]) by mx; x", "from n (HELO h) (u@203.0.113.9) by mx; x", "from [203.0.113.9] (helo=h) by mx; x", "from n ([IPv6:2001:db8::9] helo=h) by mx"} {
		f.Add(v)
	}
	f.Fuzz(func(t *testing.T, v string) {
		if a := receivedFrom(v); a.IsValid() && receivedFrom("from x (y) by z; "+v).IsValid() {
			t.Errorf("%q: an address behind by", v)
		}
	})
}
