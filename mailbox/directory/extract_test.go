package directory

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
)

// The headings of the national extract, as published.
const headingLine = "Type de BAL|Adresse BAL|Type Identifiant PP|Identifiant PP|Identification nationale PP|Type identifiant structure|" +
	"Identification Structure|Service de rattachement|Civilité d'exercice|Nom d'exercice|Prénom d'exercice|Catégorie profession|" +
	"Libellé de catégorie profession|Code Profession|Libellé Profession|Code savoir-faire|Libellé savoir-faire|Dématérialisation|" +
	"Raison Sociale structure BAL|Enseigne commerciale structure BAL|L2COMPLEMENTLOCALISATION structure BAL|" +
	"L3COMPLEMENTDISTRIBUTION structure BAL|L4NUMEROVOIE structure BAL|L4COMPLEMENTNUMEROVOIE structure BAL|NL4TYPEVOIE structure BAL|" +
	"L4LIBELLEVOIE structure BAL|L5LIEUDITMENTION structure BAL|L6LIGNEACHEMINEMENT structure BAL|Code postal structure BAL|" +
	"Département structure BAL|Pays structure BAL"

var headingNames = strings.Split(headingLine, "|")

// columnOf gives the place of a heading.
var columnOf = func() map[string]int {
	m := map[string]int{}
	for i, h := range headingNames {
		m[h] = i
	}
	return m
}()

// row is a line by its headings.
type row map[string]string

func (r row) line() string {
	cells := make([]string, len(headingNames))
	for name, value := range r {
		i, known := columnOf[name]
		if !known {
			panic("no column " + name)
		}
		cells[i] = value
	}
	return strings.Join(cells, "|")
}

// table writes an extract.
func table(rows ...row) string {
	var b strings.Builder
	b.WriteString(headingLine + "\n")
	for _, r := range rows {
		b.WriteString(r.line() + "\n")
	}
	return b.String()
}

// per and org are invented boxes.
func per(address, rpps, family, given, profession, town string) row {
	return row{
		"Type de BAL": "PER", "Adresse BAL": address, "Type Identifiant PP": "8", "Identifiant PP": rpps, "Identification nationale PP": "8" + rpps,
		"Civilité d'exercice": "M", "Nom d'exercice": family, "Prénom d'exercice": given,
		"Catégorie profession": "C", "Libellé de catégorie profession": "Civil", "Code Profession": "10", "Libellé Profession": profession,
		"Dématérialisation": "True", "L6LIGNEACHEMINEMENT structure BAL": "14000 " + town, "Code postal structure BAL": "14000",
		"Département structure BAL": "Calvados", "Pays structure BAL": "France",
	}
}

func org(address, finess, structure, service, town string) row {
	return row{
		"Type de BAL": "ORG", "Adresse BAL": address, "Type identifiant structure": "1", "Identification Structure": finess,
		"Service de rattachement": service, "Raison Sociale structure BAL": structure, "Dématérialisation": "False",
		"L4NUMEROVOIE structure BAL": "12", "NL4TYPEVOIE structure BAL": "RUE", "L4LIBELLEVOIE structure BAL": "DES LILAS",
		"L6LIGNEACHEMINEMENT structure BAL": "76000 " + town, "Code postal structure BAL": "76000",
		"Département structure BAL": "Seine-Maritime", "Pays structure BAL": "France",
	}
}

// country generates an extract like the real one: as many names, towns and
// structures, as unevenly spread, 170 bytes a line. It is the same for a seed.
type country struct {
	r                      *rand.Rand
	families, givens       []string
	towns, sites, services []string
}

var (
	syllables   = []string{"ba", "bé", "cor", "du", "fa", "gou", "jan", "ker", "la", "lé", "mar", "mi", "nau", "o", "pel", "que", "rou", "sau", "ter", "val", "y", "zi"}
	endings     = []string{"nier", "tin", "mond", "gnac", "vel", "x", "lot", "ard", "eau", "é", "is", "oux", "ec", "a"}
	professions = []string{"Médecin", "Infirmier", "Masseur-Kinésithérapeute", "Pharmacien", "Chirurgien-Dentiste", "Sage-Femme", "Orthophoniste", "Psychologue", "Diététicien"}
	skills      = []string{"", "", "", "Spécialiste en Médecine Générale", "Pédiatrie", "Oncologie option médicale", "Radiothérapie", "Chirurgie infantile"}
)

