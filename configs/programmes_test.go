package configs_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/relais-sante/relais/configs"
	"github.com/relais-sante/relais/mailbox/texts"
	"github.com/relais-sante/relais/rules"
)

// shipped loads the programme files as `init` writes them.
func shipped(t *testing.T) *rules.Set {
	t.Helper()
	set, problems := rules.LoadFS(configs.Programmes, "programmes", rules.LoadOptions{Domain: "parcours.example.mssante.fr", Dev: true})
	for _, p := range problems {
		t.Error(configs.Explain(p, texts.English))
	}
	return set
}

func TestShippedProgrammes(t *testing.T) {
	set := shipped(t)
	var ids []string
	for _, p := range set.Programmes {
		ids = append(ids, p.ID)
	}
	if diff := cmp.Diff([]string{"nutripac", "parsac", "pon"}, ids); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	// Before anybody answers for it, a programme is not ready for patients.
	_, problems := rules.LoadFS(configs.Programmes, "programmes", rules.LoadOptions{})
	if len(problems) != 3 || slices.ContainsFunc(problems, func(p rules.Problem) bool { return p.ID != "check.no-desk" }) {
		t.Errorf("outside --dev: %v", problems)
	}
}

// The names that others rely on (contract, Programme file).
func TestPONIsAsPublished(t *testing.T) {
	p := shipped(t).ByID("pon")
	care := strings.Fields("oncologue pediatre idec infirmier medecin-traitant kinesitherapeute assistante-sociale psychologue dieteticien auxiliaire-puericulture secretariat")
	if diff := cmp.Diff(care, p.CareRoles()); diff != "" {
		t.Errorf("care team (-want +got):\n%s", diff)
	}
	for _, id := range []string{"enseignant", "educateur", "prestataire", "parent"} {
		if r := p.Role(id); r == nil || r.CareTeam {
			t.Errorf("%s: want a role outside the care team, got %v", id, r)
		}
	}
	var rubrics []string
	for _, r := range p.Rubrics {
		rubrics = append(rubrics, r.ID+" "+r.Name)
	}
	want := []string{
		"coordination Coordination", "pps PPS", "imagerie Imagerie", "biologie Biologie", "comptes-rendus Comptes rendus",
		"prescriptions Prescriptions", "social Social", "psychologie Psychologie", "a-classer À classer",
	}
	if diff := cmp.Diff(want, rubrics); diff != "" {
		t.Errorf("rubrics (-want +got):\n%s", diff)
	}
	four := []string{"assistante-sociale", "psychologue", "idec", "oncologue"}
	for _, id := range []string{"social", "psychologie"} {
		if diff := cmp.Diff(four, p.Rubric(id).VisibleTo); diff != "" {
			t.Errorf("%s (-want +got):\n%s", id, diff)
		}
	}
	if p.DefaultRubric().ID != "coordination" || p.Unclassed().ID != "a-classer" {
		t.Error("the default rubrics are others")
	}
	if p.SubjectLabel != "initials" || p.Conversation != "pathway" || p.Mixed != "send" || p.Receipts != "none" || p.MissingIdentity != "hold" {
		t.Error("the settings are not the defaults")
	}
}

// No rule of the shipped pon touches a plain mail or untyped documents,
// whoever writes whatever subject.
func TestPONLeavesPlainMailAlone(t *testing.T) {
	p := shipped(t).ByID("pon")
	for _, r := range p.Roles {
		for _, subject := range []string{"Bonjour", "URGENT aplasie alerte", "Retour à domicile, HAD", "PAI", "XDM/1.0/DDM+CR"} {
			for _, documents := range [][]rules.DocumentFacts{nil, {{Filename: "bilan.pdf", Media: "application/pdf"}}, {{}, {}}} {
				d := p.Decide(rules.Input{Facts: rules.Facts{
					Sender: rules.SenderFacts{Role: r.ID}, Message: rules.MessageFacts{Subject: subject, Urgent: true}, Documents: documents,
				}})
				for _, o := range d.Trail {
					if o.Matched || o.Error != "" {
						t.Errorf("%q matches a mail of %s with %d untyped documents", o.Rule, r.ID, len(documents))
					}
				}
				want := "coordination"
				switch r.ID {
				case "psychologue":
					want = "psychologie"
				case "assistante-sociale":
					want = "social"
				}
				if !d.All || len(d.Rubrics) != 1 || d.Rubrics[0] != want {
					t.Errorf("mail of %s: filed in %v, all %v", r.ID, d.Rubrics, d.All)
				}
			}
		}
	}
}

