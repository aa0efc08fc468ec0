// Package letter knows one mail: it reads it, and it writes the copy that is
// relayed.
//
// Reading is one bounded, tolerant pass over the bytes as they arrive. Its
// result, the [Index], holds everything anybody will want to know of the mail
// without opening it again: header fields and where they lie, the tree of
// parts with offsets, names and digests, what ENVELOPE and BODYSTRUCTURE need.
// Whatever cannot be understood is noted as a [Defect] and passed over; no
// input makes reading fail, panic, or cost more than its [Limits].
//
// Writing edits header fields only. The bytes after the header are never
// touched: not wrapped, not re-encoded, not closed with a missing boundary
// (RFC 5751 signatures stay valid).
//
// Offsets count bytes from the first byte of the message as received.
package letter

import "time"

// IndexVersion is the version of the [Index] format; it is stored with each.
const IndexVersion = 1

// Limits bound what reading one mail may cost. Beyond a limit the mail is
// still taken whole; what lies beyond is simply not looked into. A field that
// is zero or less stands for its default.
type Limits struct {
	HeaderBytes int // fields kept of the top-level header, and of all other headers together, default 1 MiB
	FieldBytes  int // one unfolded field, default 64 KiB
	Fields      int // fields kept of one header, default 1000
	Depth       int // nesting of parts, default 64
	Parts       int // parts in all, default 1000
	TextBytes   int // decoded text kept for reading, default 256 KiB
	ReportBytes int // machine-readable part of a report kept, default 64 KiB
}

// orDefault puts the default in place of every limit not set.
func (l Limits) orDefault() Limits {
	for _, f := range []struct {
		limit *int
		def   int
	}{
		{&l.HeaderBytes, 1 << 20},
		{&l.FieldBytes, 64 << 10},
		{&l.Fields, 1000},
		{&l.Depth, 64},
		{&l.Parts, 1000},
		{&l.TextBytes, 256 << 10},
		{&l.ReportBytes, 64 << 10},
	} {
		if *f.limit <= 0 {
			*f.limit = f.def
		}
	}
	return l
}

// Index is what one pass over a mail found. It is stored sealed, in CBOR.
type Index struct {
	Version   int      `cbor:"1,keyasint"`
	Size      int64    `cbor:"2,keyasint"`
	HeaderEnd int64    `cbor:"3,keyasint"` // offset of the body's first byte
	Fields    []Field  `cbor:"4,keyasint"` // of the top-level header, in order
	Envelope  Envelope `cbor:"5,keyasint"`
	Root      Part     `cbor:"6,keyasint"`
	BodySum   []byte   `cbor:"7,keyasint"`            // SHA-256 of the bytes after the header
	Defects   []Defect `cbor:"8,keyasint,omitempty"`  // by offset
	EightBit  bool     `cbor:"9,keyasint,omitempty"`  // body has bytes above 127
	LongLine  int      `cbor:"10,keyasint,omitempty"` // longest line in bytes, CRLF apart
	BareCRLF  bool     `cbor:"11,keyasint,omitempty"` // a CR or LF stood alone
	FinalCRLF bool     `cbor:"12,keyasint,omitempty"` // the last line is ended
	NULLine   bool     `cbor:"13,keyasint,omitempty"` // a line begins with a NUL byte
}

// Field is a header field and where it lies. Value is unfolded, and in UTF-8
// (raw bytes that are not UTF-8 are taken for windows-1252), but encoded words
// stand as written. A line that is no field has an empty Name and the whole
// line as its Value.
type Field struct {
	Name  string `cbor:"1,keyasint"` // as written
	Start int64  `cbor:"2,keyasint"`
	End   int64  `cbor:"3,keyasint"` // past its last CRLF
	Value string `cbor:"4,keyasint"` // at most Limits.FieldBytes
}

// Envelope is the header as people and IMAP (RFC 9051 §7.5.2) see it, with
// encoded words (RFC 2047) and raw 8-bit bytes decoded to UTF-8.
type Envelope struct {
	Date       time.Time `cbor:"1,keyasint,omitzero"` // zero if unreadable
	DateText   string    `cbor:"2,keyasint,omitempty"`
	Subject    string    `cbor:"3,keyasint,omitempty"`
	From       []Mailbox `cbor:"4,keyasint,omitempty"`
	Sender     []Mailbox `cbor:"5,keyasint,omitempty"`
	ReplyTo    []Mailbox `cbor:"6,keyasint,omitempty"`
	To         []Mailbox `cbor:"7,keyasint,omitempty"`
	Cc         []Mailbox `cbor:"8,keyasint,omitempty"`
	Bcc        []Mailbox `cbor:"9,keyasint,omitempty"`
	MessageID  string    `cbor:"10,keyasint,omitempty"` // without brackets
	InReplyTo  []string  `cbor:"11,keyasint,omitempty"`
	References []string  `cbor:"12,keyasint,omitempty"`
}

// Mailbox is one address of an address list. A group's name stands in Group;
// an empty group is a Mailbox with nothing else.
type Mailbox struct {
	Name    string `cbor:"1,keyasint,omitempty"` // decoded display name
	Address string `cbor:"2,keyasint,omitempty"` // local-part@domain as written; without a domain if it had none
	Group   string `cbor:"3,keyasint,omitempty"`
}

