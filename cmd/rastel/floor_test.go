package main

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// floor is the floor plan: what each package may import of ours. A package that is not here
// is an error, so a new one is added with a reason.
var floor = map[string][]string{
	"rastel/sanitize/eml":                     {}, // the model; everything else stands on it
	"rastel/sanitize/eml/emltest":             {}, // hostile messages for the tests of whatever reads mail
	"rastel/sanitize/vobject":                 {}, // the lines of calendars and cards, for what defangs them and what opens the files in them
	"rastel/sanitize":                         {"rastel/sanitize/eml", "rastel/sanitize/vobject"},
	"rastel/scanners":                         {"rastel/sanitize/eml", "rastel/sanitize/vobject"},
	"rastel/scanners/scannertest":             {"rastel/sanitize/eml", "rastel/scanners"}, // the suite of Scanner
	"rastel/scanners/archive":                 {"rastel/sanitize/eml", "rastel/scanners", "rastel/scanners/archive/disk", "rastel/scanners/archive/lzh", "rastel/scanners/archive/lzx", "rastel/scanners/archive/quantum", "rastel/scanners/archive/zipcrypt"},
	"rastel/scanners/archive/disk":            {},                                         // file systems; knows nothing of mail
	"rastel/scanners/archive/lzh":             {},                                         // decoders of LHA and ARJ
	"rastel/scanners/archive/lzx":             {},                                         // methods of cabinets, help files and images of Windows; knows nothing of mail
	"rastel/scanners/archive/lzx/lzxtest":     {},                                         // an encoder for the tests of what reads LZX
	"rastel/scanners/archive/quantum":         {},                                         // a method of cabinets; knows nothing of mail
	"rastel/scanners/archive/zipcrypt":        {},                                         // the encryption of zip; knows nothing of mail
	"rastel/scanners/cache":                   {"rastel/sanitize/eml", "rastel/scanners"}, // what engines said of content that comes again; its own client of Redis
	"rastel/scanners/clamd":                   {"rastel/sanitize/eml", "rastel/scanners"},
	"rastel/scanners/command":                 {"rastel/sanitize/eml", "rastel/scanners"},                           // programs that examine a file each
	"rastel/scanners/dkim":                    {"rastel/sanitize/eml", "rastel/scanners"},                           // the verifier, and its DNS
	"rastel/scanners/dmarc":                   {"rastel/sanitize/eml", "rastel/scanners"},                           // who a message comes from: SPF and DMARC
	"rastel/scanners/flatxml":                 {"rastel/sanitize/eml", "rastel/scanners"},                           // documents that are XML throughout
	"rastel/scanners/hashlist":                {"rastel/sanitize/eml", "rastel/scanners"},                           // lists of hashes from files, a million and more
	"rastel/scanners/icap":                    {"rastel/sanitize/eml", "rastel/scanners"},                           // engines of other vendors, by the protocol of proxies
	"rastel/scanners/network":                 {"rastel/sanitize/eml", "rastel/scanners"},                           // where a message comes from: lists in DNS, relays
	"rastel/scanners/office":                  {"rastel/sanitize/eml", "rastel/scanners"},                           // what documents do, in words, and what can be taken out of them
	"rastel/scanners/ole":                     {"rastel/sanitize/eml", "rastel/scanners", "rastel/scanners/office"}, // compound files, for more than one scanner; what they do is told in the words of office
	"rastel/scanners/onenote":                 {"rastel/sanitize/eml", "rastel/scanners"},                           // notebooks, which are a format of their own
	"rastel/scanners/pdf":                     {"rastel/sanitize/eml", "rastel/scanners"},                           // documents that hold files and scripts
	"rastel/scanners/script":                  {"rastel/sanitize/eml", "rastel/scanners"},                           // what scripts and shortcuts do, in words
	"rastel/scanners/virustotal":              {"rastel/sanitize/eml", "rastel/scanners"},                           // what VirusTotal knows of content, by its hash
	"rastel/scanners/worker":                  {"rastel/sanitize/eml", "rastel/scanners"},                           // expanders in processes of their own
	"rastel/policy":                           {"rastel/sanitize/eml", "rastel/scanners", "rastel/policy/exceptions"},
	"rastel/policy/exceptions":                {},                                                                                  // what is excepted, kept and looked up; what that means for a message is policy's to say
	"rastel/policy/hosts":                     {},                                                                                  // counts who sends what; knows nothing of mail
	"rastel/policy/procmail":                  {},                                                                                  // reads what another program was set to; the policy it writes is checked by who calls it
	"rastel/policy/policytest":                {"rastel/sanitize/eml", "rastel/scanners", "rastel/policy", "rastel/policy/engine"}, // case files: what a policy is tested with, by us, by its owners, and before it is put in force
	"rastel/policy/quarantine":                {"rastel/sanitize/eml"},
	"rastel/policy/quarantine/sqlindex":       {"rastel/sanitize/eml", "rastel/policy/quarantine", "rastel/policy/exceptions"},
	"rastel/policy/quarantine/blob":           {"rastel/sanitize/eml", "rastel/policy/quarantine"},
	"rastel/policy/quarantine/journal":        {"rastel/sanitize/eml", "rastel/policy/quarantine"}, // what stands before an index and messages that are shared
	"rastel/policy/quarantine/zipseal":        {},                                                  // writes zips with a password; knows nothing of mail, and what reads them is a scanner
	"rastel/policy/quarantine/quarantinetest": {"rastel/sanitize/eml", "rastel/policy/quarantine"}, // the suite of Index and Blobs
	"rastel/policy/engine":                    {"rastel/sanitize/eml", "rastel/scanners", "rastel/policy", "rastel/policy/quarantine", "rastel/policy/quarantine/zipseal", "rastel/policy/exceptions"},
	"rastel/milter":                           {"rastel/sanitize/eml", "rastel/policy"},
	"rastel/cmd/rastel":                       {"*"},
	"rastel/cmd/rastel/api":                   {"*"},
	"rastel/contrib/rig":                      {}, // the real servers for tests; knows nothing of rastel
	"rastel/contrib/e2e":                      {"rastel/contrib/rig"},
	"rastel/contrib/browser":                  {}, // the real browser for tests; knows nothing of rastel
	"rastel/contrib/rig/bombs":                {}, // measures a program; knows nothing of rastel
	"rastel/contrib/rig/faults":               {"rastel/contrib/rig"},
	"rastel/contrib/rig/demo":                 {"rastel/contrib/rig"},
}

