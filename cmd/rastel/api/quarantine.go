package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"rastel/policy/quarantine"
)

// A Page is a part of a list.
type Page struct {
	Items []quarantine.Item `json:"items"`
	Next  string            `json:"next,omitempty"` // the cursor of the next page; empty if there is none
}

func (s *server) list(w http.ResponseWriter, r *http.Request) error {
	f, err := parseFilter(r.URL.RawQuery)
	if err != nil {
		return err
	}
	items, err := s.store.List(r.Context(), f)
	if err != nil {
		return err
	}
	page := Page{Items: items}
	if items == nil {
		page.Items = []quarantine.Item{}
	}
	if len(items) == f.Limit {
		page.Next = items[len(items)-1].ID
	}
	writeJSON(w, http.StatusOK, page)
	return nil
}

// parseFilter reads the query of a list. A word it does not know is an error: passed over, it
// would show more than was asked for.
func parseFilter(query string) (quarantine.Filter, error) {
	f := quarantine.Filter{Limit: 100}
	values, err := url.ParseQuery(query)
	if err != nil {
		return f, badRequest("query: %v", err)
	}
	for name, list := range values {
		if len(list) != 1 || len(list[0]) > maxQuery {
			return f, badRequest("%.100q: once, with at most %d bytes", name, maxQuery)
		}
		if err := setFilter(&f, name, list[0]); err != nil {
			return f, err
		}
	}
	return f, nil
}

func setFilter(f *quarantine.Filter, name, value string) error {
	switch name {
	case "class":
		f.Class = value
	case "sender":
		f.Sender = value
	case "recipient":
		f.Recipient = value
	case "q":
		f.Text = value
	case "state":
		if f.State = quarantine.State(value); value != "" && !slices.Contains(quarantine.States, f.State) {
			return badRequest("state: %.100q is none of %v", value, quarantine.States)
		}
	case "since":
		t, err := time.Parse(time.RFC3339, value)
		if err != nil {
			return badRequest("since: %.100q is no time like 2006-01-02T15:04:05Z", value)
		}
		f.Since = t
	case "limit":
		n, err := strconv.Atoi(value)
		if err != nil || n < 1 || n > quarantine.MaxLimit {
			return badRequest("limit: %.100q is not from 1 to %d", value, quarantine.MaxLimit)
		}
		f.Limit = n
	case "cursor":
		if value != "" && !quarantine.ValidID(value) {
			return badRequest("cursor: %.100q is no id", value)
		}
		f.Cursor = value
	default:
		return badRequest("%.100q is none of state, class, sender, recipient, q, since, limit, cursor", name)
	}
	return nil
}

// itemID is the id in the path. Nothing but an id gets further than this.
func itemID(r *http.Request) (string, error) {
	id := r.PathValue("id")
	if !quarantine.ValidID(id) {
		return "", &Error{http.StatusBadRequest, "bad_id", fmt.Sprintf("%.100q is no id", id), "an id has 26 characters, such as 01K9XKZ6T4E9M3V5Q0R8YB2C7D"}
	}
	return id, nil
}

// one is a call that answers with what has the id in the path.
func one[T any](get func(ctx context.Context, id string) (*T, error)) call {
	return func(w http.ResponseWriter, r *http.Request) error {
		id, err := itemID(r)
		if err != nil {
			return err
		}
		v, err := get(r.Context(), id)
		if err != nil {
			return err
		}
		writeJSON(w, http.StatusOK, v)
		return nil
	}
}

// evidence sends the record of a message as it was stored.
func (s *server) evidence(w http.ResponseWriter, r *http.Request) error {
	id, err := itemID(r)
	if err != nil {
		return err
	}
	record, err := s.store.Evidence(r.Context(), id)
	if errors.Is(err, quarantine.ErrNotFound) {
		if _, err := s.store.Get(r.Context(), id); err != nil {
			return err
		}
		return &Error{http.StatusNotFound, "no_evidence", "there is no record of the message of this item", "it was held by a version before, or is a message that the filter itself sent"}
	}
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, json.RawMessage(record))
	return nil
}

// raw sends the message as a file to be saved, never as one to be shown: it may be a page with
// a script for this very origin.
func (s *server) raw(w http.ResponseWriter, r *http.Request) error {
	id, err := itemID(r)
	if err != nil {
		return err
	}
	msg, err := s.store.Open(r.Context(), id)
	if err != nil {
		return err
	}
	defer msg.Close()
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Disposition", `attachment; filename="`+id+`.eml"`)
	w.Header().Set("Content-Security-Policy", "sandbox; default-src 'none'")
	// There is no Content-Length: only after the last byte is it known whether the message is
	// the one that was held, and then a client that counts would be content already.
	if _, err := io.Copy(w, msg); err != nil {
		s.log.Warn("send message", "id", id, "error", err)
		// The status is sent. This cuts the connection, so that the client does not take what
		// it has got for the message; it is how net/http wants it, and no fault of ours.
		panic(http.ErrAbortHandler)
	}
	return nil
}

// rescan says what is found in the message of an item today.
func (s *server) rescan(w http.ResponseWriter, r *http.Request) error {
	id, err := itemID(r)
	if err != nil {
		return err
	}
	found, err := s.store.Rescan(r.Context(), id)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, found)
	return nil
}

func (s *server) release(w http.ResponseWriter, r *http.Request) error {
	id, err := itemID(r)
	if err != nil {
		return err
	}
	req, err := decodeRelease(r.Body)
	if err != nil {
		return err
	}
	it, err := s.store.Release(r.Context(), id, req)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, it)
	return nil
}

// decodeRelease reads one JSON object, or nothing.
func decodeRelease(body io.Reader) (quarantine.ReleaseRequest, error) {
	req := quarantine.ReleaseRequest{}
	d := json.NewDecoder(body)
	d.DisallowUnknownFields()
	if err := d.Decode(&req); err != nil && !errors.Is(err, io.EOF) {
		return req, bodyError(err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return req, badRequest("body: more than one JSON value")
	}
	if req.By == "" {
		req.By = "api"
	}
	return req, nil
}

func bodyError(err error) error {
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		return &Error{Status: http.StatusRequestEntityTooLarge, Code: "too_large", Message: fmt.Sprintf("body: more than %d bytes", large.Limit)}
	}
	return badRequest("body: %v", err)
}

func (s *server) delete(w http.ResponseWriter, r *http.Request) error {
	id, err := itemID(r)
	if err != nil {
		return err
	}
	by := r.URL.Query().Get("by")
	if by == "" {
		by = "api"
	}
	if err := s.store.Delete(r.Context(), id, by); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
