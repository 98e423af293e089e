package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"time"

	"rastel/policy/engine"
	"rastel/policy/exceptions"
	"rastel/policy/quarantine"
)

// maxAnswer is how much JSON a client reads: a page of items with many recipients each.
const maxAnswer = 256 << 20

// A Client calls the API of a running filter through its unix socket. Its errors are *Error.
// It is safe for concurrent use.
type Client struct {
	socket string
	http   *http.Client
}

// NewClient is a client of the filter that listens on that socket. It does not connect yet.
func NewClient(socket string) *Client {
	d := &net.Dialer{Timeout: dialTime}
	return &Client{socket: socket, http: &http.Client{Transport: &http.Transport{
		DialContext:           func(ctx context.Context, _, _ string) (net.Conn, error) { return d.DialContext(ctx, "unix", socket) },
		DisableKeepAlives:     true,
		DisableCompression:    true,
		ResponseHeaderTimeout: releaseTime,
	}}}
}

// List returns the items that match, newest first; as many as f.Limit says, or 100. It asks
// for as many pages as that takes.
func (c *Client) List(ctx context.Context, f quarantine.Filter) ([]quarantine.Item, error) {
	left := f.Limit
	if left <= 0 {
		left = 100
	}
	var items []quarantine.Item
	for left > 0 {
		f.Limit = min(left, quarantine.MaxLimit)
		var page Page
		if err := c.call(ctx, http.MethodGet, "/v1/quarantine?"+query(f), nil, &page); err != nil {
			return nil, err
		}
		items, left = append(items, page.Items...), left-len(page.Items)
		if page.Next == "" || len(page.Items) == 0 {
			break
		}
		f.Cursor = page.Next
	}
	return items, nil
}

func query(f quarantine.Filter) string {
	q := url.Values{"limit": {strconv.Itoa(f.Limit)}}
	for name, value := range map[string]string{
		"state": string(f.State), "class": f.Class, "sender": f.Sender, "recipient": f.Recipient, "q": f.Text, "cursor": f.Cursor,
	} {
		if value != "" {
			q.Set(name, value)
		}
	}
	if !f.Since.IsZero() {
		q.Set("since", f.Since.Format(time.RFC3339))
	}
	return q.Encode()
}

func itemPath(id string) string { return "/v1/quarantine/" + url.PathEscape(id) }

// Get returns one item.
func (c *Client) Get(ctx context.Context, id string) (*quarantine.Item, error) {
	var it quarantine.Item
	if err := c.call(ctx, http.MethodGet, itemPath(id), nil, &it); err != nil {
		return nil, err
	}
	return &it, nil
}

// Evidence returns the record of the message of an item.
func (c *Client) Evidence(ctx context.Context, id string) (*engine.Evidence, error) {
	var e engine.Evidence
	if err := c.call(ctx, http.MethodGet, itemPath(id)+"/evidence", nil, &e); err != nil {
		return nil, err
	}
	return &e, nil
}

// Raw reads the message of an item as it was held. A Read that returns an error other than
// io.EOF means that what was read is not the message. The caller closes it.
func (c *Client) Raw(ctx context.Context, id string) (io.ReadCloser, error) {
	resp, err := c.do(ctx, http.MethodGet, itemPath(id)+"/raw", nil)
	if err != nil {
		return nil, err
	}
	return resp.Body, nil
}

// Release releases an item and returns it as it stands then.
func (c *Client) Release(ctx context.Context, id string, req quarantine.ReleaseRequest) (*quarantine.Item, error) {
	var it quarantine.Item
	if err := c.call(ctx, http.MethodPost, itemPath(id)+"/release", req, &it); err != nil {
		return nil, err
	}
	return &it, nil
}

// Rescan says what is found in the message of an item today.
func (c *Client) Rescan(ctx context.Context, id string) (*quarantine.Rescan, error) {
	var r quarantine.Rescan
	if err := c.call(ctx, http.MethodPost, itemPath(id)+"/rescan", nil, &r); err != nil {
		return nil, err
	}
	return &r, nil
}

