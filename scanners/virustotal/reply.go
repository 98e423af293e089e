package virustotal

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"unicode"

	"rastel/sanitize/eml"
)

const (
	// maxReply bounds an answer. The report about a file is some 50 KB, a few hundred at most.
	maxReply = 4 << 20
	// maxLabel bounds what is shown of a name that VirusTotal gives.
	maxLabel = 100
)

// A refusal is an answer that says that there will be none.
type refusal struct {
	status int
	code   string // of the API, such as QuotaExceededError
}

func (r *refusal) Error() string {
	return fmt.Sprintf("VirusTotal refuses: %d %s", r.status, r.code)
}

// opinion is what VirusTotal knows of content.
type opinion struct {
	known                          bool
	malicious, suspicious, engines int64
	label                          string
}

// readReply makes an opinion of an answer. What is not wholly as the API says is an error, never clean.
func readReply(r *http.Response, sum [32]byte) (o opinion, err error) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxReply+1))
	if err != nil {
		return o, fmt.Errorf("read the answer of VirusTotal: %w", err)
	}
	if len(body) > maxReply {
		return o, fmt.Errorf("the answer of VirusTotal is larger than %d bytes", maxReply)
	}
	if r.StatusCode == http.StatusOK {
		return readReport(body, sum)
	}
	code := errorCode(body)
	if r.StatusCode == http.StatusNotFound && code == "NotFoundError" {
		return opinion{}, nil
	}
	return o, &refusal{r.StatusCode, code}
}

// errorCode is the code in an error of the API, "no error of the API" if it is none.
func errorCode(body []byte) string {
	var e struct {
		Error struct {
			Code string `json:"code"`
		} `json:"error"`
	}
	if err := json.Unmarshal(body, &e); err != nil || e.Error.Code == "" {
		return "no error of the API"
	}
	return plain(e.Error.Code)
}

// readReport reads the report about a file (docs.virustotal.com/reference/files).
func readReport(body []byte, sum [32]byte) (o opinion, err error) {
	var r struct {
		Data *struct {
			Type       string `json:"type"`
			Attributes *struct {
				SHA256 string            `json:"sha256"`
				Stats  map[string]*int64 `json:"last_analysis_stats"`
				Threat struct {
					Label string `json:"suggested_threat_label"`
				} `json:"popular_threat_classification"`
			} `json:"attributes"`
		} `json:"data"`
	}
	if err := json.Unmarshal(body, &r); err != nil {
		return o, fmt.Errorf("the answer of VirusTotal is no report: %w", err)
	}
	if r.Data == nil || r.Data.Type != "file" || r.Data.Attributes == nil {
		return o, errors.New("the answer of VirusTotal is no report about a file")
	}
	a := r.Data.Attributes
	if !strings.EqualFold(a.SHA256, hex.EncodeToString(sum[:])) {
		return o, errors.New("the answer of VirusTotal is about some other file")
	}
	o = opinion{known: true, label: plain(a.Threat.Label)}
	for _, name := range []string{"malicious", "suspicious", "undetected", "harmless"} {
		n := a.Stats[name]
		if n == nil || *n < 0 || *n > 1_000_000 {
			return opinion{}, fmt.Errorf("the report of VirusTotal does not say how many engines call it %s", name)
		}
		o.engines += *n
	}
	o.malicious, o.suspicious = *a.Stats["malicious"], *a.Stats["suspicious"]
	o.known = o.engines > 0 // no engine has examined it yet
	return o, nil
}

// plain is text for people, of whatever VirusTotal sent.
func plain(s string) string {
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, s)
	return strings.ToValidUTF8(s[:min(len(s), maxLabel)], "")
}

// findings are what the opinion comes to.
func (o opinion) findings(p *eml.Part, threshold int) []eml.Finding {
	f := eml.Finding{Part: p, Detail: fmt.Sprintf("%d of %d engines call it malicious, %d suspicious", o.malicious, o.engines, o.suspicious)}
	if o.label != "" {
		f.Detail += ": " + o.label
	}
	switch {
	case !o.known:
		f.Check, f.Detail = checkUnknown, "no engine has examined it"
	case o.malicious >= int64(threshold):
		f.Check = checkMalware
	case o.malicious+o.suspicious > 0:
		f.Check = checkSuspicious
	default:
		return nil
	}
	return []eml.Finding{f}
}
