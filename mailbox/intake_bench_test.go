package mailbox

import (
	"context"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/relais-sante/relais/store"
)

// processor gives the processor time that the process used so far.
func processor() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// attached is a mail with a base64 attachment of about that many bytes, encoded.
func attached(size int) string {
	content := make([]byte, size/78*57)
	rand.NewChaCha8([32]byte{1}).Read(content)
	encoded := base64.StdEncoding.EncodeToString(content)
	var b strings.Builder
	b.WriteString("MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=\"=_b1\"\n\n--=_b1\nContent-Type: text/plain; charset=utf-8\n\n" +
		"Bonjour,\n\nVeuillez trouver le compte rendu.\n\nCordialement\n\n--=_b1\nContent-Type: application/pdf; name=\"cr.pdf\"\n" +
		"Content-Transfer-Encoding: base64\nContent-Disposition: attachment; filename=\"cr.pdf\"\n\n")
	for len(encoded) > 0 {
		n := min(76, len(encoded))
		b.WriteString(encoded[:n] + "\n")
		encoded = encoded[n:]
	}
	return b.String() + "\n--=_b1--\n"
}

// BenchmarkIntake takes messages as the server does: RCPT, then the message.
// cpu-µs/op is the processor's time, waiting for the disk left out.
func BenchmarkIntake(b *testing.B) {
	line := "Surveillance de routine, rien à signaler aujourd'hui. Bien à vous.\n"
	for _, mail := range []struct{ name, content string }{
		{"4KB", "MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\n\n" + strings.Repeat(line, 60)},
		{"1MB", attached(1 << 20)},
	} {
		for _, boxes := range []int{1, 8} {
			for _, senders := range []int{1, 10} {
				b.Run(fmt.Sprintf("%s/boxes=%d/senders=%d", mail.name, boxes, senders), func(b *testing.B) {
					benchmarkIntake(b, mail.content, boxes, senders)
				})
			}
		}
	}
}

func benchmarkIntake(b *testing.B, content string, boxes, senders int) {
	h := openHouse(b)
	h.child = h.include("279035121518989", "Martin", "Léa", "2015-03-02")
	for i := range boxes + 1 {
		h.member(h.child, fmt.Sprintf("Mme Numéro %d", i), "infirmier", fmt.Sprintf("box%d@out.test", i), "PER", "")
	}
	ctx := context.Background()
	w := written{from: "box0@out.test", subject: "Message", content: content}
	head, rest, _ := strings.Cut(w.bytes(), "Subject: ")
	var next atomic.Int64
	var wg sync.WaitGroup
	take := func(n int64) error {
		env := Envelope{
			MailFrom: store.Address(w.from), Via: ViaSMTP, Received: h.clock.now(),
			Peer: Peer{Where: "127.0.0.1:1", SpeaksFor: func(string) bool { return true }},
		}
		r, err := h.Recipient(ctx, &env, string(h.child)+"@"+testDomain)
		if err != nil {
			return err
		}
		env.Rcpts = append(env.Rcpts, r)
		receipt, err := h.Intake(ctx, env, strings.NewReader(fmt.Sprintf("%sMessage-ID: <%d@out.test>\r\nSubject: %s", head, n, rest)))
		if err == nil && receipt.Deliveries != boxes {
			b.Errorf("%+v", receipt)
		}
		return err
	}
	if err := take(0); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.ResetTimer()
	begun := processor()
	for range senders {
		wg.Go(func() {
			for n := next.Add(1); n <= int64(b.N); n = next.Add(1) {
				if err := take(n); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64((processor()-begun).Microseconds())/float64(b.N), "cpu-µs/op")
}