// What the programmes make of a day's messages: who writes, what, with which
// documents (code, then confidentiality words after a slash); where it is filed
// and which roles get it. "équipe" is the whole care team.
func TestDecisions(t *testing.T) {
	set := shipped(t)
	for _, c := range []struct{ story, programme, author, subject, documents, want string }{
		{"l'oncologue envoie le plan personnalisé de soins", "pon", "oncologue", "PPS", "18776-5", "pps : équipe parent"},
		{"…caché aux parents", "pon", "oncologue", "PPS", "18776-5/INVISIBLE_REPRESENTANTS_LEGAUX", "pps : équipe"},
		{"…accompagné d'une biologie", "pon", "oncologue", "PPS", "18776-5 11502-2", "pps biologie : équipe"},
		{"le laboratoire envoie une biologie", "pon", "", "NFS", "11502-2", "biologie : équipe"},
		{"…une biologie urgente", "pon", "", "NFS URGENTE : aplasie", "11502-2", "biologie : équipe urgent 4h idec prévenu"},
		{"le radiologue envoie un compte rendu", "pon", "", "IRM", "18748-4", "imagerie : équipe"},
		{"…avec une photo sans type", "pon", "", "IRM", "18748-4 -", "imagerie : équipe"},
		{"l'hôpital envoie la lettre de sortie et l'ordonnance", "pon", "pediatre", "Sortie", "11490-0 57833-6", "comptes-rendus prescriptions : équipe"},
		{"passage aux urgences", "pon", "", "CR", "15507-7", "comptes-rendus : équipe urgent idec prévenu"},
		{"ordonnance pour le domicile, seule", "pon", "oncologue", "Retour à domicile", "57833-6", "prescriptions : équipe prestataire sous 1d"},
		{"…la même, sans le dire", "pon", "oncologue", "Ordonnance", "57833-6", "prescriptions : équipe"},
		{"…avec un compte rendu", "pon", "oncologue", "Retour à domicile", "57833-6 34112-3", "comptes-rendus prescriptions : équipe"},
		{"le bilan psychologique", "pon", "psychologue", "Bilan", "83901-9", "psychologie : oncologue idec assistante-sociale psychologue"},
		{"le document social", "pon", "assistante-sociale", "MDPH", "28653-4", "social : oncologue idec assistante-sociale psychologue"},
		{"le bilan psychologique et la biologie", "pon", "psychologue", "Bilan", "83901-9 11502-2", "biologie psychologie : oncologue idec assistante-sociale psychologue"},
		{"le projet d'accueil pour l'école", "pon", "pediatre", "PAI", "80771-9", "pps : équipe enseignant educateur"},
		{"…avec un compte rendu", "pon", "pediatre", "PAI", "80771-9 11488-4", "pps comptes-rendus : équipe"},
		{"le projet d'accompagnement", "pon", "idec", "PPA", "80788-3", "pps : équipe educateur"},
		{"un rendez-vous donné par le secrétariat", "pon", "secretariat", "Consultation", "56446-8/N", "coordination : équipe parent"},
		{"un document que personne ne classe", "pon", "infirmier", "Divers", "53576-5", "a-classer : idec"},
		{"un résultat à diffusion restreinte", "pon", "", "Génétique", "51969-4/R", "biologie : oncologue pediatre idec psychologue"},
		{"un document masqué aux travailleurs sociaux", "pon", "pediatre", "CR", "11488-4/MASQUE_PSOCIAL", "comptes-rendus : oncologue pediatre idec infirmier medecin-traitant kinesitherapeute psychologue dieteticien auxiliaire-puericulture secretariat"},
		{"un PAI masqué aux tiers", "pon", "pediatre", "PAI", "80771-9/MASQUE_PT", "pps : équipe"},
		{"un document masqué aux professionnels", "pon", "", "CR", "11488-4/MASQUE_PS", "comptes-rendus : équipe retenu"},

		{"le diététicien envoie un conseil", "nutripac", "dieteticien", "Conseils", "", "nutrition : équipe"},
		{"…le plan nutritionnel", "nutripac", "dieteticien", "Plan", "18776-5", "nutrition : équipe parent"},
		{"la prescription de nutrition entérale", "nutripac", "oncologue", "Nutrition enterale", "57833-6", "prescriptions : équipe prestataire sous 1d"},
		{"une kaliémie basse", "nutripac", "", "Hypokaliemie", "11502-2", "biologie : équipe urgent 4h dieteticien idec prévenu"},
		{"un document que personne ne classe", "nutripac", "infirmier", "Divers", "53576-5", "a-classer : dieteticien idec"},

		{"le kinésithérapeute écrit", "parsac", "kinesitherapeute", "Séance", "", "activite : équipe"},
		{"le programme de séances", "parsac", "educateur-apa", "Programme", "80788-3", "activite : équipe parent"},
		{"les consignes pour l'école", "parsac", "medecin-mpr", "PAI", "80771-9", "ecole-et-club : équipe enseignant educateur-sportif"},
		{"arrêt de l'activité", "parsac", "medecin-mpr", "Arrêt de l'activité", "57828-6", "prescriptions : équipe urgent 1d kinesitherapeute educateur-apa prévenu"},
		{"le bilan psychologique", "parsac", "psychologue", "Bilan", "83901-9", "psychologie : medecin-mpr oncologue idec psychologue"},
	} {
		t.Run(c.programme+"/"+c.story, func(t *testing.T) {
			p := set.ByID(c.programme)
			in := rules.Input{Facts: rules.Facts{Sender: rules.SenderFacts{Role: c.author}, Message: rules.MessageFacts{Subject: c.subject}}}
			for document := range strings.FieldsSeq(c.documents) {
				code, words, _ := strings.Cut(document, "/")
				in.Facts.Documents = append(in.Facts.Documents, rules.DocumentFacts{Code: strings.Trim(code, "-"), Confidentiality: strings.FieldsFunc(words, func(r rune) bool { return r == '+' })})
			}
			if got := told(p, p.Decide(in)); got != c.want {
				t.Errorf("\nobtenu  %s\nattendu %s", got, c.want)
			}
		})
	}
}

// told writes a decision as the table above does.
func told(p *rules.Programme, d rules.Decision) string {
	reach := p.Reach(d)
	care := p.CareRoles()
	if len(reach) >= len(care) && slices.Equal(reach[:len(care)], care) {
		reach = append([]string{"équipe"}, reach[len(care):]...)
	}
	words := append(append(slices.Clone(d.Rubrics), ":"), reach...)
	if d.Urgent {
		words = append(words, "urgent")
		if d.AckWithin > 0 {
			words = append(words, configs.Duration(d.AckWithin).String())
		}
	} else if d.AckWithin > 0 {
		words = append(words, "sous", configs.Duration(d.AckWithin).String())
	}
	if len(d.Notify) > 0 {
		words = append(append(words, d.Notify...), "prévenu")
	}
	if d.Hold {
		words = append(words, "retenu")
	}
	return strings.Join(words, " ")
}
