package seal

import (
	"crypto/cipher"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/relais-sante/relais/store"
)

// Reader opens a sealed message chunk by chunk. Not safe for concurrent use.
//
// Every fault of the bytes is [store.ErrCorrupt]; a fault of the file itself
// comes as it is.
type Reader struct {
	src    io.ReaderAt
	begin  int64 // of the chunks
	at     int64 // of the next sealed byte
	end    int64 // of the chunks; the final tag follows
	aead   cipher.AEAD
	nonce  [nonceSize]byte
	index  uint64
	inner  uint64
	size   int64 // clear bytes promised
	given  int64 // clear bytes found so far
	buf    []byte
	most   int    // bytes of buf that held something
	clear  []byte // of buf: authenticated, not yet read
	frame  int    // bytes left in the frame being read
	last   bool   // the frame being read is the last
	header int    // bytes of literal header still to skip
	opened bool   // the packet's tag was read
	err    error
}

// NewReader reads the length sealed bytes at off of src, which must hold size
// clear bytes.
func NewReader(src io.ReaderAt, off, length, size int64, session *SessionKey) (*Reader, error) {
	if size < 0 || length != SealedSize(size) {
		return nil, fmt.Errorf("opening a sealed message: %w", store.ErrCorrupt)
	}
	var head [bodyHead]byte
	if err := readFull(src, head[:], off); err != nil {
		return nil, fmt.Errorf("opening a sealed message: %w", err)
	}
	if string(head[:4]) != string(associated[1:]) {
		return nil, fmt.Errorf("opening a sealed message: %w", store.ErrCorrupt)
	}
	r := &Reader{
		src: src, begin: off + bodyHead, at: off + bodyHead, end: off + length - tagSize,
		size: size, header: literalHead,
	}
	var err error
	if r.aead, r.nonce, err = messageKey(session, head[4:]); err != nil {
		return nil, fmt.Errorf("opening a sealed message: %w", err)
	}
	return r, nil
}

// readFull reads all of b; too short a file is corruption.
func readFull(src io.ReaderAt, b []byte, off int64) error {
	n, err := src.ReadAt(b, off)
	switch {
	case n == len(b):
		return nil
	case err == io.EOF || err == nil:
		return store.ErrCorrupt
	}
	return err
}

// Read implements [io.Reader].
func (r *Reader) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) && r.err == nil {
		if len(r.clear) == 0 {
			if r.at == r.end {
				r.err = r.atEnd()
				break
			}
			if r.err = r.chunk(); r.err != nil {
				break
			}
		}
		n += r.unframe(p[n:])
	}
	if n > 0 {
		return n, nil
	}
	if r.err != nil && r.buf != nil {
		r.release()
	}
	if len(p) == 0 {
		return 0, nil
	}
	return 0, r.err
}

// Skip passes by the next n clear bytes. Chunks that lie between are neither
// read nor authenticated; what is read behind them is, in its place, and the
// length of the whole with the last one as ever.
func (r *Reader) Skip(n int64) error {
	if r.err != nil {
		return r.err
	}
	to := r.given + n
	if n < 0 || to > r.size {
		return fmt.Errorf("skipping in a sealed message: %w", store.ErrCorrupt)
	}
	frame := (to + literalHead) / frameSize
	at := 1 + frame*(1+frameSize) // of that frame among the clear bytes of the packet
	if chunk := at / chunkSize; chunk > 0 && uint64(chunk) >= r.index {
		r.at = r.begin + chunk*(chunkSize+tagSize)
		r.index, r.inner = uint64(chunk), uint64(chunk*chunkSize)
		r.opened, r.header, r.frame, r.last = true, 0, 0, false
		r.given = frame*frameSize - literalHead
		if r.err = r.chunk(); r.err != nil {
			return r.err
		}
		r.clear = r.clear[at%chunkSize:]
	}
	_, err := io.CopyN(io.Discard, r, to-r.given)
	if err == io.EOF {
		err = fmt.Errorf("skipping in a sealed message: %w", store.ErrCorrupt)
	}
	return err
}

