package imap

import (
	"time"

	"github.com/relais-sante/relais/mailbox/folder"
)

// fetchRow appends "* n FETCH (" and all items but those of the content.
func (c *conn) fetchRow(b []byte, f *fetching, at int, m *folder.Shown, seenNow bool) []byte {
	row := &c.view.rows[at]
	b = append(b, "* "...)
	b = appendUint(b, uint64(at)+1)
	b = append(b, " FETCH ("...)
	first := true
	sections := f.sections
	flags := false
	for _, k := range f.kinds {
		if k >= itemSection {
			if k == itemSection {
				sections = sections[1:]
			}
			continue
		}
		if !first {
			b = append(b, ' ')
		}
		first = false
		switch k {
		case itemUID:
			b = append(b, "UID "...)
			b = appendUint(b, uint64(row.UID))
		case itemFlags:
			flags = true
			b = append(b, "FLAGS "...)
			b = c.appendFlags(b, row)
		case itemDate:
			b = append(b, `INTERNALDATE "`...)
			b = time.Unix(row.Received, 0).In(c.server.options.Zone).AppendFormat(b, "_2-Jan-2006 15:04:05 -0700")
			b = append(b, '"')
		case itemSize:
			b = append(b, "RFC822.SIZE "...)
			b = appendUint(b, uint64(row.Size))
		case itemModSeq:
			b = append(b, "MODSEQ ("...)
			b = appendUint(b, row.ModSeq)
			b = append(b, ')')
		case itemEmailID: // RFC 8474 §5
			b = append(b, "EMAILID ("...)
			b = append(b, m.EmailID...)
			b = append(b, ')')
		case itemThreadID:
			b = append(b, "THREADID "...)
			if m.ThreadID == "" {
				b = append(b, "NIL"...)
			} else {
				b = append(b, '(')
				b = append(b, m.ThreadID...)
				b = append(b, ')')
			}
		case itemSaved: // RFC 8514 §4.3
			b = append(b, `SAVEDATE "`...)
			b = m.Saved.In(c.server.options.Zone).AppendFormat(b, "_2-Jan-2006 15:04:05 -0700")
			b = append(b, '"')
		case itemEnvelope:
			b = append(b, "ENVELOPE "...)
			b = c.appendEnvelope(b, m.Index.Fields)
		case itemBody:
			b = append(b, "BODY "...)
			b = c.appendStructure(b, &m.Index.Root, m.Index.Fields, false)
		case itemStructure:
			b = append(b, "BODYSTRUCTURE "...)
			b = c.appendStructure(b, &m.Index.Root, m.Index.Fields, true)
		case itemBinarySize:
			s := sections[0]
			sections = sections[1:]
			place := s.locate(m.Index)
			f.noCTE = f.noCTE || place.noCTE
			b = append(b, s.label...)
			b = append(b, ' ')
			b = appendUint(b, uint64(place.whole()))
		}
	}
	if seenNow && !flags {
		if !first {
			b = append(b, ' ')
		}
		b = append(b, "FLAGS "...)
		b = c.appendFlags(b, row)
	}
	return b
}
