package api

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"rastel/policy/hosts"
)

// A TopList is the hosts or users that stick out.
type TopList struct {
	Hosts []hosts.Entry `json:"hosts"` // the one with the most messages first
	Since time.Time     `json:"since"` // when counting began: what was before is lost
}

func (s *server) top(w http.ResponseWriter, r *http.Request) error {
	by, within, limit, err := parseTop(r.URL.RawQuery)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, TopList{Hosts: s.hosts.Top(by, within, limit), Since: s.hosts.Since()})
	return nil
}

// parseTop reads the query of a top list.
func parseTop(query string) (by hosts.By, within hosts.Within, limit int, err error) {
	by, within, limit = hosts.ByClient, hosts.WithinHour, 100
	values, err := url.ParseQuery(query)
	if err != nil {
		return by, within, limit, badRequest("query: %v", err)
	}
	for name, list := range values {
		if len(list) != 1 {
			return by, within, limit, badRequest("%.100q: once", name)
		}
		value := list[0]
		switch name {
		case "by":
			if by = hosts.By(value); by != hosts.ByClient && by != hosts.ByUser {
				return by, within, limit, badRequest("by: %.100q is none of client, user", value)
			}
		case "within":
			if within = hosts.Within(value); within != hosts.WithinHour && within != hosts.WithinDay {
				return by, within, limit, badRequest("within: %.100q is none of hour, day", value)
			}
		case "limit":
			if limit, err = strconv.Atoi(value); err != nil || limit < 1 || limit > hosts.MaxTracked {
				return by, within, limit, badRequest("limit: %.100q is not from 1 to %d", value, hosts.MaxTracked)
			}
		default:
			return by, within, limit, badRequest("%.100q is none of by, within, limit", name)
		}
	}
	return by, within, limit, nil
}

// Hosts returns those that stick out, at most limit.
func (c *Client) Hosts(ctx context.Context, by hosts.By, within hosts.Within, limit int) (*TopList, error) {
	q := url.Values{"by": {string(by)}, "within": {string(within)}, "limit": {strconv.Itoa(limit)}}
	var list TopList
	if err := c.call(ctx, http.MethodGet, "/v1/hosts?"+q.Encode(), nil, &list); err != nil {
		return nil, err
	}
	return &list, nil
}