// owners are third-party packages that one package wraps; nothing else may import them.
var owners = map[string][]string{
	"github.com/emersion/go-milter":      {"rastel/milter"},
	"github.com/emersion/go-message":     {"rastel/sanitize/eml"},
	"github.com/baruwa-enterprise/clamd": {"rastel/scanners/clamd"},
	"github.com/emersion/go-msgauth":     {"rastel/scanners/dkim", "rastel/scanners/dmarc"}, // a package of it for each
	"blitiri.com.ar/go/spf":              {"rastel/scanners/dmarc"},
	"github.com/landlock-lsm":            {"rastel/scanners/worker"},
	"github.com/emersion/go-sasl":        {"rastel/policy/quarantine"},
	"github.com/elastic":                 {"rastel/scanners/worker"},
	"github.com/mholt/archiver":          {"rastel/scanners/archive"},
	"github.com/bodgit/sevenzip":         {"rastel/scanners/archive"},
	"github.com/nwaples/rardecode":       {"rastel/scanners/archive"},
	"github.com/chromedp":                {"rastel/contrib/browser"},
	"github.com/expr-lang/expr":          {"rastel/policy"},
	"github.com/gaissmai/bart":           {"rastel/policy"},
	"github.com/santhosh-tekuri":         {"rastel/policy"},                                 // in tests: what editors make of the schema
	"github.com/miekg/dns":               {"rastel/scanners/network", "rastel/contrib/rig"}, // there for a server
	"golang.org/x/net/html":              {"rastel/sanitize", "rastel/contrib/browser"},     // there for tests: fragments as XML
	"github.com/prometheus":              {"rastel/policy/engine", "rastel/policy/hosts", "rastel/cmd/rastel", "rastel/cmd/rastel/api"},
	"modernc.org/sqlite":                 {"rastel/policy/quarantine/sqlindex"},
	"github.com/minio/minio-go":          {"rastel/policy/quarantine/blob"},
	"github.com/pressly/goose":           {"rastel/policy/quarantine/sqlindex"},
	"github.com/jackc/pgx":               {"rastel/policy/quarantine/sqlindex"},
}

func TestImportsFollowTheFloorPlan(t *testing.T) {
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports", "rastel/...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p struct {
			ImportPath string
			Imports    []string
		}
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		allowed, ok := floor[p.ImportPath]
		if !ok {
			t.Errorf("%s is not in the floor plan", p.ImportPath)
			continue
		}
		for _, imp := range p.Imports {
			checkImport(t, p.ImportPath, imp, allowed)
		}
	}
}

func checkImport(t *testing.T, pkg, imp string, allowed []string) {
	if strings.HasPrefix(imp, "rastel/") && !slices.Contains(allowed, "*") && !slices.Contains(allowed, imp) {
		t.Errorf("%s imports %s, which the floor plan does not allow", pkg, imp)
	}
	for prefix, who := range owners {
		if strings.HasPrefix(imp, prefix) && !slices.Contains(who, pkg) {
			t.Errorf("%s imports %s, which belongs to %v", pkg, imp, who)
		}
	}
}
