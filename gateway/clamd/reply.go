package clamd

import (
	"bytes"
	"fmt"
	"io"
	"strings"
)

// maxReply bounds a reply, its ending zero included. Names of signatures have
// some tens of characters.
const maxReply = 1024

// maxSignature is the longest name that is passed on.
const maxSignature = 128

// readReply reads what a "z" command is answered: text ended by a zero byte. A
// text that is not ended is cut short, and no reply.
func readReply(r io.Reader) (string, error) {
	buf := make([]byte, 0, maxReply)
	for len(buf) < maxReply {
		n, err := r.Read(buf[len(buf):maxReply])
		buf = buf[:len(buf)+n]
		if i := bytes.IndexByte(buf, 0); i >= 0 {
			return string(buf[:i]), nil
		}
		if err != nil {
			return "", fmt.Errorf("reading the reply of clamd: %w", err)
		}
	}
	return "", ErrReply
}

// verdict reads the reply to INSTREAM: "stream: OK", "stream: NAME FOUND", or a
// text that ends in "ERROR".
func verdict(reply string) (Verdict, error) {
	if strings.HasSuffix(reply, "ERROR") {
		if strings.HasPrefix(reply, "INSTREAM size limit exceeded") {
			return Verdict{}, ErrTooBig
		}
		return Verdict{}, ErrFailed
	}
	result, ok := strings.CutPrefix(reply, "stream: ")
	if !ok {
		return Verdict{}, ErrReply
	}
	if result == "OK" {
		return Verdict{}, nil
	}
	name, ok := strings.CutSuffix(result, " FOUND")
	if !ok {
		return Verdict{}, ErrReply
	}
	if !plain(name) {
		name = ""
	}
	return Verdict{Infected: true, Signature: name}, nil
}

// plain reports whether a name may be written anywhere.
func plain(name string) bool {
	if len(name) > maxSignature {
		return false
	}
	for _, c := range []byte(name) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '.', c == '_', c == '-':
		default:
			return false
		}
	}
	return true
}
