package api_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/emersion/go-smtp"

	"rastel/cmd/rastel/api"
	"rastel/policy"
	"rastel/policy/exceptions"
	"rastel/policy/hosts"
	"rastel/policy/quarantine"
	"rastel/policy/quarantine/blob"
	"rastel/policy/quarantine/sqlindex"
	"rastel/sanitize/eml"
)

// A rig is a store behind its API on a unix socket.
type rig struct {
	*api.Client
	store  *quarantine.Store
	cfg    quarantine.Config
	socket string
	hosts  *hosts.Table

	exceptions *exceptions.Book
}

func newRig(t *testing.T, smtpAddr string) *rig {
	t.Helper()
	dir := t.TempDir()
	r := &rig{cfg: quarantine.Config{Dir: dir, Release: quarantine.ReleaseConfig{SMTP: smtpAddr}}, socket: filepath.Join(dir, "s")}
	index, err := sqlindex.Open(r.cfg.IndexFile())
	if err != nil {
		t.Fatal(err)
	}
	blobs, err := blob.Open(r.cfg.BlobDir(), blob.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if r.store, err = quarantine.New(quarantine.Options{Config: r.cfg, Index: index, Blobs: blobs}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.store.Close() })
	l, err := api.ListenUnix(r.socket)
	if err != nil {
		t.Fatal(err)
	}
	r.hosts = hosts.New(nil)
	if r.exceptions, err = exceptions.Open(t.Context(), index, nil); err != nil {
		t.Fatal(err)
	}
	srv := api.NewServer(api.New(api.Options{Store: r.store, Hosts: r.hosts, Exceptions: r.exceptions, Policy: policy.Default}), nil)
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(l) }()
	t.Cleanup(func() { srv.Close(); <-done })
	r.Client = api.NewClient(r.socket)
	return r
}

const message = "Subject: hello\r\n\r\nbody\r\n"

func (r *rig) hold(t *testing.T, raw string, change func(*quarantine.Item)) *quarantine.Item {
	t.Helper()
	it := quarantine.NewItem(&eml.Envelope{Sender: "a@example.org", Recipients: []string{"b@example.net"}})
	if change != nil {
		change(it)
	}
	if err := r.store.Hold(t.Context(), it, strings.NewReader(raw)); err != nil {
		t.Fatal(err)
	}
	return it
}

// do sends a request as it is and returns the status and the body.
func (r *rig) do(t *testing.T, method, path, body string) (*http.Response, string) {
	t.Helper()
	c := http.Client{
		Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", r.socket)
		}},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	req, err := http.NewRequestWithContext(t.Context(), method, "http://x"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(b)
}

func TestClientSeesHostsThatStickOut(t *testing.T) {
	r := newRig(t, "")
	for i := range 3 {
		r.hosts.Count(netip.AddrFrom4([4]byte{192, 0, 2, byte(i / 2)}), "ann", true, i == 0)
	}
	for _, c := range []struct {
		by   hosts.By
		want string
	}{{hosts.ByClient, "192.0.2.0 2 2 1"}, {hosts.ByUser, "ann 3 3 1"}} {
		got, err := r.Hosts(t.Context(), c.by, hosts.WithinDay, 1)
		if err != nil || len(got.Hosts) != 1 || got.Since.IsZero() {
			t.Fatalf("Hosts = %+v, %v; want one", got, err)
		}
		e := got.Hosts[0]
		if s := fmt.Sprint(e.Name, e.Day.Messages, e.Day.Infected, e.Day.Refused); strings.ReplaceAll(s, " ", "") != strings.ReplaceAll(c.want, " ", "") {
			t.Errorf("by %s: got %s, want %s", c.by, s, c.want)
		}
	}
}

func TestClientSeesWhatIsHeld(t *testing.T) {
	r := newRig(t, "")
	it := r.hold(t, message, func(it *quarantine.Item) {
		it.Subject, it.Rule = "<script>\x1b[31m\xff", "malware"
		it.Findings = []quarantine.Finding{{Check: "a/b", Part: "1", Detail: "x"}}
	})
	got, err := r.Get(t.Context(), it.ID)
	if err != nil || got.ID != it.ID || got.Subject != "<script>\x1b[31m\ufffd" || got.Rule != "malware" || !slices.Equal(got.Findings, it.Findings) || !got.Created.Equal(it.Created) {
		t.Errorf("Get = %+v, %v; want %+v", got, err, it)
	}
	raw, err := r.Raw(t.Context(), it.ID)
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	if b, err := io.ReadAll(raw); err != nil || string(b) != message {
		t.Errorf("Raw = %q, %v; want %q", b, err, message)
	}
}

