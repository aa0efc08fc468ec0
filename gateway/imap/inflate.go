package imap

import (
	"io"

	"github.com/relais-sante/relais/store/journal"
)

// inflater reads a stream compressed as RFC 1951 says, and gives each byte as
// soon as it can be known. compress/flate holds back what came before a partial
// flush (an empty block of fixed codes, not at a byte's end) until more arrives;
// that is how mbsync ends its commands, and both sides would wait for ever.
//
// It decodes bit by bit, which is plenty for commands; the memory is the window
// of 32 KiB and what is decoded at a time.
type inflater struct {
	src io.Reader

	in []byte // not decoded yet
	at int    // bits of it used

	kind  blockKind
	final bool
	left  int // bytes to come of a stored block
	codes huffman
	dists huffman

	hist []byte // the last bytes decoded
	sent int    // of hist
	err  error
}

type blockKind uint8

const (
	noBlock blockKind = iota
	storedBlock
	codedBlock
)

const (
	errInflate journal.Fault = "malformed compressed stream"
	errMore    journal.Fault = "needs more input" // inner
)

const (
	windowSize  = 32 << 10
	decodeAhead = 8 << 10 // bytes decoded at a time
	inflateRead = 2 << 10
)

func newInflater(src io.Reader) *inflater { return &inflater{src: src} }

// Read implements io.Reader.
func (z *inflater) Read(p []byte) (int, error) {
	for {
		if z.sent < len(z.hist) {
			n := copy(p, z.hist[z.sent:])
			z.sent += n
			return n, nil
		}
		if z.err != nil {
			return 0, z.err
		}
		z.slide()
		err := z.decode()
		switch {
		case z.sent < len(z.hist):
			if err != nil && err != errMore {
				z.err = err
			}
		case err == errMore:
			if err := z.fill(); err != nil {
				return 0, err
			}
		default:
			z.err = err
		}
	}
}

// slide keeps no more of what was decoded than can be referred to.
func (z *inflater) slide() {
	if over := len(z.hist) - windowSize; over > windowSize {
		z.hist = append(z.hist[:0], z.hist[over:]...)
		z.sent = len(z.hist)
	}
}

// fill waits for more input.
func (z *inflater) fill() error {
	used := z.at / 8
	z.in = append(z.in[:0], z.in[used:]...)
	z.at -= 8 * used
	had := len(z.in)
	if cap(z.in)-had < inflateRead {
		z.in = append(make([]byte, 0, had+inflateRead), z.in...)
	}
	n, err := z.src.Read(z.in[had:cap(z.in)])
	z.in = z.in[:had+n]
	if n > 0 {
		return nil
	}
	if err == io.EOF && had > 0 {
		return io.ErrUnexpectedEOF
	}
	return err
}

// bits takes n bits, least significant first.
func (z *inflater) bits(n int) (int, error) {
	if z.at+n > 8*len(z.in) {
		return 0, errMore
	}
	v := 0
	for i := range n {
		v |= int(z.in[(z.at+i)/8]>>((z.at+i)%8)&1) << i
	}
	z.at += n
	return v, nil
}

