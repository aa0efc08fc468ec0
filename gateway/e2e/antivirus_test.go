package e2e

import (
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"github.com/relais-sante/relais/gateway/peertest"
)

// TestAntivirus: with Debian's clamd, infected mail is refused and leaves
// nothing; while clamd is away nothing is taken, and what was put off is taken
// and sent when it is back.
func TestAntivirus(t *testing.T) {
	clamd := peertest.StartClamd(t)
	s := newSink(t)
	h := newHub(t, settings{
		outbound: "route = \"smarthost\"\ntls = \"none\"\nsmarthost = \"" + s.addr + "\"",
		rest:     "[clamd]\naddress = \"" + clamd.Address + "\"",
	})
	h.start()
	code := h.include(0)
	h.member(code, "Dr Anne Roux", "oncologue", "roux@chu.test", "PER")
	h.member(code, "Mme Inès Moreau", "idec", "moreau@chu.test", "PER")
	post := func(id, document, want string) {
		t.Helper()
		mail := "From: <roux@chu.test>\r\nSubject: Document\r\nMessage-ID: <" + id + "@chu.test>\r\nMIME-Version: 1.0\r\n" +
			"Content-Type: application/octet-stream; name=doc.bin\r\nContent-Transfer-Encoding: base64\r\n\r\n" +
			base64.StdEncoding.EncodeToString([]byte(document)) + "\r\n"
		got := "250"
		if err := h.send("roux@chu.test", code+"@"+domain, []byte(mail)); err != nil {
			got = strings.ReplaceAll(err.Error(), `"`, "") // as net/textproto quotes it
		}
		if !strings.HasPrefix(got, want) {
			t.Errorf("%s: %s; want %s", id, got, want)
		}
	}
	stands := func(messages int, reachable bool) {
		t.Helper()
		var st struct {
			Held      int
			Store     struct{ Messages int }
			Antivirus struct{ Active, Reachable bool }
		}
		h.ask(&st, "status")
		if st.Held != 0 || st.Store.Messages != messages || len(h.thread(code).Messages) != messages {
			t.Errorf("%d messages and %d held, want %d and none", st.Store.Messages, st.Held, messages)
		}
		if !st.Antivirus.Active || st.Antivirus.Reachable != reachable {
			t.Errorf("antivirus %+v", st.Antivirus)
		}
	}
	post("1", peertest.Harmful, "554 5.7.1")
	stands(0, true)
	post("2", "compte rendu", "250")
	stands(1, true)
	clamd.Stop()
	post("3", "compte rendu suivant", "451 4.3.0")
	post("1", peertest.Harmful, "451 4.3.0")
	stands(1, false)
	clamd.Start()
	post("3", "compte rendu suivant", "250")
	post("1", peertest.Harmful, "554 5.7.1")
	stands(2, true)
	if log := h.log.text(); strings.Count(log, peertest.HarmfulName) != 2 {
		t.Errorf("the journal does not name what was found, twice:\n%s", log)
	}
	eventually(t, time.Minute, "both messages are delivered", func() bool { return s.count(func(taken) bool { return true }) == 2 })
}