func TestListPassesTheFilterOn(t *testing.T) {
	r := newRig(t, "")
	a := r.hold(t, message, nil)
	b := r.hold(t, message, func(it *quarantine.Item) {
		it.Sender, it.Subject, it.Class = "eve@evil.example", "50% & more", "spam & more"
	})
	if err := r.Delete(t.Context(), b.ID); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		f    quarantine.Filter
		want []string
	}{
		{"all", quarantine.Filter{}, []string{b.ID, a.ID}},
		{"state", quarantine.Filter{State: quarantine.Deleted}, []string{b.ID}},
		{"class", quarantine.Filter{Class: "spam & more"}, []string{b.ID}},
		{"class of none", quarantine.Filter{Class: "spam"}, nil},
		{"sender", quarantine.Filter{Sender: "@evil.example"}, []string{b.ID}},
		{"recipient", quarantine.Filter{Recipient: "nobody@example.net"}, nil},
		{"text", quarantine.Filter{Text: "50% & m"}, []string{b.ID}},
		{"since", quarantine.Filter{Since: time.Now().Add(time.Hour)}, nil},
		{"cursor", quarantine.Filter{Cursor: b.ID}, []string{a.ID}},
		{"limit", quarantine.Filter{Limit: 1}, []string{b.ID}},
	}
	for _, tt := range tests {
		items, err := r.List(t.Context(), tt.f)
		var got []string
		for _, it := range items {
			got = append(got, it.ID)
		}
		if err != nil || !slices.Equal(got, tt.want) {
			t.Errorf("%s: List(%+v) = %v, %v; want %v", tt.name, tt.f, got, err, tt.want)
		}
	}
}

func TestListGivesPages(t *testing.T) {
	r := newRig(t, "")
	var want []string
	for n := range 5 {
		want = append(want, r.hold(t, fmt.Sprintf("N: %d\r\n\r\n", n), nil).ID)
	}
	slices.Sort(want) // ids of one millisecond are in no order of time
	slices.Reverse(want)
	var got []string
	next := ""
	for range 3 {
		_, body := r.do(t, "GET", "/v1/quarantine?limit=2&cursor="+next, "")
		var page api.Page
		if err := json.Unmarshal([]byte(body), &page); err != nil {
			t.Fatalf("%q: %v", body, err)
		}
		for _, it := range page.Items {
			got = append(got, it.ID)
		}
		next = page.Next
	}
	if !slices.Equal(got, want) || next != "" {
		t.Errorf("pages = %v, then %q; want %v, then none", got, next, want)
	}
}

func TestListOfNoneIsAnEmptyArray(t *testing.T) {
	r := newRig(t, "")
	if _, body := r.do(t, "GET", "/v1/quarantine", ""); strings.TrimSpace(body) != `{"items":[]}` {
		t.Errorf("body = %q, want an empty array", body)
	}
}

