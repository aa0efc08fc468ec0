package imap

import (
	"strings"
	"time"
)

// doIdle is RFC 9051 §6.3.13: the client is told of news as they come, until
// it sends DONE.
func (c *conn) doIdle(p *parser) reply {
	if !p.end() {
		return p.result()
	}
	c.idling = true
	defer func() { c.idling = false }()
	c.tell(true)
	c.text("+ idling\r\n")
	c.in.rest()
	c.between = true
	c.deadline = time.Now().Add(c.server.limits.Idle)
	defer func() { c.between = false }()
	line, err := c.readLine(restBuffer)
	switch {
	case err != nil:
		c.ended(err)
		return bad("IDLE without DONE")
	case !strings.EqualFold(string(line), "DONE"):
		return bad("expected DONE")
	}
	return ok()
}

// push tells a client that waits what is new. It is called where no command is
// being done, or IDLE.
func (c *conn) push() {
	c.pushed = time.Now()
	switch {
	case c.idling:
		c.settleQuietly()
		c.tell(true)
	case c.watching.selected() && c.view != nil:
		c.settleQuietly()
		c.tell(!c.watching.delayed)
	}
	if c.watching != nil {
		c.notifyStatus(false)
	}
	c.settleQuietly() // of searches kept up to date
}

func (c *conn) settleQuietly() {
	if c.view == nil {
		return
	}
	if err := c.view.settle(c.ctx); err != nil {
		c.failed(err)
	}
}
