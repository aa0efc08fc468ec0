package mailbox

// smallMail is a message that is handed over whole to the relay, in bytes: most
// mails without attachment. No message is kept that grows past what was made for
// it, so nothing of it is ever left behind unwiped.
const smallMail = 16 << 10

// unsaid is the room for a message whose size its sender did not say, or said to be less.
const unsaid = 8 << 10

// handed keeps the bytes of a small message while it is taken, so that copies sent
// at once need not open it. It is in memory only: whoever has it last wipes it.
type handed struct {
	room int // bytes made for it at its first
	b    []byte
}

func newHanded(said int64) *handed {
	if said > smallMail {
		return new(handed)
	}
	return &handed{room: int(max(said, unsaid))}
}

// Write implements [io.Writer].
func (h *handed) Write(p []byte) (int, error) {
	if h.b == nil && h.room > 0 {
		h.b = make([]byte, 0, h.room)
	}
	if len(h.b)+len(p) > cap(h.b) {
		h.wipe()
		h.room = 0
	} else {
		h.b = append(h.b, p...)
	}
	return len(p), nil
}

// take gives the bytes away, if they were kept.
func (h *handed) take() []byte {
	if h == nil {
		return nil
	}
	b := h.b
	h.b = nil
	return b
}

func (h *handed) wipe() { clear(h.take()) }
