// Package trust decides whom the hub talks to. It is the only place that does.
//
// A [Guard] holds what the decision rests on: the hub's own certificates, the
// authorities that stand for IGC-Santé, revocation lists, and the national white
// list, which says which operator's certificate speaks for which mail domain.
// Gateways ask it for a TLS configuration, shake hands, and then ask what the
// peer proved to be.
//
// Rules that hold here:
//
//   - Nothing is verified during the handshake. A TLS alert tells the people at
//     the other end nothing; a refusal of the mail, with its reason, does. So
//     the handshake asks for a certificate and takes any, and no mail moves
//     before [Guard.Inbound], [Guard.VerifyServer] or [Guard.VerifySmarthost]
//     has judged it.
//   - All judgements fail closed, with a [Distrust] that names one [Reason].
//     Where revocation lists are used, an authority without a current one
//     vouches for nobody (ANS referential #2, ECO.1.1.6 and ECO.1.1.7).
//   - What comes from outside is not believed against better knowledge. A white
//     list that is gone, broken or much shorter, a revocation list that is
//     broken or older, leave the last good one in use, also over a restart: it
//     is kept in [Options.KeepDir]. Each such thing is a [Concern], for the
//     journal and for people.
//   - Everything is judged against one immutable profile. [Guard.Reload] builds
//     a new profile completely or leaves the old one; connections stay up and
//     are judged by the new profile from their next message on. Resumed TLS
//     sessions never outlive a profile.
//   - Names of operators are compared attribute by attribute (see [Name]).
package trust
