package imap

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"sync"

	"github.com/relais-sante/relais/mailbox/folder"
)

// URLAUTH (RFC 4467) lets an account make URLs that are good for a message of
// its own. Here they are good for that same account only, whatever access they
// name: an URL that let another one read would go past the rights of that
// other, of which there is one judge. For others every URL is NIL.
//
// The keys live as long as the server: URLs are for the moment, not for letters.
type urlKeys struct {
	mu    sync.Mutex
	once  sync.Once
	key   [32]byte
	reset map[recentKey]int // how often the key of a folder was changed
}

// token signs an URL.
func (k *urlKeys) token(key recentKey, rump string) string {
	k.once.Do(func() { rand.Read(k.key[:]) }) // never fails
	k.mu.Lock()
	generation := k.reset[key]
	k.mu.Unlock()
	mac := hmac.New(sha256.New, k.key[:])
	for _, part := range []string{key.user, key.folder, string(appendUint(nil, uint64(generation))), rump} {
		mac.Write(appendUint(nil, uint64(len(part))))
		mac.Write([]byte{0})
		mac.Write([]byte(part))
	}
	return "01" + hex.EncodeToString(mac.Sum(nil)) // 01: the version
}

func (k *urlKeys) change(key recentKey) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.reset == nil || len(k.reset) >= maxRecents {
		k.reset = map[recentKey]int{}
		rand.Read(k.key[:])
	}
	k.reset[key]++
}

// doGenURLAuth is RFC 4467 §7: GENURLAUTH.
func (c *conn) doGenURLAuth(p *parser) reply {
	type pair struct{ text, mechanism string }
	var asked []pair
	for !p.failed() && !p.atEnd() {
		p.spaces()
		text := p.astring()
		p.spaces()
		asked = append(asked, pair{text, p.key()})
	}
	if len(asked) == 0 {
		p.fail("no URL")
	}
	if !p.end() {
		return p.result()
	}
	var made []string
	for _, a := range asked {
		u, valid := readURL(a.text)
		if !valid || u.urlauth == "" || u.token != "" || u.uid == 0 || !c.isMe(u.user, u.host) || !c.access(u) || a.mechanism != "INTERNAL" {
			return no(codeBadURL, "URL incorrecte / bad URL")
		}
		s, err := c.user.Stat(c.ctx, u.mailbox)
		if err != nil {
			return c.failed(err)
		}
		made = append(made, a.text+":INTERNAL:"+c.server.urls.token(recentKey{user: c.user.Name(), folder: s.ID}, u.rump))
	}
	c.text("* GENURLAUTH")
	for _, m := range made {
		c.text(" ")
		c.string(m)
	}
	c.text("\r\n")
	return ok()
}

// doResetKey makes the URLs of a folder, or all of them, void.
func (c *conn) doResetKey(p *parser) reply {
	name := ""
	if p.take(' ') {
		name = p.mailbox()
		for !p.failed() && !p.atEnd() { // mechanisms
			p.spaces()
			p.key()
		}
	}
	if !p.end() {
		return p.result()
	}
	all := []folder.Info{{Name: name}}
	if name == "" {
		var err error
		if all, err = c.user.List(c.ctx); err != nil {
			return c.failed(err)
		}
	}
	for _, f := range all {
		if f.Missing {
			continue
		}
		s, err := c.user.Stat(c.ctx, f.Name)
		if err != nil {
			return c.failed(err)
		}
		c.server.urls.change(recentKey{user: c.user.Name(), folder: s.ID})
	}
	return okCode("URLMECH INTERNAL")
}

// urlPart is what is asked of an URL (RFC 5524 §3).
type urlPart struct {
	text                    string
	body, binary, structure bool
	plain                   bool // asked for as in RFC 4467
}

// doURLFetch is RFC 4467 §7 and RFC 5524.
func (c *conn) doURLFetch(p *parser) reply {
	var asked []urlPart
	for !p.failed() && !p.atEnd() {
		p.spaces()
		one := urlPart{}
		if p.peek() != '(' {
			one.text, one.plain = p.astring(), true
			asked = append(asked, one)
			continue
		}
		p.need('(')
		one.text = p.astring()
		for p.take(' ') {
			switch p.key() {
			case "BODY":
				one.body = true
			case "BINARY":
				one.binary = true
			case "BODYPARTSTRUCTURE":
				one.structure = true
			default:
				p.fail("unknown parameter")
			}
		}
		p.need(')')
		asked = append(asked, one)
	}
	if len(asked) == 0 || len(asked) > maxFetchItems {
		p.fail("no URL, or too many")
	}
	if !p.end() {
		return p.result()
	}
	for _, one := range asked {
		c.text("* URLFETCH ")
		c.string(one.text)
		if err := c.urlFetch(one); err != nil {
			c.drop(err)
			return ok()
		}
		c.text("\r\n")
		c.spill()
	}
	return ok()
}

// urlFetch writes what an URL gives; NIL if it is not good here.
func (c *conn) urlFetch(one urlPart) error {
	u, valid := readURL(one.text)
	if !valid || !c.mayFetch(u) {
		c.text(" NIL")
		return nil
	}
	f, err := c.user.Open(c.ctx, u.mailbox, true)
	if err != nil {
		c.text(" NIL")
		return nil
	}
	defer f.Close()
	u.section.binary = one.binary
	content, at, found := c.openPart(f, u)
	if !found {
		c.text(" NIL")
		return nil
	}
	defer content.Close()
	if one.structure {
		c.text(" (BODYPARTSTRUCTURE ")
		err := f.Each(c.ctx, []uint32{u.uid}, folder.Whole, func(_ uint32, m *folder.Shown) error {
			part, fields := &m.Index.Root, m.Index.Fields
			if u.section.part != "" {
				part = part.Find(u.section.part)
				if part != &m.Index.Root {
					fields = part.Header
				}
			}
			if at.encoding != "" { // RFC 5524 §4: of what BINARY gives
				decoded := *part
				decoded.Encoding, decoded.Lines = "7bit", 0
				decoded.BodyEnd = decoded.BodyStart + part.Size
				part = &decoded
			}
			c.out = c.appendStructure(c.out, part, fields, true)
			return nil
		})
		if err != nil {
			return err
		}
		c.text(")")
	}
	switch {
	case one.plain:
		c.text(" ")
		err = c.sendSection(content, &u.section, at)
	case one.body:
		c.text(" (BODY ")
		err = c.sendSection(content, &u.section, at)
		c.text(")")
	case one.binary:
		c.text(" (BINARY ")
		err = c.sendSection(content, &u.section, at)
		c.text(")")
	}
	if err != nil {
		return err
	}
	return f.Settle(c.ctx)
}

// mayFetch checks an URL's token, and that it is this account's own.
func (c *conn) mayFetch(u imapURL) bool {
	if u.token == "" || u.uid == 0 || !strings.EqualFold(u.mechanism, "INTERNAL") || !c.isMe(u.user, u.host) {
		return false
	}
	if !c.access(u) {
		return false
	}
	s, err := c.user.Stat(c.ctx, u.mailbox)
	if err != nil {
		return false
	}
	want := c.server.urls.token(recentKey{user: c.user.Name(), folder: s.ID}, u.rump)
	return hmac.Equal([]byte(want), []byte(u.token))
}

// access reports whether an URL is for this account.
func (c *conn) access(u imapURL) bool {
	return u.urlauth == "authuser" || u.urlauth == "user+"+c.user.Name()
}
