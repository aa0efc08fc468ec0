package login

import (
	"bytes"
	"encoding/json"
	"strings"
	"unicode/utf8"

	"github.com/relais-sante/relais/mailbox"
)

// The server's side of the mechanisms. A nil response to the first Next says
// that the client waits for a challenge.

type attempt func(by mailbox.LoginBy, username, secret string) error

// plain is RFC 4616: authzid NUL authcid NUL password. Acting for another is
// not done here: an authzid must be the same.
type plain struct{ try attempt }

func (m *plain) Next(response []byte) ([]byte, bool, error) {
	if response == nil {
		return []byte{}, false, nil
	}
	parts := bytes.Split(response, []byte{0})
	if len(parts) != 3 || !utf8.Valid(response) || len(parts[0]) > 0 && !bytes.Equal(parts[0], parts[1]) {
		return nil, true, errMessage
	}
	return nil, true, m.try(mailbox.ByPassword, string(parts[1]), string(parts[2]))
}

// passwordLogin is LOGIN (draft-murchison-sasl-login), which old clients speak.
type passwordLogin struct {
	try      attempt
	named    bool
	username string
}

func (m *passwordLogin) Next(response []byte) ([]byte, bool, error) {
	switch {
	case response == nil:
		return []byte("Username:"), false, nil
	case !utf8.Valid(response) || bytes.IndexByte(response, 0) >= 0:
		return nil, true, errMessage
	case !m.named:
		m.named, m.username = true, string(response)
		return []byte("Password:"), false, nil
	}
	return nil, true, m.try(mailbox.ByPassword, m.username, string(response))
}

// external is RFC 4422 appendix A: the certificate has said it; the response is
// the account wanted, or empty.
type external struct{ try attempt }

func (m *external) Next(response []byte) ([]byte, bool, error) {
	if response == nil {
		return []byte{}, false, nil
	}
	if !utf8.Valid(response) || bytes.IndexByte(response, 0) >= 0 {
		return nil, true, errMessage
	}
	return nil, true, m.try(mailbox.ByCertificate, string(response), "")
}

// bearer is OAUTHBEARER (RFC 7628) or XOAUTH2. A failure is told in a challenge
// first, which the client answers with nothing of meaning.
type bearer struct {
	try    attempt
	parse  func(string) (username, token string, ok bool)
	failed error
}

func (m *bearer) Next(response []byte) ([]byte, bool, error) {
	if m.failed != nil {
		return nil, true, m.failed
	}
	if response == nil {
		return []byte{}, false, nil
	}
	username, token, ok := m.parse(string(response))
	if !ok || !utf8.Valid(response) {
		return nil, true, errMessage
	}
	if m.failed = m.try(mailbox.ByToken, username, token); m.failed == nil {
		return nil, true, nil
	}
	why := map[string]string{"status": "invalid_token", "schemes": "bearer"}
	if FaultOf(m.failed) == Unavailable {
		why["status"] = "temporarily_unavailable"
	}
	challenge, err := json.Marshal(why)
	if err != nil {
		return nil, true, err
	}
	return challenge, false, nil
}

// separator of OAUTHBEARER and XOAUTH2.
const separator = "\x01"

// parseOAuthBearer reads a GS2 header and the key "auth" (RFC 7628 §3.1); host
// and port are the client's view of where it is, and say nothing new.
func parseOAuthBearer(s string) (username, token string, ok bool) {
	header, rest, ok := strings.Cut(s, separator)
	if !ok || !strings.HasSuffix(rest, separator+separator) {
		return "", "", false
	}
	fields := strings.Split(header, ",")
	// Channel binding is not offered: "n" or "y" (RFC 5801 §4).
	if len(fields) != 3 || fields[0] != "n" && fields[0] != "y" || fields[2] != "" {
		return "", "", false
	}
	if fields[1] != "" {
		name, named := strings.CutPrefix(fields[1], "a=")
		if !named {
			return "", "", false
		}
		username = strings.NewReplacer("=2C", ",", "=3D", "=").Replace(name)
	}
	token, ok = bearerOf(strings.Split(strings.TrimSuffix(rest, separator+separator), separator))
	return username, token, ok
}

// parseXOAuth2 reads "user=NAME^Aauth=Bearer TOKEN^A^A".
func parseXOAuth2(s string) (username, token string, ok bool) {
	body, ended := strings.CutSuffix(s, separator+separator)
	user, rest, more := strings.Cut(body, separator)
	username, named := strings.CutPrefix(user, "user=")
	if !ended || !more || !named {
		return "", "", false
	}
	token, ok = bearerOf(strings.Split(rest, separator))
	return username, token, ok
}

// bearerOf finds the token among key=value pairs.
func bearerOf(pairs []string) (token string, ok bool) {
	for _, pair := range pairs {
		key, value, _ := strings.Cut(pair, "=")
		if key != "auth" {
			continue
		}
		scheme, credentials, _ := strings.Cut(value, " ")
		if ok || !strings.EqualFold(scheme, "Bearer") || credentials == "" || strings.ContainsAny(credentials, " ,") {
			return "", false
		}
		token, ok = credentials, true
	}
	return token, ok
}
