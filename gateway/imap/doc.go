// Package imap is the hub's IMAP server: the structured mailbox in any mail
// client. It speaks IMAP4rev1 (RFC 3501) and IMAP4rev2 (RFC 9051) and the
// extensions named in capability.go, over the folders of mailbox/folder, and
// knows nothing of what is behind them.
//
//	network ── conn (lines, literals, TLS, deadlines) ── parser ── command ── folder.User, folder.Folder
//
// One file is one command or a small family: it parses its arguments, calls
// the floor below, and writes what that gave. RFC sections stand beside what
// they justify.
//
// Rules that hold here:
//
//   - One goroutine serves a connection: it reads, does and answers one command
//     after the other. Commands sent ahead wait in the network. While it waits
//     for input a second one watches for what the client must be told, and only
//     ever ends that wait (wait.go).
//   - Bytes of a literal are never read as commands. After anything that leaves
//     their end in doubt the connection is closed (literal.go).
//   - Nothing is written to the network while the floor below is inside a call:
//     what Each gives is put into the buffer, and sent when it returned. A slow
//     reader holds up nobody else.
//   - What the client knows of a folder changes in one place only, and only
//     where the protocol allows it (view.go).
//   - Before a tagged OK what was read has its trace (Settle), what was changed
//     is durable.
//   - Memory and time are bounded before and after a client proved who it is;
//     a connection that waits keeps no buffers.
//   - Texts are compared without regard to case (i;unicode-casemap, RFC 5051)
//     nor to accents, which that comparator tells apart: the hub's readers
//     look for "Lea" and "Léa" alike.
//   - Names of people and folders, addresses, content and secrets go to the
//     client that has a right to them, never into the journal or metrics.
package imap
