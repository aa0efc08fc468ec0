package gateway

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/relais-sante/relais/mailbox"
)

// BenchmarkFull says what a message costs in a hub that is full, beside an empty
// one: the two take slices of messages by turns, the metric full/empty is the
// median of the ratios of their rates. What is above 0.9 or so has not grown.
// cpu-empty/full is the same of the processor's time, for busy machines.
//
// By itself it fills a small store. RELAIS_FULL=DIR keeps the full one there, to
// be used again (and looked at with the program itself); RELAIS_PATHWAYS and
// RELAIS_MESSAGES say how full it is to be: 100000 and 1000000 take half an hour
// (-timeout 2h) and 11 GB.
func BenchmarkFull(b *testing.B) {
	pathways, messages := number("RELAIS_PATHWAYS", 300), number("RELAIS_MESSAGES", 3000)
	dir := os.Getenv("RELAIS_FULL")
	if dir == "" {
		dir = b.TempDir()
	}
	begun := time.Now()
	full := benchHub(b, filepath.Join(dir, "hub"))
	opened := time.Since(begun)
	codes := fill(b, full, filepath.Join(dir, "codes"), pathways, messages)
	empty := benchHub(b, filepath.Join(b.TempDir(), "hub"))
	few := fill(b, empty, filepath.Join(b.TempDir(), "codes"), listening, 0)

	const slice, connections = 500, 10
	one := func(h *benched, codes []string) (rate, cpu float64) {
		before, began := h.peer.taken.Load(), processor(b)
		took := h.sends(b, connections, slice, func(int) (from, to string) {
			k := rand.IntN(listening)
			return authorOf(k), codes[k]
		})
		h.peer.await(b, before+slice)
		return slice / took.Seconds(), (processor(b) - began).Seconds()
	}
	one(empty, few)
	one(full, codes)
	b.ResetTimer()
	var ratios, rates, costs []float64
	for i := range max(b.N, 5) {
		var rate, cpu [2]float64
		for k := range 2 {
			if which := (i + k) % 2; which == 0 {
				rate[0], cpu[0] = one(empty, few)
			} else {
				rate[1], cpu[1] = one(full, codes)
			}
		}
		ratios, rates, costs = append(ratios, rate[1]/rate[0]), append(rates, rate[1]), append(costs, cpu[0]/cpu[1])
	}
	b.ReportMetric(median(ratios), "full/empty")
	b.ReportMetric(median(costs), "cpu-empty/full")
	b.ReportMetric(median(rates), "accepted/s")
	b.ReportMetric(opened.Seconds(), "opening-s")
	b.ReportMetric(0, "ns/op")
}

func median(of []float64) float64 {
	slices.Sort(of)
	return of[len(of)/2]
}

// processor is the processor's time of this process so far.
func processor(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func number(name string, otherwise int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil {
		return n
	}
	return otherwise
}

// listening is how many pathways have a second member, who gets copies; only
// those get mail once the store is full.
const listening = 200

// authorOf is the box that writes to a pathway: each is in some fifty of them.
func authorOf(k int) string { return fmt.Sprintf("author%d@out.test", k/50) }

// fill includes pathways and sends them messages, unless the file says that it
// was done. It gives the codes.
func fill(b *testing.B, h *benched, file string, pathways, messages int) []string {
	b.Helper()
	if kept, err := os.ReadFile(file); err == nil {
		return strings.Fields(string(kept))
	}
	codes := make([]string, pathways)
	var work sync.WaitGroup
	const workers = 8
	for w := range workers {
		work.Go(func() {
			for k := w; k < pathways; k += workers {
				p, err := h.admin.Include(b.Context(), mailbox.Actor{}, mailbox.IncludeRequest{
					Programme: "pon", FamilyName: "Martin-" + letters(k), GivenName: "Léa", BirthDate: "2015-03-02", Sex: "F",
					Consent: "oral", ConsentFrom: "mère", ConsentBy: "IDEC",
				})
				if err != nil {
					b.Error(err)
					return
				}
				codes[k] = p.ID
				join(b, h.admin, p.ID, authorOf(k))
			}
		})
	}
	work.Wait()
	if b.Failed() {
		b.FailNow()
	}
	h.sends(b, 50, messages, func(i int) (from, to string) {
		k := i * 7919 % pathways
		return authorOf(k), codes[k]
	})
	for k := range listening {
		join(b, h.admin, codes[k], fmt.Sprintf("nurse%d@out.test", k))
	}
	if err := os.WriteFile(file, []byte(strings.Join(codes, "\n")), 0o600); err != nil {
		b.Fatal(err)
	}
	return codes
}

// letters writes a number as a name can be written.
func letters(k int) string {
	s := []byte("Aaaa")
	for i := 3; k > 0; i-- {
		s[i] += byte(k % 26)
		k /= 26
	}
	return string(s)
}
