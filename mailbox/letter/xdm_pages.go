package letter

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"strings"

	catalogue "github.com/relais-sante/relais/mailbox/texts"
)

// README.TXT and INDEX.HTM are for whoever opens the archive by hand. They
// name no patient.

//go:embed national/index.htm
var indexFile string

var indexTemplate = template.Must(template.New("index").Parse(indexFile))

type indexPage struct {
	Lang, Title, Said string
	Head              [3]string // document, type, author
	Documents         []indexLine
	LeftTitle         string
	Left              []string
}

type indexLine struct{ Href, Title, Kind, Author string }

func (x *xdmWriter) pages() error {
	l := x.Locale
	if l == "" {
		l = catalogue.French
	}
	sender := strings.TrimSpace(cleanText(x.Author.Institution, maxName))
	said := catalogue.T(l, "export.readme", map[string]any{
		"sender": sender, "software": cleanText(x.Software, maxName), "date": x.Time.UTC().Format("2006-01-02 15:04 UTC"),
	})
	page := indexPage{
		Lang: string(l), Title: cleanText(x.Title, maxName), Said: said, LeftTitle: catalogue.T(l, "export.left-out", nil),
		Head: [3]string{
			catalogue.T(l, "export.col-document", nil), catalogue.T(l, "export.col-type", nil), catalogue.T(l, "export.col-author", nil),
		},
	}
	tree := []string{"README.TXT", "INDEX.HTM"}
	for i := range x.listed {
		e, folder := &x.listed[i], fmt.Sprintf("IHE_XDM/SUBSET%02d/", i/subsetDocuments+1)
		if i%subsetDocuments == 0 {
			tree = append(tree, folder+"METADATA.XML")
		}
		tree = append(tree, folder+e.name)
		author := e.author.clean()
		page.Documents = append(page.Documents, indexLine{
			folder + e.name, e.title, e.kind.Label, strings.Join(strings.Fields(author.Title+" "+author.Given+" "+author.Family), " "),
		})
	}
	for _, d := range x.left {
		page.Left = append(page.Left, d.title+" : "+catalogue.T(l, d.why, nil))
	}
	w, err := x.create("INDEX.HTM")
	if err != nil {
		return err
	}
	if err := indexTemplate.Execute(w, page); err != nil {
		return fmt.Errorf("writing INDEX.HTM: %w", err)
	}
	if w, err = x.create("README.TXT"); err != nil {
		return err
	}
	readme := strings.TrimSpace(said) + "\n\n" + strings.Join(tree, "\n") + "\n"
	if page.Left != nil {
		readme += "\n" + page.LeftTitle + "\n" + strings.Join(page.Left, "\n") + "\n"
	}
	if _, err := io.WriteString(w, strings.ReplaceAll(readme, "\n", "\r\n")); err != nil {
		return fmt.Errorf("writing README.TXT: %w", err)
	}
	return nil
}
