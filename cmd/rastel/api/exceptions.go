package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"rastel/policy/exceptions"
	"rastel/policy/quarantine"
)

// An ExceptionList is all exceptions.
type ExceptionList struct {
	Exceptions []exceptions.Exception `json:"exceptions"`
}

// An ExceptionLog is the end of the log of exceptions, the latest entry first.
type ExceptionLog struct {
	Entries []exceptions.Entry `json:"entries"`
}

// An ExceptionRequest makes or changes an exception.
type ExceptionRequest struct {
	exceptions.Scope
	Owner  string `json:"owner"`
	Reason string `json:"reason"`
	Until  string `json:"until"` // the last day, as in 2027-03-31
	By     string `json:"by,omitempty"`
}

func (r *ExceptionRequest) exception(id string) exceptions.Exception {
	return exceptions.Exception{ID: id, Scope: r.Scope, Owner: r.Owner, Reason: r.Reason, Until: r.Until}
}

func (s *server) listExceptions(w http.ResponseWriter, r *http.Request) error {
	list, err := s.exceptions.List(r.Context())
	if err != nil {
		return err
	}
	if list == nil {
		list = []exceptions.Exception{}
	}
	writeJSON(w, http.StatusOK, ExceptionList{list})
	return nil
}

func (s *server) exceptionLog(w http.ResponseWriter, r *http.Request) error {
	id, limit, err := parseLogQuery(r.URL.RawQuery)
	if err != nil {
		return err
	}
	entries, err := s.exceptions.Log(r.Context(), id, limit)
	if err != nil {
		return err
	}
	if entries == nil {
		entries = []exceptions.Entry{}
	}
	writeJSON(w, http.StatusOK, ExceptionLog{entries})
	return nil
}

// parseLogQuery reads the query of the log.
func parseLogQuery(query string) (id string, limit int, err error) {
	values, err := url.ParseQuery(query)
	if err != nil {
		return "", 0, badRequest("query: %v", err)
	}
	limit = 100
	for name, list := range values {
		if len(list) != 1 {
			return "", 0, badRequest("%.100q: once", name)
		}
		switch name {
		case "id":
			if id = list[0]; !quarantine.ValidID(id) {
				return "", 0, badRequest("id: %.100q is no id", id)
			}
		case "limit":
			if limit, err = strconv.Atoi(list[0]); err != nil || limit < 1 || limit > exceptions.MaxLog {
				return "", 0, badRequest("limit: %.100q is not from 1 to %d", list[0], exceptions.MaxLog)
			}
		default:
			return "", 0, badRequest("%.100q is none of id, limit", name)
		}
	}
	return id, limit, nil
}

func (s *server) createException(w http.ResponseWriter, r *http.Request) error {
	req, err := s.decodeException(r.Body)
	if err != nil {
		return err
	}
	e, err := s.exceptions.Create(r.Context(), req.exception(""), req.By)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusCreated, e)
	return nil
}

func (s *server) updateException(w http.ResponseWriter, r *http.Request) error {
	id, err := itemID(r)
	if err != nil {
		return err
	}
	req, err := s.decodeException(r.Body)
	if err != nil {
		return err
	}
	e, err := s.exceptions.Update(r.Context(), req.exception(id), req.By)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, e)
	return nil
}

func (s *server) deleteException(w http.ResponseWriter, r *http.Request) error {
	id, err := itemID(r)
	if err != nil {
		return err
	}
	by := r.URL.Query().Get("by")
	if by == "" {
		by = "api"
	}
	if err := s.exceptions.Delete(r.Context(), id, by); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// decodeException reads one JSON object. The rule and the check that it names must be there: one that is misspelt
// makes an exception that never holds, and nobody notices.
func (s *server) decodeException(body io.Reader) (*ExceptionRequest, error) {
	req := &ExceptionRequest{}
	d := json.NewDecoder(body)
	d.DisallowUnknownFields()
	if err := d.Decode(req); err != nil {
		return nil, bodyError(err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, badRequest("body: more than one JSON value")
	}
	if req.By == "" {
		req.By = "api"
	}
	if s.policy == nil {
		return req, nil
	}
	if err := s.policy().CheckScope(req.Scope); err != nil {
		return nil, fmt.Errorf("%w: %w", exceptions.ErrInvalid, err)
	}
	return req, nil
}