// Delete removes the message of an item, in the name of the user of this process.
func (c *Client) Delete(ctx context.Context, id string) error {
	by := url.Values{"by": {"uid:" + strconv.Itoa(os.Getuid())}}
	return c.call(ctx, http.MethodDelete, itemPath(id)+"?"+by.Encode(), nil, nil)
}

// Exceptions returns all exceptions.
func (c *Client) Exceptions(ctx context.Context) ([]exceptions.Exception, error) {
	var list ExceptionList
	err := c.call(ctx, http.MethodGet, "/v1/exceptions", nil, &list)
	return list.Exceptions, err
}

func exceptionPath(id string) string { return "/v1/exceptions/" + url.PathEscape(id) }

// Exception returns one exception.
func (c *Client) Exception(ctx context.Context, id string) (*exceptions.Exception, error) {
	var e exceptions.Exception
	if err := c.call(ctx, http.MethodGet, exceptionPath(id), nil, &e); err != nil {
		return nil, err
	}
	return &e, nil
}

// SaveException makes an exception, or if there is an ID puts it in the place of that one.
func (c *Client) SaveException(ctx context.Context, id string, req ExceptionRequest) (*exceptions.Exception, error) {
	method, path := http.MethodPost, "/v1/exceptions"
	if id != "" {
		method, path = http.MethodPut, exceptionPath(id)
	}
	var e exceptions.Exception
	if err := c.call(ctx, method, path, req, &e); err != nil {
		return nil, err
	}
	return &e, nil
}

// RemoveException removes an exception.
func (c *Client) RemoveException(ctx context.Context, id, by string) error {
	return c.call(ctx, http.MethodDelete, exceptionPath(id)+"?"+url.Values{"by": {by}}.Encode(), nil, nil)
}

// ExceptionLog returns the last entries of the log, the latest first: of one exception, or if id is empty of all.
func (c *Client) ExceptionLog(ctx context.Context, id string, limit int) ([]exceptions.Entry, error) {
	q := url.Values{"limit": {strconv.Itoa(limit)}}
	if id != "" {
		q.Set("id", id)
	}
	var l ExceptionLog
	err := c.call(ctx, http.MethodGet, "/v1/exceptions/log?"+q.Encode(), nil, &l)
	return l.Entries, err
}

// Ready returns what /readyz says.
func (c *Client) Ready(ctx context.Context) (*Readiness, error) {
	resp, err := c.send(ctx, http.MethodGet, "/readyz", nil)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var r Readiness
	if err := decode(resp.Body, &r); err != nil {
		return nil, err
	}
	return &r, nil
}

// call sends a request and decodes the answer, unless out is nil.
func (c *Client) call(ctx context.Context, method, path string, in, out any) error {
	resp, err := c.do(ctx, method, path, in)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if out == nil {
		return nil
	}
	return decode(resp.Body, out)
}

func decode(r io.Reader, out any) error {
	if err := json.NewDecoder(io.LimitReader(r, maxAnswer)).Decode(out); err != nil {
		return &Error{Code: "bad_answer", Message: fmt.Sprintf("the answer cannot be read: %v", err)}
	}
	return nil
}

// do sends a request and makes an error of an answer that is one.
func (c *Client) do(ctx context.Context, method, path string, in any) (*http.Response, error) {
	resp, err := c.send(ctx, method, path, in)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode < http.StatusMultipleChoices {
		return resp, nil
	}
	defer resp.Body.Close()
	body := errorBody{Error: &Error{}}
	if err := decode(resp.Body, &body); err != nil || body.Error == nil {
		body.Error = &Error{Code: "bad_answer", Message: "status " + resp.Status}
	}
	body.Error.Status = resp.StatusCode
	return nil, body.Error
}

func (c *Client) send(ctx context.Context, method, path string, in any) (*http.Response, error) {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return nil, &Error{Code: "bad_request", Message: err.Error()}
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://rastel"+path, body)
	if err != nil {
		return nil, &Error{Code: "bad_request", Message: err.Error()}
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.noAnswer(err)
	}
	return resp, nil
}

// noAnswer says in one line why there is no answer.
func (c *Client) noAnswer(err error) *Error {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	hint := ""
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "dial" {
		hint = "is rastel serve running, with the same configuration, and may you open its socket?"
	}
	return &Error{Code: "no_answer", Message: err.Error(), Hint: hint}
}
