package imap

import (
	"net/url"
	"strconv"
	"strings"

	"github.com/relais-sante/relais/mailbox/folder"
)

// imapURL is an IMAP URL (RFC 5092): absolute, or relative to the account that
// is logged in ("/folder;UIDVALIDITY=1/;UID=2/;SECTION=1/;PARTIAL=0.10").
type imapURL struct {
	user, host string // of an absolute one
	mailbox    string
	validity   uint32
	uid        uint32
	section    section
	rump       string // all before the token
	urlauth    string // access (RFC 4467 §7): "user+NAME", "authuser", …
	mechanism  string
	token      string
}

// readURL reads an URL.
func readURL(text string) (u imapURL, valid bool) {
	rest := text
	if len(rest) > 7 && strings.EqualFold(rest[:7], "imap://") {
		authority, path, found := strings.Cut(rest[7:], "/")
		if !found {
			return u, false
		}
		who, host, hasUser := strings.Cut(authority, "@")
		if !hasUser {
			return u, false
		}
		who, _, _ = strings.Cut(who, ";") // ;AUTH=
		var err error
		if u.user, err = url.PathUnescape(who); err != nil || u.user == "" {
			return u, false
		}
		u.host, rest = host, "/"+path
	}
	if !strings.HasPrefix(rest, "/") {
		return u, false
	}
	rest = rest[1:]
	if i := indexFold(rest, ";urlauth="); i >= 0 {
		access := rest[i+len(";urlauth="):]
		rest = rest[:i]
		u.rump = text
		if who, more, has := strings.Cut(access, ":"); has {
			u.mechanism, u.token, _ = strings.Cut(more, ":")
			u.rump = text[:len(text)-len(access)+len(who)]
			access = who
		}
		var err error
		if u.urlauth, err = url.PathUnescape(access); err != nil || u.urlauth == "" {
			return u, false
		}
	}
	i := indexFold(rest, "/;uid=")
	path := rest
	if i >= 0 {
		path, rest = rest[:i], rest[i+1:]
	} else if i = indexFold(rest, ";uid="); i >= 0 {
		path, rest = rest[:i], rest[i:]
	} else {
		rest = ""
	}
	if k := indexFold(path, ";uidvalidity="); k >= 0 {
		n, err := strconv.ParseUint(path[k+len(";uidvalidity="):], 10, 32)
		if err != nil || n == 0 {
			return u, false
		}
		u.validity, path = uint32(n), path[:k]
	}
	name, err := url.PathUnescape(path)
	if err != nil {
		return u, false
	}
	u.mailbox = strings.TrimSuffix(name, string(folder.Delimiter))
	if strings.EqualFold(u.mailbox, folder.Inbox) {
		u.mailbox = folder.Inbox
	}
	for _, part := range strings.Split(rest, "/") {
		if part != "" && !u.parameter(part) {
			return u, false
		}
	}
	return u, true
}

// parameter reads ";NAME=value".
func (u *imapURL) parameter(part string) bool {
	name, value, ok := strings.Cut(strings.TrimPrefix(part, ";"), "=")
	if !ok {
		return false
	}
	switch strings.ToUpper(name) {
	case "UID":
		n, err := strconv.ParseUint(value, 10, 32)
		u.uid = uint32(n)
		return err == nil && n > 0
	case "SECTION":
		value, err := url.PathUnescape(value)
		if err != nil {
			return false
		}
		p := parser{line: []byte(value + "]")}
		p.section(&u.section)
		return p.take(']') && p.end()
	case "PARTIAL": // RFC 5550 §3
		from, count, _ := strings.Cut(value, ".")
		n, err := strconv.ParseUint(from, 10, 62)
		u.section.partial, u.section.from, u.section.count = true, int64(n), 1<<62
		if err != nil || count == "" {
			return err == nil
		}
		n, err = strconv.ParseUint(count, 10, 62)
		u.section.count = int64(n)
		return err == nil
	}
	return false
}

// indexFold finds an ASCII text, case ignored. Its place is one in s: lowering all
// of s would move what follows bytes that are no UTF-8.
func indexFold(s, what string) int {
	for i := 0; i+len(what) <= len(s); i++ {
		if strings.EqualFold(s[i:i+len(what)], what) {
			return i
		}
	}
	return -1
}

// isMe reports whether an URL's user is the one logged in.
func (c *conn) isMe(user, host string) bool {
	return user == c.user.Name() || user+"@"+host == c.user.Name()
}
