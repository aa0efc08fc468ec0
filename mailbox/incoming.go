package mailbox

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/relais-sante/relais/mailbox/letter"
	"github.com/relais-sante/relais/store"
)

// maxLine is the longest line taken, CRLF apart. RFC 5321 §4.5.3.1.6 asks for
// 1000; hospital records write base64 on one line, and a relay that folds
// breaks signatures.
const maxLine = 64 << 10

// maxHops stops mail that goes round (RFC 5321 §6.3).
const maxHops = 100

// incoming is a message on its way in: the envelope, what one pass over it
// found, and where its sealed bytes are. It is read once; deciding about it
// may be repeated.
type incoming struct {
	env       Envelope
	now       time.Time
	reading   *letter.Reading
	idx       *letter.Index
	indexed   []byte // idx as it is stored
	documents []letter.Document
	// unreadable: an archive could not be read within its bounds.
	unreadable bool
	auto       letter.Auto
	from       letter.Mailbox // first mailbox of From
	fromAddr   store.Address
	rfcID      string // Message-ID, or one made by the hub
	noID       bool   // the mail came without a usable one
	draft      store.Draft
	text       *handed     // its bytes, if it is small; nil: it was held before
	held       *store.Held // the message was held before; draft is nil
	given      assignment
	// apart is the account to which a message with the same fingerprint must not
	// show, see [Hub.seenAgain].
	apart store.AccountID
	// Of a mail read from an operator's box: unproven says that no envelope
	// sender stands behind From, outside that it comes from elsewhere than the
	// trusted space.
	unproven, outside bool
}

// assignment is what a human decided about a held message.
type assignment struct {
	pathway store.PathwayCode
	member  store.MemberID
	rubrics []string
	by      Actor
	// settled are the triage reasons the human has dealt with: they do not
	// hold the message again.
	settled []string
}

// receive reads a message to its end, sealing and indexing it on the way.
func (h *Hub) receive(ctx context.Context, env Envelope, r io.Reader) (in *incoming, err error) {
	draft, err := h.store.Create(ctx, env.Size)
	if err != nil {
		return nil, fmt.Errorf("starting a message: %w", err)
	}
	scanner := letter.NewScanner(h.o.Reading)
	text := newHanded(env.Size)
	defer func() {
		if err != nil {
			text.wipe()
		}
	}()
	if err := h.pour(io.MultiWriter(draft, scanner, text), draft, r); err != nil {
		draft.Discard()
		return nil, err
	}
	if err := draft.Finish(); err != nil {
		draft.Discard()
		return nil, fmt.Errorf("ending a message: %w", err)
	}
	reading, err := scanner.Close()
	if err != nil {
		draft.Discard()
		return nil, fmt.Errorf("reading a message: %w", err)
	}
	in = &incoming{env: env, now: h.o.Now(), reading: reading, idx: reading.Index, draft: draft, text: text}
	if err := in.sound(); err != nil {
		draft.Discard()
		return nil, err
	}
	if err := h.understand(ctx, in, draft.Open); err != nil {
		draft.Discard()
		return nil, err
	}
	return in, nil
}

// pouring are the buffers of pour.
var pouring = sync.Pool{New: func() any { b := make([]byte, 32<<10); return &b }}

// pour copies r, at most the size the hub takes.
func (h *Hub) pour(w io.Writer, draft store.Draft, r io.Reader) error {
	buffer := pouring.Get().(*[]byte)
	defer pouring.Put(buffer)
	buf := *buffer
	for {
		n, err := r.Read(buf)
		if n > 0 {
			if h.o.MaxMessage > 0 && draft.Size()+int64(n) > h.o.MaxMessage {
				return refuse(RefuseTooBig, nil)
			}
			if _, werr := w.Write(buf[:n]); werr != nil {
				return fmt.Errorf("sealing a message: %w", werr)
			}
		}
		if err == io.EOF { // io.Reader's own end, never a wrapped one
			return nil
		}
		if err != nil {
			return fmt.Errorf("receiving a message: %w", err)
		}
	}
}

// sound refuses what could not be relayed byte for byte. Whoever brings the
// message, the bytes kept must survive DATA (RFC 5321 §2.3.8).
func (in *incoming) sound() error {
	switch {
	case in.idx.BareCRLF:
		return refuse(RefuseBareNewline, nil)
	case !in.idx.FinalCRLF:
		return refuse(RefuseUnended, nil)
	case in.idx.NULLine:
		// A server that drops NULs before it looks for the final dot would take
		// "\0." for one, and what follows for commands in our name.
		return refuse(RefuseNULLine, nil)
	case in.idx.LongLine > maxLine:
		return refuse(RefuseLongLine, nil)
	}
	hops := 0
	for i := range in.idx.Fields {
		if strings.EqualFold(in.idx.Fields[i].Name, "Received") {
			hops++
		}
	}
	if hops > maxHops {
		return refuse(RefuseLoop, nil)
	}
	return nil
}

