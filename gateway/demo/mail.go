package demo

import (
	"bytes"
	"fmt"
	"mime"
	stdmail "net/mail"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// mail is what a box received.
type mail struct {
	box    string
	at     time.Time
	raw    []byte
	header stdmail.Header
	body   []byte // every byte after the header
}

func readMail(box string, raw []byte) (*mail, error) {
	parsed, err := stdmail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		return nil, fmt.Errorf("reading a mail: %w", err)
	}
	return &mail{box: box, at: time.Now(), raw: raw, header: parsed.Header, body: bodyOf(raw)}, nil
}

// bodyOf is every byte after the header.
func bodyOf(raw []byte) []byte {
	_, body, _ := bytes.Cut(raw, []byte("\r\n\r\n"))
	return body
}

// text gives a field with its encoded words (RFC 2047) decoded.
func (m *mail) text(field string) string {
	value := m.header.Get(field)
	if decoded, err := new(mime.WordDecoder).DecodeHeader(value); err == nil {
		return decoded
	}
	return value
}

// names gives the display name and the address of the first address of a field.
func (m *mail) names(field string) (name, address string) {
	list, err := m.header.AddressList(field)
	if err != nil || len(list) == 0 {
		return "", ""
	}
	return list[0].Name, list[0].Address
}

// id gives the Message-ID, without its brackets as everywhere here; kind what
// notice of the hub's it is, empty for a copy of a post.
func (m *mail) id() string   { return bare(m.header.Get("Message-Id")) }
func (m *mail) kind() string { return m.header.Get("X-Relais-Kind") }

// references gives the ids of the mails that this one continues, the oldest
// first; parent that of the one it answers, if it answers one.
func (m *mail) references() []string {
	refs := strings.Fields(m.header.Get("References"))
	for i := range refs {
		refs[i] = bare(refs[i])
	}
	return refs
}

func (m *mail) parent() string { return bare(m.header.Get("In-Reply-To")) }

func bare(id string) string { return strings.Trim(strings.TrimSpace(id), "<>") }

// save writes the mail into a Maildir of the box below dir, where ordinary mail
// clients find it.
func (m *mail) save(dir string) error {
	box := filepath.Join(dir, m.box)
	for _, sub := range []string{"tmp", "new", "cur"} {
		if err := os.MkdirAll(filepath.Join(box, sub), 0o700); err != nil {
			return err
		}
	}
	name := fmt.Sprintf("%d.demo", m.at.UnixNano())
	tmp := filepath.Join(box, "tmp", name)
	text := bytes.ReplaceAll(m.raw, []byte("\r\n"), []byte("\n")) // as mail is kept in files
	if err := os.WriteFile(tmp, text, 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, filepath.Join(box, "new", name))
}

// received lists what came to a box, oldest first.
func (s *Stage) received(box string) []*mail {
	var all []*mail
	for _, o := range s.operators {
		o.mu.Lock()
		for _, m := range o.taken {
			if m.box == box {
				all = append(all, m)
			}
		}
		o.mu.Unlock()
	}
	return all
}

// everything lists what all operators took, by box or not.
func (s *Stage) everything() []*mail {
	var all []*mail
	for _, o := range s.operators {
		o.mu.Lock()
		all = append(all, o.taken...)
		o.mu.Unlock()
	}
	return all
}

// copyAt gives the copy of a post that came to a box, or nil.
func (s *Stage) copyAt(box string, p *post) *mail {
	for _, m := range s.received(box) {
		if m.id() == p.id && m.kind() == "" {
			return m
		}
	}
	return nil
}

// notice gives the notice of a kind that came to a box, or nil.
func (s *Stage) notice(box, kind string) *mail {
	for _, m := range s.received(box) {
		if m.kind() == kind {
			return m
		}
	}
	return nil
}

// at gives the operator of an address.
func (s *Stage) at(address string) *operator {
	for _, o := range s.operators {
		if o.domain == domainOf(address) {
			return o
		}
	}
	return nil
}
