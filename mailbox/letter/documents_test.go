package letter

import (
	"context"
	"encoding/base64"
	"errors"
	"io"
	"strings"
	"testing"
)

// mimePart is a part of a mail made for a test.
type mimePart struct {
	header string // without Content-Transfer-Encoding
	body   string // encoded in base64
}

func mixed(header string, parts ...mimePart) string {
	var b strings.Builder
	b.WriteString(header + "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=outer\r\n\r\n")
	b.WriteString("--outer\r\nContent-Type: text/plain\r\n\r\nBonjour\r\n")
	for _, p := range parts {
		b.WriteString("--outer\r\n" + p.header + "Content-Transfer-Encoding: base64\r\n\r\n")
		text := base64.StdEncoding.EncodeToString([]byte(p.body))
		for len(text) > 76 {
			b.WriteString(text[:76] + "\r\n")
			text = text[76:]
		}
		b.WriteString(text + "\r\n")
	}
	b.WriteString("--outer--\r\n")
	return b.String()
}

func attached(media, name, body string) mimePart {
	return mimePart{"Content-Type: " + media + "\r\nContent-Disposition: attachment; filename=\"" + name + "\"\r\n", body}
}

func documentsOf(t *testing.T, text string) ([]Document, error) {
	t.Helper()
	r, err := Read(strings.NewReader(text), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	open := func(p *Part) (io.Reader, error) {
		return Decode(strings.NewReader(text[p.BodyStart:p.BodyEnd]), p.Encoding), nil
	}
	return Documents(context.Background(), r.Index, open, ArchiveLimits{})
}

func TestDocuments(t *testing.T) {
	xdm := string(soundXDM(t))
	cda := cdaText("18748-4", zoeINS, "ZOÉ", "")
	const declared = "X-MSS-CODECDA: 18748-4\r\n"
	for _, c := range []struct {
		name, mail string
		want       string // part:code of each, copies after a plus
	}{
		{"no attachment", "Content-Type: text/plain\r\n\r\nBonjour\r\n", ""},
		{"plain PDF", mixed("", attached("application/pdf", "a.pdf", onePDF)), "2:"},
		{"the mail is a PDF", "Content-Type: application/pdf\r\n\r\n%PDF\r\n", "1:"},
		{"archive", mixed("", attached("application/zip", "IHE_XDM.ZIP", xdm)), "2:18748-4 2:83901-9"},
		{"archive of another type and case", mixed("", attached("application/octet-stream", "ihe_xdm.zip", xdm)), "2:18748-4 2:83901-9"},
		{"archive under another name", mixed("", attached("application/x-zip-compressed", "envoi.zip", xdm)), "2:18748-4 2:83901-9"},
		{"any zip", mixed("", attached("application/zip", "photos.zip", string(zipped(t, entry{name: "a.jpg", text: "x"})))), "2:"},
		{"broken zip", mixed("", attached("application/zip", "photos.zip", "PK")), "2:"},
		{"CDA", mixed("", attached("text/xml", "cr.xml", cda)), "2:18748-4"},
		{"CDA of another type", mixed("", attached("application/octet-stream", "CR.XML", cda)), "2:18748-4"},
		{"other XML", mixed("", attached("text/xml", "a.xml", "<a/>")), "2:"},
		{"image of the text", "Content-Type: multipart/related; boundary=b\r\n\r\n--b\r\nContent-Type: text/html\r\n\r\n<img src=cid:a>\r\n--b\r\nContent-Type: image/png\r\nContent-ID: <a>\r\nContent-Disposition: inline; filename=a.png\r\n\r\nx\r\n--b--\r\n", ""},
		{"image attached", mixed("", mimePart{"Content-Type: image/png\r\nContent-ID: <a>\r\nContent-Disposition: attachment; filename=a.png\r\n", "x"}), "2:"},
		{"image in the mail", mixed("", mimePart{"Content-Type: image/png\r\nContent-Disposition: inline; filename=a.png\r\n", "x"}), "2:"},
		{"signature, calendar, card", mixed("", attached("application/pkcs7-signature", "smime.p7s", "x"), attached("text/calendar", "a.ics", "x"), attached("text/vcard", "a.vcf", "x")), ""},
		{"encrypted mail", "Content-Type: application/pkcs7-mime; name=smime.p7m\r\n\r\nx\r\n", "1:"},
		{"text attached", mixed("", attached("text/plain", "notes.txt", "x")), "2:"},
		{"forwarded", "Content-Type: multipart/mixed; boundary=f\r\n\r\n--f\r\nContent-Type: message/rfc822\r\n\r\n" + mixed("", attached("application/zip", "IHE_XDM.ZIP", xdm)) + "\r\n--f--\r\n", "1.2:18748-4 1.2:83901-9"},
		{"copy by name", mixed("", attached("application/zip", "IHE_XDM.ZIP", xdm), attached("application/pdf", "20260105_CR_LE-GOFF_ZOE.pdf", onePDF)), "2:18748-4+3 2:83901-9"},
		{"copy by declaration", mixed(declared, attached("text/xml", "cr.xml", cda), attached("application/pdf", "20260105_CR.pdf", onePDF)), "2:18748-4+3"},
		{"PDF that is no copy", mixed(declared, attached("text/xml", "cr.xml", cda), attached("application/pdf", "bilan psychologique.pdf", onePDF)), "2:18748-4 3:"},
		{"undeclared", mixed("", attached("text/xml", "cr.xml", cda), attached("application/pdf", "20260105_CR.pdf", onePDF)), "2:18748-4 3:"},
		{
			"more PDFs than documents", mixed(declared, attached("text/xml", "cr.xml", cda), attached("application/pdf", "20260105_CR_LE GOFF_ZOE.pdf", onePDF), attached("application/pdf", "20260105_Bilan_LE GOFF_ZOE.pdf", onePDF)),
			"2:18748-4 3: 4:",
		},
		{"declared, one document", mixed(declared, attached("application/pdf", "a.pdf", onePDF)), "2:18748-4"},
		{"declared, two documents", mixed(declared, attached("application/pdf", "a.pdf", onePDF), attached("application/pdf", "b.pdf", onePDF)), "2: 3:"},
		{"two codes declared", mixed("X-MSS-CODECDA: 18748-4,11502-2\r\n", attached("application/pdf", "a.pdf", onePDF)), "2:"},
	} {
		t.Run(c.name, func(t *testing.T) {
			docs, err := documentsOf(t, c.mail)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, d := range docs {
				if d.Size == 0 || len(d.Sum) != 32 {
					t.Errorf("no size or digest: %+v", d)
				}
				s := d.Part + ":" + d.Code
				if len(d.Copies) > 0 {
					s += "+" + strings.Join(d.Copies, "+")
				}
				got = append(got, s)
			}
			if s := strings.Join(got, " "); s != c.want {
				t.Errorf("got %q, want %q", s, c.want)
			}
		})
	}
}

func TestDocumentsUnreadable(t *testing.T) {
	for name, h := range hostileArchives(t) {
		if len(h.archive) > 1<<20 {
			continue // as an attachment it is only slow to make
		}
		if _, err := documentsOf(t, mixed("", attached("application/zip", "IHE_XDM.ZIP", string(h.archive)))); !errors.Is(err, ErrUnreadableArchive) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := documentsOf(t, mixed("", attached("text/xml", "a.xml", `<ClinicalDocument><a></ClinicalDocument>`))); !errors.Is(err, ErrUnreadableArchive) {
		t.Errorf("broken CDA: %v", err)
	}
	deep := strings.Repeat("Content-Type: message/rfc822\r\n\r\n", 100)
	if _, err := documentsOf(t, deep); !errors.Is(err, ErrUnreadableArchive) {
		t.Errorf("parts nobody looked at: %v", err)
	}
	many := make([]mimePart, 30)
	for i := range many {
		many[i] = attached("application/zip", "IHE_XDM.ZIP", string(soundXDM(t)))
	}
	if _, err := documentsOf(t, mixed("", many...)); !errors.Is(err, ErrUnreadableArchive) {
		t.Errorf("too many archives: %v", err)
	}
}

func TestDocumentsTellFaultsOfTheStore(t *testing.T) {
	fault := errors.New("disk away")
	for _, part := range []mimePart{attached("application/zip", "IHE_XDM.ZIP", "x"), attached("text/xml", "a.xml", "x")} {
		text := mixed("", part)
		r, err := Read(strings.NewReader(text), Limits{})
		if err != nil {
			t.Fatal(err)
		}
		open := func(*Part) (io.Reader, error) {
			return io.MultiReader(strings.NewReader("<ClinicalDocument>"), failingReader{fault}), nil
		}
		if _, err := Documents(context.Background(), r.Index, open, ArchiveLimits{}); !errors.Is(err, fault) || errors.Is(err, ErrUnreadableArchive) {
			t.Errorf("got %v", err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if _, err := Documents(ctx, r.Index, open, ArchiveLimits{}); !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled: %v", err)
		}
	}
}

type failingReader struct{ err error }

func (f failingReader) Read([]byte) (int, error) { return 0, f.err }

func TestSampleMails(t *testing.T) {
	for _, name := range []string{"mail-xdm-initial.eml", "mail-xdm-annule-et-remplace.eml"} {
		docs, err := documentsOf(t, string(sample(t, "synthetic", name)))
		if err != nil || len(docs) != 1 || docs[0].Code != "18776-5" || len(docs[0].Copies) != 1 || len(Patients(docs)) != 1 {
			t.Errorf("%s: %+v, %v", name, docs, err)
		}
	}
	for _, name := range []string{"mdn-succes.eml", "mdn-erreur-v1.1.3.eml"} {
		if docs, err := documentsOf(t, string(sample(t, "synthetic", name))); err != nil {
			t.Errorf("%s: %+v, %v", name, docs, err)
		}
	}
}
