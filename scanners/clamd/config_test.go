package clamd

import (
	"strings"
	"testing"
)

func TestNamesTheSettingThatIsWrong(t *testing.T) {
	for _, tt := range []struct {
		name string
		cfg  Config
		want string // in the error; empty: no error
	}{
		{"zero", Config{}, ""},
		{"all set", Config{Addresses: []string{"unix:/run/x", "tcp:[::1]:3310"}, Raw: "always", StreamMax: 1, Timeout: 1, Concurrency: 1}, ""},
		{"bare path", Config{Addresses: []string{"/run/x"}}, "addresses: \"/run/x\""},
		{"relative path", Config{Addresses: []string{"unix:run/x"}}, "whole path"},
		{"no port", Config{Addresses: []string{"tcp:localhost"}}, "host and a port"},
		{"no host", Config{Addresses: []string{"tcp::3310"}}, "host and a port"},
		{"empty address", Config{Addresses: []string{""}}, "addresses"},
		{"other network", Config{Addresses: []string{"udp:localhost:1"}}, "unix:/path or tcp:host:port"},
		{"too many", Config{Addresses: make([]string, maxAddresses+1)}, "more than 16"},
		{"raw", Config{Raw: "never"}, "raw: \"never\""},
		{"twice", Config{Addresses: []string{"unix:/run/x", "unix:/run/x"}}, "is there twice"},
		{"relative directory", Config{AllMatchDir: "scans"}, "all_match_dir"},
		{"age", Config{MaxDatabaseAge: -1}, "max_database_age"},
		{"size", Config{StreamMax: -1}, "stream_max"},
		{"time", Config{Timeout: -1}, "timeout"},
		{"scans", Config{Concurrency: -1}, "concurrency"},
	} {
		_, err := New(tt.cfg, nil)
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: got %v, want an error with %q", tt.name, err, tt.want)
		}
	}
}

func TestUsualAddressesAreValid(t *testing.T) {
	if err := (Config{Addresses: usualAddresses()}).Validate(); err != nil {
		t.Error(err)
	}
}
