package imap

import (
	"errors"
	"os"
	"time"
)

// longAgo as a deadline ends what is waiting.
var longAgo = time.Unix(1, 0)

// interrupt asks the connection to end: at once if it waits for a command,
// else after the command. Called by the server.
func (c *conn) interrupt() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopping = true
	c.endWait()
}

// poke says that there may be something to tell the client. Called by the
// watcher.
func (c *conn) poke(gone bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.poked = true
	c.gone = c.gone || gone
	c.endWait()
}

func (c *conn) endWait() {
	if c.waiting {
		c.raw.SetReadDeadline(longAgo)
	}
}

// Read reads from the client; it is the lowest reader of a connection. What
// was answered is sent before it waits. Between commands the wait is ended for
// what the client must be told; a reader above (the inflater) would not outlive
// a timeout, so that is done here and the wait goes on.
func (c *conn) Read(p []byte) (int, error) {
	for {
		if c.flush(); c.err != nil {
			return 0, c.err
		}
		if err := c.startWaiting(); err != nil {
			return 0, err
		}
		unwatch := c.watch()
		n, err := c.stream.Read(p)
		unwatch()
		poked, why := c.stopWaiting()
		switch {
		case n > 0:
			if poked { // the hint is used up: it is kept for the next wait
				c.mu.Lock()
				c.poked = true
				c.mu.Unlock()
			}
			return n, nil
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return 0, err
		case why != nil:
			return 0, why
		case poked && time.Now().Before(c.deadline):
			if c.push(); c.done { // it said BYE
				return 0, errDropped
			}
		default:
			return 0, err
		}
	}
}

func (c *conn) startWaiting() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waiting = c.between
	switch {
	case c.between && c.stopping:
		return errStopping
	case c.between && c.gone:
		return errGone
	}
	deadline := c.deadline
	if c.between && c.poked {
		deadline = longAgo
	}
	return c.raw.SetReadDeadline(deadline)
}

// stopWaiting tells whether the wait was ended from outside, and the reason if
// it is one to end the connection.
func (c *conn) stopWaiting() (poked bool, why error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waiting = false
	if c.between {
		poked, c.poked = c.poked, false
	}
	switch {
	case !c.between:
	case c.stopping:
		why = errStopping
	case c.gone:
		why = errGone
	}
	return poked, why
}

// watch starts what ends the wait of a client that has logged in: its account
// is revoked, or it is told of changes as they happen (IDLE, NOTIFY) and there
// may be some. Call what it returns when the wait is over.
func (c *conn) watch() (unwatch func()) {
	if c.user == nil || !c.between {
		return func() {}
	}
	var changed, moved <-chan struct{}
	if c.view != nil && (c.idling || c.watching.selected()) {
		changed = c.view.folder.Wake()
	}
	if c.watching != nil {
		moved = c.watching.wake
	}
	over, out := make(chan struct{}), make(chan struct{})
	gone := c.user.Gone()
	next := c.pushed.Add(c.server.limits.Push)
	go func() {
		defer close(out)
		select {
		case <-over:
			return
		case <-gone:
			c.poke(true)
			return
		case <-changed:
		case <-moved:
		}
		// What is new is told at once; what follows it in a burst, in one go.
		if pause := time.Until(next); pause <= 0 || !c.rested(pause, over) {
			c.poke(false)
		}
	}()
	return func() { close(over); <-out }
}

// rested waits a moment; it reports whether the wait was over before.
func (c *conn) rested(pause time.Duration, over <-chan struct{}) bool {
	t := time.NewTimer(pause)
	defer t.Stop()
	select {
	case <-over:
		// The hint is used up, so it is kept for the next wait.
		c.mu.Lock()
		c.poked = true
		c.mu.Unlock()
		return true
	case <-t.C:
		return false
	}
}
