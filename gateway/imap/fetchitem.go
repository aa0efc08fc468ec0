package imap

import (
	"strconv"
	"strings"
)

// fetchItems reads what is asked for (RFC 9051 §9: fetch-att).
func (p *parser) fetchItems(f *fetching) {
	if p.peek() == '(' {
		p.list(func() { p.fetchItem(f) })
		return
	}
	for macro, kinds := range fetchMacros {
		if p.word(macro) {
			for _, k := range kinds {
				f.add(k)
			}
			return
		}
	}
	p.fetchItem(f)
}

var fetchMacros = map[string][]fetchKind{
	"ALL":  {itemFlags, itemDate, itemSize, itemEnvelope},
	"FAST": {itemFlags, itemDate, itemSize},
	"FULL": {itemFlags, itemDate, itemSize, itemEnvelope, itemBody},
}

var fetchNames = map[string]fetchKind{
	"UID": itemUID, "FLAGS": itemFlags, "INTERNALDATE": itemDate, "RFC822.SIZE": itemSize, "MODSEQ": itemModSeq,
	"EMAILID": itemEmailID, "THREADID": itemThreadID, "SAVEDATE": itemSaved, "ENVELOPE": itemEnvelope,
	"BODY": itemBody, "BODYSTRUCTURE": itemStructure, "PREVIEW": itemPreview,
}

// maxFetchItems bounds what one command asks of each message.
const maxFetchItems = 200

func (p *parser) fetchItem(f *fetching) {
	name := p.key()
	if len(f.kinds) >= maxFetchItems {
		p.fail("too many items")
		return
	}
	if p.peek() == '[' {
		p.sectionItem(f, name)
		return
	}
	switch name {
	case "RFC822": // RFC 3501 §6.4.5: as BODY[] and its like, by another name
		p.addSection(f, &section{label: name}, false)
		return
	case "RFC822.HEADER":
		p.addSection(f, &section{label: name, spec: "HEADER"}, true)
		return
	case "RFC822.TEXT":
		p.addSection(f, &section{label: name, spec: "TEXT"}, false)
		return
	}
	kind, known := fetchNames[name]
	if !known {
		p.fail("unknown item")
		return
	}
	if lazy := " (LAZY)"; kind == itemPreview && len(p.line) >= len(lazy) && strings.EqualFold(string(p.line[:len(lazy)]), lazy) {
		p.line = p.line[len(lazy):] // RFC 8970 §3.2; a preview is made when it is asked for
	}
	if kind == itemUID {
		f.addOnce(kind)
		return
	}
	f.add(kind)
}

func (p *parser) addSection(f *fetching, s *section, peek bool) {
	f.add(itemSection)
	f.sections = append(f.sections, s)
	f.seen = f.seen || !peek
}

// sectionItem reads BODY[…], BINARY[…] and their like from the bracket on.
func (p *parser) sectionItem(f *fetching, name string) {
	s := &section{}
	peek, size := false, false
	switch name {
	case "BODY":
	case "BODY.PEEK":
		peek = true
	case "BINARY":
		s.binary = true
	case "BINARY.PEEK":
		s.binary, peek = true, true
	case "BINARY.SIZE":
		s.binary, size = true, true
	default:
		p.fail("unknown item")
		return
	}
	p.need('[')
	p.section(s)
	p.need(']')
	if !size && p.take('<') {
		s.from = int64(p.number())
		p.need('.')
		s.count = int64(p.number())
		if s.count == 0 {
			p.fail("nothing asked for")
		}
		s.partial = true
		p.need('>')
	}
	base, _, _ := strings.Cut(name, ".")
	if size {
		base = name
	}
	s.label = base + "[" + s.label + "]"
	if s.partial {
		s.label += "<" + strconv.FormatInt(s.from, 10) + ">"
	}
	if size {
		f.add(itemBinarySize)
		f.sections = append(f.sections, s)
		return
	}
	p.addSection(f, s, peek)
}

// section reads what stands between the brackets.
func (p *parser) section(s *section) {
	if p.peek() == ']' {
		return
	}
	words := strings.Split(p.key(), ".")
	n := 0
	for n < len(words) && words[n] != "" && strings.Trim(words[n], "0123456789") == "" {
		if words[n][0] == '0' {
			p.fail("part numbers begin with 1")
		}
		n++
	}
	s.part = strings.Join(words[:n], ".")
	s.spec = strings.Join(words[n:], ".")
	s.label = strings.Join(words, ".")
	switch s.spec {
	case "":
		if s.part == "" {
			p.fail("bad section")
		}
	case "HEADER", "TEXT":
	case "MIME":
		if s.part == "" {
			p.fail("MIME of what?")
		}
	case "HEADER.FIELDS", "HEADER.FIELDS.NOT":
		s.label += " ("
		p.spaces()
		p.list(func() {
			field := p.astring()
			if len(s.fields) > 0 {
				s.label += " "
			}
			s.label += string(appendAstring(nil, field, p.c.utf8))
			s.fields = append(s.fields, field)
		})
		s.label += ")"
		if len(s.fields) == 0 {
			p.fail("no field named")
		}
	default:
		p.fail("bad section")
	}
	if s.binary && s.spec != "" {
		p.fail("bad section")
	}
	if len(s.label) > 8192 {
		p.fail("section too long")
	}
}