// chunk authenticates the next chunk; the last only together with the end.
func (r *Reader) chunk() error {
	if r.buf == nil {
		r.buf = (*chunkBufs.Get().(*[]byte))[:0]
	}
	n := min(r.end-r.at, chunkSize+tagSize)
	last := r.at+n == r.end
	if last {
		n += tagSize
	}
	if cap(r.buf) < int(n) {
		return store.ErrCorrupt
	}
	b := r.buf[:n]
	r.most = max(r.most, len(b))
	if err := readFull(r.src, b, r.at); err != nil {
		return fmt.Errorf("reading a sealed message: %w", err)
	}
	r.at += n
	var final []byte
	if last {
		r.at = r.end
		b, final = b[:n-tagSize], b[n-tagSize:]
	}
	binary.BigEndian.PutUint64(r.nonce[4:], r.index)
	clear, err := r.aead.Open(b[:0], r.nonce[:], b, associated[:])
	if err != nil {
		return fmt.Errorf("reading a sealed message: %w", store.ErrCorrupt)
	}
	r.index++
	r.inner += uint64(len(clear))
	if last {
		binary.BigEndian.PutUint64(r.nonce[4:], r.index)
		aad := binary.BigEndian.AppendUint64(associated[:len(associated):len(associated)], r.inner)
		if _, err := r.aead.Open(nil, r.nonce[:], final, aad); err != nil || r.inner != uint64(literalSize(r.size)) {
			return fmt.Errorf("reading the end of a sealed message: %w", store.ErrCorrupt)
		}
	}
	r.clear = clear
	return nil
}

// unframe copies the next clear bytes to p. What it reads is authenticated, so
// that only a writer with the key could have framed it otherwise.
func (r *Reader) unframe(p []byte) int {
	n := 0
	for n < len(p) && len(r.clear) > 0 {
		if !r.opened {
			r.opened = true
			if r.clear[0] != newFormat|tagLiteral {
				r.err = fmt.Errorf("reading a sealed message: %w", store.ErrCorrupt)
				return n
			}
			r.clear = r.clear[1:]
			continue
		}
		if r.frame == 0 {
			if !r.nextFrame() {
				return n
			}
			continue
		}
		if r.header > 0 {
			k := min(r.header, r.frame, len(r.clear))
			r.skip(k)
			r.header -= k
			continue
		}
		k := copy(p[n:], r.clear[:min(r.frame, len(r.clear))])
		r.skip(k)
		n += k
		r.given += int64(k)
	}
	return n
}

func (r *Reader) skip(k int) {
	r.clear = r.clear[k:]
	r.frame -= k
}

// nextFrame goes past the length of the next frame. How long it is follows from
// the size of the message, which the final tag or the index vouches for.
func (r *Reader) nextFrame() bool {
	left := r.size - r.given + int64(r.header)
	want := min(left, frameSize)
	n := int64(1)
	if want < frameSize {
		n = lengthSize(want)
	}
	if r.last || int64(len(r.clear)) < n && r.at == r.end {
		r.err = fmt.Errorf("reading a sealed message: %w", store.ErrCorrupt)
		return false
	}
	if int64(len(r.clear)) < n {
		// The length octets straddle two chunks.
		if r.err = r.straddle(); r.err != nil {
			return false
		}
	}
	r.clear = r.clear[n:]
	r.frame, r.last = int(want), want < frameSize
	return true
}

// straddle keeps what is left of a chunk in front of the next one.
func (r *Reader) straddle() error {
	left := string(r.clear)
	if err := r.chunk(); err != nil {
		return err
	}
	r.clear = append([]byte(left), r.clear...)
	return nil
}

// atEnd tells a whole message from one that is not.
func (r *Reader) atEnd() error {
	if r.given != r.size {
		return fmt.Errorf("reading the end of a sealed message: %w", store.ErrCorrupt)
	}
	return io.EOF
}

// Close wipes what was read.
func (r *Reader) Close() error {
	if r.err == nil {
		r.err = store.ErrClosed
	}
	r.release()
	return nil
}

func (r *Reader) release() {
	if r.buf == nil {
		return
	}
	b := r.buf[:r.most]
	clear(b)
	b = b[:0]
	chunkBufs.Put(&b)
	r.buf, r.clear, r.most = nil, nil, 0
}
