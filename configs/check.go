package configs

import (
	"net"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/relais-sante/relais/rules/strict"
)

// checker looks for settings that do not fit together.
type checker struct {
	*Config
	problems []Problem
}

// at reports a problem at a key; args are name and value in turn.
func (c *checker) at(id strict.TextID, args map[string]any, path ...any) {
	if args == nil {
		args = map[string]any{}
	}
	args["key"] = strict.Key(path...)
	c.problems = append(c.problems, c.doc.Problem(id, args, path...))
}

func (c *checker) warn(id strict.TextID, args map[string]any, path ...any) {
	c.at(id, args, path...)
	c.problems[len(c.problems)-1].Warning = true
}

// Problem places a problem, found by whoever can look into a file that the
// configuration names, at the setting of that path.
func (c *Config) Problem(id strict.TextID, args map[string]any, path ...any) Problem {
	k := &checker{Config: c}
	k.at(id, args, path...)
	return k.problems[0]
}

// check looks at a configuration whose values are understood one by one.
func (c *Config) check() []Problem {
	k := &checker{Config: c}
	k.general()
	k.listeners()
	k.tls()
	k.outbound()
	k.operators()
	k.clamd()
	k.keys()
	k.administrators()
	k.oauth()
	return k.problems
}

var domainShape = regexp.MustCompile(`^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]*[a-z0-9]$`)

// maxSocket is the length of a Unix socket's name on Linux (unix(7)), its
// closing zero apart.
const maxSocket = 107

func (c *checker) general() {
	switch {
	case c.Domain == "":
		c.at(missing, nil, "domain")
	case len(c.Domain) > 190 || !domainShape.MatchString(c.Domain): // an address is at most 254
		c.at(badDomain, map[string]any{"value": c.Domain}, "domain")
	}
	if c.DataDir == "" {
		c.at(missing, nil, "data_dir")
	}
	if len(c.Admin.Socket) > maxSocket {
		c.at(longSocket, map[string]any{"limit": maxSocket}, "admin", "socket")
	}
	if c.Trust.WhiteList == "" {
		c.warn(noWhiteList, nil, "trust", "white_list")
	}
}

// listeners: what may be listened on, and by whom it would be reached.
func (c *checker) listeners() {
	taken := map[string]bool{}
	for _, s := range []struct {
		section string
		list    Listens
	}{
		{"inbound", c.Inbound.Listen},
		{"submission", c.Submission.Listen},
		{"imap", c.IMAP.Listen},
		{"admin", c.Admin.Listen},
		{"metrics", c.Metrics.Listen},
		{"autoconfig", c.Autoconfig.Listen},
	} {
		for _, e := range s.list {
			if taken[e.Address] && !strings.HasSuffix(e.Address, ":0") {
				c.at(twice, map[string]any{"value": e.Address}, s.section, "listen")
			}
			taken[e.Address] = true
			if c.Dev && !e.Loopback() {
				c.warn(devOpen, map[string]any{"value": e.String()}, s.section, "listen")
			}
		}
	}
	for _, e := range c.Inbound.Listen {
		if !c.Inbound.RequireClientCert && !e.Loopback() {
			c.at(needsLoopback, map[string]any{"setting": "require_client_cert = false", "value": e.String()}, "inbound", "require_client_cert")
		}
	}
	for _, s := range []struct {
		section string
		list    Listens
	}{{"admin", c.Admin.Listen}, {"metrics", c.Metrics.Listen}, {"autoconfig", c.Autoconfig.Listen}} {
		for _, e := range s.list {
			switch {
			case e.Mode == PlainHTTP && !e.Loopback():
				c.at(needsLoopback, map[string]any{"setting": s.section + ".listen", "value": e.Address}, s.section, "listen")
			case e.Mode == STARTTLS:
				c.at(noStartTLS, map[string]any{"value": e.String()}, s.section, "listen")
			}
		}
	}
	c.autoconfig()
	if c.IMAP.Password.On && !c.Dev {
		c.warn(passwordOn, nil, "imap", "password")
	}
}

// autoconfig: what clients are told must be something they can reach.
func (c *checker) autoconfig() {
	for _, k := range []struct {
		key string
		e   Endpoint
	}{{"imap", c.Autoconfig.IMAP}, {"submission", c.Autoconfig.Submission}} {
		host, port := k.e.HostPort()
		if k.e.Address != "" && (host == "" || port == "0") {
			c.at(badHostPort, map[string]any{"value": k.e.Address}, "autoconfig", k.key)
		}
	}
	if imap, _ := c.Published(); len(c.Autoconfig.Listen) > 0 && len(imap) == 0 {
		c.at(nothingPublished, nil, "autoconfig", "imap")
	}
}

