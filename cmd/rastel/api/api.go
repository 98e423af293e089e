// Package api is the one door to a running filter: REST over HTTP, in JSON.
//
//	GET    /healthz                      200: the process answers
//	GET    /readyz                       200 or 503, and the checks that say why
//	GET    /metrics                      what was done so far, for Prometheus
//	GET    /v1/quarantine                items, newest first: ?state&class&sender&recipient&q&since
//	                                     &limit&cursor
//	GET    /v1/quarantine/{id}           one item
//	GET    /v1/quarantine/{id}/raw       its message, byte for byte as it was held
//	GET    /v1/quarantine/{id}/evidence  the record of the message: parts, findings, rules, verdicts
//	POST   /v1/quarantine/{id}/release   {"recipients": [...], "by": "...", "force": true, "as": "original|
//	                                     sanitised|without|attached|zip", "parts": ["1.2"]}, all optional; 409
//	                                     "rescan" if today's engines are against it and it is not forced
//	POST   /v1/quarantine/{id}/rescan    what today's engines find; changes nothing
//	DELETE /v1/quarantine/{id}           removes the message, keeps the record; ?by
//	GET    /v1/exceptions                all exceptions, with their hits
//	POST   /v1/exceptions                makes one: {"sender", "recipient", "sha256", "macros", "rule", "check",
//	                                     "owner", "reason", "until": "2027-03-31", "by"}
//	GET    /v1/exceptions/{id}           one exception
//	PUT    /v1/exceptions/{id}           puts another in its place, as POST; its hits stay
//	DELETE /v1/exceptions/{id}           removes it; ?by
//	GET    /v1/exceptions/log            who changed what, the latest first: ?id&limit
//	GET    /v1/hosts                     who sends what is infected or refused: ?by (client, user)
//	                                     &within (hour, day)&limit
//
// New serves all of it and is for the unix socket, which only its owner can open. NewPublic
// serves the first three, because there is no authentication yet. An error is
// {"error": {"code", "message", "hint"}} with a status of 4xx or 5xx.
package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"rastel/policy"
	"rastel/policy/exceptions"
	"rastel/policy/hosts"
	"rastel/policy/quarantine"
)

// Config says where the API listens. The zero value is usable once Socket is set.
type Config struct {
	// Listen is host:port for health and readiness. Default: 127.0.0.1:6786.
	Listen string `yaml:"listen"`
	// Socket is the unix socket for everything. Default: rastel.sock in the state directory.
	Socket string `yaml:"socket"`
}

// Address is Listen or its default.
func (c Config) Address() string {
	if c.Listen == "" {
		return "127.0.0.1:6786"
	}
	return c.Listen
}

// maxSocket is how long the name of a unix socket may be: sun_path of unix(7), with its NUL.
const maxSocket = 107

// Validate reports the first value that cannot work.
func (c Config) Validate() error {
	if _, port, err := net.SplitHostPort(c.Address()); err != nil || port == "" {
		return fmt.Errorf("api.listen: %q is not host:port", c.Listen)
	}
	if len(c.Socket) > maxSocket {
		return fmt.Errorf("api.socket: %q is longer than %d bytes", c.Socket, maxSocket)
	}
	return nil
}

// Limits of one call.
const (
	maxBody     = 1 << 20 // of the JSON that is sent to us
	maxQuery    = 1 << 10 // of one value in the query
	callTime    = 30 * time.Second
	rawTime     = 10 * time.Minute
	releaseTime = 30 * time.Minute // more than a release may take; see quarantine.ReleaseConfig
)

// A Check is one thing that must work for the filter to do all of its work.
type Check struct {
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail,omitempty"`
	// Optional says that something else makes up for it: readiness does not depend on it.
	Optional bool `json:"optional,omitempty"`
}

// Options are what the API shows.
type Options struct {
	Store *quarantine.Store
	// Ready makes the checks of /readyz. It is called at most once a second. If it is nil the
	// filter is never ready.
	Ready func(context.Context) []Check
	// Hosts are those of /v1/hosts. Without them there is no such call.
	Hosts *hosts.Table
	// Exceptions are those of /v1/exceptions. Without them there are no such calls.
	Exceptions *exceptions.Book
	// Policy is the policy in force, which exceptions are for. Nil: their rules and checks are taken as they are.
	Policy func() *policy.Policy
	// Metrics are those of /metrics. Without them there is no such call.
	Metrics prometheus.Gatherer
	Log     *slog.Logger // nil: nothing is logged
}

// New is the whole API, for callers that may do everything.
func New(opt Options) http.Handler {
	s := &server{store: opt.Store, hosts: opt.Hosts, exceptions: opt.Exceptions, policy: opt.Policy, log: opt.logger()}
	mux := publicMux(opt)
	if s.hosts != nil {
		mux.Handle("GET /v1/hosts", s.handler(callTime, s.top))
	}
	routes := []route{
		{"GET /v1/quarantine", callTime, s.list},
		{"GET /v1/quarantine/{id}", callTime, one(s.store.Get)},
		{"GET /v1/quarantine/{id}/raw", rawTime, s.raw},
		{"GET /v1/quarantine/{id}/evidence", callTime, s.evidence},
		{"POST /v1/quarantine/{id}/release", releaseTime, s.release},
		{"POST /v1/quarantine/{id}/rescan", rawTime, s.rescan},
		{"DELETE /v1/quarantine/{id}", callTime, s.delete},
	}
	if s.exceptions != nil {
		routes = append(routes, []route{
			{"GET /v1/exceptions", callTime, s.listExceptions},
			{"POST /v1/exceptions", callTime, s.createException},
			{"GET /v1/exceptions/log", callTime, s.exceptionLog},
			{"GET /v1/exceptions/{id}", callTime, one(s.exceptions.Get)},
			{"PUT /v1/exceptions/{id}", callTime, s.updateException},
			{"DELETE /v1/exceptions/{id}", callTime, s.deleteException},
		}...)
	}
	for _, r := range routes {
		mux.Handle(r.pattern, s.handler(r.limit, r.call))
	}
	return mux
}

