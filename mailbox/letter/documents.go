package letter

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	ident "github.com/relais-sante/relais/mailbox/identity"
)

// Documents gives the documents that a mail carries, in the order of the mail;
// of forwarded mails inside it too.
//
//   - An IHE_XDM archive (by its name, or because it has the folder or the
//     metadata of one) gives its documents. Any other zip is a plain attachment
//     and is not unpacked.
//   - An XML attachment whose root is ClinicalDocument is a CDA document.
//   - Any other attachment is a document without type. Texts of the mail,
//     images that its HTML shows, signatures, calendar entries and business
//     cards are none.
//   - PDF files that show a typed document again are its Copies, see [attach].
//   - Where nothing says its type but the field X-MSS-CODECDA (ECO.2.4.1), with
//     a single code, and the mail has a single document, that code is its type.
//
// open gives the decoded content of a part ([Decode]); its errors come back as
// they are. [ErrUnreadableArchive] is for an archive or CDA document that cannot
// be read within the limits, and for a mail with more parts than were looked at.
func Documents(ctx context.Context, idx *Index, open func(*Part) (io.Reader, error), lim ArchiveLimits) ([]Document, error) {
	if idx.Has(DefectParts) || idx.Has(DefectDepth) {
		return nil, fmt.Errorf("looking for documents in every part: %w", ErrUnreadableArchive)
	}
	f := finder{ctx: ctx, open: open, lim: lim.orDefault()}
	f.archives = f.lim.Archives
	for _, p := range attachments(nil, &idx.Root, false) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if err := f.part(p); err != nil {
			return nil, fmt.Errorf("reading the documents of a mail: %w", err)
		}
	}
	codes := declaredCodes(idx)
	docs := attach(f.docs, len(codes) > 0)
	if len(docs) == 1 && docs[0].Code == "" && len(codes) == 1 {
		docs[0].Code = codes[0]
	}
	return docs, nil
}

// notDocuments are types of parts that carry no document of their own.
var notDocuments = []string{
	"application/pkcs7-signature", "application/x-pkcs7-signature", "application/pgp-signature", "application/applefile",
	"message/delivery-status", "message/disposition-notification", "text/rfc822-headers", "message/rfc822-headers",
	"text/calendar", "text/vcard", "text/x-vcard",
}

// attachments adds the parts below p that are documents, or hold some. Related
// says that p stands in a multipart/related, whose images an HTML text shows.
func attachments(found []*Part, p *Part, related bool) []*Part {
	if !p.Leaf() {
		related = related || p.Media() == "multipart/related"
		for i := range p.Parts {
			found = attachments(found, &p.Parts[i], related)
		}
		return found
	}
	switch {
	case p.Size == 0 && p.Filename == "",
		slices.Contains(notDocuments, p.Media()),
		p.Type == "text" && p.Disposition != "attachment" && p.Filename == "",
		p.Type == "image" && related && p.ContentID != "" && p.Disposition != "attachment":
		return found
	}
	return append(found, p)
}

// finder goes through the attachments of one mail.
type finder struct {
	ctx      context.Context
	open     func(*Part) (io.Reader, error)
	lim      ArchiveLimits
	archives int   // that may still be opened
	spent    int64 // bytes unpacked so far
	docs     []Document
}

func (f *finder) part(p *Part) error {
	ext := strings.ToLower(path.Ext(p.Filename))
	switch media := p.Media(); {
	case namedXDM(p), ext == ".zip",
		media == "application/zip", media == "application/x-zip-compressed", media == "application/x-zip":
		return f.zip(p)
	case media == "text/xml", media == "application/xml", strings.HasSuffix(media, "+xml"), ext == ".xml", ext == ".cda":
		return f.xml(p)
	}
	f.docs = append(f.docs, plainDocument(p))
	return nil
}

func plainDocument(p *Part) Document {
	return Document{Part: p.Number, Filename: p.Filename, Media: p.Media(), Size: p.Size, Sum: p.Sum}
}

// namedXDM reports whether the name of a part says that it is an IHE_XDM
// archive: IHE_XDM.ZIP in any case, or as desktop systems number a second one.
func namedXDM(p *Part) bool {
	base := strings.ToUpper(path.Base(p.Filename))
	ext := path.Ext(base)
	return strings.HasPrefix(base, "IHE_XDM") && (ext == ".ZIP" || ext == "")
}

