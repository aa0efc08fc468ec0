package imap

import (
	"bytes"
	"encoding/base64"
	"errors"
	"slices"
	"strings"

	"github.com/emersion/go-imap/v2"
	"github.com/relais-sante/relais/store/journal"
)

// doLogin is RFC 9051 §6.2.3.
func (c *conn) doLogin(p *parser) reply {
	p.spaces()
	name := p.astring()
	p.spaces()
	secret := p.astring()
	if !p.end() {
		return p.result()
	}
	if r := c.offered("LOGIN"); r != nil {
		return *r
	}
	return c.attempt(Attempt{Mechanism: "LOGIN", Username: name, Secret: secret})
}

// doAuthenticate is RFC 9051 §6.2.2 with RFC 4959 (initial response).
func (c *conn) doAuthenticate(p *parser) reply {
	p.spaces()
	mechanism := p.key()
	initial := ""
	given := !p.failed() && p.take(' ')
	if given {
		initial = p.while(&base64Char)
	}
	if !p.end() {
		return p.result()
	}
	if r := c.offered(mechanism); r != nil {
		return *r
	}
	if !given {
		c.text("+ \r\n")
		line, err := c.readLine(c.server.limits.CommandBytes)
		if err != nil {
			c.ended(err)
			return bad("authentication without end")
		}
		initial = string(line)
	}
	if initial == "*" {
		return bad("authentication cancelled")
	}
	if initial == "=" {
		initial = ""
	}
	response, err := base64.StdEncoding.DecodeString(initial)
	if err != nil {
		return bad("not base64")
	}
	a, understood := readResponse(mechanism, response)
	if !understood {
		return bad("response is not one of " + mechanism)
	}
	a.Mechanism = mechanism
	r := c.attempt(a)
	if r.kind == "NO" && (mechanism == "OAUTHBEARER" || mechanism == "XOAUTH2") && !c.done {
		// The client gets the error and answers with an empty response before it
		// is refused (RFC 7628 §3.2.3).
		c.text("+ eyJzdGF0dXMiOiJpbnZhbGlkX3Rva2VuIn0=\r\n") // {"status":"invalid_token"}
		if _, err := c.readLine(shortLiteral); err != nil {
			c.ended(err)
		}
	}
	return r
}

var base64Char = func() (t [256]bool) {
	for _, b := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=") {
		t[b] = true
	}
	return t
}()

// readResponse reads the client's one response.
func readResponse(mechanism string, response []byte) (a Attempt, understood bool) {
	switch mechanism {
	case "PLAIN": // RFC 4616 §2
		parts := bytes.Split(response, []byte{0})
		if len(parts) != 3 {
			return a, false
		}
		// Nobody acts for somebody else.
		if len(parts[0]) > 0 && !bytes.Equal(parts[0], parts[1]) {
			return a, false
		}
		a.Username, a.Secret = string(parts[1]), string(parts[2])
		return a, a.Username != ""
	case "EXTERNAL":
		a.Username = string(response)
		return a, true
	case "OAUTHBEARER": // RFC 7628 §3.1
		head, fields, ok := strings.Cut(string(response), "\x01")
		name, isName := strings.CutPrefix(head, "n,a=")
		if isName {
			name = strings.TrimSuffix(name, ",")
			name = strings.NewReplacer("=2C", ",", "=3D", "=").Replace(name)
		} else if head != "n,," {
			return a, false
		}
		a.Username = name
		a.Secret = bearer(fields)
		return a, ok && a.Secret != ""
	case "XOAUTH2":
		head, fields, ok := strings.Cut(string(response), "\x01")
		name, isName := strings.CutPrefix(head, "user=")
		a.Username, a.Secret = name, bearer(fields)
		return a, ok && isName && a.Secret != ""
	}
	return a, false
}

// bearer finds the token among key=value fields.
func bearer(fields string) string {
	for _, f := range strings.Split(fields, "\x01") {
		if v, ok := strings.CutPrefix(f, "auth="); ok {
			kind, token, _ := strings.Cut(v, " ")
			if strings.EqualFold(kind, "Bearer") {
				return strings.TrimSpace(token)
			}
		}
	}
	return ""
}

// offered refuses a mechanism that is not for this client now.
func (c *conn) offered(mechanism string) *reply {
	if slices.Contains(c.ways(), mechanism) {
		return nil
	}
	c.attempts++
	r := no(string(imap.ResponseCodeCannot), "Méthode non proposée / mechanism not offered")
	if c.tls == nil && !c.server.options.InClear {
		r = no(string(imap.ResponseCodePrivacyRequired), "TLS d'abord / TLS first")
	}
	return &r
}

// attempt tries to log in.
func (c *conn) attempt(a Attempt) reply {
	if c.tls != nil {
		state := c.tls.ConnectionState()
		a.TLS = &state
	}
	a.Remote = c.addr
	user, err := c.server.options.Auth.Authenticate(c.ctx, a)
	outcome := "refused"
	defer func() { c.server.metrics.logins.WithLabelValues(a.Mechanism, outcome).Inc() }()
	switch {
	case err == nil:
	case errors.Is(err, ErrCredentials):
		if c.attempts++; c.attempts >= c.server.limits.LoginAttempts {
			c.then = func() { c.bye("Trop d'essais / too many attempts") }
		}
		c.server.log.Info("login refused", "session", c.id, "peer", c.raw.RemoteAddr(), "mechanism", journal.Word(a.Mechanism))
		return no(string(imap.ResponseCodeAuthenticationFailed), "Nom ou secret incorrect / wrong name or secret")
	case errors.Is(err, ErrTooMany):
		outcome = "limited"
		c.then = func() { c.bye("Trop d'essais / too many attempts") }
		return no(codeLimit, "Trop d'essais, réessayez plus tard / too many attempts, try again later")
	default:
		outcome = "failed"
		return c.failed(err)
	}
	if !c.server.count(c, user.Name()) {
		outcome = "limited"
		return no(codeLimit, "Trop de connexions / too many connections")
	}
	outcome = "accepted"
	c.user = user
	c.begin()
	begin := len(c.out)
	c.capabilities()
	r := okCode("CAPABILITY " + string(c.out[begin:]))
	c.out = c.out[:begin]
	return r
}
