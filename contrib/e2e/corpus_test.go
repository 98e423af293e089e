package e2e

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"rastel/contrib/rig"
)

// corpus is third-party test data beside the project; it is no part of it.
const corpus = "../../../shared/corpus/mime"

func TestCorpusWithoutFindingsIsByteIdentical(t *testing.T) {
	needServers(t)
	if _, err := os.Stat(corpus); err != nil {
		t.Skipf("needs the third-party messages in ../shared/corpus/mime beside the project: %v", err)
	}
	eachMTA(t, func(t *testing.T, mta string) {
		with, without := newWorld(t, setup{mta: mta}), newWorld(t, setup{mta: mta, noFilter: true})
		clean := with.rastel.cleanFiles()
		refused := 0
		for i, file := range clean {
			raw := readMessage(t, file)
			to := fmt.Sprintf("corpus%d@%s", i, rig.Domain)
			// What the MTA alone does not take is none of the filter's affair.
			if r, err := rig.Send(without.mta.SMTP(), sender, []string{to}, raw); err != nil || !r.OK() {
				refused++
				continue
			}
			t.Run(strings.TrimPrefix(file, corpus+"/"), func(t *testing.T) {
				with, without := with.in(t), without.in(t)
				with.mustTake(to, raw)
				wantSame(t, with.only(to).Raw, without.only(to).Raw, raw)
				wantNoEdits(t, with.tap.counts())
			})
		}
		t.Logf("%d messages without findings, of which the MTA itself refuses %d", len(clean), refused)
		if len(clean)-refused < minClean {
			t.Errorf("%d messages compared, want at least %d", len(clean)-refused, minClean)
		}
	})
}

// minClean is less than the number of innocent messages in the corpus: so that the comparison
// cannot become empty unnoticed.
const minClean = 150

// cleanFiles are the files of the corpus that raise no finding. They are scanned as they go
// over the wire, with the line ends of SMTP.
func (r *rastel) cleanFiles() []string {
	r.t.Helper()
	dir := r.t.TempDir()
	files := corpusFiles(r.t)
	for i, file := range files {
		writeFile(r.t, filepath.Join(dir, strconv.Itoa(i)), string(readMessage(r.t, file)))
	}
	out, status := r.run("scan", "-json", "-config", r.config, dir)
	results := decodeLines[struct {
		File, Action string
		Patched      bool
		Findings     []struct{}
	}](r.t, out)
	if len(results) != len(files) || status == 2 {
		r.t.Fatalf("scan: status %d, %d results for %d files", status, len(results), len(files))
	}
	var clean []string
	for _, res := range results {
		i, err := strconv.Atoi(filepath.Base(res.File))
		if err != nil {
			r.t.Fatal(err)
		}
		if res.Action == "accept" && !res.Patched && len(res.Findings) == 0 {
			clean = append(clean, files[i])
		}
	}
	return clean
}

func corpusFiles(t *testing.T) []string {
	t.Helper()
	var files []string
	err := filepath.WalkDir(corpus, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && !strings.HasSuffix(path, ".jsonl") {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// readMessage reads a message with the line ends that SMTP needs.
func readMessage(t *testing.T, name string) []byte {
	t.Helper()
	raw, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.ReplaceAll(bytes.ReplaceAll(raw, []byte("\r\n"), []byte("\n")), []byte("\n"), []byte("\r\n"))
}
