package letter

import "encoding/binary"

// Values of base64 characters (RFC 4648 §4) placed where each of the four of a
// group has its bits; bad in any place stands out above 24 bits. Bodies of
// 20 MB come in lines of 76: one table look-up a character is what it costs.
const bad = 1 << 31

var base64Values = func() (t [4][256]uint32) {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	for place := range t {
		for c := range t[place] {
			t[place][c] = bad
		}
		for v, c := range []byte(alphabet) {
			t[place][c] = uint32(v) << (18 - 6*place)
		}
	}
	return t
}()

// base64 takes a piece of a body, line ends left out or not.
func (d *decoder) base64(p []byte) {
	if d.quads == 0 {
		p = d.groups(p)
	}
	for len(p) > 0 {
		c := p[0]
		p = p[1:]
		v := base64Values[3][c]
		switch {
		case v != bad:
			d.quad[d.quads] = byte(v)
			if d.quads++; d.quads == 4 {
				d.endQuad()
				p = d.groups(p)
			}
		case c == '=':
			d.endQuad()
		case c != ' ' && c != '\t' && c != '\r' && c != '\n':
			d.strange = true
		}
	}
}

// groups decodes whole groups of four until something else comes, and gives
// what is left of p.
func (d *decoder) groups(p []byte) []byte {
	t := &base64Values
	for len(p) >= 4 {
		if cap(d.buffer)-len(d.buffer) < 3 {
			d.flush()
		}
		out := d.buffer[len(d.buffer):cap(d.buffer)]
		n := 0
		for len(p) >= 8 && len(out) >= n+8 {
			a := t[0][p[0]] | t[1][p[1]] | t[2][p[2]] | t[3][p[3]]
			b := t[0][p[4]] | t[1][p[5]] | t[2][p[6]] | t[3][p[7]]
			if a|b >= bad {
				break
			}
			binary.BigEndian.PutUint64(out[n:], uint64(a)<<40|uint64(b)<<16) // two bytes more, overwritten next
			n += 6
			p = p[8:]
		}
		for len(p) >= 4 && len(out) >= n+3 {
			v := t[0][p[0]] | t[1][p[1]] | t[2][p[2]] | t[3][p[3]]
			if v >= bad {
				d.buffer = d.buffer[:len(d.buffer)+n]
				return p
			}
			o := out[n : n+3 : n+3]
			o[0], o[1], o[2] = byte(v>>16), byte(v>>8), byte(v)
			n += 3
			p = p[4:]
		}
		d.buffer = d.buffer[:len(d.buffer)+n]
	}
	return p
}

// endQuad decodes the open group: whole, cut short by padding, or by the end.
func (d *decoder) endQuad() {
	q := &d.quad
	switch d.quads {
	case 4:
		d.write([]byte{q[0]<<2 | q[1]>>4, q[1]<<4 | q[2]>>2, q[2]<<6 | q[3]})
	case 3:
		d.write([]byte{q[0]<<2 | q[1]>>4, q[1]<<4 | q[2]>>2})
	case 2:
		d.write([]byte{q[0]<<2 | q[1]>>4})
	case 1:
		d.strange = true
	}
	d.quads = 0
}