// Published are the servers of the structured mailbox as mail clients reach
// them, TLS from the first byte before STARTTLS (RFC 8314 §3): what
// [autoconfig] says, else the domain and the ports that are listened on. A port
// that the system chooses is not known here.
func (c *Config) Published() (imap, submission []Endpoint) {
	of := func(set Endpoint, listen Listens) (all []Endpoint) {
		if set.Address != "" {
			return []Endpoint{set}
		}
		for _, mode := range []string{ImplicitTLS, STARTTLS} {
			for _, e := range listen {
				if _, port := e.HostPort(); e.Mode == mode && port != "0" {
					all = append(all, Endpoint{mode, net.JoinHostPort(c.Domain, port)})
					break
				}
			}
		}
		return all
	}
	return of(c.Autoconfig.IMAP, c.IMAP.Listen), of(c.Autoconfig.Submission, c.Submission.Listen)
}

func (c *checker) tls() {
	encrypted := len(c.Inbound.Listen)+len(c.Submission.Listen)+len(c.IMAP.Listen)+len(c.Admin.Listen) > 0 ||
		slices.ContainsFunc(slices.Concat(c.Metrics.Listen, c.Autoconfig.Listen), func(e Endpoint) bool { return e.Mode == ImplicitTLS })
	for _, key := range []struct {
		name  string
		value Path
		other Path
	}{{"cert", c.TLS.Cert, c.TLS.Key}, {"key", c.TLS.Key, c.TLS.Cert}} {
		if key.value == "" && (encrypted || key.other != "") {
			c.at(missing, nil, "tls", key.name)
		}
	}
	if c.doc.Has("tls", "client_cert") != c.doc.Has("tls", "client_key") {
		c.at(certAndKey, nil, "tls", "client_cert")
	}
	if c.TLS.MinVersion.Number() > c.TLS.MaxVersion.Number() {
		c.at(lowestAboveHighest, map[string]any{"value": string(c.TLS.MinVersion), "bound": string(c.TLS.MaxVersion)}, "tls", "min_version")
	}
	judged := c.Inbound.RequireClientCert && len(c.Inbound.Listen) > 0 || c.Outbound.Route != RouteOperator && c.Outbound.TLS != tlsNone
	if c.TLS.Authorities == "" && judged {
		c.at(noAuthorities, nil, "tls", "authorities")
	}
}

// Words of [outbound] route and tls.
const (
	RouteMX        = "mx"
	RouteSmarthost = "smarthost"
	RouteOperator  = "operator"

	tlsNone = "none"
)

func (c *checker) outbound() {
	o := &c.Outbound
	if o.Route == RouteSmarthost {
		switch {
		case o.Smarthost == "":
			c.at(missing, nil, "outbound", "smarthost")
		case !validAddress(o.Smarthost):
			c.at(badHostPort, map[string]any{"value": o.Smarthost}, "outbound", "smarthost")
		case o.TLS == tlsNone && !loopback(o.Smarthost):
			c.at(needsLoopback, map[string]any{"setting": `tls = "none"`, "value": o.Smarthost}, "outbound", "tls")
		}
		// The smarthost speaks for every domain: its certificate must be known.
		if o.TLS != tlsNone && o.SmarthostDN == "" {
			c.at(noSmarthostDN, nil, "outbound", "smarthost_dn")
		}
	} else if o.TLS == tlsNone && !c.Dev {
		c.at(needsSmarthost, nil, "outbound", "tls")
	}
	if o.Route == RouteOperator && len(c.Operators) == 0 {
		c.at(noOperator, nil, "outbound", "route")
	}
	if o.Resolver != "" && !validAddress(o.Resolver) {
		c.at(badHostPort, map[string]any{"value": o.Resolver}, "outbound", "resolver")
	}
	switch {
	case o.NIL == "":
		c.at(missing, nil, "outbound", "nil")
	case strings.IndexFunc(o.NIL, func(r rune) bool { return r <= ' ' || r > '~' }) >= 0 || len(o.NIL) > 64:
		c.at(badNIL, map[string]any{"value": o.NIL}, "outbound", "nil") // it goes into a header
	}
	if len(o.Retry) == 0 {
		c.at(emptyList, nil, "outbound", "retry")
	}
}

// clamd: messages go to it in clear, and every one of them must fit.
func (c *checker) clamd() {
	a := c.Clamd.Address
	switch {
	case a == "":
		return
	case strings.HasPrefix(a, "/"):
		if len(a) > maxSocket {
			c.at(longSocket, map[string]any{"limit": maxSocket}, "clamd", "address")
		}
	case !validAddress(a):
		c.at(badClamd, map[string]any{"value": a}, "clamd", "address")
	case !loopback(a):
		c.at(needsLoopback, map[string]any{"setting": "clamd.address", "value": a}, "clamd", "address")
	}
	if c.Clamd.MaxBytes < c.Inbound.MaxMessageBytes {
		c.at(clamdSmaller, map[string]any{"bound": c.Inbound.MaxMessageBytes.String()}, "clamd", "max_bytes")
	}
}

