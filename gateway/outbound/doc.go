// Package outbound hands the hub's copies and notices to the boxes' operators
// over SMTP (RFC 5321): it claims what is due, sends it, and records how each
// attempt ended.
//
// Rules that hold here:
//
//   - An attempt is recorded by the claim before anybody dials; its end is
//     recorded within 50 ms of the peer's answer. A copy is sent twice only where
//     the answer to its final dot was lost, or what it said with a crash in that
//     moment: the one window that SMTP leaves open.
//   - Nothing goes out in clear. Where TLS is required and cannot be had, or
//     the peer's certificate is not who it should be, the copy waits. Only a
//     loopback peer may be spoken to without TLS, and only where the
//     configuration says so.
//   - Not a byte of a mail changes but for dot-stuffing (RFC 5321 §4.5.2), and
//     a mail that DATA would have to change is not sent.
//   - A slow or broken peer costs its own copies time, nobody else's: every
//     peer has its own connections, its own queue lane and its own circuit,
//     and every read and write has a deadline.
//   - Copies wait for a burst of messages to be taken, within a bound: see yield.
//   - What a peer answers is kept, sealed, in the outcome and never logged: it
//     may quote an address. The journal gets codes, our own words, the domain
//     and the id of the delivery.
//
// # Two clocks
//
// The hub owns the clock of a copy: after a temporary outcome [Hub].Finish
// says when that copy is due again (the first time within 30 s). The relay
// owns the clock of a peer: its circuit. A copy is claimed only when both
// agree, when it is due and the peer's circuit is not open, so that no attempt
// is counted while nobody would have dialled.
//
//   - A circuit opens when a peer cannot be reached at all (resolving, dialling,
//     TLS, certificate, greeting: nothing was said about any copy) and no other
//     connection to it is up, or after three conversations in a row were cut or
//     stalled. What a peer says about one copy (451, 550) never moves it.
//   - One failed connection stands for every copy that had been claimed for it:
//     they share the outcome, are not dialled for one by one, and each goes back
//     to its own schedule. Copies not yet claimed wait, without an attempt.
//   - An open circuit stays so for Backoff.First, twice that the next time, at
//     most Backoff.Most, with jitter. Then one lane, with one connection, tries.
//     Success closes the circuit; failure opens it again.
//   - The circuit keeps the promise made to the author: where it holds copies
//     whose first attempt failed, it is not left open past 28 s after that
//     failure, whatever its backoff says.
//   - A copy claimed and not started within a few seconds (the peer turned out
//     slow, the hub stops) is handed back; that is no attempt.
//
// # Locks and owners
//
// Relay.Run owns the set of running lanes; a lane's goroutine owns its copies
// and its senders; a sender owns its connection. peer has the only mutex: it
// guards idle connections and the circuit, and nothing is dialled or written
// under it.
package outbound
