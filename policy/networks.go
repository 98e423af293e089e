package policy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/gaissmai/bart"
	"github.com/goccy/go-yaml/ast"
)

// Limits of lists of networks.
const (
	maxNetworkLists = 100
	maxNetworkFile  = 16 << 20 // bytes
	maxNetworks     = 500_000  // of all lists of a policy
	maxNetwork      = 100      // bytes of one, without what is said about it
)

// A networks is a list of networks that is ready to be asked. Each network of it is in one table, so
// that an address is looked up in the same time however many there are.
type networks struct{ table bart.Lite }

func (n *networks) contains(a netip.Addr) bool { return a.IsValid() && n.table.Contains(a.Unmap()) }

// inNetworks reports whether an address is in one of the lists.
func inNetworks(a netip.Addr, lists []*networks) bool {
	return slices.ContainsFunc(lists, func(n *networks) bool { return n.contains(a) })
}

// parseNetwork reads a network, or an address, which is a network of one.
func parseNetwork(text string) (netip.Prefix, string) {
	if len(text) > maxNetwork {
		return netip.Prefix{}, fmt.Sprintf("%.80q... is neither a network nor an address", text)
	}
	p, err := netip.ParsePrefix(text)
	if a, addrErr := netip.ParseAddr(text); addrErr == nil {
		p, err = netip.PrefixFrom(a.WithZone(""), a.BitLen()), nil
	}
	switch {
	case err != nil:
		return p, fmt.Sprintf("%q is neither a network (192.0.2.0/24) nor an address", text)
	case p.Addr().Is4In6() && p.Bits() < 96:
		return p, fmt.Sprintf("%q is no network", text)
	case p.Addr().Is4In6():
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	if p.Bits() == 0 {
		return p, fmt.Sprintf("%q is every address there is", text)
	}
	return p.Masked(), ""
}

// networks reads the lists of networks of a policy.
func (s *source) networks(n ast.Node, opt Options) map[string]*networks {
	out := map[string]*networks{}
	r := &networkReader{listReader: listReader{source: s, dir: opt.Dir}}
	s.eachList(n, "networks", "lists of networks", maxNetworkLists, func(name string, n ast.Node) {
		l := &networks{}
		r.items(n, name, "a network", func(file ast.Node) { r.file(l, file) }, func(text string) string { return r.add(l, text) })
		out[name] = l
	})
	return out
}

// A networkReader reads the lists of networks of one policy.
type networkReader struct {
	listReader
	count int // so far
}

// add adds one network. It tells what is wrong with it; nothing if nothing is.
func (r *networkReader) add(l *networks, text string) string {
	p, wrong := parseNetwork(text)
	if wrong != "" {
		return wrong
	}
	if r.count++; r.count > maxNetworks {
		if r.full {
			return ""
		}
		r.full = true
		return fmt.Sprintf("the lists have more than %d networks", maxNetworks)
	}
	l.table.Insert(p)
	return ""
}

// file adds the networks of a file.
func (r *networkReader) file(l *networks, n ast.Node) {
	f, at, ok := r.named(n, maxNetworkFile)
	if !ok {
		return
	}
	in := &source{name: f.path} // errors in it are told with its own lines
	err := readNetworks(f.data, func(line int, text string) bool {
		if msg := r.add(l, text); msg != "" {
			in.errorf(place{line, 1}, "%s", msg)
		}
		return len(in.errs) < maxErrors
	})
	if err != nil {
		r.errorf(at, "%s: %v", f.path, err)
	}
	r.errs = append(r.errs, in.errs...)
}

var errCutOff = errors.New("it is cut off: what it says of itself, in its last line, is missing")

// readNetworks gives the networks of a file, one on a line, until yield returns false. What follows
// "#" or ";" is a comment, as in the lists of Spamhaus that are text ("192.0.2.0/24 ; SBL1"). Those in
// JSON lines begin with "{"; their last line says how many there are, so that half of a file is noticed.
func readNetworks(data []byte, yield func(line int, text string) bool) error {
	line, records, claimed, inJSON := 0, 0, -1, false
	for raw := range bytes.Lines(data) {
		line++
		text := strings.TrimSpace(string(raw))
		if strings.HasPrefix(text, "{") {
			inJSON = true
			network, count, err := jsonNetwork(text)
			switch {
			case err != nil:
				return fmt.Errorf("line %d: %w", line, err)
			case network == "":
				claimed = count
				continue
			}
			records++
			text = network
		} else if i := strings.IndexAny(text, ";#"); i >= 0 {
			text = strings.TrimSpace(text[:i])
		}
		if text != "" && !yield(line, text) {
			return nil
		}
	}
	switch {
	case inJSON && claimed < 0:
		return errCutOff
	case inJSON && claimed != records:
		return fmt.Errorf("it has %d networks and says that it has %d", records, claimed)
	}
	return nil
}

// jsonNetwork is the network of a line in JSON; or if it is empty, the line says of the list how many
// there are.
func jsonNetwork(text string) (network string, count int, err error) {
	var v struct {
		CIDR    string `json:"cidr"`
		Type    string `json:"type"`
		Records *int   `json:"records"`
	}
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		return "", 0, errors.New("no JSON")
	}
	switch {
	case v.CIDR != "":
		return v.CIDR, 0, nil
	case v.Type == "metadata" && v.Records != nil:
		return "", *v.Records, nil
	}
	return "", 0, errors.New("there is no \"cidr\" in it")
}

// network takes the argument of clientIn: the name of a list, or a network.
func (v *vocabulary) network(text string) (*networks, string) {
	if strings.ContainsAny(text, ".:/") {
		p, wrong := parseNetwork(text)
		n := &networks{}
		if wrong == "" {
			n.table.Insert(p)
		}
		return n, wrong
	}
	if n := v.networks[text]; n != nil {
		return n, ""
	}
	known := slices.Sorted(maps.Keys(v.networks))
	if len(known) == 0 {
		return nil, fmt.Sprintf("there is no list of networks %.80q", text)
	}
	return nil, unknown("list of networks", text, known)
}
