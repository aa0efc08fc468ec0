package bolt

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/relais-sante/relais/store"
	"github.com/relais-sante/relais/store/journal/journaltest"
	"github.com/relais-sante/relais/store/seal"
)

// The crash test starts this test binary again as a process that commits under
// load and says on its output what was acknowledged, kills it with SIGKILL at a
// random moment, and looks at what is there.

const crashEnv = "RELAIS_STORE_CRASH_CHILD" // data dir, epoch dir, hub key

func TestMain(m *testing.M) {
	if v := os.Getenv(crashEnv); v != "" {
		crashChild(strings.Split(v, "\n"))
		return
	}
	if v := os.Getenv(limitEnv); v != "" {
		limitChild(strings.Split(v, "\n"))
		return
	}
	os.Exit(journaltest.Run(m))
}

const crashWriters = 8

func crashCode(w int) store.PathwayCode { return store.PathwayCode(fmt.Sprintf("crash%02d", w)) }

// crashClear is what message n of a writer holds: small and large ones.
func crashClear(id store.MessageID, n int) []byte {
	size := 3000 + n%5*700
	if n%7 == 6 {
		size = 60000
	}
	return bytes.Repeat([]byte(id+"\r\n"), size/len(id))
}

func childStore(args []string) *Store {
	k, err := seal.Open(seal.Options{DataDir: args[0], EpochDir: args[1], Hub: seal.Value(args[2])})
	if err == nil {
		var s *Store
		if s, err = Open(Options{Dir: args[0], Keys: k, SmallMessage: 50000, SegmentSize: 1 << 20}); err == nil {
			return s
		}
	}
	fmt.Println("error", err)
	os.Exit(1)
	return nil
}

