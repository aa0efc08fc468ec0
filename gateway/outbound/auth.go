package outbound

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"github.com/relais-sante/relais/gateway/operator"
	"github.com/relais-sante/relais/store/journal"
)

// AUTH (RFC 4954), by hand: go-smtp's client writes the first response into the
// command however long it is, and goes on talking after a refusal.

const (
	// maxCommand is the longest command line, CRLF included (RFC 5321
	// §4.5.3.1.4); RFC 4954 §4 keeps AUTH to it. A token is longer.
	maxCommand = 512
	maxRounds  = 8
)

const (
	errRounds    = journal.Fault("the login does not end")
	errChallenge = journal.Fault("challenge is not base64")
)

// authenticate carries out one exchange; allow renews the time for each reply. A
// server's "no" is wrapped as [operator.ErrRefused], a "not now" is not.
func authenticate(f *fence, allow func(), c sasl.Client) error {
	mechanism, first, err := c.Start()
	if err != nil {
		return fmt.Errorf("beginning a login: %w", err)
	}
	line, pending := "AUTH "+mechanism, first != nil
	whole := line + " " + coded(first)
	if len(first) == 0 {
		whole = line + " =" // RFC 4954 §4: there is one, and it is empty
	}
	if pending && len(whole)+len("\r\n") <= maxCommand {
		line, pending = whole, false
	}
	for range maxRounds {
		allow()
		code, lines, err := f.say(line)
		switch {
		case err != nil:
			return fmt.Errorf("logging in: %w", err)
		case code == 235:
			return nil
		case code != 334:
			return notTaken(code, lines)
		}
		response := first
		if !pending {
			challenge, err := base64.StdEncoding.DecodeString(strings.Join(lines, ""))
			if err != nil {
				return fmt.Errorf("logging in: %w", errChallenge)
			}
			// RFC 7628 §3.2.3: an error comes as a challenge, and wants to be
			// answered before the server says no.
			if response, err = c.Next(challenge); err != nil {
				allow()
				if code, lines, err = f.say("*"); err != nil {
					return fmt.Errorf("ending a login: %w", err)
				}
				return notTaken(max(code, 500), lines)
			}
		}
		pending = false
		line = coded(response)
	}
	return errRounds
}

func coded(b []byte) string { return base64.StdEncoding.EncodeToString(b) }

// notTaken is the error of a login that did not succeed.
func notTaken(code int, lines []string) error {
	said := smtpError(code, lines)
	if code < 500 {
		return said
	}
	return fmt.Errorf("%w: %w", operator.ErrRefused, said)
}

// ownTrouble reports whether a refusal is about the hub as a client (its login,
// its box as a sender) and not about the copy: RFC 4954 §6, and what Postfix and
// others say when a login may not use a sender. silent: nobody logged in, the
// certificate alone should do; "relay denied" then means that it does not.
func ownTrouble(f *failure, silent bool) bool {
	var said *smtp.SMTPError
	if !errors.As(f.err, &said) || said.Code < 500 {
		return false
	}
	enhanced := fmt.Sprintf("%d.%d.%d", said.EnhancedCode[0], said.EnhancedCode[1], said.EnhancedCode[2])
	switch {
	case f.at == stageMail:
		return !tooLarge(f.at, said.Code, enhanced)
	case f.at != stageRcpt:
		return said.Code == 530
	}
	return said.Code == 530 || enhanced == "5.7.0" || enhanced == "5.7.8" || said.Code == 553 && enhanced == "5.7.1" || silent && enhanced == "5.7.1"
}
