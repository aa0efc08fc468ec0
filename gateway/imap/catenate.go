package imap

import (
	"io"

	"github.com/relais-sante/relais/mailbox/folder"
)

// catenation is a message put together from texts and from parts of other
// messages (RFC 4469). It reads the command as the message is read from it.
type catenation struct {
	c       *conn
	p       *parser
	piece   io.Reader // being read
	text    bool      // it is a literal
	close   func()
	begun   bool
	ended   bool
	refusal *reply
}

// Read implements io.Reader.
func (k *catenation) Read(b []byte) (int, error) {
	for {
		switch {
		case k.refusal != nil:
			return 0, io.ErrUnexpectedEOF
		case k.ended:
			return 0, io.EOF
		case k.piece == nil:
			k.next()
			continue
		}
		n, err := k.piece.Read(b)
		if n > 0 {
			return n, nil
		}
		k.finish(err)
	}
}

// next begins the next piece.
func (k *catenation) next() {
	p := k.p
	if k.begun {
		if p.take(')') {
			k.ended = true
			return
		}
		p.spaces()
	}
	k.begun = true
	switch p.key() {
	case "TEXT":
		p.spaces()
		a, found := p.announcement()
		if !found {
			break
		}
		if a.size > k.c.server.limits.MessageBytes {
			r := no(codeTooBig, "Message trop volumineux / message too large")
			k.refusal = &r
			return
		}
		k.piece, k.text = p.accept(a), true
	case "URL":
		p.spaces()
		text := p.astring()
		if p.failed() {
			break
		}
		reader, done, why := k.c.openURL(text)
		if why != "" {
			r := no(codeBadURL+" "+string(appendString(nil, text, k.c.utf8)), why)
			k.refusal = &r
			return
		}
		k.piece, k.text, k.close = reader, false, done
	default:
		p.fail("expected TEXT or URL")
	}
	if p.failed() {
		r := p.result()
		k.refusal = &r
	}
}

// finish ends a piece that gave no more.
func (k *catenation) finish(err error) {
	if k.close != nil {
		k.close()
		k.close = nil
	}
	if err != nil && err != io.EOF {
		r := k.c.failed(err)
		k.refusal = &r
		return
	}
	k.piece = nil
	if k.text {
		if k.p.after(); k.p.failed() {
			r := k.p.result()
			k.refusal = &r
		}
	}
}

// openURL opens what an URL names (RFC 5092), of this account's own folders.
// Why is empty if that was possible.
func (c *conn) openURL(text string) (r io.Reader, done func(), why string) {
	const none = "Introuvable / not found"
	u, valid := readURL(text)
	if !valid || u.mailbox == "" || u.uid == 0 || u.urlauth != "" || u.user != "" && !c.isMe(u.user, u.host) {
		return nil, nil, "URL incorrecte / bad URL"
	}
	f, err := c.user.Open(c.ctx, u.mailbox, true)
	if err != nil {
		return nil, nil, none
	}
	opened := false
	defer func() {
		if !opened {
			f.Close()
		}
	}()
	content, at, found := c.openPart(f, u)
	if !found {
		return nil, nil, none
	}
	opened = true
	from, n := u.section.clip(at.n)
	done = func() {
		content.Close()
		if err := f.Settle(c.ctx); err != nil {
			c.failed(err)
		}
		f.Close()
	}
	return newRangeReader(content, at.off+from, n), done, ""
}

// openPart opens the message an URL names and finds the part.
func (c *conn) openPart(f folder.Folder, u imapURL) (content folder.Content, at place, found bool) {
	table, _, err := f.Sync(c.ctx, nil)
	if err != nil || u.validity != 0 && u.validity != table.UIDValidity {
		return nil, at, false
	}
	if _, there := table.Find(u.uid); !there {
		return nil, at, false
	}
	err = f.Each(c.ctx, []uint32{u.uid}, folder.Whole, func(_ uint32, m *folder.Shown) error {
		at, found = u.section.locate(m.Index), true
		return nil
	})
	if err != nil || !found || at.none || at.pick {
		return nil, at, false
	}
	if content, err = f.Content(c.ctx, u.uid); err != nil {
		return nil, at, false
	}
	return content, at, true
}
