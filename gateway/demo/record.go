package demo

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/relais-sante/relais/mailbox/identity"
	"github.com/relais-sante/relais/mailbox/letter"
)

// The hospital record's side: it exports a report as French hospital software
// does, an IHE_XDM.ZIP with a CDA document around a PDF (national volet "CDA R2
// niveau 1", IHE XDM media folder).

// imagingReport is the type of an imaging report (LOINC, JDV_J07).
const imagingReport = "18748-4"

// report is a document in the record.
type report struct {
	Child   child
	Code    string // type of document (JDV_J07)
	Title   string
	Author  letter.Writer
	Written time.Time
	PDF     []byte

	// Identifiers, filled in by export.
	DocumentID, SetID, SubmissionID, SourceID string
}

// newReport is a report about a child, signed by the radiologist.
func newReport(c child, title string, lines []string) (*report, error) {
	page, err := pdf(title, append([]string{fmt.Sprintf("%s %s, %s", c.Given, c.Family, c.Birth)}, lines...))
	if err != nil {
		return nil, err
	}
	author := letter.NewWriter(radiologist)
	author.ID, author.Institution, author.InstitutionID = radiologistRPPS, chu, chuFINESS
	return &report{Child: c, Code: imagingReport, Title: title, Author: author, Written: time.Now(), PDF: page}, nil
}

// export makes the IHE_XDM archive.
func (r *report) export() ([]byte, error) {
	for _, id := range []*string{&r.DocumentID, &r.SetID, &r.SubmissionID, &r.SourceID} {
		var random [16]byte
		if _, err := rand.Read(random[:]); err != nil {
			return nil, fmt.Errorf("making an identifier: %w", err)
		}
		*id = letter.OIDOf(random)
	}
	ins, err := identity.ParseINS(r.Child.INS, r.Child.OID)
	if err != nil {
		return nil, fmt.Errorf("naming the child of a report: %w", err)
	}
	var b bytes.Buffer
	err = letter.WriteXDM(&b, letter.Export{
		ID: r.SubmissionID, SourceID: r.SourceID, Time: r.Written, Title: r.Title, Software: chu, Author: r.Author,
		Patient: letter.Patient{INS: ins, Traits: identity.Traits{
			Family: r.Child.Family, Given: r.Child.Given, Birth: r.Child.Birth, Sex: r.Child.Sex,
		}},
		Documents: []letter.ExportDocument{{
			ID: r.DocumentID, SetID: r.SetID, Title: r.Title, Media: "application/pdf", Code: r.Code, Written: r.Written, Author: r.Author,
			Open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(r.PDF)), nil },
		}},
	})
	if err != nil {
		return nil, fmt.Errorf("exporting a report: %w", err)
	}
	return b.Bytes(), nil
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
