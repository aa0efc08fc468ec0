package demo

import (
	"archive/zip"
	"bytes"
	"crypto/rand"
	"crypto/sha1"
	"embed"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"math/big"
	"strings"
	"text/template"
	"time"
)

// The hospital record's side: it exports a report as French hospital software
// does, an IHE_XDM.ZIP with a CDA document around a PDF (national volet "CDA R2
// niveau 1", IHE XDM media folder).

//go:embed record/*
var recordFiles embed.FS

var recordTemplates = template.Must(template.New("record").Funcs(template.FuncMap{
	"x": func(s string) (string, error) {
		var b strings.Builder
		err := xml.EscapeText(&b, []byte(s))
		return b.String(), err
	},
	"lines": func(b []byte) string { return base64Lines(b, "\n") },
}).ParseFS(recordFiles, "record/*"))

// imagingReport is the type of an imaging report (LOINC, JDV_J07).
const imagingReport = "18748-4"

// report is a document in the record.
type report struct {
	Child       child
	Code        string // type of document (JDV_J07)
	Title       string
	AuthorGiven string
	AuthorName  string
	AuthorID    string
	Hospital    string
	HospitalID  string
	Written     time.Time
	PDF         []byte

	// Identifiers, and what the archive says of the document; filled in by
	// export.
	DocumentID, SetID, SubmissionID string
	Hash                            string // SHA-1, hexadecimal: what XDS asks for
	Size                            int
}

// newReport is a report about a child, signed by the radiologist.
func newReport(c child, title string, lines []string) (*report, error) {
	page, err := pdf(title, append([]string{fmt.Sprintf("%s %s, %s", c.Given, c.Family, c.Birth)}, lines...))
	if err != nil {
		return nil, err
	}
	words := strings.Fields(radiologist)
	return &report{
		Child: c, Code: imagingReport, Title: title, AuthorGiven: words[1], AuthorName: words[2], AuthorID: radiologistRPPS,
		Hospital: chu, HospitalID: chuFINESS, Written: time.Now(), PDF: page,
	}, nil
}

// Time writes when the report was written as HL7 does.
func (r *report) Time() string { return r.Written.UTC().Format("20060102150405") + "+0000" }

// export makes the IHE_XDM archive.
func (r *report) export() ([]byte, error) {
	for _, id := range []*string{&r.DocumentID, &r.SetID, &r.SubmissionID} {
		var err error
		if *id, err = newOID(); err != nil {
			return nil, err
		}
	}
	document, err := r.file("DOC00001.XML")
	if err != nil {
		return nil, err
	}
	sum := sha1.Sum(document)
	r.Hash, r.Size = hex.EncodeToString(sum[:]), len(document)
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, name := range []string{"README.TXT", "INDEX.HTM", "IHE_XDM/SUBSET01/METADATA.XML", "IHE_XDM/SUBSET01/DOC00001.XML"} {
		content := document
		if base := name[strings.LastIndexByte(name, '/')+1:]; base != "DOC00001.XML" {
			if content, err = r.file(base); err != nil {
				return nil, err
			}
		}
		w, err := z.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Deflate, Modified: r.Written})
		if err != nil {
			return nil, fmt.Errorf("writing an archive: %w", err)
		}
		if _, err := w.Write(content); err != nil {
			return nil, fmt.Errorf("writing an archive: %w", err)
		}
	}
	if err := z.Close(); err != nil {
		return nil, fmt.Errorf("writing an archive: %w", err)
	}
	return b.Bytes(), nil
}

// file fills in one of the files of the archive.
func (r *report) file(name string) ([]byte, error) {
	var b bytes.Buffer
	if err := recordTemplates.ExecuteTemplate(&b, name, r); err != nil {
		return nil, fmt.Errorf("writing %s of an archive: %w", name, err)
	}
	return b.Bytes(), nil
}

// newOID makes an OID nobody has: 2.25 and a UUID as a number (ITU-T X.667).
func newOID() (string, error) {
	var uuid [16]byte
	if _, err := rand.Read(uuid[:]); err != nil {
		return "", fmt.Errorf("making an identifier: %w", err)
	}
	uuid[6], uuid[8] = uuid[6]&0x0f|0x40, uuid[8]&0x3f|0x80 // version 4
	return "2.25." + new(big.Int).SetBytes(uuid[:]).String(), nil
}

// mail writes the mail that carries the report: the archive for software, the
// same document as PDF for people (ECO.2.1.1), and what it is in the header.
func (r *report) mail(from, to, text string) (*draft, error) {
	archive, err := r.export()
	if err != nil {
		return nil, err
	}
	d := &draft{
		to: to, text: text,
		subject: fmt.Sprintf("XDM/1.0/DDM+%s %s %s %s", r.Title, strings.ToUpper(r.Child.Family), r.Child.Given, r.Child.Birth),
		fields:  [][2]string{{"X-MSS-CODECDA", r.Code}, {"X-MSS-INS", "O"}},
		attachments: []attachment{
			{"IHE_XDM.ZIP", "application/zip", archive},
			{"DOC00001.PDF", "application/pdf", r.PDF},
		},
	}
	d.from.Address = from
	return d, nil
}