// A route is a call with how long it may take.
type route struct {
	pattern string
	limit   time.Duration
	call    call
}

// NewPublic is the part of the API that everybody may see.
func NewPublic(opt Options) http.Handler { return publicMux(opt) }

func publicMux(opt Options) *http.ServeMux {
	s := &server{log: opt.logger()}
	ready := &readiness{check: opt.Ready}
	mux := http.NewServeMux()
	mux.Handle("GET /healthz", s.handler(callTime, health))
	mux.Handle("GET /readyz", s.handler(callTime, ready.serve))
	if opt.Metrics != nil {
		mux.Handle("GET /metrics", s.handler(callTime, metrics(opt.Metrics)))
	}
	mux.Handle("/", s.handler(callTime, func(http.ResponseWriter, *http.Request) error {
		return &Error{Status: http.StatusNotFound, Code: "no_such_call", Message: "there is no such call here"}
	}))
	return mux
}

func (o Options) logger() *slog.Logger {
	if o.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return o.Log
}

// NewServer is an HTTP server with the time limits that a handler cannot set itself.
func NewServer(h http.Handler, log *slog.Logger) *http.Server {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
}

type server struct {
	store *quarantine.Store
	hosts *hosts.Table
	log   *slog.Logger

	exceptions *exceptions.Book
	policy     func() *policy.Policy
}

// A call answers a request, or returns why it did not.
type call func(http.ResponseWriter, *http.Request) error

// handler gives a call its limits, and its errors a form.
func (s *server) handler(limit time.Duration, do call) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rc, end := http.NewResponseController(w), time.Now().Add(limit)
		// A writer that knows no deadlines is one of a test.
		_, _ = rc.SetReadDeadline(end), rc.SetWriteDeadline(end)
		ctx, cancel := context.WithDeadline(r.Context(), end)
		defer cancel()
		r = r.WithContext(ctx)
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Cache-Control", "no-store")
		err := do(w, r)
		if err == nil {
			return
		}
		e := errorOf(err)
		if e.Status >= http.StatusInternalServerError {
			s.log.Warn("api call", "method", r.Method, "path", r.URL.Path, "status", e.Status, "error", err)
		}
		writeJSON(w, e.Status, errorBody{Error: e})
	})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // a client that has gone needs no answer
}

// An Error is what a call came to instead of an answer.
type Error struct {
	Status  int    `json:"-"`       // of HTTP; 0 if there was no answer
	Code    string `json:"code"`    // for programs; never changes
	Message string `json:"message"` // for people
	Hint    string `json:"hint,omitempty"`
}

func (e *Error) Error() string {
	if e.Hint == "" {
		return e.Message
	}
	return e.Message + " (" + e.Hint + ")"
}

type errorBody struct {
	Error *Error `json:"error"`
}

// errorOf finds the answer to an error. SendError comes first: what it wraps is about the
// message, not about the call.
func errorOf(err error) *Error {
	var e *Error
	var send *quarantine.SendError
	switch {
	case errors.As(err, &e):
		return e
	case errors.As(err, &send) && send.Temporary:
		return &Error{http.StatusBadGateway, "not_sent", err.Error(), "it is still held; try again later"}
	case errors.As(err, &send):
		return &Error{http.StatusBadGateway, "not_sent", err.Error(), "it is still held; see the log of the mail server"}
	case errors.Is(err, exceptions.ErrInvalid):
		return &Error{http.StatusBadRequest, "bad_exception", err.Error(), ""}
	case errors.Is(err, exceptions.ErrNotFound):
		return &Error{http.StatusNotFound, "not_found", err.Error(), "rastel exception list shows what there is"}
	case errors.Is(err, exceptions.ErrFull):
		return &Error{http.StatusConflict, "full", err.Error(), "remove those that have ended; what is for so many belongs into the policy"}
	case errors.Is(err, quarantine.ErrNotFound):
		return &Error{http.StatusNotFound, "not_found", err.Error(), "rastel quarantine list -state all shows what there is"}
	case errors.Is(err, quarantine.ErrState):
		return &Error{http.StatusConflict, "state", err.Error(), "rastel quarantine show tells its state"}
	case errors.Is(err, quarantine.ErrRescan):
		return &Error{http.StatusConflict, "rescan", err.Error(), "it is still held; rastel quarantine rescan shows all that is found, and release -force releases all the same"}
	case errors.Is(err, quarantine.ErrVariant):
		return &Error{http.StatusConflict, "variant", err.Error(), "it is still held; choose another form"}
	case errors.Is(err, quarantine.ErrRecipient):
		return &Error{http.StatusBadRequest, "bad_recipient", err.Error(), ""}
	case errors.Is(err, quarantine.ErrCorrupt):
		return &Error{http.StatusInternalServerError, "corrupt", err.Error(), "the disk or somebody has changed it"}
	}
	return &Error{http.StatusInternalServerError, "internal", err.Error(), "see the log of rastel serve"}
}

func badRequest(format string, args ...any) error {
	return &Error{Status: http.StatusBadRequest, Code: "bad_request", Message: fmt.Sprintf(format, args...)}
}
