package gateway

import (
	"errors"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/relais-sante/relais/configs"
	"github.com/relais-sante/relais/gateway/admin"
	"github.com/relais-sante/relais/mailbox"
)

// Without an address there is no scanner at all: an interface around a nil
// pointer would scan.
func TestNoAntivirus(t *testing.T) {
	a := newAntivirus(&configs.Config{}, newMetrics())
	if s := a.scanner(); s != nil {
		t.Errorf("scanner %T", s)
	}
	var s admin.Status
	a.tell(t.Context(), &s)
	if s.Antivirus.Active {
		t.Error("active")
	}
}

// What clamd cannot take is refused for good, what it does not judge is not.
func TestAntivirusFaults(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "clamd.ctl")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { // hangs up on everybody
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.CopyN(io.Discard, conn, 1) // the client's first word
			conn.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	m := newMetrics()
	a := newAntivirus(&configs.Config{Clamd: configs.Clamd{
		Address: socket, Timeout: configs.Duration(10 * time.Second), MaxBytes: 10, Scans: 1,
	}}, m)
	_, _, err = a.scanner().Scan(t.Context(), strings.NewReader("bonjour"))
	if _, refused := errors.AsType[*mailbox.Refusal](err); err == nil || refused {
		t.Errorf("hung up: %v", err)
	}
	_, _, err = a.scanner().Scan(t.Context(), strings.NewReader("compte rendu"))
	if r, refused := errors.AsType[*mailbox.Refusal](err); !refused || r.Reason != mailbox.RefuseTooBig {
		t.Errorf("too big: %v", err)
	}
	var s admin.Status
	if a.tell(t.Context(), &s); s.Antivirus != (admin.Antivirus{Active: true}) {
		t.Errorf("status %+v", s.Antivirus)
	}
	l.Close()
	<-done
	if _, _, err = a.scanner().Scan(t.Context(), strings.NewReader("bonjour")); err == nil {
		t.Error("verdict of nobody")
	}
	families, err := m.Gather()
	if err != nil {
		t.Fatal(err)
	}
	counts := map[string]float64{}
	for _, f := range families {
		if f.GetName() == "relais_antivirus_scans_total" {
			for _, x := range f.GetMetric() {
				counts[x.GetLabel()[0].GetValue()] = x.GetCounter().GetValue()
			}
		}
	}
	if len(counts) != 4 || counts["failed"] != 2 || counts["too-big"] != 1 {
		t.Errorf("counted %v", counts)
	}
}