// keys: what opens the data lies outside it, so that a copy of the data alone
// reveals nothing.
func (c *checker) keys() {
	for _, key := range []struct {
		name string
		path Path
	}{{"epoch_dir", c.Keys.EpochDir}, {"recovery_key", c.Keys.RecoveryKey}, {"hub_key", filePath(c.Keys.HubKey)}, {"passphrase", filePath(c.Keys.Passphrase)}} {
		if key.path != "" && within(string(key.path), string(c.DataDir)) {
			c.at(insideData, nil, "keys", key.name)
		}
	}
	for i, place := range c.Keys.Copies {
		if within(string(place), string(c.DataDir)) {
			c.at(insideData, nil, "keys", "copies", i)
		}
	}
	for i, place := range c.Audit.Heads {
		if within(string(place), string(c.DataDir)) {
			c.at(insideData, nil, "audit", "heads", i)
		}
	}
	if c.Keys.HubKey == (Secret{}) {
		c.at(missing, nil, "keys", "hub_key")
	}
	if c.Keys.EpochDir == "" {
		c.at(missing, nil, "keys", "epoch_dir")
	}
	if c.Keys.RecoveryKey == "" && !c.Dev {
		c.warn(noRecoveryKey, nil, "keys", "recovery_key")
	}
}

func filePath(s Secret) Path {
	if s.In == InFile {
		return Path(s.Name)
	}
	return ""
}

func within(path, dir string) bool {
	rel, err := filepath.Rel(dir, path)
	return err == nil && rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator))
}

// Texts of the problems this package finds.
const (
	missing          strict.TextID = "check.missing"
	twice            strict.TextID = "check.twice"
	emptyList        strict.TextID = "check.empty-list"
	badSize          strict.TextID = "check.bad-size"
	badPercent       strict.TextID = "check.bad-percent"
	badCoded         strict.TextID = "check.bad-coded"
	badListen        strict.TextID = "check.bad-listen"
	badHostPort      strict.TextID = "check.bad-host-port"
	badPasswords     strict.TextID = "check.bad-passwords"
	badSecret        strict.TextID = "check.bad-secret"
	badDomain        strict.TextID = "check.bad-domain"
	badNIL           strict.TextID = "check.bad-nil"
	longSocket       strict.TextID = "check.long-socket"
	needsLoopback    strict.TextID = "check.needs-loopback"
	needsSmarthost   strict.TextID = "check.needs-smarthost"
	nothingPublished strict.TextID = "check.nothing-published"
	noStartTLS       strict.TextID = "check.no-starttls"
	certAndKey       strict.TextID = "check.cert-and-key"
	noAuthorities    strict.TextID = "check.no-authorities"
	noSmarthostDN    strict.TextID = "check.no-smarthost-dn"
	noOperator       strict.TextID = "check.no-operator"
	boxOfProgramme   strict.TextID = "check.box-of-programme"
	badBoxName       strict.TextID = "check.bad-box-name"
	badIssuer        strict.TextID = "check.bad-issuer"
	badDiscovery     strict.TextID = "check.bad-discovery"
	badFolder        strict.TextID = "check.bad-imap-folder"
	badAddress       strict.TextID = "check.not-address"
	ownDomain        strict.TextID = "check.own-domain"
	badClamd         strict.TextID = "check.bad-clamd"
	clamdSmaller     strict.TextID = "check.clamd-smaller"
	insideData       strict.TextID = "check.inside-data"
	noConfig         strict.TextID = "check.no-config"
	noFile           strict.TextID = "check.no-file"
	whoAdministers   strict.TextID = "check.who-administers"
	whichProgramme   strict.TextID = "check.which-programme"
	nobodyRemote     strict.TextID = "check.nobody-remote"
	noWhiteList      strict.TextID = "check.no-white-list"
	passwordOn       strict.TextID = "check.password-on"
	noRecoveryKey    strict.TextID = "check.no-recovery-key"
	devOpen          strict.TextID = "check.dev-open"

	lowestAboveHighest strict.TextID = "check.min-version"

	// Of what is in the files that the configuration names.
	KeyPair      strict.TextID = "check.key-pair" // certificate and key do not fit
	NoAuthority  strict.TextID = "check.authorities"
	NotWhiteList strict.TextID = "check.white-list"
	BadHubKey    strict.TextID = "check.hub-key"
	SecretAway   strict.TextID = "check.secret-away" // not at hand here

	// RecoveryKey and RecoverySecret are of the file that keys.recovery_key
	// names: no public key, or a private one.
	RecoveryKey    strict.TextID = "check.recovery-key"
	RecoverySecret strict.TextID = "check.recovery-secret"
)
