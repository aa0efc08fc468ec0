package mailbox

import (
	"github.com/relais-sante/relais/mailbox/letter"
)

// decodeFields reads of a stored index what a listing shows, Size and Fields,
// into idx, whose list it uses again. Decoding all of an index costs ten times
// as much, and a listing is of a hundred thousand. What is not as encodeIndex
// writes it is left to decodeIndex.
func decodeFields(stored []byte, idx *letter.Index) error {
	fields := idx.Fields[:0]
	// One string for all texts: what somebody keeps of it stays valid.
	c := cborHeads{rest: string(stored)}
	pairs := c.head(cborMap)
	*idx = letter.Index{Fields: fields}
	for ; pairs > 0 && !c.odd; pairs-- {
		switch c.head(cborUint) {
		case 1:
			idx.Version = int(c.head(cborUint))
		case 2:
			idx.Size = int64(c.head(cborUint))
		case 3:
			idx.HeaderEnd = int64(c.head(cborUint))
		case 4: // the rest is not looked at
			for n := c.head(cborArray); n > 0 && !c.odd; n-- {
				idx.Fields = append(idx.Fields, c.field())
			}
			if !c.odd {
				return nil
			}
		default:
			c.odd = true
		}
	}
	whole, err := decodeIndex(stored)
	if err != nil {
		return err
	}
	*idx = letter.Index{Version: whole.Version, Size: whole.Size, HeaderEnd: whole.HeaderEnd, Fields: append(fields, whole.Fields...)}
	return nil
}