// Part is one MIME entity. A malformed multipart (no boundary, no part) is
// shown as a leaf, as far as it can be: it keeps its type and has no Parts.
//
// A message/rfc822 (or message/global) that is not encoded has one part, the
// root of the message inside: BODY[n.HEADER] is that part's HeaderStart to
// BodyStart, BODY[n.TEXT] its BodyStart to BodyEnd. BODY[n] is BodyStart to
// BodyEnd of the part numbered n, BODY[n.MIME] its HeaderStart to BodyStart.
type Part struct {
	Number      string            `cbor:"1,keyasint,omitempty"` // IMAP section number; "" for the multipart root of a message
	Type        string            `cbor:"2,keyasint"`           // lower case
	Subtype     string            `cbor:"3,keyasint"`           // lower case
	Params      map[string]string `cbor:"4,keyasint,omitempty"` // of Content-Type, decoded (RFC 2231)
	Encoding    string            `cbor:"5,keyasint,omitempty"` // lower case; "" is 7bit
	Disposition string            `cbor:"6,keyasint,omitempty"` // lower case
	DispParams  map[string]string `cbor:"7,keyasint,omitempty"`
	ContentID   string            `cbor:"8,keyasint,omitempty"` // as written
	Description string            `cbor:"9,keyasint,omitempty"`
	Filename    string            `cbor:"10,keyasint,omitempty"` // decoded; from Disposition, else Content-Type name
	Language    []string          `cbor:"11,keyasint,omitempty"`
	Location    string            `cbor:"12,keyasint,omitempty"`
	MD5         string            `cbor:"13,keyasint,omitempty"`
	HeaderStart int64             `cbor:"14,keyasint"` // MIME header of the part
	BodyStart   int64             `cbor:"15,keyasint"`
	BodyEnd     int64             `cbor:"16,keyasint"`           // without the CRLF that belongs to the boundary
	Lines       int64             `cbor:"17,keyasint,omitempty"` // line feeds in the encoded body
	Size        int64             `cbor:"18,keyasint"`           // decoded bytes of a leaf; bytes of the body otherwise
	Sum         []byte            `cbor:"19,keyasint,omitempty"` // SHA-256 of the decoded bytes of a leaf
	Parts       []Part            `cbor:"20,keyasint,omitempty"`
	Message     *Envelope         `cbor:"21,keyasint,omitempty"` // of a message/rfc822
	// Header holds the fields that BODYSTRUCTURE needs as they are written
	// (Content-*), and those of ENVELOPE at the root of an attached message.
	// The root of the mail itself has none: its fields are Index.Fields.
	Header []Field `cbor:"22,keyasint,omitempty"`
}

// Defect is something in the mail that does not follow its format, or lies
// beyond a limit. At most eight of a kind are noted.
type Defect struct {
	Kind string `cbor:"1,keyasint"`
	At   int64  `cbor:"2,keyasint"` // where it begins, or its entity or field
}

// Kinds of defects.
const (
	DefectHeaderLine   = "header-line"     // a header line without a field name
	DefectMboxFrom     = "mbox-from"       // the "From " line of a mailbox file
	DefectLeadingFold  = "header-fold"     // a folded line that continues nothing
	DefectHeaderSpace  = "header-space"    // white space between name and colon
	DefectHeaderEnd    = "header-end"      // no empty line after the header
	DefectHeaderSize   = "header-size"     // limit: HeaderBytes
	DefectFieldSize    = "field-size"      // limit: FieldBytes
	DefectFields       = "fields"          // limit: Fields
	DefectRepeated     = "repeated-field"  // a field that may stand once stands again
	DefectRawHeader    = "raw-header"      // bytes above 127 that are not UTF-8
	DefectContentType  = "content-type"    // unreadable, taken for text/plain
	DefectBoundary     = "no-boundary"     // a multipart that names none (or one beyond any line)
	DefectNoPart       = "no-part"         // a multipart in which its boundary never stands
	DefectUnclosed     = "unclosed"        // a multipart without its closing boundary
	DefectDepth        = "depth"           // limit: Depth; the entity is taken for a leaf
	DefectParts        = "parts"           // limit: Parts; the rest of the multipart is not looked into
	DefectEncoding     = "encoding"        // unknown transfer encoding, counted as it stands
	DefectEncodedData  = "encoded-data"    // base64 or quoted-printable with something else in it
	DefectEncodedMulti = "encoded-message" // an encoded message, a leaf (RFC 2046 §5.2.1); or a multipart that says so, read as if not
	DefectCharset      = "charset"         // unknown, read as windows-1252
	DefectText         = "text"            // limit: TextBytes
	DefectReport       = "report"          // limit: ReportBytes
	DefectNUL          = "nul"             // the first NUL byte
)

// Reading is an Index with the texts that are needed once, at intake, and are
// not stored.
type Reading struct {
	Index *Index
	// Text is the decoded text people read: the first text/plain that is not
	// an attachment, else the text of the first text/html.
	Text string
	// Report is the decoded machine-readable part of a multipart/report
	// (RFC 6522): message/delivery-status or message/disposition-notification,
	// and of the returned message or header the Fields, if any.
	Report         []byte
	ReportType     string // delivery-status, disposition-notification, …
	ReturnedHeader []byte // header block of the returned message, as far as kept
}
