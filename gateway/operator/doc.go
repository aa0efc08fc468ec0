// Package operator is the hub as the client of an MSSanté operator: it takes
// what comes into the boxes of the [[operator]] sections over IMAP (RFC 3501,
// RFC 9051), and holds what it takes to log in there, for submission too.
//
// Rules that hold here:
//
//   - An operator's server is known by two things, checked after the handshake:
//     its certificate bears the host name of the settings, and chains to the
//     hub's authorities with revocation and dates looked at. Nothing is said to
//     it before; a password or token never goes out in clear.
//   - Tokens live in memory. Only a refresh token that the identity provider
//     gave anew is kept, sealed, in a [Vault]. None is ever logged, nor any text
//     of a server.
//   - A login that was refused is tried once more if a fresh token can change
//     the outcome, and then not for a while, by nobody: see [Access.Login].
package operator
