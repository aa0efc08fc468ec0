// Package e2e tests the whole program from outside, as its users meet it: the
// real binary, real sockets, real peers. It holds tests only.
//
//	hub_test.go      starting, killing and asking a hub
//	sink_test.go     the peers' side: an SMTP server that counts, and misbehaves
//	crash_test.go    kill -9 under load
//	faults_test.go   peers that refuse, drop, stall
//	clear_test.go    nothing in clear on disk
//	corpus_test.go   malformed mail, taken or refused, read back byte for byte
//	operator*_test.go the hub as a client of an operator: Dovecot and Postfix with
//	                 three logins, both directions, exactly once
//	peers_*_test.go  Postfix, Dovecot, swaks, mutt, openssl: kinds of mail, one
//	                 thread, trust, an operator away, boxes that are not
package e2e
