// Package browser has the tests of HTML in a real Chromium: what is hostile runs nothing and
// loads nothing active after it went through the program, and what is innocent looks the same.
// They run with RASTEL_E2E=1, as contrib/test does; otherwise they skip, because they need
// Debian's package chromium.
//
// The browser has a profile of its own, which goes with it, and no way to the network: no name
// is resolved but that of the loopback interface, and every request of a page is answered here.
package browser
