package imap

import (
	"encoding/base64"

	"github.com/emersion/go-imap/v2"

	"github.com/relais-sante/relais/gateway/login"
	"github.com/relais-sante/relais/mailbox"
	"github.com/relais-sante/relais/store/journal"
)

// way is the login of the connection as it is now, with or without TLS.
func (c *conn) way() *login.Door {
	if c.door == nil {
		if c.tls == nil {
			c.door = login.NewDoor(c.server.options.Login, nil, c.raw.RemoteAddr())
		} else {
			cs := c.tls.ConnectionState()
			c.door = login.NewDoor(c.server.options.Login, &cs, c.raw.RemoteAddr())
		}
	}
	return c.door
}

// doLogin is RFC 9051 §6.2.3.
func (c *conn) doLogin(p *parser) reply {
	p.spaces()
	name := p.astring()
	p.spaces()
	secret := p.astring()
	if !p.end() {
		return p.result()
	}
	if c.tls == nil {
		return no(string(imap.ResponseCodePrivacyRequired), "TLS d'abord / TLS first")
	}
	account, err := c.way().Enter(c.ctx, name, secret)
	return c.entered("LOGIN", account, err)
}

// doAuthenticate is RFC 9051 §6.2.2, with RFC 4959 (initial response).
func (c *conn) doAuthenticate(p *parser) reply {
	p.spaces()
	mechanism := p.key()
	var response []byte
	malformed := false
	if !p.failed() && p.take(' ') {
		switch initial := p.while(&base64Char); initial {
		case "=":
			response = []byte{}
		default:
			var err error
			response, err = base64.StdEncoding.DecodeString(initial)
			malformed = err != nil
		}
	}
	if !p.end() {
		return p.result()
	}
	if c.tls == nil {
		return no(string(imap.ResponseCodePrivacyRequired), "TLS d'abord / TLS first")
	}
	if malformed {
		return bad("not base64")
	}
	var account *mailbox.Account
	exchange, err := c.way().Begin(c.ctx, mechanism, func(a *mailbox.Account) { account = a })
	if err != nil {
		return c.entered("", nil, err)
	}
	for {
		challenge, done, err := exchange.Next(response)
		if err != nil || done {
			return c.entered(mechanism, account, err)
		}
		c.text("+ " + base64.StdEncoding.EncodeToString(challenge) + "\r\n")
		line, err := c.readLine(c.server.limits.CommandBytes)
		if err != nil {
			c.ended(err)
			return bad("authentication without end")
		}
		if string(line) == "*" {
			return bad("authentication cancelled")
		}
		if response, err = base64.StdEncoding.DecodeString(string(line)); err != nil {
			return bad("not base64")
		}
	}
}

var base64Char = func() (t [256]bool) {
	for _, b := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=") {
		t[b] = true
	}
	return t
}()

// entered ends a login. Mechanism is one that is offered, or empty.
func (c *conn) entered(mechanism string, account *mailbox.Account, err error) reply {
	m := c.server.metrics.logins
	if err != nil {
		fault := login.FaultOf(err)
		m.WithLabelValues(mechanism, string(fault)).Inc()
		if c.attempts++; c.attempts >= c.server.limits.LoginAttempts || fault == login.Slow {
			c.then = func() { c.bye("Trop d'essais / too many attempts") }
		}
		switch fault {
		case login.Malformed:
			return bad("malformed response")
		case login.Mechanism:
			return no(string(imap.ResponseCodeCannot), "Méthode non proposée / mechanism not offered")
		case login.Failed:
			c.server.log.Info("login refused", "session", c.id, "peer", c.raw.RemoteAddr(), "mechanism", journal.Word(mechanism))
			return no(string(imap.ResponseCodeAuthenticationFailed), "Nom ou secret incorrect / wrong name or secret")
		case login.Slow:
			return no(codeLimit, "Trop d'essais, réessayez plus tard / too many attempts, try again later")
		}
		return c.failed(err)
	}
	user, err := c.server.options.Folders(c.ctx, account, c.raw.RemoteAddr().String())
	if err != nil {
		m.WithLabelValues(mechanism, string(login.Unavailable)).Inc()
		return c.failed(err)
	}
	if !c.server.count(c, user.Name()) {
		m.WithLabelValues(mechanism, "limited").Inc()
		user.Close()
		return no(codeLimit, "Trop de connexions / too many connections")
	}
	m.WithLabelValues(mechanism, "accepted").Inc()
	c.user, c.door = user, nil
	c.begin()
	begin := len(c.out)
	c.capabilities()
	r := okCode("CAPABILITY " + string(c.out[begin:]))
	c.out = c.out[:begin]
	return r
}