func TestRefusesBadCalls(t *testing.T) {
	r := newRig(t, "127.0.0.1:1")
	held, gone := r.hold(t, message, nil), r.hold(t, message+"2", nil)
	if err := r.store.Delete(t.Context(), gone.ID, ""); err != nil {
		t.Fatal(err)
	}
	const none = "01BX5ZZKBKACTAV9WEVGEMMVRZ"
	day := time.Now().AddDate(0, 0, 1).Format(time.DateOnly)
	tests := []struct {
		method, path, body string
		status             int
		code               string
	}{
		{"GET", "/v1/quarantine?sate=held", "", 400, "bad_request"},
		{"GET", "/v1/quarantine?state=hold", "", 400, "bad_request"},
		{"GET", "/v1/quarantine?state=held&state=deleted", "", 400, "bad_request"},
		{"GET", "/v1/quarantine?limit=0", "", 400, "bad_request"},
		{"GET", "/v1/hosts?by=name", "", 400, "bad_request"},
		{"GET", "/v1/hosts?within=year", "", 400, "bad_request"},
		{"GET", "/v1/hosts?limit=0", "", 400, "bad_request"},
		{"GET", "/v1/hosts?user=ann", "", 400, "bad_request"},
		{"GET", "/v1/hosts?by=user&by=client", "", 400, "bad_request"},
		{"GET", "/v1/quarantine?limit=1001", "", 400, "bad_request"},
		{"GET", "/v1/quarantine?limit=x", "", 400, "bad_request"},
		{"GET", "/v1/quarantine?cursor=x", "", 400, "bad_request"},
		{"GET", "/v1/quarantine?since=yesterday", "", 400, "bad_request"},
		{"GET", "/v1/quarantine?q=%zz", "", 400, "bad_request"},
		{"GET", "/v1/quarantine?q=" + strings.Repeat("x", 2000), "", 400, "bad_request"},
		{"GET", "/v1/quarantine/x", "", 400, "bad_id"},
		{"GET", "/v1/quarantine/..%2f..%2fetc%2fpasswd", "", 400, "bad_id"},
		{"GET", "/v1/quarantine/%2e%2e%00", "", 400, "bad_id"},
		{"GET", "/v1/quarantine/" + held.ID + "'%20OR%201=1", "", 400, "bad_id"},
		{"GET", "/v1/quarantine/x/raw", "", 400, "bad_id"},
		{"GET", "/v1/quarantine/x/evidence", "", 400, "bad_id"},
		{"GET", "/v1/quarantine/" + none + "/evidence", "", 404, "not_found"},
		{"GET", "/v1/quarantine/" + held.ID + "/evidence", "", 404, "no_evidence"},
		{"GET", "/v1/exceptions/x", "", 400, "bad_id"},
		{"GET", "/v1/exceptions/" + none, "", 404, "not_found"},
		{"DELETE", "/v1/exceptions/" + none, "", 404, "not_found"},
		{"DELETE", "/v1/exceptions/..%2flog", "", 400, "bad_id"},
		{"PUT", "/v1/exceptions/" + none, `{"sender":"example.org","rule":"program","owner":"o","reason":"r","until":"` + day + `"}`, 404, "not_found"},
		{"PUT", "/v1/exceptions/x", `{}`, 400, "bad_id"},
		{"POST", "/v1/exceptions", "", 400, "bad_request"},
		{"POST", "/v1/exceptions", `{} {}`, 400, "bad_request"},
		{"POST", "/v1/exceptions", `{"id":"x"}`, 400, "bad_request"},
		{"POST", "/v1/exceptions", `{"hits":5}`, 400, "bad_request"},
		{"POST", "/v1/exceptions", `{}`, 400, "bad_exception"},
		{"POST", "/v1/exceptions", `{"sender":"example.org","rule":"nosuch","owner":"o","reason":"r","until":"` + day + `"}`, 400, "bad_exception"},
		{"POST", "/v1/exceptions", `{"sender":"example.org","check":"clamd/malware","owner":"o","reason":"r","until":"` + day + `"}`, 400, "bad_exception"},
		{"POST", "/v1/exceptions", `{"sender":"` + strings.Repeat("x", 2<<20) + `"}`, 413, "too_large"},
		{"GET", "/v1/exceptions/log?limit=0", "", 400, "bad_request"},
		{"GET", "/v1/exceptions/log?limit=1001", "", 400, "bad_request"},
		{"GET", "/v1/exceptions/log?id=x", "", 400, "bad_request"},
		{"GET", "/v1/exceptions/log?by=me", "", 400, "bad_request"},
		{"PATCH", "/v1/exceptions/" + none, "", 404, "no_such_call"},
		{"POST", "/v1/quarantine/x/release", "", 400, "bad_id"},
		{"DELETE", "/v1/quarantine/x", "", 400, "bad_id"},
		{"GET", "/v1/quarantine/" + none, "", 404, "not_found"},
		{"GET", "/v1/quarantine/" + none + "/raw", "", 404, "not_found"},
		{"POST", "/v1/quarantine/" + none + "/release", "", 404, "not_found"},
		{"DELETE", "/v1/quarantine/" + none, "", 404, "not_found"},
		{"GET", "/v1/quarantine/" + gone.ID + "/raw", "", 404, "not_found"},
		{"DELETE", "/v1/quarantine/" + gone.ID, "", 409, "state"},
		{"POST", "/v1/quarantine/" + gone.ID + "/release", "", 409, "state"},
		{"POST", "/v1/quarantine/" + held.ID + "/release", "{", 400, "bad_request"},
		{"POST", "/v1/quarantine/" + held.ID + "/release", `{} {}`, 400, "bad_request"},
		{"POST", "/v1/quarantine/" + held.ID + "/release", `{"recipient":["a"]}`, 400, "bad_request"},
		{"POST", "/v1/quarantine/" + held.ID + "/release", `{"recipients":[]}`, 400, "bad_recipient"},
		{"POST", "/v1/quarantine/" + held.ID + "/release", `{"recipients":["a>\r\nDATA"]}`, 400, "bad_recipient"},
		{"POST", "/v1/quarantine/" + held.ID + "/release", `{"by":"` + strings.Repeat("x", 2<<20) + `"}`, 413, "too_large"},
		{"POST", "/v1/quarantine/" + held.ID + "/release", "", 502, "not_sent"},
		{"GET", "/", "", 404, "no_such_call"},
		{"GET", "/v2", "", 404, "no_such_call"},
		{"PUT", "/v1/quarantine/" + held.ID, "", 404, "no_such_call"},
		{"GET", "/v1/quarantine/" + held.ID + "/release", "", 404, "no_such_call"},
	}
	for _, tt := range tests {
		resp, body := r.do(t, tt.method, tt.path, tt.body)
		var got struct{ Error api.Error }
		if err := json.Unmarshal([]byte(body), &got); err != nil {
			t.Errorf("%s %.100s: body %.200q: %v", tt.method, tt.path, body, err)
		}
		if resp.StatusCode != tt.status || got.Error.Code != tt.code || got.Error.Message == "" {
			t.Errorf("%s %.100s %.100s = %d %s; want %d %s", tt.method, tt.path, tt.body, resp.StatusCode, body, tt.status, tt.code)
		}
	}
	if it, err := r.Get(t.Context(), held.ID); err != nil || it.State != quarantine.Held {
		t.Errorf("Get = %+v, %v; want it still held", it, err)
	}
}