func crashChild(args []string) {
	s := childStore(args)
	var mu sync.Mutex
	say := func(format string, a ...any) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Printf(format+"\n", a...)
	}
	var wg sync.WaitGroup
	for w := range crashWriters {
		code := crashCode(w)
		wg.Go(func() {
			if err := s.NewKey(bg, pathwayOwner(code)); err != nil {
				say("error %v", err)
				return
			}
			for {
				if err := crashPost(s, code, say); err != nil {
					say("error %v", err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// crashPost files the next message of a pathway with all that belongs to it.
func crashPost(s *Store, code store.PathwayCode, say func(string, ...any)) error {
	var n int
	if err := s.View(bg, func(v store.View) error {
		last, err := v.Recent(code, 1)
		if len(last) > 0 {
			n = int(last[0].Seq)
		}
		return err
	}); err != nil {
		return err
	}
	id := store.MessageID(fmt.Sprintf("01%s%06d", code, n))
	clear := crashClear(id, n)
	d, err := s.Create(bg, 0)
	if err != nil {
		return err
	}
	if _, err := d.Write(clear); err != nil {
		return err
	}
	if err := d.Finish(); err != nil {
		return err
	}
	held := n%5 == 4
	hid := store.HeldID("h" + id)
	if held {
		if err := s.NewKey(bg, triageOwner(hid)); err != nil {
			return err
		}
	}
	err = s.Commit(bg, func(t store.Tx) error {
		m := &store.Message{ID: id, Pathway: code, RFCID: string(id) + "@x", Filings: []store.Filing{{Rubric: "r"}}}
		if err := t.FileMessage(m, []byte(id), d); err != nil {
			return err
		}
		if err := t.PutDelivery(&store.Delivery{ID: store.DeliveryID(id), Pathway: code, Message: id, State: store.Queued}); err != nil {
			return err
		}
		if err := t.PutItem(store.Item{ID: store.ItemID(id), Lane: "out:x", Delivery: store.DeliveryID(id)}); err != nil {
			return err
		}
		if held {
			if err := t.Hold(&store.Held{ID: hid}, nil, nil); err != nil {
				return err
			}
		}
		return t.Trace(store.Trace{Family: store.Application, Action: "post.filed", Object: string(id), Pathway: code})
	})
	if err != nil {
		return err
	}
	say("kept %d %s", n, code)
	return nil
}

func TestKilledUnderLoad(t *testing.T) {
	total := 4 * time.Second
	if os.Getenv("RELAIS_LONG") == "1" {
		total = 5 * time.Minute
	}
	p := newPlace(t)
	acked := map[store.PathwayCode]int{} // number of acknowledged messages
	end := time.Now().Add(total)
	rounds := 0
	for time.Now().Before(end) || rounds < 3 {
		rounds++
		crashRound(t, p, acked)
		checkCrashed(t, p, acked)
		if t.Failed() {
			t.Fatalf("in round %d", rounds)
		}
	}
	n := 0
	for _, k := range acked {
		n += k
	}
	if n == 0 {
		t.Fatal("nothing was ever acknowledged: the test tests nothing")
	}
	t.Logf("%d rounds, %d messages acknowledged", rounds, n)
}

func (p *place) args() string {
	return strings.Join([]string{p.seal.DataDir, p.seal.EpochDir, string(p.seal.Hub.(seal.Value))}, "\n")
}

func crashRound(t *testing.T, p *place, acked map[store.PathwayCode]int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), crashEnv+"="+p.args())
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	// The moment counts from the first sign of life, so that a slow machine
	// does not spend it starting up.
	var kill *time.Timer
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if kill == nil {
			kill = time.AfterFunc(time.Duration(rand.IntN(400))*time.Millisecond, func() { _ = cmd.Process.Kill() })
		}
		word, rest, _ := strings.Cut(lines.Text(), " ")
		if word == "error" {
			t.Errorf("the process said: %s", rest)
			_ = cmd.Process.Kill()
			continue
		}
		number, code, ok := strings.Cut(rest, " ")
		n, err := strconv.Atoi(number)
		if !ok || err != nil {
			continue // the line the kill cut off
		}
		c := store.PathwayCode(code)
		if len(c) == len(crashCode(0)) && n >= acked[c] {
			acked[c] = n + 1
		}
	}
	_ = cmd.Wait()
	if kill != nil {
		kill.Stop()
	}
}

func checkCrashed(t *testing.T, p *place, acked map[store.PathwayCode]int) {
	t.Helper()
	s := p.mustOpen(func(o *Options) { o.SmallMessage, o.SegmentSize = 50000, 1<<20 })
	defer p.leave()
	defer s.Close()
	var messages, traces int
	for w := range crashWriters {
		code := crashCode(w)
		var thread []*store.Message
		if err := s.View(bg, func(v store.View) (err error) {
			thread, err = v.Thread(code, 0, 0)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		messages += len(thread)
		if len(thread) < acked[code] {
			t.Errorf("%s: %d messages acknowledged, %d are there", code, acked[code], len(thread))
		}
		for n, m := range thread {
			checkWhole(t, s, m, n)
		}
	}
	if err := s.View(bg, func(v store.View) error {
		list, err := v.Traces(store.Application, 0, 0)
		traces = len(list)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if traces != messages {
		t.Errorf("%d traces beside %d messages", traces, messages)
	}
	st, err := s.Stats(bg)
	if err != nil || int(st.Messages) != messages || int(st.Queued) != messages {
		t.Errorf("figures %+v, %v; there are %d messages", st, err, messages)
	}
	checkNoOrphans(t, s)
}

// checkWhole checks that a message came with all that was put with it.
func checkWhole(t *testing.T, s *Store, m *store.Message, n int) {
	t.Helper()
	if err := s.View(bg, func(v store.View) error {
		if _, err := v.Delivery(store.DeliveryID(m.ID)); err != nil {
			return err
		}
		if _, err := v.Item(store.ItemID(m.ID)); err != nil {
			return err
		}
		if n%5 == 4 {
			if _, err := v.Held(store.HeldID("h" + m.ID)); err != nil {
				return err
			}
		}
		refs, err := v.MessagesByID(m.RFCID)
		if err == nil && len(refs) != 1 {
			err = fmt.Errorf("%d look-ups", len(refs))
		}
		return err
	}); err != nil {
		t.Errorf("message %s is half there: %v", m.ID, err)
	}
	r, err := s.Open(bg, *m.Blob)
	if err != nil {
		t.Errorf("message %s: %v", m.ID, err)
		return
	}
	defer r.Close()
	have, err := io.ReadAll(r)
	if err != nil || !bytes.Equal(have, crashClear(m.ID, n)) {
		t.Errorf("message %s: %d bytes came back, %v", m.ID, len(have), err)
	}
}

// checkNoOrphans checks that every segment file is one the index knows.
func checkNoOrphans(t *testing.T, s *Store) {
	t.Helper()
	entries, err := os.ReadDir(s.segs.dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.see(func(v *view) error {
		for _, e := range entries {
			if n, shared := sharedNumber(e.Name()); shared && n <= s.state.Segment || e.Name() == spareName {
				continue
			}
			if v.bucket(bucketLarge).Get([]byte(e.Name())) == nil {
				t.Errorf("segment %s is an orphan", e.Name())
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}
