package imap

import (
	"time"

	"github.com/relais-sante/relais/store/journal"
)

// news is when the client may be told, after a command, of what others did.
type news uint8

const (
	noNews   news = iota
	someNews      // all but what vanished: EXPUNGE would shift the numbers of commands already sent (RFC 9051 §7.5.1)
	allNews
)

// verb is a command.
type verb struct {
	in   state // where it may be given
	news news
	do   func(c *conn, p *parser) reply
}

// verbs are the commands by name; those with UID in front have a name of two
// words.
var verbs map[string]verb

func init() {
	verbs = map[string]verb{
		"CAPABILITY": {anyState, allNews, (*conn).doCapability},
		"NOOP":       {anyState, allNews, (*conn).doNoop},
		"LOGOUT":     {anyState, noNews, (*conn).doLogout},
		"ID":         {anyState, allNews, (*conn).doID},

		"STARTTLS":     {notAuthenticated, noNews, (*conn).doStartTLS},
		"AUTHENTICATE": {notAuthenticated, noNews, (*conn).doAuthenticate},
		"LOGIN":        {notAuthenticated, noNews, (*conn).doLogin},

		"ENABLE":      {loggedIn, allNews, (*conn).doEnable},
		"COMPRESS":    {loggedIn, noNews, (*conn).doCompress},
		"NAMESPACE":   {loggedIn, allNews, (*conn).doNamespace},
		"SELECT":      {loggedIn, noNews, (*conn).doSelect},
		"EXAMINE":     {loggedIn, noNews, (*conn).doExamine},
		"LIST":        {loggedIn, allNews, (*conn).doList},
		"LSUB":        {loggedIn, allNews, (*conn).doLsub},
		"STATUS":      {loggedIn, allNews, (*conn).doStatus},
		"CREATE":      {loggedIn, allNews, (*conn).doCreate},
		"DELETE":      {loggedIn, allNews, (*conn).doDelete},
		"RENAME":      {loggedIn, allNews, (*conn).doRename},
		"SUBSCRIBE":   {loggedIn, allNews, (*conn).doSubscribe},
		"UNSUBSCRIBE": {loggedIn, allNews, (*conn).doUnsubscribe},
		"APPEND":      {loggedIn, allNews, (*conn).doAppend},
		"IDLE":        {loggedIn, allNews, (*conn).doIdle},
		"NOTIFY":      {loggedIn, allNews, (*conn).doNotify},

		"GETQUOTA":     {loggedIn, allNews, (*conn).doGetQuota},
		"GETQUOTAROOT": {loggedIn, allNews, (*conn).doGetQuotaRoot},
		"SETQUOTA":     {loggedIn, allNews, (*conn).doSetQuota},
		"MYRIGHTS":     {loggedIn, allNews, (*conn).doMyRights},
		"GETACL":       {loggedIn, allNews, (*conn).doGetACL},
		"LISTRIGHTS":   {loggedIn, allNews, (*conn).doListRights},
		"SETACL":       {loggedIn, allNews, (*conn).doSetACL},
		"DELETEACL":    {loggedIn, allNews, (*conn).doDeleteACL},
		"GENURLAUTH":   {loggedIn, allNews, (*conn).doGenURLAuth},
		"RESETKEY":     {loggedIn, allNews, (*conn).doResetKey},
		"URLFETCH":     {loggedIn, allNews, (*conn).doURLFetch},

		"CLOSE":        {selected, noNews, (*conn).doClose},
		"UNSELECT":     {selected, noNews, (*conn).doUnselect},
		"CHECK":        {selected, allNews, (*conn).doNoop},
		"EXPUNGE":      {selected, allNews, (*conn).doExpunge},
		"UID EXPUNGE":  {selected, allNews, (*conn).doUIDExpunge},
		"FETCH":        {selected, someNews, (*conn).doFetch},
		"UID FETCH":    {selected, allNews, (*conn).doUIDFetch},
		"STORE":        {selected, someNews, (*conn).doStore},
		"UID STORE":    {selected, allNews, (*conn).doUIDStore},
		"COPY":         {selected, allNews, (*conn).doCopy},
		"UID COPY":     {selected, allNews, (*conn).doUIDCopy},
		"MOVE":         {selected, allNews, (*conn).doMove},
		"UID MOVE":     {selected, allNews, (*conn).doUIDMove},
		"SEARCH":       {selected, someNews, (*conn).doSearch},
		"UID SEARCH":   {selected, allNews, (*conn).doUIDSearch},
		"SORT":         {selected, someNews, (*conn).doSort},
		"UID SORT":     {selected, allNews, (*conn).doUIDSort},
		"THREAD":       {selected, someNews, (*conn).doThread},
		"UID THREAD":   {selected, allNews, (*conn).doUIDThread},
		"CANCELUPDATE": {selected, allNews, (*conn).doCancelUpdate},
	}
}

