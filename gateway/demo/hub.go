package demo

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/relais-sante/relais/configs"
	"github.com/relais-sante/relais/gateway"
	"github.com/relais-sante/relais/gateway/admin"
	"github.com/relais-sante/relais/gateway/setup"
	"github.com/relais-sante/relais/gateway/trust"
	"github.com/relais-sante/relais/mailbox/texts"
	"github.com/relais-sante/relais/rules"
	"github.com/relais-sante/relais/store/journal"
)

// Files of the demonstration's folder.
const (
	journalName = "journal.jsonl"
	listName    = "listeblanche.xml"
)

// hub is the daemon, in this process.
type hub struct {
	config  string // its relais.toml
	data    string // its data folder
	socket  string // of the admin API
	inbound string // where it takes mail, host:port
	mail    string // where accounts read, host:port
	send    string // where accounts send, host:port
	cancel  context.CancelFunc
	over    chan error
	journal io.Closer
}

// found makes the hub's folder as `relais init --dev` does, and gives the
// authority that signs everybody's certificates.
func found(dir string, l texts.Locale) (*trust.DevAuthority, error) {
	if _, err := setup.Init(setup.Options{Dir: dir, Domain: hubDomain, Dev: true, Locale: l}); err != nil {
		return nil, err
	}
	return trust.OpenDevAuthority(filepath.Join(dir, "tls"), nil)
}

// settings is the hub's relais.toml: everything that guards it in service is
// on. Only the waits are short.
const settings = `domain = %q
data_dir = "data"
programmes = "programmes"
locale = %q
dev = true                       # test identities are taken for real ones
[log]
level = "info"
[tls]
cert = "tls/cert.pem"
key = "tls/key.pem"
authorities = "tls/ca.pem"
[trust]
white_list = %q
[inbound]
listen = ["starttls://127.0.0.1:0"]
require_client_cert = true
[submission]
listen = ["tls://127.0.0.1:0"]
[imap]
listen = ["tls://127.0.0.1:0"]
password = "on"
[outbound]
route = "mx"
resolver = %q
mx_port = %d
nil = "DEV000000"
retry = ["1s", "2s", "5s"]
[keys]
hub_key = "file:keys/hub.key"
epoch_dir = "keys/epochs"
`

// source lets the hospital record send for the children of its hospital.
const source = `
[[source]]
mailbox = %q
establishment = %q
name = %q
`

// openHub writes what makes the hub of this story and starts it.
func (s *Stage) openHub(ctx context.Context) error {
	dir := s.hubDir()
	config := fmt.Sprintf(settings, hubDomain, string(s.o.Locale), listName, s.resolver.address(), s.operators[0].port())
	if err := os.WriteFile(filepath.Join(dir, setup.ConfigName), []byte(config), 0o600); err != nil {
		return err
	}
	if err := writeWhiteList(filepath.Join(dir, listName)); err != nil {
		return err
	}
	if err := appendTo(filepath.Join(dir, "programmes", "pon.toml"), fmt.Sprintf(source, boxRecord, chu, "Dossier patient")); err != nil {
		return err
	}
	s.hub = &hub{config: filepath.Join(dir, setup.ConfigName)}
	loaded, problems := configs.Load(s.hub.config)
	set, more := loaded.LoadProgrammes()
	for _, p := range append(problems, more...) {
		if !p.Warning {
			return fmt.Errorf("checking the hub's files: %s", configs.Explain(p, s.o.Locale))
		}
	}
	s.programme = set.ByID("pon")
	return s.hub.start(ctx, loaded, s)
}

// writeWhiteList writes which operator speaks for which domain.
func writeWhiteList(path string) error {
	var entries []trust.Entry
	for _, h := range houses {
		name, err := trust.ParseName(h.dn())
		if err != nil {
			return err
		}
		entries = append(entries, trust.Entry{Domain: h.domain, Operator: name})
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if err := trust.WriteWhiteList(f, time.Now(), entries); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}

func appendTo(path, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	if _, err := f.WriteString(text); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}

// start runs the daemon and waits until it is ready.
func (h *hub) start(ctx context.Context, config *configs.Config, s *Stage) error {
	h.data, h.socket = string(config.DataDir), string(config.Admin.Socket)
	f, err := os.OpenFile(filepath.Join(s.dir, journalName), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	h.journal = f
	var log io.Writer = f
	if s.o.Verbose {
		log = io.MultiWriter(f, asides{s.tell})
	}
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	h.cancel, h.over = cancel, make(chan error, 1)
	ready := make(chan admin.Status, 1)
	go func() {
		h.over <- gateway.Serve(running, gateway.Options{
			Config: config, Log: journal.New(log, slog.LevelInfo), Version: s.o.Version,
			Ready: func(st admin.Status) { ready <- st },
		})
	}()
	select {
	case st := <-ready:
		h.inbound, h.mail, h.send = st.Listeners.Inbound[0], st.Listeners.IMAP[0], st.Listeners.Submission[0]
		return nil
	case err := <-h.over:
		h.over <- err // for stop
		return fmt.Errorf("starting the hub: %w", err)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// stop stops the daemon in order and waits for its end.
func (h *hub) stop() {
	if h.cancel != nil {
		h.cancel()
		<-h.over
		h.cancel = nil
	}
	if h.journal != nil {
		h.journal.Close()
		h.journal = nil
	}
}

// rubricNames gives the names of rubrics as the programme says them.
func rubricNames(p *rules.Programme, ids []string) string {
	names := make([]string, len(ids))
	for i, id := range ids {
		names[i] = id
		if r := p.Rubric(id); r != nil {
			names[i] = r.Name
		}
	}
	return strings.Join(names, ", ")
}
