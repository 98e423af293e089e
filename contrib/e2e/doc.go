// Package e2e has the tests of the whole: real mail through a real Postfix or Sendmail, the
// program as it is installed, and a real clamd. They run with RASTEL_E2E=1, as contrib/test
// does; otherwise they skip, because they need root and the servers.
package e2e