// zip looks into a zip. One that does not say that it is an IHE_XDM archive,
// by its name or by what its directory has, is anybody's attachment: it may be
// broken, encrypted or large.
func (f *finder) zip(p *Part) error {
	named := namedXDM(p)
	if p.Size > f.lim.Packed || f.archives == 0 {
		if named {
			return ErrUnreadableArchive
		}
		f.docs = append(f.docs, plainDocument(p))
		return nil
	}
	f.archives--
	content, err := f.open(p)
	if err != nil {
		return err
	}
	// In memory: no clear text is written to disk.
	b, err := io.ReadAll(io.LimitReader(content, f.lim.Packed))
	if err != nil {
		return err
	}
	a, err := openArchive(bytes.NewReader(b), int64(len(b)), f.lim, &f.spent)
	if !named && (err != nil || !a.hasXDM()) {
		f.docs = append(f.docs, plainDocument(p))
		return nil
	}
	if err != nil {
		return err
	}
	s, err := a.submission(f.lim)
	if err != nil {
		return err
	}
	for _, d := range s.Documents {
		d.Part = p.Number
		f.docs = append(f.docs, d)
	}
	return nil
}

// xml reads an XML attachment, CDA or not.
func (f *finder) xml(p *Part) error {
	content, err := f.open(p)
	if err != nil {
		return err
	}
	d := plainDocument(p)
	source := &faultReader{r: content}
	err = d.readFrom(source, f.lim)
	if source.err != nil {
		return source.err // of the store, not of the document
	}
	f.docs = append(f.docs, d)
	return err
}

// faultReader remembers why its source failed.
type faultReader struct {
	r   io.Reader
	err error
}

func (f *faultReader) Read(p []byte) (int, error) {
	n, err := f.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		f.err = err
	}
	return n, err
}

// declaredCodes reads X-MSS-CODECDA: codes parted by commas.
func declaredCodes(idx *Index) []string {
	value, _ := idx.Value("X-MSS-CODECDA")
	var codes []string
	for c := range strings.SplitSeq(value, ",") {
		if c = code(strings.TrimSpace(c)); c != "" && len(codes) < 100 {
			codes = append(codes, c)
		}
	}
	return codes
}

// attach makes PDF attachments the copies of the typed documents beside them.
// The national rule has them accompany the archive (ECO.2.1.1) under the name
// date_type_FAMILY_given[_number].pdf (ECO.2.1.6), but nothing ties one to
// the other, and a PDF that is taken for a copy is seen by whoever may see the
// document. So a PDF counts as a copy only if its name names the patient of the
// documents, or the sender's software follows the national rules (declared:
// X-MSS-CODECDA is there) and the name begins with a date as the rule has it;
// and only if there are no more such PDFs than typed documents. They are then
// paired in order. All others stay documents of their own.
func attach(docs []Document, declared bool) []Document {
	var typed, copies []int
	for i := range docs {
		if d := &docs[i]; d.Structured && d.Code != "" {
			typed = append(typed, i)
		}
	}
	people := Patients(docs)
	for i := range docs {
		d := &docs[i]
		if d.Structured || d.Entry != "" || d.Media != "application/pdf" && !strings.EqualFold(path.Ext(d.Filename), ".pdf") {
			continue
		}
		named := slices.ContainsFunc(people, func(p Patient) bool { return ident.MentionsChild(d.Filename, p.Traits) })
		if named || declared && dated(d.Filename) {
			copies = append(copies, i)
		}
	}
	if len(copies) == 0 || len(copies) > len(typed) {
		return docs
	}
	for n, i := range copies {
		d := &docs[typed[n]]
		d.Copies = append(d.Copies, docs[i].Part)
	}
	var rest []Document
	for i := range docs {
		if !slices.Contains(copies, i) {
			rest = append(rest, docs[i])
		}
	}
	return rest
}

// dated reports whether a file name begins with a date and an underscore.
func dated(name string) bool {
	date, _, ok := strings.Cut(name, "_")
	if !ok {
		return false
	}
	iso, ok := ident.ParseBirthDate(date)
	return ok && len(iso) == len("2006-01-02")
}
