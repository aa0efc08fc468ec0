package demo

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	stdmail "net/mail"
	"net/textproto"
	"slices"
	"strings"
	"time"
)

// draft is a mail as an ordinary mail client, or a hospital record, writes it.
type draft struct {
	from        stdmail.Address
	to          string
	subject     string
	text        string
	inReplyTo   string
	references  []string
	fields      [][2]string // further header fields
	attachments []attachment
}

type attachment struct {
	name, media string
	content     []byte
}

// answer begins an answer to what a box received, as mail clients do: to the
// reply address, on the same thread, the text quoted below.
func (m *mail) answer(from stdmail.Address, text, quoted string) *draft {
	_, to := m.names("Reply-To")
	return &draft{
		from: from, to: to, subject: "Re: " + m.text("Subject"), inReplyTo: m.id(),
		references: append(slices.Clone(m.references()), m.id()),
		text:       text + "\n\n> " + strings.ReplaceAll(quoted, "\n", "\n> ") + "\n",
	}
}

// write gives the mail's bytes, and its Message-ID.
func (d *draft) write() (raw []byte, id string, err error) {
	id = strings.ToLower(rand.Text()) + "@" + domainOf(d.from.Address)
	var b bytes.Buffer
	field := func(name, value string) {
		if value != "" {
			fmt.Fprintf(&b, "%s: %s\r\n", name, value)
		}
	}
	field("Date", time.Now().Format(time.RFC1123Z))
	field("From", d.from.String())
	field("To", "<"+d.to+">")
	field("Message-ID", "<"+id+">")
	if d.inReplyTo != "" {
		field("In-Reply-To", "<"+d.inReplyTo+">")
		field("References", "<"+strings.Join(d.references, ">\r\n <")+">")
	}
	// Encoded words are of 75 characters at most: one a line (RFC 2047 §2).
	field("Subject", strings.ReplaceAll(mime.QEncoding.Encode("utf-8", d.subject), "?= =?", "?=\r\n =?"))
	for _, f := range d.fields {
		field(f[0], f[1])
	}
	field("MIME-Version", "1.0")
	if len(d.attachments) == 0 {
		field("Content-Type", textType)
		field("Content-Transfer-Encoding", "quoted-printable")
		b.WriteString("\r\n")
		err = printable(&b, d.text)
	} else {
		parts := multipart.NewWriter(&b)
		field("Content-Type", "multipart/mixed;\r\n boundary="+parts.Boundary())
		b.WriteString("\r\n")
		err = d.parts(parts)
	}
	if err != nil {
		return nil, "", fmt.Errorf("writing a mail: %w", err)
	}
	return b.Bytes(), id, nil
}

const textType = "text/plain; charset=utf-8"

// parts writes the text and the attachments.
func (d *draft) parts(parts *multipart.Writer) error {
	w, err := parts.CreatePart(textproto.MIMEHeader{
		"Content-Type": {textType}, "Content-Transfer-Encoding": {"quoted-printable"},
	})
	if err != nil {
		return err
	}
	if err := printable(w, d.text); err != nil {
		return err
	}
	for _, a := range d.attachments {
		w, err := parts.CreatePart(textproto.MIMEHeader{
			"Content-Type":              {mime.FormatMediaType(a.media, map[string]string{"name": a.name})},
			"Content-Disposition":       {mime.FormatMediaType("attachment", map[string]string{"filename": a.name})},
			"Content-Transfer-Encoding": {"base64"},
		})
		if err != nil {
			return err
		}
		if _, err := io.WriteString(w, base64Lines(a.content)); err != nil {
			return err
		}
	}
	return parts.Close()
}

// printable writes text as quoted-printable (RFC 2045 §6.7), ending in a line
// end.
func printable(w io.Writer, text string) error {
	q := quotedprintable.NewWriter(w)
	if _, err := io.WriteString(q, strings.TrimRight(text, "\n")+"\n"); err != nil {
		return err
	}
	return q.Close()
}

// base64Lines writes b in lines of 76 characters (RFC 2045 §6.8).
func base64Lines(b []byte) string {
	var lines strings.Builder
	for chunk := range slices.Chunk(b, 57) {
		lines.WriteString(base64.StdEncoding.EncodeToString(chunk) + "\r\n")
	}
	return lines.String()
}
