// Package inbound takes mail from other operators, as the hub's MX, and from
// accounts of the hub (see submission.go).
//
// Commands are read and answered by go-smtp. It never touches the network: a
// [wire] stands between, one per connection, and hands it one command line at a
// time. The wire does what go-smtp leaves open or does wrong: TLS, deadlines,
// limits, the reading of messages (DATA and BDAT alike), the closing of
// connections. What a message's bytes are, and whether they may be taken, is
// decided in message.go alone.
//
//	network ── wire ── go-smtp ── session ── mailbox.Hub
//	             └────── message ────┘
//
// Rules that hold here:
//
//   - 250 to a message only after Hub.Intake said that it is kept, and only if
//     every byte up to its end was read and was in order.
//   - Bytes of a message are never read as commands: after anything that leaves
//     their end in doubt the connection is closed.
//   - A peer is judged at MAIL, by its certificate, through gateway/trust; the
//     reason for a refusal is told in the reply, in French and English.
//   - Memory and time of a connection are bounded before it proved anything.
//   - Addresses are told to the peer that wrote them and to the hub, never to
//     the journal or to metrics.
package inbound
