package directory

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// The size of the real extract, and of the short form of its tests.
const (
	fullSize  = 540_000
	shortSize = 20_000
)

func long() bool { return os.Getenv("RELAIS_LONG") != "" }

// written makes an extract of n lines as a file.
func written(t testing.TB, n int) string {
	name := filepath.Join(t.TempDir(), "Extraction_Correspondance_MSSante_202601020304.txt")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	out := bufio.NewWriter(f)
	fmt.Fprintln(out, headingLine)
	c := newCountry(1)
	for i := range n {
		line := c.line(i)
		fmt.Fprintln(out, line)
		if i%3200 == 0 {
			fmt.Fprintln(out, line) // as often as in the real one
		}
	}
	if err := out.Flush(); err != nil {
		t.Fatal(err)
	}
	return name
}

// TestMain lets TestSize import in a process of its own, whose memory is that
// of the import alone.
func TestMain(m *testing.M) {
	if file := os.Getenv("RELAIS_DIRECTORY_IMPORT"); file != "" {
		if err := importAlone(file, os.Getenv("RELAIS_DIRECTORY_DIR")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func importAlone(file, dir string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	d := Open(Options{MaxShrink: 20, Dir: dir})
	defer d.Close()
	start := time.Now()
	report, err := d.Import(context.Background(), f, Import{})
	if err != nil {
		return err
	}
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return err
	}
	_, peak, _ := strings.Cut(string(status), "VmHWM:")
	fmt.Println(report.Entries, report.Duplicates, time.Since(start).Milliseconds(), strings.Fields(peak)[0])
	return nil
}

// TestSize holds the import to its bounds: 540,000 lines in 15 s and 300 MB,
// searches in 20 ms.
func TestSize(t *testing.T) {
	lines := shortSize
	if long() {
		lines = fullSize
	}
	file, dir := written(t, lines), t.TempDir()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "RELAIS_DIRECTORY_IMPORT="+file, "RELAIS_DIRECTORY_DIR="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var entries, duplicates, millis, peak int
	if _, err := fmt.Sscan(string(out), &entries, &duplicates, &millis, &peak); err != nil {
		t.Fatal(err)
	}
	busy := cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	t.Logf("%d entries in %d ms (%v of processors), %d kB at most", entries, millis, busy, peak)
	if entries != lines || duplicates != (lines+3199)/3200 {
		t.Errorf("%d entries and %d duplicates of %d lines", entries, duplicates, lines)
	}
	if long() && (time.Duration(millis)*time.Millisecond > 15*time.Second || peak > 300<<10) {
		t.Errorf("import took %d ms, %v of processors and %d kB", millis, busy, peak)
	}
	d := Open(Options{MaxShrink: 20, Dir: dir})
	defer d.Close()
	info, err := os.Stat(filepath.Join(dir, current))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file: %v, %v", info.Mode(), err)
	}
	t.Logf("%d MB of file", info.Size()>>20)
	for _, q := range queriesOf(d, t) {
		var times []time.Duration
		for range 9 {
			start := time.Now()
			if _, err := d.Search(t.Context(), q); err != nil {
				t.Fatal(err)
			}
			times = append(times, time.Since(start))
		}
		slices.Sort(times)
		page, _ := d.Search(t.Context(), q)
		t.Logf("%-45s %7d found, median %v, most %v", q.Text+string(q.RPPS), page.Total, times[len(times)/2], times[len(times)-1])
		if long() && times[len(times)/2] > 20*time.Millisecond {
			t.Errorf("a search of %q took %v", q.Text, times[len(times)/2])
		}
	}
}

// queriesOf are searches as people make them, and the worst there are.
func queriesOf(d *Directory, t testing.TB) []Query {
	var some Entry
	err := d.read(func(in *index) (err error) {
		some, err = in.entry(uint32(in.foot.Entries / 2))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return []Query{
		{Text: some.FamilyName},
		{Text: some.FamilyName + " " + some.GivenName},
		{Text: some.GivenName + " " + some.Town},
		{Text: some.RPPS},
		{Text: some.Mailbox},
		{Text: some.FINESS},
		{Text: some.Structure},
		{Text: "infirmier " + some.Town},
		{Text: "médecin"},
		{Text: "ma"},
		{Text: "mssante fr"},
		{Text: "me in ms fr pr ma"},
		{Text: "zzz introuvable"},
	}
}

func BenchmarkImport(b *testing.B) {
	lines := shortSize
	if long() {
		lines = fullSize
	}
	file := written(b, lines)
	for b.Loop() {
		f, err := os.Open(file)
		if err != nil {
			b.Fatal(err)
		}
		d := Open(Options{MaxShrink: 20, Dir: b.TempDir()})
		if _, err := d.Import(b.Context(), f, Import{}); err != nil {
			b.Fatal(err)
		}
		d.Close()
		f.Close()
	}
	b.ReportMetric(float64(lines)*float64(b.N)/b.Elapsed().Seconds(), "lines/s")
}

func BenchmarkSearch(b *testing.B) {
	lines := shortSize
	if long() {
		lines = fullSize
	}
	f, err := os.Open(written(b, lines))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	d := Open(Options{MaxShrink: 20, Dir: b.TempDir()})
	defer d.Close()
	if _, err := d.Import(b.Context(), f, Import{}); err != nil {
		b.Fatal(err)
	}
	for i, q := range queriesOf(d, b) {
		b.Run(strconv.Itoa(i), func(b *testing.B) {
			for b.Loop() {
				if _, err := d.Search(b.Context(), q); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