// decode decodes until something is there, or more input is needed. What needs
// more is begun again from where it began.
func (z *inflater) decode() error {
	for begun := len(z.hist); len(z.hist)-begun < decodeAhead; {
		from := z.at
		err := z.step()
		if err == errMore {
			z.at = from
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (z *inflater) step() error {
	switch z.kind {
	case storedBlock:
		return z.stored()
	case codedBlock:
		return z.symbol()
	}
	if z.final {
		return io.EOF
	}
	return z.block()
}

// block reads the beginning of a block (RFC 1951 §3.2.3).
func (z *inflater) block() error {
	head, err := z.bits(3)
	if err != nil {
		return err
	}
	kind := codedBlock
	switch head >> 1 {
	case 0:
		z.at = (z.at + 7) / 8 * 8
		n, err := z.bits(16)
		if err != nil {
			return err
		}
		not, err := z.bits(16)
		if err != nil {
			return err
		}
		if n^not != 0xffff {
			return errInflate
		}
		kind, z.left = storedBlock, n
		if n == 0 {
			kind = noBlock
		}
	case 1:
		z.codes, z.dists = fixedCodes, fixedDists
	case 2:
		if err := z.dynamic(); err != nil {
			return err
		}
	default:
		return errInflate
	}
	z.kind, z.final = kind, head&1 == 1
	return nil
}

func (z *inflater) stored() error {
	from := z.at / 8
	n := min(z.left, len(z.in)-from)
	if n == 0 {
		return errMore
	}
	z.hist = append(z.hist, z.in[from:from+n]...)
	z.at += 8 * n
	if z.left -= n; z.left == 0 {
		z.kind = noBlock
	}
	return nil
}

// Lengths and distances (RFC 1951 §3.2.5).
var (
	lengthBase  = [29]int{3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258}
	lengthExtra = [29]int{0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0}
	distBase    = [30]int{1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769, 1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577}
	distExtra   = [30]int{0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13}
	lengthOrder = [19]int{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}
)

// symbol decodes a byte, a reference to bytes before, or the block's end.
func (z *inflater) symbol() error {
	s, err := z.code(&z.codes)
	switch {
	case err != nil:
		return err
	case s < 256:
		z.hist = append(z.hist, byte(s))
		return nil
	case s == 256:
		z.kind = noBlock
		return nil
	case s-257 >= len(lengthBase):
		return errInflate
	}
	more, err := z.bits(lengthExtra[s-257])
	if err != nil {
		return err
	}
	length := lengthBase[s-257] + more
	d, err := z.code(&z.dists)
	if err != nil {
		return err
	}
	if d >= len(distBase) {
		return errInflate
	}
	if more, err = z.bits(distExtra[d]); err != nil {
		return err
	}
	from := len(z.hist) - distBase[d] - more
	if from < 0 {
		return errInflate
	}
	for i := range length {
		z.hist = append(z.hist, z.hist[from+i])
	}
	return nil
}

// dynamic reads the codes of a block (RFC 1951 §3.2.7).
func (z *inflater) dynamic() error {
	var counts [3]int
	for i, n := range []int{5, 5, 4} {
		v, err := z.bits(n)
		if err != nil {
			return err
		}
		counts[i] = v
	}
	lits, dists, n := counts[0]+257, counts[1]+1, counts[2]+4
	if lits > 286 || dists > 30 {
		return errInflate
	}
	var lengths [286 + 30]uint8
	for i := range n {
		v, err := z.bits(3)
		if err != nil {
			return err
		}
		lengths[lengthOrder[i]] = uint8(v)
	}
	var h huffman
	if !h.make(lengths[:19]) {
		return errInflate
	}
	clear(lengths[:19])
	for i := 0; i < lits+dists; {
		s, err := z.code(&h)
		if err != nil {
			return err
		}
		if s < 16 {
			lengths[i] = uint8(s)
			i++
			continue
		}
		// A run: of the length before, or of zeros.
		run := [3]struct{ least, extra int }{{3, 2}, {3, 3}, {11, 7}}[s-16]
		more, err := z.bits(run.extra)
		if err != nil {
			return err
		}
		value := uint8(0)
		if s == 16 {
			if i == 0 {
				return errInflate
			}
			value = lengths[i-1]
		}
		end := i + run.least + more
		if end > lits+dists {
			return errInflate
		}
		for ; i < end; i++ {
			lengths[i] = value
		}
	}
	if lengths[256] == 0 || !z.codes.make(lengths[:lits]) || !z.dists.make(lengths[lits:lits+dists]) {
		return errInflate
	}
	return nil
}

// huffman is a canonical code: how many codes there are of each length, and the
// symbols in their order.
type huffman struct {
	count  [16]uint16
	symbol [288]uint16
}

// make takes the lengths of the symbols' codes; it fails for more codes than
// there can be. Fewer are allowed: the missing ones fail when met.
func (h *huffman) make(lengths []uint8) bool {
	h.count = [16]uint16{}
	for _, l := range lengths {
		h.count[l]++
	}
	left := 1
	var at [16]uint16
	for l := 1; l < 16; l++ {
		left = 2*left - int(h.count[l])
		if left < 0 {
			return false
		}
		if l < 15 {
			at[l+1] = at[l] + h.count[l]
		}
	}
	for s, l := range lengths {
		if l > 0 {
			h.symbol[at[l]] = uint16(s)
			at[l]++
		}
	}
	return true
}

// code decodes one symbol.
func (z *inflater) code(h *huffman) (int, error) {
	code, first, index := 0, 0, 0
	at := z.at
	for l := 1; l < 16; l++ {
		if at >= 8*len(z.in) {
			return 0, errMore
		}
		code |= int(z.in[at/8] >> (at % 8) & 1)
		at++
		n := int(h.count[l])
		if code-n < first {
			z.at = at
			return int(h.symbol[index+code-first]), nil
		}
		index += n
		first = (first + n) << 1
		code <<= 1
	}
	return 0, errInflate
}

// The fixed codes (RFC 1951 §3.2.6).
var fixedCodes, fixedDists = func() (c, d huffman) {
	var lengths [288]uint8
	for i := range lengths {
		switch {
		case i < 144:
			lengths[i] = 8
		case i < 256:
			lengths[i] = 9
		case i < 280:
			lengths[i] = 7
		default:
			lengths[i] = 8
		}
	}
	c.make(lengths[:])
	var five [30]uint8
	for i := range five {
		five[i] = 5
	}
	d.make(five[:])
	return c, d
}()
