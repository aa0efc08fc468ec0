package configs

import (
	"net"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/relais-sante/relais/rules"
	"github.com/relais-sante/relais/rules/strict"
)

// Words of [[operator]] auth and grant.
const (
	AuthCertificate = "certificate"
	AuthPassword    = "password"
	AuthXOAUTH2     = "xoauth2"
	AuthOAuthBearer = "oauthbearer"

	GrantClientCredentials = "client_credentials"
	GrantRefreshToken      = "refresh_token"
)

// ByToken reports whether the box is opened with a token of an identity
// provider.
func (o *Operator) ByToken() bool { return o.Auth == AuthXOAUTH2 || o.Auth == AuthOAuthBearer }

// ByCertificate reports whether the box is opened with a client certificate
// alone.
func (o *Operator) ByCertificate() bool { return o.Auth == AuthCertificate }

// operators: each box has what its way of logging in needs.
func (c *checker) operators() {
	names, boxes := map[string]bool{}, map[string]bool{}
	for i := range c.Operators {
		o := &c.Operators[i]
		c.needs(i, "name", o.Name)
		c.needs(i, "address", o.Address)
		c.needs(i, "imap", o.IMAP.Address)
		c.needs(i, "smtp", o.SMTP.Address)
		switch {
		case o.Name == "":
		case names[o.Name]:
			c.at(twice, map[string]any{"value": o.Name}, "operator", i, "name")
		case !boxName.MatchString(o.Name):
			c.at(badBoxName, map[string]any{"value": o.Name}, "operator", i, "name")
		}
		names[o.Name] = true
		box := strings.ToLower(o.Address)
		local, domain, _ := strings.Cut(box, "@")
		switch {
		case box == "":
		case local == "" || strings.ContainsFunc(local, beyondAtom) || !domainShape.MatchString(domain) || len(box) > 254:
			c.at(badAddress, map[string]any{"value": o.Address}, "operator", i, "address")
		case domain == c.Domain:
			c.at(ownDomain, map[string]any{"value": o.Address, "domain": c.Domain}, "operator", i, "address")
		case boxes[box]:
			c.at(twice, map[string]any{"value": o.Address}, "operator", i, "address")
		}
		boxes[box] = true
		c.login(i, o)
		c.folders(i, o)
	}
}

// boxName: names are words of the journal, of metrics and of the queue.
var boxName = regexp.MustCompile(`^[A-Za-z0-9._-]{1,32}$`)

func (c *checker) needs(i int, key, value string) {
	if value == "" {
		c.at(missing, nil, "operator", i, key)
	}
}

// beyondAtom: local parts of operators' boxes are dot-atoms (RFC 5322 §3.2.3).
func beyondAtom(r rune) bool {
	return r <= ' ' || r >= 0x7f || strings.ContainsRune(`()<>[]:;@\,"`, r)
}

func (c *checker) login(i int, o *Operator) {
	if o.ByCertificate() || o.Cert != "" || o.Key != "" {
		c.needs(i, "cert", string(o.Cert))
		c.needs(i, "key", string(o.Key))
	}
	switch {
	case o.Auth == AuthCertificate:
	case o.Auth == AuthPassword:
		c.needs(i, "secret", o.Secret.Name)
	case o.Grant == GrantClientCredentials:
		c.needs(i, "secret", o.Secret.Name)
	default: // a public client has no secret (RFC 6749 §2.1)
		c.needs(i, "refresh_token", o.RefreshToken.Name)
	}
	if !o.ByToken() {
		return
	}
	c.needs(i, "client_id", o.ClientID)
	switch {
	case o.Issuer == "":
		c.needs(i, "issuer", "")
	case !c.issuer(o.Issuer):
		c.at(badIssuer, map[string]any{"value": o.Issuer}, "operator", i, "issuer")
	}
	if d, err := url.Parse(o.Discovery); err != nil || d.IsAbs() || d.Host != "" || o.Discovery == "" {
		c.at(badDiscovery, map[string]any{"value": o.Discovery}, "operator", i, "discovery")
	}
}

// issuer: tokens and secrets go there, so it is https; a trial on one machine
// may do without.
func (c *checker) issuer(text string) bool {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return false
	}
	return u.Scheme == "https" || u.Scheme == "http" && c.Dev && loopback(net.JoinHostPort(u.Hostname(), "0"))
}

// oauth: whose tokens count is said, and what goes together is there.
func (c *checker) oauth() {
	o := &c.OAuth
	if o.Issuer == "" {
		return
	}
	if !c.issuer(o.Issuer) {
		c.at(badIssuer, map[string]any{"value": o.Issuer}, "oauth", "issuer")
	}
	if d, err := url.Parse(o.Discovery); err != nil || d.IsAbs() || d.Host != "" || o.Discovery == "" {
		c.at(badDiscovery, map[string]any{"value": o.Discovery}, "oauth", "discovery")
	}
	if len(o.Audiences) == 0 {
		c.at(missing, nil, "oauth", "audiences")
	}
	if len(o.Claims) == 0 {
		c.at(emptyList, nil, "oauth", "claims")
	}
	switch {
	case o.ClientID == "" && o.Secret != (Secret{}):
		c.at(missing, nil, "oauth", "client_id")
	case o.ClientID != "" && o.Secret == (Secret{}):
		c.at(missing, nil, "oauth", "secret")
	}
}

// folders: where a message goes must not be where it came from.
func (c *checker) folders(i int, o *Operator) {
	taken := []string{"inbox"}
	if !strings.EqualFold(o.Inbox, "inbox") {
		taken[0] = o.Inbox
	}
	for _, f := range []struct{ key, name string }{{"inbox", o.Inbox}, {"done", o.Done}, {"aside", o.Aside}} {
		switch {
		case f.name == "" && f.key != "inbox":
		case f.name == "" || len(f.name) > 200 || strings.ContainsFunc(f.name, func(r rune) bool { return r < ' ' || r == 0x7f || r == '*' || r == '%' }):
			c.at(badFolder, map[string]any{"value": f.name}, "operator", i, f.key)
		case f.key != "inbox" && (slices.Contains(taken, f.name) || strings.EqualFold(f.name, taken[0])):
			c.at(twice, map[string]any{"value": f.name}, "operator", i, f.key)
		}
		if f.key != "inbox" && f.name != "" {
			taken = append(taken, f.name)
		}
	}
}

// operatorProgrammes checks that the programmes named by [[operator]] are among
// those loaded and, where all mail leaves from these boxes, that each programme
// has one.
func (c *Config) operatorProgrammes(set *rules.Set) []Problem {
	var ids []string
	for _, p := range set.Programmes {
		ids = append(ids, p.ID)
	}
	k := &checker{Config: c}
	for i := range c.Operators {
		if id := c.Operators[i].Programme; id != "" && !slices.Contains(ids, id) {
			k.at(strict.NotAllowed, map[string]any{"value": id, "allowed": strings.Join(ids, ", ")}, "operator", i, "programme")
		}
	}
	if c.Outbound.Route != RouteOperator {
		return k.problems
	}
	boxes := map[string]int{}
	for i := range c.Operators {
		boxes[c.Operators[i].Programme]++
	}
	for _, id := range ids {
		if named := boxes[id]; named > 1 || named == 0 && boxes[""] != 1 {
			k.at(boxOfProgramme, map[string]any{"programme": id}, "outbound", "route")
		}
	}
	return k.problems
}
