package clamd_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/relais-sante/relais/gateway/clamd"
	"github.com/relais-sante/relais/gateway/peertest"
)

func dial(peer *peertest.Clamd) *clamd.Client {
	return clamd.New(clamd.Options{Address: peer.Address, Timeout: 30 * time.Second, MaxBytes: 100 << 20, Scans: 4})
}

func mail(attachment string) string {
	return "From: <roux@chu.example>\r\nSubject: essai\r\nMIME-Version: 1.0\r\n" +
		"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\nvoir le document\r\n" +
		"--b\r\nContent-Type: application/octet-stream; name=doc.bin\r\nContent-Transfer-Encoding: base64\r\n" +
		"Content-Disposition: attachment; filename=doc.bin\r\n\r\n" + base64.StdEncoding.EncodeToString([]byte(attachment)) + "\r\n--b--\r\n"
}

func TestRealClamd(t *testing.T) {
	peer := peertest.StartClamd(t)
	client := dial(peer)
	scan := func(content string, want clamd.Verdict, fault error) {
		t.Helper()
		got, err := client.Scan(t.Context(), strings.NewReader(content))
		if got != want || !errors.Is(err, fault) {
			t.Errorf("got %+v, %v; want %+v, %v", got, err, want, fault)
		}
	}
	infected := clamd.Verdict{Infected: true, Signature: peertest.HarmfulName}
	scan(mail("compte rendu"), clamd.Verdict{}, nil)
	scan(mail(peertest.Harmful), infected, nil)
	scan(mail(strings.Repeat(".", 10<<20)), clamd.Verdict{}, nil)
	scan(mail(strings.Repeat(".", peertest.ClamdMax)), clamd.Verdict{}, clamd.ErrTooBig)
	peer.Stop()
	if v, err := client.Scan(t.Context(), strings.NewReader(mail(peertest.Harmful))); err == nil {
		t.Errorf("verdict of a stopped clamd: %+v", v)
	}
	if err := client.Ping(t.Context()); err == nil {
		t.Error("a stopped clamd answers")
	}
	peer.Start()
	if err := client.Ping(t.Context()); err != nil {
		t.Error(err)
	}
	scan(mail(peertest.Harmful), infected, nil)
}

// A message of 4 KB and one of 10 MB, one after the other.
func BenchmarkRealClamd(b *testing.B) {
	client := dial(peertest.StartClamd(b))
	for _, size := range []int{4 << 10, 10 << 20} {
		content := mail(strings.Repeat(".", size*3/4))
		b.Run(fmt.Sprintf("%dKiB", size>>10), func(b *testing.B) {
			b.SetBytes(int64(len(content)))
			for b.Loop() {
				if _, err := client.Scan(b.Context(), strings.NewReader(content)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
