package inbound

import (
	"context"
	"io"
	"net"
	"testing"
	"time"

	"github.com/relais-sante/relais/store/journal"
)

// depths are how far a conversation is before the fuzzer takes over.
var depths = []string{
	"",
	"EHLO a.example\r\n",
	"EHLO a.example\r\nMAIL FROM:<roux@chu.example>\r\nRCPT TO:<abc@parcours.example>\r\n",
	"EHLO a.example\r\nMAIL FROM:<roux@chu.example>\r\nRCPT TO:<abc@parcours.example>\r\nDATA\r\n",
	"EHLO a.example\r\nMAIL FROM:<roux@chu.example>\r\nRCPT TO:<abc@parcours.example>\r\nBDAT 10\r\n",
}

// Whatever a peer says, at whatever depth, the server comes to an end of it
// without a panic (TestMain counts them).
func FuzzSession(f *testing.F) {
	for depth := range depths {
		f.Add(byte(depth), []byte("MAIL FROM:<roux@chu.example>\r\nRCPT TO:<abc@parcours.example>\r\nDATA\r\na\r\n.\r\nQUIT\r\n"))
		f.Add(byte(depth), []byte("0123456789BDAT 3 LAST\r\nb\r\nRSET\r\nVRFY a\r\nHELO\r\n"))
		f.Add(byte(depth), []byte("..\r\n.\r\r\nSTARTTLS\r\n\x16\x03\x01\x00"))
	}
	guard, _ := guardFor(f)
	server, err := New(Options{
		Hub: &stub{}, Guard: guard, Domain: domain, AnyPeer: true,
		Limits: Limits{Command: time.Second, Read: time.Second, Handshake: time.Second, MessageBytes: 10_000},
	})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		server.Shutdown(ctx)
	})
	f.Fuzz(func(t *testing.T, depth byte, said []byte) {
		before := journal.Panics()
		here, there := net.Pipe()
		server.accept(there, StartTLS)
		done := make(chan struct{})
		go func() {
			defer close(done)
			io.Copy(io.Discard, here)
		}()
		here.SetDeadline(time.Now().Add(5 * time.Second))
		here.Write([]byte(depths[int(depth)%len(depths)]))
		here.Write(said)
		here.Close()
		<-done
		if journal.Panics() != before {
			t.Fatal("a panic was recovered")
		}
	})
}