// taker is an SMTP server that takes everything.
type taker struct{ got atomic.Int32 }

func (k *taker) NewSession(*smtp.Conn) (smtp.Session, error) { return k, nil }
func (k *taker) Reset()                                      {}
func (k *taker) Logout() error                               { return nil }
func (k *taker) Mail(string, *smtp.MailOptions) error        { return nil }
func (k *taker) Rcpt(string, *smtp.RcptOptions) error        { return nil }
func (k *taker) Data(r io.Reader) error {
	k.got.Add(1)
	_, err := io.Copy(io.Discard, r)
	return err
}

func startTaker(t *testing.T) (*taker, string) {
	t.Helper()
	k := &taker{}
	srv := smtp.NewServer(k)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(l) }()
	t.Cleanup(func() { srv.Close(); <-done })
	return k, l.Addr().String()
}

func TestReleasesAndDeletes(t *testing.T) {
	sink, addr := startTaker(t)
	r := newRig(t, addr)
	it := r.hold(t, message, nil)
	got, err := r.Release(t.Context(), it.ID, quarantine.ReleaseRequest{Recipients: []string{"other@example.net"}, By: "cli:root"})
	if err != nil || got.State != quarantine.Released || got.ChangedBy != "cli:root" || !slices.Equal(got.ReleaseTo, []string{"other@example.net"}) {
		t.Fatalf("Release = %+v, %v; want it released by cli:root to the other recipient", got, err)
	}
	var e *api.Error
	if _, err := r.Release(t.Context(), it.ID, quarantine.ReleaseRequest{}); !errors.As(err, &e) || e.Code != "state" || e.Status != http.StatusConflict {
		t.Errorf("second Release = %v, want an error with code state", err)
	}
	if n := sink.got.Load(); n != 1 {
		t.Errorf("%d messages were sent, want 1", n)
	}
	if err := r.Delete(t.Context(), it.ID); err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("uid:%d", os.Getuid())
	if got, err := r.Get(t.Context(), it.ID); err != nil || got.State != quarantine.Deleted || got.ChangedBy != want || got.Stored {
		t.Errorf("Get = %+v, %v; want it deleted by %s", got, err, want)
	}
}

