package icap

import (
	"strings"
	"testing"
)

func TestNamesTheSettingThatIsWrong(t *testing.T) {
	const url = "icap://av.example:1344/scan"
	for _, tt := range []struct {
		name string
		cfg  Config
		want string // in the error; empty: no error
	}{
		{"least", Config{URL: url}, ""},
		{"all set", Config{Name: "av-1", URL: "icap://[::1]/a/b?c=d", SizeMax: 1, Timeout: 1, Concurrency: 1, TrustPreview: true}, ""},
		{"TLS", Config{URL: "icaps://av.example/scan"}, ""},
		{"no URL", Config{}, "url"},
		{"no service", Config{URL: "icap://av.example/"}, "a host and a service"},
		{"no host", Config{URL: "icap:///scan"}, "a host and a service"},
		{"another scheme", Config{URL: "http://av.example/scan"}, "icap://host/service"},
		{"a user", Config{URL: "icap://u:p@av.example/scan"}, "user"},
		{"another field", Config{URL: "icap://av.example/scan?\r\nX: y"}, "url"},
		{"not ASCII", Config{URL: "icap://av.example/scan?ä"}, "ASCII"},
		{"name", Config{URL: url, Name: "a b"}, "name"},
		{"size", Config{URL: url, SizeMax: -1}, "size_max"},
		{"time", Config{URL: url, Timeout: -1}, "timeout"},
		{"scans", Config{URL: url, Concurrency: -1}, "concurrency"},
		{"many scans", Config{URL: url, Concurrency: maxConcurrency + 1}, "concurrency"},
		{"no certificates", Config{URL: "icaps://av.example/scan", CAFile: "/nowhere/at/all"}, "ca_file"},
		{"no certificate", Config{URL: "icaps://av.example/scan", CAFile: "config_test.go"}, "ca_file"},
	} {
		_, err := New(tt.cfg)
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: got %v, want an error with %q", tt.name, err, tt.want)
		}
	}
	for _, list := range [][]Config{{{URL: url}, {}}, make([]Config, maxServices+1)} {
		if err := ValidateAll(list); err == nil {
			t.Errorf("%+v: no error", list)
		}
	}
	if err := ValidateAll([]Config{{URL: url}, {URL: url, Name: "other"}}); err != nil {
		t.Error(err)
	}
}

func TestFindsTheHost(t *testing.T) {
	for url, want := range map[string]target{
		"icap://av.example/scan":      {uri: "icap://av.example/scan", host: "av.example", addr: "av.example:1344", name: "av.example"},
		"icaps://av.example/scan?a=b": {uri: "icap://av.example/scan?a=b", host: "av.example", addr: "av.example:11344", name: "av.example", tls: true},
		"icap://[::1]:77/s":           {uri: "icap://[::1]:77/s", host: "[::1]:77", addr: "[::1]:77", name: "::1"},
	} {
		if got, err := parseURL(url); got != want || err != nil {
			t.Errorf("%s: got %+v, %v, want %+v", url, got, err, want)
		}
	}
}