func newCountry(seed uint64) *country {
	c := &country{r: rand.New(rand.NewPCG(seed, 7))}
	word := func(most int) string {
		s := ""
		for range 1 + c.r.IntN(most) {
			s += syllables[c.r.IntN(len(syllables))]
		}
		return s + endings[c.r.IntN(len(endings))]
	}
	names := func(n, most int) []string {
		list := make([]string, n)
		for i := range list {
			list[i] = word(most)
			if c.r.IntN(12) == 0 {
				list[i] += []string{"-", " "}[c.r.IntN(2)] + word(most)
			}
		}
		return list
	}
	c.families, c.givens, c.towns, c.services = names(150_000, 4), names(4_000, 3), names(12_000, 3), names(3_000, 2)
	for range 40_000 {
		c.sites = append(c.sites, []string{"CH", "CLINIQUE", "CABINET", "PHARMACIE", "SSIAD", "EHPAD"}[c.r.IntN(6)]+" "+strings.ToUpper(word(3)))
	}
	return c
}

// pick takes the first of a list far more often than the last.
func (c *country) pick(list []string) string {
	f := c.r.Float64()
	return list[int(f*f*f*float64(len(list)))]
}

func (c *country) line(n int) string {
	town := c.r.IntN(len(c.towns))
	site := int(c.r.Float64() * c.r.Float64() * float64(len(c.sites)))
	code := fmt.Sprintf("%02d%03d", 1+town%95, town/95*10%1000)
	r := row{
		"Raison Sociale structure BAL": c.sites[site], "Type identifiant structure": "1", "Identification Structure": fmt.Sprintf("%02d%07d", 1+site%95, site),
		"L4NUMEROVOIE structure BAL": strconv.Itoa(1 + c.r.IntN(90)), "NL4TYPEVOIE structure BAL": "RUE", "L4LIBELLEVOIE structure BAL": "DU GENERAL LECLERC",
		"L6LIGNEACHEMINEMENT structure BAL": code + " " + strings.ToUpper(c.towns[town]), "Code postal structure BAL": code,
		"Département structure BAL": c.towns[town%95], "Pays structure BAL": "France", "Dématérialisation": "True",
	}
	if c.r.IntN(100) < 15 {
		r["Type de BAL"], r["Service de rattachement"] = "ORG", c.pick(c.services)
		r["Adresse BAL"] = fmt.Sprintf("%s.%d@ch-%d.mssante.fr", plain(r["Service de rattachement"]), n, site)
		return r.line()
	}
	family, given := c.pick(c.families), c.pick(c.givens)
	r["Type de BAL"], r["Nom d'exercice"], r["Prénom d'exercice"], r["Civilité d'exercice"] = "PER", strings.ToUpper(family), given, "M"
	r["Adresse BAL"] = fmt.Sprintf("%s.%s%d@%s", plain(given), plain(family), n, []string{"medecin.mssante.fr", "infirmier.mssante.fr", "pro.mssante.fr"}[c.r.IntN(3)])
	r["Type Identifiant PP"], r["Identifiant PP"] = "8", fmt.Sprintf("1%010d", 100_000_000+n*17)
	r["Identification nationale PP"] = "8" + r["Identifiant PP"]
	r["Code Profession"], r["Libellé Profession"], r["Libellé de catégorie profession"] = "10", c.pick(professions), "Civil"
	r["Libellé savoir-faire"] = skills[c.r.IntN(len(skills))]
	return r.line()
}

// plain makes the part of an address out of a name.
func plain(s string) string {
	var b bytes.Buffer
	eachWord(s, func(w []byte) {
		if b.Len() > 0 {
			b.WriteByte('-')
		}
		b.Write(w)
	})
	return b.String()
}