func TestErrorHasAHint(t *testing.T) {
	r := newRig(t, "127.0.0.1:1")
	it := r.hold(t, message, nil)
	if _, err := r.Release(t.Context(), it.ID, quarantine.ReleaseRequest{}); err == nil || !strings.Contains(err.Error(), "still held") {
		t.Errorf("Release = %v, want a hint that the message is still held", err)
	}
	_, err := api.NewClient(filepath.Join(t.TempDir(), "none")).List(t.Context(), quarantine.Filter{})
	if err == nil || !strings.Contains(err.Error(), "rastel serve") || strings.Contains(err.Error(), "\n") {
		t.Errorf("List without a server = %v, want one line that asks for rastel serve", err)
	}
}

// A message that turns out damaged on its way must not look like a whole one.
func TestRawIsCutOffWhenDamaged(t *testing.T) {
	r := newRig(t, "")
	path := func(id string) string { return filepath.Join(r.cfg.BlobDir(), id[:5], id+".zst") }
	for _, size := range []int{1, 1000, 1 << 20} {
		one, two := r.hold(t, strings.Repeat("A", size), nil), r.hold(t, strings.Repeat("B", size), nil)
		if err := os.Rename(path(two.ID), path(one.ID)); err != nil {
			t.Fatal(err)
		}
		raw, err := r.Raw(t.Context(), one.ID)
		if err == nil {
			_, err = io.Copy(io.Discard, raw)
			raw.Close()
		}
		if err == nil {
			t.Errorf("%d bytes: Raw reads another message without an error", size)
		}
	}
}

func TestRawIsNeverShown(t *testing.T) {
	r := newRig(t, "")
	it := r.hold(t, "<script>alert(1)</script>", nil)
	resp, _ := r.do(t, "GET", "/v1/quarantine/"+it.ID+"/raw", "")
	for name, want := range map[string]string{
		"Content-Type": "application/octet-stream", "X-Content-Type-Options": "nosniff",
		"Content-Disposition": `attachment; filename="` + it.ID + `.eml"`, "Content-Security-Policy": "sandbox; default-src 'none'",
	} {
		if got := resp.Header.Get(name); got != want {
			t.Errorf("%s = %q, want %q", name, got, want)
		}
	}
}

func TestExceptionsAreMadeAndLogged(t *testing.T) {
	r := newRig(t, "")
	ctx := t.Context()
	day := func(n int) string { return time.Now().AddDate(0, 0, n).Format(time.DateOnly) }
	req := api.ExceptionRequest{Scope: exceptions.Scope{Sender: "Example.org", Rule: "program"}, Owner: "ann", Reason: "because", Until: day(1), By: "cli:ann"}
	made, err := r.SaveException(ctx, "", req)
	if err != nil || made.Sender != "example.org" || made.CreatedBy != "cli:ann" {
		t.Fatalf("made %+v, %v", made, err)
	}
	r.exceptions.Hit([]string{made.ID}, time.Now())
	req.Until, req.By = day(2), "cli:bob"
	changed, err := r.SaveException(ctx, made.ID, req)
	if err != nil || changed.Until != day(2) || changed.ChangedBy != "cli:bob" || changed.CreatedBy != "cli:ann" || changed.Hits != 1 {
		t.Errorf("changed %+v, %v", changed, err)
	}
	if list, err := r.Exceptions(ctx); err != nil || len(list) != 1 || list[0].Hits != 1 || list[0].Until != day(2) {
		t.Errorf("list %+v, %v", list, err)
	}
	if err := r.RemoveException(ctx, made.ID, "cli:eve"); err != nil {
		t.Fatal(err)
	}
	var got []string
	entries, err := r.ExceptionLog(ctx, made.ID, 10)
	for _, e := range entries {
		got = append(got, e.What+" by "+e.By)
	}
	if want := []string{"delete by cli:eve", "update by cli:bob", "create by cli:ann"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("log %q, %v; want %q", got, err, want)
	}
	if _, body := r.do(t, "GET", "/v1/exceptions", ""); strings.TrimSpace(body) != `{"exceptions":[]}` {
		t.Errorf("body = %q", body)
	}
}
