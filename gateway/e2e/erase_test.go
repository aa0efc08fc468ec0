package e2e

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/relais-sante/relais/store/seal"
)

// backup copies a folder as anybody does, the hub stopped.
func (h *hub) backup(t *testing.T) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "backup")
	if err := os.CopyFS(to, regular{os.DirFS(h.dir)}); err != nil {
		t.Fatal(err)
	}
	return to
}

// TestErasureLeavesNothing: a pathway with messages small and large, held and
// assigned, a parent's box and a merge is erased, then hub key, recovery key and
// epoch are changed. The disk as it is then, and every backup made before, with
// every key there is then, give nothing of it; a backup with the current
// keystore gives every other pathway.
func TestErasureLeavesNothing(t *testing.T) {
	s := newSink(t)
	place := t.TempDir()
	h := newHub(t, settings{keys: fmt.Sprintf("copies = [%q]", place), outbound: `route = "smarthost"
tls = "none"
smarthost = "` + s.addr + `"`})
	safe := t.TempDir()
	newRecovery := func(name string) {
		h.run("key", "new-recovery", "--out", filepath.Join(safe, name))
		b, err := os.ReadFile(filepath.Join(safe, name, "recovery.pub"))
		if err == nil {
			err = os.WriteFile(filepath.Join(h.dir, "keys/recovery.pub"), b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"one", "two"} {
		if err := os.Mkdir(filepath.Join(safe, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	newRecovery("one")
	config, err := os.ReadFile(h.config)
	if err == nil {
		config = bytes.Replace(config, []byte("[keys]\n"), []byte("[keys]\nrecovery_key = \"keys/recovery.pub\"\n"), 1)
		err = os.WriteFile(h.config, config, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	h.start()
	h.run("key", "rotate", "recovery")

	var p, q struct{ ID string }
	h.ask(&q, "pathway", "include", "--programme", "pon", "--family-name", "Survivant", "--given-name", "Tom", "--birth-date", "2014-07-12",
		"--sex", "M", "--consent", "oral", "--consent-from", "mère", "--consent-by", "IDEC PON")
	h.ask(&p, "pathway", "include", "--programme", "pon", "--ins", markers.ins, "--ins-oid", "1.2.250.1.213.1.4.10",
		"--family-name", markers.family, "--given-name", "Léa", "--birth-date", "2015-03-02", "--sex", "F",
		"--establishment", "CHU Caen", "--consent", "oral", "--consent-from", "mère "+markers.family, "--consent-by", "IDEC PON")
	var m struct{ ID string }
	h.ask(&m, "pathway", "include", "--programme", "pon", "--family-name", markers.family, "--given-name", "Léa", "--birth-date", "2015-03-02",
		"--sex", "F", "--consent", "oral", "--consent-from", "mère", "--consent-by", "IDEC PON")
	citizen := markers.ins + "@patient.mssante.fr"
	h.member(p.ID, "Dr "+markers.member, "oncologue", "roux@chu.test", "PER")
	h.member(p.ID, "Mme Inès Moreau", "idec", "moreau@chu.test", "PER")
	parent := h.member(p.ID, "Mme Sophie "+markers.family, "parent", citizen, "PER")
	h.run("consent", "record", p.ID, "--kind", "oral", "--from", "mère", "--by", "IDEC", "--for", parent)
	h.member(m.ID, "Dr "+markers.member, "oncologue", "roux@chu.test", "PER")
	h.member(q.ID, "Dr Anne Roux", "oncologue", "roux@chu.test", "PER")
	h.member(q.ID, "Mme Rose Picard", "idec", "picard@chu.test", "PER")

	var backups []string
	again := func() { // a backup in the middle of things
		h.stop()
		backups = append(backups, h.backup(t))
		h.start()
	}
	post := func(from, to string, n, lines int) {
		t.Helper()
		if err := h.send(from, to+"@"+domain, markedMail(from, n, lines)); err != nil {
			t.Fatal(err)
		}
	}
	post("roux@chu.test", m.ID, 1, 1)
	post("roux@chu.test", p.ID, 2, 1)
	post("roux@chu.test", p.ID, 3, 60_000) // a segment file of its own
	post("inconnu@chu.test", p.ID, 4, 1)   // held, and assigned
	again()
	var held []struct{ ID string }
	h.ask(&held, "triage", "list")
	if len(held) != 1 {
		t.Fatalf("held: %+v", held)
	}
	h.run("triage", "assign", held[0].ID, p.ID, "--member", "m1")
	post("inconnu@chu.test", p.ID, 5, 60_000) // held still
	post(citizen, p.ID, 6, 1)
	h.run("pathway", "merge", m.ID, p.ID)
	if err := h.send("roux@chu.test", q.ID+"@"+domain, []byte("From: <roux@chu.test>\r\nSubject: Reste\r\nMessage-ID: <reste@chu.test>\r\n\r\nmotsurvivant\r\n")); err != nil {
		t.Fatal(err)
	}
	eventually(t, 30*time.Second, "the copies are sent and the messages merged", func() bool {
		return s.count(func(c taken) bool { return c.kind == "" }) >= 6 && len(h.thread(p.ID).Messages) >= 5
	})
	again()

	words := []string{
		markers.body, markers.subject, markers.file, markers.family, markers.ins, strings.ToLower(markers.member), "Sophie", "2015-03-02",
	}
	// The search finds all of it, before.
	h.stop()
	before := plunder(t, h.keyring(t), filepath.Join(h.dir, "data"))
	for _, w := range words {
		if !before.holds(w) {
			t.Errorf("%q is not found before: this test cannot fail", w)
		}
	}
	if before.mails < 6 {
		t.Errorf("only %d messages opened", before.mails)
	}
	h.start()

	var v struct {
		State string
		Boxes []string
	}
	h.ask(&v, "pathway", "erase", p.ID, "--yes")
	if v.State != "erased" || strings.Join(v.Boxes, " ") != "moreau@chu.test roux@chu.test" {
		t.Fatalf("%+v", v)
	}
	h.run("key", "rotate", "hub")
	newRecovery("two")
	h.run("key", "rotate", "recovery")
	h.run("key", "rotate", "epoch")
	if err := h.send("roux@chu.test", p.ID+"@"+domain, markedMail("roux@chu.test", 9, 1)); err == nil || !strings.Contains(err.Error(), "5.1.1") {
		t.Errorf("mail afterwards: %v", err)
	}
	h.stop()
	backups = append(backups, h.backup(t))
	keys := h.keyring(t)

	for i, dir := range backups {
		l := plunder(t, keys, filepath.Join(dir, "data"))
		for _, w := range words {
			if l.holds(w) {
				t.Errorf("backup %d: %q is still read", i, w)
			}
		}
		if l.rows < 20 || !l.holds("Survivant") {
			t.Errorf("backup %d: %d rows opened: too few to mean anything", i, l.rows)
		}
		h.oldKeysOpenNothing(t, dir, place, i == len(backups)-1)
	}
	// The segment file of the large message is gone, its room given back.
	if large, _ := filepath.Glob(filepath.Join(h.dir, "data/segments/l-*.seg")); len(large) != 0 {
		t.Errorf("%d large files are left", len(large))
	}

	// An old backup, restored with the current keystore and epoch, gives all else.
	b, err := os.ReadFile(filepath.Join(h.dir, "data/keystore"))
	if err != nil {
		t.Fatal(err)
	}
	old := filepath.Join(backups[1], "data")
	if err := os.WriteFile(filepath.Join(old, "keystore"), b, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(h.dir, "data")); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(filepath.Join(h.dir, "data"), os.DirFS(old)); err != nil {
		t.Fatal(err)
	}
	h.start()
	if th := h.thread(q.ID); len(th.Messages) != 1 {
		t.Errorf("%+v", th)
	} else if text := h.run("message", "show", th.Messages[0].ID, "--raw"); !strings.Contains(text, "motsurvivant") {
		t.Errorf("read back: %s", text)
	}
	if out, err := h.try("pathway", "show", p.ID); err == nil {
		t.Errorf("the erased pathway is shown: %s", out)
	}
	if err := h.send("roux@chu.test", p.ID+"@"+domain, markedMail("roux@chu.test", 10, 1)); err == nil || !strings.Contains(err.Error(), "5.1.1") {
		t.Errorf("mail after a restore: %v", err)
	}
	var list []struct{ ID string }
	h.ask(&list, "pathway", "list", "--mailbox", "roux@chu.test")
	if len(list) != 1 || list[0].ID != q.ID {
		t.Errorf("found by box: %+v", list)
	}
	h.grep(t, "restored")
}

// oldKeysOpenNothing tries the hub key of now on every epoch file, and the epoch
// of now on the keystore, of a backup; and looks for epochs that were left.
func (h *hub) oldKeysOpenNothing(t *testing.T, dir, place string, last bool) {
	t.Helper()
	o := seal.Options{
		DataDir: filepath.Join(dir, "data"), EpochDir: filepath.Join(dir, "keys/epochs"), Hub: seal.File(filepath.Join(h.dir, "keys/hub.key")),
	}
	if k, err := seal.Open(o); err == nil {
		k.Close()
		if !last {
			t.Errorf("the keys of a backup open: %s", dir)
		}
	} else if last {
		t.Error(err)
	}
	if !last {
		// Its keystore with the epochs that are left.
		o.EpochDir = filepath.Join(h.dir, "keys/epochs")
		if k, err := seal.Open(o); err == nil {
			k.Close()
			t.Errorf("the keystore of a backup opens: %s", dir)
		}
		return
	}
	for _, at := range []string{filepath.Join(h.dir, "keys/epochs"), place} {
		if left, _ := filepath.Glob(filepath.Join(at, "epoch-*")); len(left) != 1 {
			t.Errorf("epochs left in %s: %v", at, left)
		}
	}
}

// TestErasureSurvivesKills: killed at random moments of an erasure, the hub
// opens, goes on by itself to the end, and loses nothing else.
func TestErasureSurvivesKills(t *testing.T) {
	rounds := 5
	if long {
		rounds = 60
	}
	if testing.Short() {
		rounds = 2
	}
	h := newHub(t, settings{keys: fmt.Sprintf("copies = [%q]", t.TempDir()), outbound: `route = "smarthost"
tls = "none"
smarthost = "127.0.0.1:1"`})
	h.start()
	stays := h.include(0)
	h.member(stays, "Dr Anne Roux", "oncologue", "roux@chu.test", "PER")
	n := 0
	kills := 0
	for range rounds {
		var q struct{ ID string }
		h.ask(&q, "pathway", "include", "--programme", "pon", "--family-name", "Essai", "--given-name", fmt.Sprintf("Enfant %d", n),
			"--birth-date", "2014-07-12", "--sex", "F", "--consent", "oral", "--consent-from", "mère", "--consent-by", "IDEC")
		h.member(q.ID, "Dr Anne Roux", "oncologue", "roux@chu.test", "PER")
		h.member(q.ID, "Mme Essai", "parent", fmt.Sprintf("mere%d@famille.test", n), "PER")
		for range 60 { // more than a page of an erasure
			n++
			for _, code := range []string{q.ID, stays} {
				if code == stays && n%10 != 0 {
					continue
				}
				mail := fmt.Sprintf("From: <roux@chu.test>\r\nSubject: E\r\nMessage-ID: <k%d-%s@chu.test>\r\n\r\n%s", n, code, bytes.Repeat([]byte("texte\r\n"), 20))
				if err := h.send("roux@chu.test", code+"@"+domain, []byte(mail)); err != nil {
					t.Fatal(err)
				}
			}
		}
		var asked sync.WaitGroup
		asked.Go(func() { _, _ = h.try("pathway", "erase", q.ID, "--yes") })
		for range 3 {
			time.Sleep(time.Duration(rand.IntN(250)) * time.Millisecond) // the moment is the test
			h.kill()
			kills++
			h.start()
		}
		asked.Wait()
		// Killed before the first commit, it has to be asked for again.
		var p struct{ Status string }
		h.ask(&p, "pathway", "show", q.ID)
		if p.Status != "erased" {
			h.run("pathway", "erase", q.ID, "--yes")
		}
		eventually(t, 20*time.Second, "it is erased", func() bool {
			h.ask(&p, "pathway", "show", q.ID)
			return p.Status == "erased"
		})
		if err := h.send("roux@chu.test", q.ID+"@"+domain, []byte("From: <roux@chu.test>\r\n\r\nx\r\n")); err == nil || !strings.Contains(err.Error(), "5.1.1") {
			t.Errorf("mail afterwards: %v", err)
		}
	}
	if got := len(h.thread(stays).Messages); got != rounds*6 {
		t.Errorf("%d messages of the other pathway, want %d", got, rounds*6)
	}
	var k struct {
		OldEpochs []int `json:"old_epochs"`
		Owners    map[string]int
		Copies    []struct{ State string }
	}
	eventually(t, 10*time.Second, "the copies are current", func() bool {
		h.ask(&k, "key", "status")
		return len(k.OldEpochs) == 0 && k.Copies[0].State == "current"
	})
	if k.Owners["pathway"] != 1 || k.Owners["triage"] != 0 {
		t.Errorf("keys left: %v", k.Owners)
	}
	if worst := h.log.worst(); worst != "" {
		t.Errorf("the journal: %s", worst)
	}
	t.Logf("%d kills", kills)
}
