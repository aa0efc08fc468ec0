// Package gateway is the daemon: it opens the rooms below it (trust, inbound,
// outbound, admin), starts them in an order in which nothing is acknowledged
// before it can be kept, and stops them in the reverse order.
//
// Rules that hold here:
//
//   - "ready" is said once every listener accepts and the admin socket answers.
//   - Told to stop, the hub accepts nothing new, finishes what is in flight and
//     is gone within [StopWithin].
//   - A reload is all or nothing: everything it takes is read and checked first,
//     and the old stays on any error.
package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/relais-sante/relais/configs"
	"github.com/relais-sante/relais/gateway/admin"
	"github.com/relais-sante/relais/gateway/autoconfig"
	"github.com/relais-sante/relais/gateway/imap"
	"github.com/relais-sante/relais/gateway/inbound"
	"github.com/relais-sante/relais/gateway/operator"
	"github.com/relais-sante/relais/gateway/outbound"
	"github.com/relais-sante/relais/gateway/trust"
	"github.com/relais-sante/relais/mailbox"
	"github.com/relais-sante/relais/mailbox/directory"
	"github.com/relais-sante/relais/rules"
	"github.com/relais-sante/relais/store/backup"
	"github.com/relais-sante/relais/store/bolt"
	"github.com/relais-sante/relais/store/journal"
	"github.com/relais-sante/relais/store/seal"
)

// StopWithin bounds the time from being told to stop to being gone.
const StopWithin = 10 * time.Second

// grace is what each room gets of it to finish what is in flight.
const grace = 7 * time.Second

// Options are what a daemon is made of.
type Options struct {
	Config  *configs.Config
	Log     *slog.Logger
	Version string
	// Reload is asked for by each value received (SIGHUP).
	Reload <-chan struct{}
	// Ready, if not nil, is called once with the status when the hub is ready.
	Ready func(admin.Status)
}

// Serve runs the hub until ctx ends. It returns nil when it was told to stop
// and stopped in order.
func Serve(ctx context.Context, o Options) error {
	if o.Log == nil {
		o.Log = journal.Discard()
	}
	d := &daemon{o: o, cfg: o.Config, log: o.Log, started: time.Now()}
	if err := d.open(); err != nil {
		d.close()
		return err
	}
	defer d.close()
	return d.run(ctx)
}

// daemon is a running hub.
type daemon struct {
	o       Options
	cfg     *configs.Config
	log     *slog.Logger
	started time.Time

	keys       *seal.Keys
	store      *bolt.Store
	directory  *directory.Directory
	programmes atomic.Pointer[rules.Set]
	guard      *trust.Guard
	hub        *mailbox.Hub
	inbound    *inbound.Server
	forMembers *inbound.Server // submission
	imap       *imap.Server
	settings   *autoconfig.Handler // for mail clients
	outbound   *outbound.Relay
	admin      *admin.Server
	care       *caretaker
	metrics    *metrics
	heads      *heads
	antivirus  *antivirus                  // nil: none
	tokens     *tokens                     // nil: no identity provider
	accesses   map[string]*operator.Access // by name of the [[operator]] box
	boxes      []*operator.Poller
	sending    *outbound.Submission // nil: not by operators' boxes

	passwords atomic.Pointer[configs.Passwords] // where from they are taken
	waiting   atomic.Pointer[[]string]          // settings that changed and take a restart

	listeners listeners
	ready     atomic.Bool
}

// open opens everything that can fail before anything is served.
func (d *daemon) open() error {
	set, problems := d.cfg.LoadProgrammes()
	if n := len(serious(problems)); n > 0 {
		return fmt.Errorf("checking the programmes: %w", problemsFound(n))
	}
	d.programmes.Store(set)
	if err := d.openStore(); err != nil { // first: who has it may write to the data folder
		return err
	}
	var err error
	if d.guard, err = trust.New(trustOptions(d.cfg), nil); err != nil {
		return fmt.Errorf("preparing certificates and white list: %w", err)
	}
	d.concerns()
	if err := d.openAccesses(); err != nil {
		return err
	}
	d.directory = directory.Open(directory.Options{
		Dir: filepath.Join(string(d.cfg.DataDir), "directory"), MaxShrink: int(d.cfg.Directory.MaxShrink), Log: d.log,
	})
	d.metrics = newMetrics()
	d.antivirus = newAntivirus(d.cfg, d.metrics)
	d.passwords.Store(&d.cfg.IMAP.Password)
	if err := d.openTokens(); err != nil {
		return err
	}
	d.hub = mailbox.New(d.hubOptions())
	d.heads = d.newHeads()
	return d.build()
}

func (d *daemon) openStore() error {
	if err := backup.Unfinished(string(d.cfg.DataDir)); err != nil {
		return err
	}
	o, err := KeyOptions(d.cfg)
	if err != nil {
		return err
	}
	if d.keys, err = seal.Open(o); err != nil {
		return fmt.Errorf("opening the keystore: %w", err)
	}
	d.store, err = bolt.Open(bolt.Options{Dir: string(d.cfg.DataDir), Keys: d.keys, Logger: d.log})
	if err != nil {
		return fmt.Errorf("opening the store: %w", err)
	}
	return nil
}

