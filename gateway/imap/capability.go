package imap

import (
	"strconv"

	"github.com/emersion/go-imap/v2"
)

// Extensions told before a login; what AUTH= and STARTTLS say depends on the
// connection.
var capsBefore = []imap.Cap{
	imap.CapIMAP4rev1, imap.CapIMAP4rev2, imap.CapSASLIR, imap.CapLiteralPlus, imap.CapID, imap.CapEnable, imap.CapIdle,
}

// Extensions told after a login. CONTEXT=SORT means partial results; a sorted
// search is not kept up to date (NOUPDATE, RFC 5267 §4.3).
var capsAfter = []imap.Cap{
	imap.CapIMAP4rev1, imap.CapIMAP4rev2, imap.CapLiteralPlus, imap.CapID, imap.CapEnable, imap.CapIdle,
	imap.CapNamespace, imap.CapUnselect, imap.CapUIDPlus, imap.CapMove, imap.CapChildren, imap.CapListExtended, imap.CapListStatus,
	imap.CapSpecialUse, imap.CapCreateSpecialUse, imap.CapStatusSize, imap.CapESearch, imap.CapSearchRes, imap.CapSort, imap.CapSortDisplay, imap.CapESort,
	"THREAD=REFERENCES", "THREAD=ORDEREDSUBJECT", "THREAD=REFS", "CONTEXT=SEARCH", "CONTEXT=SORT", "PARTIAL", imap.CapWithin,
	imap.CapCondStore, imap.CapQResync, imap.CapBinary, imap.CapMultiAppend, imap.CapCatenate, imap.CapURLPartial, imap.CapURLAuth, "URLAUTH=BINARY",
	imap.CapPreview, imap.CapSaveDate, imap.CapObjectID, imap.CapQuota, "QUOTA=RES-STORAGE", "QUOTA=RES-MESSAGE", imap.CapACL, "RIGHTS=tekx",
	imap.CapUTF8Accept, imap.CapNotify,
}

// capabilities appends what the server can do for this client now.
func (c *conn) capabilities() {
	c.begin()
	list := capsBefore
	if c.user != nil {
		list = capsAfter
	}
	for i, cap := range list {
		if i > 0 {
			c.out = append(c.out, ' ')
		}
		c.out = append(c.out, cap...)
	}
	if c.user != nil {
		c.text(" APPENDLIMIT=" + strconv.FormatInt(c.server.limits.MessageBytes, 10))
		if !c.deflated {
			c.text(" COMPRESS=DEFLATE")
		}
		return
	}
	if c.tls == nil {
		c.text(" STARTTLS")
	}
	for _, mechanism := range c.way().Mechanisms() {
		c.text(" AUTH=" + mechanism)
	}
	if !c.way().Password() {
		c.text(" LOGINDISABLED")
	}
}

// doCapability is RFC 9051 §6.1.1.
func (c *conn) doCapability(p *parser) reply {
	if !p.end() {
		return p.result()
	}
	c.text("* CAPABILITY ")
	c.capabilities()
	c.text("\r\n")
	return ok()
}

// doEnable is RFC 5161. What is enabled stays so.
func (c *conn) doEnable(p *parser) reply {
	var asked []string
	for !p.failed() && !p.atEnd() {
		p.spaces()
		asked = append(asked, p.key())
	}
	if len(asked) == 0 {
		p.fail("nothing to enable")
	}
	if !p.end() {
		return p.result()
	}
	c.text("* ENABLED")
	for _, a := range asked {
		switch a {
		case "CONDSTORE":
			c.cond = true
		case "QRESYNC": // RFC 7162 §3.2.3
			c.cond, c.qresync = true, true
		case "UTF8=ACCEPT": // RFC 6855 §3
			c.utf8 = true
		case "IMAP4REV2":
			c.utf8, c.rev2 = true, true
			a = string(imap.CapIMAP4rev2)
		default:
			continue
		}
		c.text(" " + a)
	}
	c.text("\r\n")
	return ok()
}

// doID is RFC 2971. What clients tell of themselves is read and forgotten.
func (c *conn) doID(p *parser) reply {
	p.spaces()
	if !p.word("NIL") {
		p.list(func() {
			p.string()
			p.spaces()
			p.nstring()
		})
	}
	if !p.end() {
		return p.result()
	}
	c.text(`* ID ("name" "Relais"`)
	if v := c.server.options.Version; v != "" && c.user != nil {
		c.text(` "version" `)
		c.string(v)
	}
	c.text(")\r\n")
	return ok()
}

// doNamespace is RFC 2342: everything is personal, in one tree.
func (c *conn) doNamespace(p *parser) reply {
	if !p.end() {
		return p.result()
	}
	c.text("* NAMESPACE ((\"\" \"/\")) NIL NIL\r\n")
	return ok()
}