// understand draws from the reading what deciding needs.
func (h *Hub) understand(ctx context.Context, in *incoming, open func() (io.ReadCloser, error)) error {
	env := &in.idx.Envelope
	if len(env.From) > 0 {
		in.from = env.From[0]
	}
	in.fromAddr = store.NewAddress(in.from.Address)
	in.rfcID = env.MessageID
	if !letter.ValidID(in.rfcID) {
		in.rfcID, in.noID = h.newRFCID(in.now), true
	}
	in.auto = letter.Automatic(in.idx)
	if in.fromOperator() {
		h.byOperator(in)
	}

	parts := &partReader{open: open}
	defer parts.close()
	docs, err := letter.Documents(ctx, in.idx, parts.part, h.o.Archives)
	switch {
	case errors.Is(err, letter.ErrUnreadableArchive):
		in.unreadable = true
	case err != nil:
		return fmt.Errorf("reading the documents of a message: %w", err)
	}
	in.documents = docs
	in.indexed, err = encodeIndex(in.idx)
	return err
}

// partReader gives the decoded bytes of parts. Parts asked for in their order
// share one pass over the sealed message.
type partReader struct {
	open func() (io.ReadCloser, error)
	r    io.ReadCloser
	pos  int64
}

func (p *partReader) part(part *letter.Part) (io.Reader, error) {
	if p.r == nil || part.BodyStart < p.pos {
		p.close()
		r, err := p.open()
		if err != nil {
			return nil, fmt.Errorf("opening a message for its parts: %w", err)
		}
		p.r, p.pos = r, 0
	}
	n, err := io.CopyN(io.Discard, p.r, part.BodyStart-p.pos)
	p.pos += n
	if err != nil {
		return nil, fmt.Errorf("going to a part: %w", err)
	}
	return letter.Decode(&counter{r: io.LimitReader(p.r, part.BodyEnd-part.BodyStart), pos: &p.pos}, part.Encoding), nil
}

func (p *partReader) close() { _ = p.Close() }

// Close implements io.Closer.
func (p *partReader) Close() error {
	if p.r == nil {
		return nil
	}
	err := p.r.Close()
	p.r = nil
	return err
}

// counter keeps count of where the underlying stream stands.
type counter struct {
	r   io.Reader
	pos *int64
}

func (c *counter) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	*c.pos += int64(n)
	return n, err
}

// fingerprint tells a message seen again: same pathway, Message-ID and body. A
// mail without Message-ID is told by its whole header, but for what the way
// adds; without a date either, nothing tells two "seen, thank you" apart, and
// taking both is better than losing one: the fingerprint is zero, for none.
func (in *incoming) fingerprint(p store.PathwayCode) [32]byte {
	var told []byte
	add := func(s string) {
		told = append(strconv.AppendInt(told, int64(len(s)), 10), ':')
		told = append(told, s...)
	}
	add(string(p))
	add(string(in.idx.BodySum))
	if in.apart != "" {
		add(string(in.apart))
	}
	if !in.noID {
		add(in.rfcID)
		return sha256.Sum256(told)
	}
	if in.idx.Envelope.DateText == "" {
		return [32]byte{}
	}
	for i := range in.idx.Fields {
		f := &in.idx.Fields[i]
		if !strings.EqualFold(f.Name, "Received") && !strings.EqualFold(f.Name, "Return-Path") {
			add(f.Name)
			add(f.Value)
		}
	}
	return sha256.Sum256(told)
}

// field gives the first value of a header field, or "".
func (in *incoming) field(name string) string { return fieldOf(in.idx, name) }

func fieldOf(idx *letter.Index, name string) string {
	for i := range idx.Fields {
		if strings.EqualFold(idx.Fields[i].Name, name) {
			return strings.TrimSpace(idx.Fields[i].Value)
		}
	}
	return ""
}

// urgent reports whether the sender marked the mail as urgent (Importance,
// X-Priority, Priority of RFC 2156).
func (in *incoming) urgent() bool {
	switch strings.ToLower(in.field("Importance")) {
	case "high":
		return true
	}
	if p := in.field("X-Priority"); strings.HasPrefix(p, "1") || strings.HasPrefix(p, "2") {
		return true
	}
	return strings.EqualFold(in.field("Priority"), "urgent")
}

// automatic reports whether a program made the mail.
func (in *incoming) automatic() bool { return in.auto.Kind != letter.ByPerson }
