package imap

// doStartTLS is RFC 9051 §6.2.1. What was sent ahead in clear is thrown away:
// whoever stands between could have put it there.
func (c *conn) doStartTLS(p *parser) reply {
	if !p.end() {
		return p.result()
	}
	if c.tls != nil {
		return bad("TLS is there already")
	}
	c.then = func() {
		c.flush()
		c.in = input{}
		if c.err == nil {
			c.shake()
		}
	}
	return ok()
}
