package outbound

import "time"

// strikes is how many conversations in a row must be cut or stalled before a
// circuit opens.
const strikes = 3

// firstRetryBy: the first retry of a copy is promised within 30 s; what is left
// is for claiming and dialling, after a burst that it may have to wait for.
const firstRetryBy = 28 * time.Second

// circuit remembers whether a peer works. See the head of the package for what
// it promises. It is guarded by its peer's mutex.
type circuit struct {
	backoff Backoff
	jitter  func() float64
	yield   time.Duration // see Options

	struck  int       // conversations cut in a row
	opened  int       // times opened in a row
	until   time.Time // open until; zero: closed
	probing bool      // one lane is trying
	promise time.Time // when copies are to be tried again at the latest
}

// enter asks to claim copies for the peer: it returns how long to wait before
// asking again, 0 to go ahead. Whoever went ahead calls leave.
func (c *circuit) enter(now time.Time) (wait time.Duration) {
	switch {
	case c.until.IsZero():
		return 0
	case now.Before(c.until):
		return c.until.Sub(now)
	case c.probing:
		return c.backoff.First
	}
	c.probing = true
	return 0
}

func (c *circuit) leave() { c.probing = false }

// open reports whether nobody should be claiming.
func (c *circuit) open(now time.Time) bool { return now.Before(c.until) }

// works closes the circuit.
func (c *circuit) works() { c.struck, c.opened, c.until = 0, 0, time.Time{} }

// strike counts a conversation that was cut or stalled, and reports whether
// that opens the circuit.
func (c *circuit) strike(now time.Time) bool {
	if c.struck++; c.struck < strikes && c.until.IsZero() {
		return false
	}
	c.fail(now)
	return true
}

// fail opens the circuit: the peer cannot be reached.
func (c *circuit) fail(now time.Time) {
	if now.Before(c.until) {
		return
	}
	wait := min(c.backoff.First<<min(c.opened, 20), c.backoff.Most)
	wait = time.Duration(float64(wait) * (0.75 + c.jitter()/2))
	c.opened++
	c.struck = 0
	c.until = now.Add(wait)
	c.keep(now)
}

// promised is told that a copy failed for the first time.
func (c *circuit) promised(now time.Time) {
	if !now.Before(c.promise) {
		c.promise = now.Add(firstRetryBy - c.yield)
	}
	c.keep(now)
}

// keep shortens the wait to what was promised.
func (c *circuit) keep(now time.Time) {
	if now.Before(c.promise) && c.promise.Before(c.until) {
		c.until = c.promise
	}
}