// close gives back what open took, the store last.
func (d *daemon) close() {
	d.listeners.close()
	if d.directory != nil {
		if err := d.directory.Close(); err != nil {
			d.log.Error("closing the directory failed", "error", err)
		}
	}
	if d.care != nil {
		d.care.keeper.Close()
	}
	if d.store != nil {
		if err := d.store.Close(); err != nil {
			d.log.Error("closing the store failed", "error", err)
		}
	}
	if d.keys != nil {
		if err := d.keys.Close(); err != nil {
			d.log.Error("closing the keystore failed", "error", err)
		}
	}
}

// run serves until ctx ends.
func (d *daemon) run(ctx context.Context) error {
	if err := d.takeUpRestored(ctx); err != nil {
		return fmt.Errorf("taking up what was restored: %w", err)
	}
	if err := d.hub.Recover(ctx); err != nil {
		return fmt.Errorf("taking up interrupted work: %w", err)
	}
	if err := d.listeners.bind(d.cfg); err != nil {
		return err
	}
	if n := len(d.listeners.inherited); n > 0 {
		d.log.Warn("sockets were passed that no setting asks for", "count", n)
		d.listeners.inherited.close()
	}
	g, running := errgroup.WithContext(ctx)
	for _, part := range []struct {
		name      journal.Word
		server    *inbound.Server
		listeners []mailListener
	}{{"inbound", d.inbound, d.listeners.inbound}, {"submission", d.forMembers, d.listeners.submission}} {
		for _, l := range part.listeners {
			g.Go(func() error { return d.served(part.name, part.server.Serve(l.Listener, l.security)) })
		}
		g.Go(func() error {
			<-running.Done()
			late, cancel := context.WithTimeout(context.Background(), grace)
			defer cancel()
			return d.served(part.name, part.server.Shutdown(late))
		})
	}
	for _, l := range d.listeners.imap {
		g.Go(func() error { return d.served("imap", d.imap.Serve(l.Listener, imapSecurity(l.security))) })
	}
	g.Go(func() error {
		<-running.Done()
		late, cancel := context.WithTimeout(context.Background(), grace)
		defer cancel()
		return d.served("imap", d.imap.Shutdown(late))
	})
	g.Go(func() error { return d.served("outbound", d.outbound.Run(running)) })
	g.Go(func() error { return d.served("keys", d.keys.Run(running)) })
	g.Go(func() error { return d.served("backup", d.care.run(running)) })
	g.Go(func() error { return d.served("timers", d.hub.RunTimers(running)) })
	g.Go(func() error { return d.served("admin", d.admin.Serve(running, d.listeners.admin)) })
	for _, box := range d.boxes {
		g.Go(func() error { return d.served("operator", box.Run(running)) })
	}
	for _, l := range d.listeners.remote {
		g.Go(func() error {
			return d.served("admin", d.admin.Serve(running, tls.NewListener(l, d.guard.ServerConfig())))
		})
	}
	for _, l := range d.listeners.metrics {
		g.Go(func() error { return d.served("metrics", d.metrics.serve(running, d.web(l), d.log)) })
	}
	for _, l := range d.listeners.autoconfig {
		g.Go(func() error { return d.served("autoconfig", d.settings.Serve(running, d.web(l))) })
	}
	g.Go(func() error { d.heads.run(running); return nil })
	g.Go(func() error { d.reloads(running); return nil })
	d.sayReady(running)
	g.Go(func() error {
		<-running.Done()
		d.tellManager(managerStopping)
		return nil
	})
	err := g.Wait()
	if ctx.Err() != nil && (err == nil || errors.Is(err, context.Canceled)) {
		d.log.Info("stopped")
		return nil
	}
	return err
}

// served names the room an error came from. A room that ends because it was
// told to has no error, be it before its listeners had come to serve.
func (d *daemon) served(room journal.Word, err error) error {
	for _, told := range []error{nil, context.Canceled, net.ErrClosed, inbound.ErrStopped, imap.ErrStopped} {
		if errors.Is(err, told) {
			return nil
		}
	}
	d.log.Error("a part of the hub failed", "part", room, "error", err)
	return fmt.Errorf("%s: %w", string(room), err)
}

// sayReady tells that the hub is up: the listeners are bound, so connections
// wait in their backlog at worst.
func (d *daemon) sayReady(ctx context.Context) {
	d.ready.Store(true)
	status, err := d.status(ctx)
	if err != nil {
		d.log.Error("the status could not be read", "error", err)
	}
	d.log.Info("ready", "inbound", addresses(status.Listeners.Inbound), "submission", addresses(status.Listeners.Submission),
		"imap", addresses(status.Listeners.IMAP),
		"admin", addresses(status.Listeners.Admin),
		"metrics", addresses(status.Listeners.Metrics), "autoconfig", addresses(status.Listeners.Autoconfig), "domain", journal.Word(d.cfg.Domain), "version", journal.Word(d.o.Version))
	d.tellManager(managerReady)
	if d.o.Ready != nil {
		d.o.Ready(status)
	}
}

// addresses are network addresses, safe to write down.
type addresses []string

// Journal implements journal.Safe.
func (a addresses) Journal() string {
	text := ""
	for i, s := range a {
		if i > 0 {
			text += " "
		}
		text += s
	}
	return text
}

// problemsFound is the error of files that do not pass their check.
type problemsFound int

func (n problemsFound) Error() string {
	return fmt.Sprintf("%d problem(s); `relais check` lists them", int(n))
}

// Journal implements journal.Safe.
func (n problemsFound) Journal() string { return n.Error() }

func serious(all []rules.Problem) []rules.Problem {
	var s []rules.Problem
	for _, p := range all {
		if !p.Warning {
			s = append(s, p)
		}
	}
	return s
}
