package imap

import (
	"errors"

	"github.com/relais-sante/relais/mailbox/folder"
)

func (c *conn) doCopy(p *parser) reply    { return c.copyTo(p, false, false) }
func (c *conn) doUIDCopy(p *parser) reply { return c.copyTo(p, true, false) }
func (c *conn) doMove(p *parser) reply    { return c.copyTo(p, false, true) }
func (c *conn) doUIDMove(p *parser) reply { return c.copyTo(p, true, true) }

// copyTo is RFC 9051 §6.4.7 and §6.4.8 (COPY, MOVE), with the UIDs told as in
// RFC 4315 §3.
func (c *conn) copyTo(p *parser, uid, move bool) reply {
	p.spaces()
	set := p.set()
	p.spaces()
	to := p.mailbox()
	if !p.end() {
		return p.result()
	}
	if move {
		if r := c.writable(); r != nil {
			return *r
		}
	}
	v := c.view
	at, r := v.places(set, uid)
	if r != nil {
		return *r
	}
	all := uids(v.rows, at)
	if len(all) == 0 {
		return ok()
	}
	do := v.folder.Copy
	if move {
		do = v.folder.Move
	}
	done, err := do(c.ctx, all, to)
	if errors.Is(err, folder.ErrNone) && !v.lost {
		return no(codeTryCreate, "Dossier inexistant / no such folder")
	}
	if err != nil {
		return c.failed(err)
	}
	var from, into []uint32
	for i, u := range done.UIDs {
		if u != 0 && i < len(all) {
			from, into = append(from, all[i]), append(into, u)
		}
	}
	if len(from) == 0 {
		return ok()
	}
	code := appendUint([]byte("COPYUID "), uint64(done.UIDValidity))
	code = append(code, ' ')
	code = appendSet(code, from)
	code = append(code, ' ')
	code = appendSet(code, into)
	if !move {
		return okCode(string(code))
	}
	// RFC 9051 §6.4.8: before the messages vanish.
	c.text("* OK [")
	c.text(string(code))
	c.text("] Moved\r\n")
	c.tell(true)
	return ok()
}