// next reads, does and answers one command.
func (c *conn) next() {
	line, err := c.nextCommand()
	if err != nil {
		c.ended(err)
		return
	}
	begun := time.Now()
	p := &parser{c: c, budget: c.server.limits.CommandBytes}
	p.load(line)
	tag := p.while(&tagChar)
	if tag == "" || len(tag) > 255 {
		p.fail("command without a tag")
		c.refuse("*", p)
		return
	}
	p.space()
	name := p.key()
	if name == "UID" {
		p.space()
		name += " " + p.key()
	}
	v, known := verbs[name]
	c.tag, c.command = tag, journal.Word("command")
	switch {
	case p.failed():
	case !known:
		p.fail("unknown command")
	default:
		c.command = journal.Word(name) // of the closed set
		if v.in&c.state() == 0 {
			p.fail("not now: wrong state for " + name)
		}
	}
	if c.user == nil && !c.allowed(begun) {
		return
	}
	if p.failed() {
		c.refuse(tag, p)
		return
	}
	if c.view != nil {
		c.view.missed = false
	}
	r := v.do(c, p)
	if !p.abandon() {
		return
	}
	c.conclude(tag, v, r)
	if then := c.then; then != nil {
		c.then = nil
		then()
	}
	c.server.metrics.commands.WithLabelValues(string(c.command), string(r.kind)).Inc()
	if name != "IDLE" {
		c.server.metrics.seconds.Observe(time.Since(begun).Seconds())
	}
}

// conclude tells what is new and answers.
func (c *conn) conclude(tag string, v verb, r reply) {
	if c.view != nil && r.kind != "BAD" {
		if err := c.view.settle(c.ctx); err != nil {
			r = c.failed(err)
		}
		if v.news != noNews {
			c.tell(v.news == allNews)
		}
	}
	if r.kind == "BAD" {
		c.errors++
	}
	c.answer(tag, r)
	c.spill()
	if c.errors > c.server.limits.Errors {
		c.bye("Trop d'erreurs / too many errors")
	}
}

// refuse answers a command that could not be read.
func (c *conn) refuse(tag string, p *parser) {
	r := p.result()
	if !p.abandon() {
		return
	}
	c.server.metrics.commands.WithLabelValues("", string(r.kind)).Inc()
	c.conclude(tag, verb{}, r)
}

// allowed bounds how fast a client that has not logged in may give commands.
func (c *conn) allowed(now time.Time) bool {
	if now.Sub(c.minute) >= time.Minute {
		c.minute, c.recent = now, 0
	}
	if c.recent++; c.recent > c.server.limits.CommandsBefore {
		c.bye("Trop de commandes / too many commands")
		return false
	}
	return true
}

func (c *conn) doNoop(p *parser) reply {
	if !p.end() {
		return p.result()
	}
	return ok()
}

// doLogout is RFC 9051 §6.1.3.
func (c *conn) doLogout(p *parser) reply {
	if !p.end() {
		return p.result()
	}
	c.leave()
	c.text("* BYE Au revoir / goodbye\r\n")
	c.then = func() { c.done = true }
	return ok()
}
