package letter

import (
	"strings"
	"testing"
)

func TestNewText(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"nothing quoted", "Bonjour,\n\nTout va bien.\n", "Bonjour,\n\nTout va bien."},
		{"Thunderbird", "Vu, merci.\n\nLe 12/03/2026 à 10:33, Anne Roux a écrit :\n> Bonjour\n> Auteur : Paul\n", "Vu, merci."},
		{"Gmail, wrapped", "OK\n\nLe jeu. 12 mars 2026 à 10:33, Anne Roux <\nanne.roux@chu.example> a\nécrit :\n\n> Bonjour\n", "OK"},
		{"Gmail, English", "Fine.\n\nOn Thu, Mar 12, 2026 at 10:33 AM Anne Roux <anne@chu.example>\nwrote:\n\n> Hello\n", "Fine."},
		{"date and no time", "D'accord.\nLe 12 mars, Anne Roux a écrit :\n> x", "D'accord."},
		{"no marks on what is quoted", "Vu.\n\nLe 12 mars 2026, Anne Roux <a@chu.example> a écrit :\n\nAuteur : Paul Petit\nBonjour\n", "Vu."},
		{"inline answers", "Voici :\n> Question 1 ?\nOui.\n> Question 2 ?\nNon.\n", "Voici :\nOui.\nNon."},
		{"inline answers below an attribution", "Le 12/03/2026 à 10:33, A. Roux a écrit :\n> Question ?\n\nOui.\n\n> Autre ?\nNon.", "Oui.\n\nNon."},
		{"answer below", "> Bonjour\n> Peux-tu ?\n\nOui.\nAnne", "Oui.\nAnne"},
		{
			"Outlook, French", "Bien reçu.\n\nAnne\n\nDe : Paul Petit <p@chg.example>\nEnvoyé : jeudi 12 mars 2026 10:33\n" +
				"À : Anne Roux <a@chu.example>\nObjet : RE: bilan\n\nAuteur : Paul\n", "Bien reçu.\n\nAnne",
		},
		{
			"Outlook with its rule", "Vu\n\n________________________________\nDe : Paul <p@chg.example>\nEnvoyé : jeudi 12 mars\nÀ : Anne\nObjet : bilan\n\nTexte",
			"Vu",
		},
		{"Outlook, no-break spaces", "Vu\n\nDe\u00a0: Paul\nEnvoyé\u00a0: jeudi\nÀ\u00a0: Anne\nObjet\u00a0: x\n\nTexte", "Vu"},
		{"Outlook, bold", "Vu\n\n*De :* Paul\n*Envoyé :* jeudi\n*À :* Anne\n*Objet :* x\n\nTexte", "Vu"},
		{"Outlook, English", "Seen\n\nFrom: Paul\nSent: Thursday\nTo: Anne\nSubject: x\n\nText", "Seen"},
		{"Outlook, in one line", "Vu\nDe : Paul Envoyé : jeudi 12 mars À : Anne Objet : bilan\nTexte", "Vu"},
		{"long list of recipients", "Vu\nDe : Paul\nÀ : Anne,\n Luc,\n Jean\nCc : Zoé\nEnvoyé : jeudi\nObjet : x\n\nTexte", "Vu"},
		{"old Outlook", "Vu\n\n-----Message d'origine-----\nDe : Paul\nTexte", "Vu"},
		{"old Outlook, typographic", "Vu\n\n-----Message d’origine-----\nDe : Paul\nTexte", "Vu"},
		{"old Outlook, English", "Seen\n\n-----Original Message-----\nFrom: Paul\nText", "Seen"},
		{"Zimbra", "Vu\n\n----- Mail original -----\nDe: \"Paul\" <p@chg.example>\nÀ: \"Anne\"\nEnvoyé: Jeudi\nObjet: x\n\nTexte", "Vu"},
		{"Zimbra, forwarded", "Pour info\n----- Mail transféré -----\nDe: Paul\nAuteur : Paul", "Pour info"},
		{"Android", "Vu\n\n-------- Message d'origine --------\nDe : Paul\nDate : 12/03\nTexte", "Vu"},
		{"Gmail, forwarded", "---------- Forwarded message ---------\nDe : Paul <p@x.example>\nDate: jeu.\n\nAuteur : Paul\n", ""},
		{"Gmail, forwarded, French", "Ci-dessous.\n\n---------- Message transféré ---------\nDe : Paul\n\nTexte", "Ci-dessous."},
		{"Thunderbird, forwarded", "Voir.\n\n-------- Message transféré --------\nSujet : \tbilan\nDate : \tjeudi\nDe : \tPaul\nPour : \tAnne\n\nTexte", "Voir."},
		{"Apple, forwarded", "Voir.\n\nDébut du message réexpédié :\n\n> De: Paul\n> Auteur : Paul", "Voir."},
		{"Apple, forwarded, English", "See.\n\nBegin forwarded message:\n\nFrom: Paul\nText", "See."},
		{"Notes", "Voir\n----- Transféré par Paul Petit/CHG le 12/03/2026 -----\nTexte", "Voir"},
		{"forward alone, Outlook", "\n\nDe : Paul\nEnvoyé : jeudi\nÀ : Anne\nObjet : x\n\nAuteur : Dr Roux\nTexte", ""},
		{"not an attribution", "Le médecin a écrit :\nrepos complet.", "Le médecin a écrit :\nrepos complet."},
		{"own lines before an attribution", "Le 12 mars il allait bien.\nLe 13/03/2026 à 8:00, Paul a écrit :\n> x", "Le 12 mars il allait bien."},
		{"a letter's own labels", "Date : 12 mars\nObjet : bilan\n\nTout va bien.", "Date : 12 mars\nObjet : bilan\n\nTout va bien."},
		{"rule drawn by hand", "Un\n-----\nDeux", "Un\n-----\nDeux"},
		{"mac line ends", "Vu\r\r> x\r", "Vu"},
		{"empty", "", ""},
		{"only quotations", "> a\n> b\n", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := NewText(c.text); got != c.want {
				t.Errorf("got %q\nwant %q", got, c.want)
			}
			if got := NewText(crlf(c.text)); got != c.want {
				t.Errorf("with CRLF got %q\nwant %q", got, c.want)
			}
			if got := NewText(c.want); got != c.want {
				t.Errorf("new text of new text is %q", got)
			}
		})
	}
}

// The name in a quoted or forwarded mail must never become the author's.
func TestAuthorLineOfOthers(t *testing.T) {
	for _, text := range []string{
		"> Auteur : Paul Petit\n\nVu.",
		"Vu.\nAuteur : Paul Petit",
		"-----Message d'origine-----\nAuteur : Paul Petit",
		"De : x\nEnvoyé : y\nÀ : z\nObjet : t\n\nAuteur : Paul Petit",
		"Le 12 mars 2026, Anne a écrit :\n\nAuteur : Paul Petit",
		"Le 12 mars 2026, Anne a écrit :\n> x\n\nVu\nAuteur : Paul Petit",
		"|Auteur : Paul",
	} {
		if name, ok := AuthorLine(NewText(text)); ok {
			t.Errorf("%q is by %q", text, name)
		}
	}
}

func TestAuthorLine(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"Auteur : Dr Anne Roux\nTexte", "Dr Anne Roux"},
		{"Auteur: Anne Roux", "Anne Roux"},
		{"AUTEUR :ROUX Anne", "ROUX Anne"},
		{"\n  \n\tauteur\u00a0: Anne Roux  \n", "Anne Roux"},
		{"Auteur\u202f: Anne Roux", "Anne Roux"},
		{"Auteur\u3000\uff1a\u3000Anne Roux", "Anne Roux"},
		{"Author: Anne Roux.", "Anne Roux"},
		{"*Auteur :* Anne Roux", "Anne Roux"},
		{"**Auteur : Anne Roux**", "Anne Roux"},
		{"\ufeffAuteur : Anne Roux", "Anne Roux"},
		{"Auteure : Anne Roux", "Anne Roux"},
		{"Auteur : Anne : Roux", "Anne : Roux"},
		{"Auteur :", ""},
		{"Auteur : 12", ""},
		{"Auteur Anne Roux", ""},
		{"Auteurs : Anne", ""},
		{"Bonjour\nAuteur : Anne Roux", ""},
		{"L'auteur : Anne", ""},
		{"Auteur : " + strings.Repeat("x", 101), ""},
		{"", ""},
	} {
		got, ok := AuthorLine(c.text)
		if got != c.want && ok || ok != (c.want != "") {
			t.Errorf("%q: got %q, %v, want %q", c.text, got, ok, c.want)
		}
		if ok && !MayNameAuthor(c.text) {
			t.Errorf("%q has such a line, and is said to have none", c.text)
		}
	}
	if MayNameAuthor("Bonjour,\n\nvu ce matin. Autre chose demain.") {
		t.Error("said to name an author")
	}
}

func TestSignature(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"dashes", "Bonjour\n\nOK.\n-- \nAnne Roux\nIDEC, CHU", "Anne Roux|IDEC, CHU"},
		{"dashes without space", "OK\n--\nAnne Roux", "Anne Roux"},
		{"formula", "Bonjour\n\nCordialement,\n\nAnne Roux\nIDEC\n", "Anne Roux|IDEC"},
		{"formula and name in one line", "OK.\nBien cordialement, Anne Roux", "Anne Roux"},
		{"formula and dashes", "OK\n\nCdt\nAnne\n-- \nService d'oncologie", "Anne|Service d'oncologie"},
		{"long formula", "OK\n\nVeuillez agréer, chère consœur, mes salutations.\nDr A. Roux", "chère consœur, mes salutations.|Dr A. Roux"},
		{"English", "Fine.\n\nKind regards,\nAnne Roux", "Anne Roux"},
		{"last block", "Le bilan est bon.\n\nAnne Roux\nInfirmière", "Anne Roux|Infirmière"},
		{"last lines", "Vu avec la famille.\nAnne Roux", "Anne Roux"},
		{"telephone", "OK\n\nAnne Roux\n\nEnvoyé de mon iPhone", "Anne Roux"},
		{"only a sentence", "Merci de voir avec Mme Roux.", ""},
		{"somebody named", "Vu avec Anne Roux", ""},
		{"greeting only", "Bonjour Anne Roux", ""},
		{"formula and nothing", "Voir Anne Roux.\nCordialement", ""},
		{"empty", "", ""},
	} {
		if got := strings.Join(Signature(c.text), "|"); got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

func TestNameIn(t *testing.T) {
	for _, c := range []struct {
		line, name string
		want       bool
	}{
		{"Anne Roux", "Anne Roux", true},
		{"ANNE ROUX", "Dr Anne Roux", true},
		{"ROUX Anne", "Anne Roux", true},
		{"Dr A. Roux", "Anne Roux", true},
		{"A Roux, IDEC", "Anne ROUX", true},
		{"Roux A.", "ROUX Anne", true},
		{"Dr Roux", "Dr Anne Roux", true},
		{"Hélène Lefèvre", "Helene LEFEVRE", true},
		{"Jean Pierre Le Goff", "Jean-Pierre Le Goff", true},
		{"J.-P. Le Goff", "Jean-Pierre Le Goff", true},
		{"JP LE GOFF", "LE GOFF Jean-Pierre", true},
		{"J. Le Goff", "Jean-Pierre Le Goff", true},
		{"Le Goff Jean-Pierre", "Jean-Pierre Le Goff", true},
		{"Marie d’Arc", "Marie d'Arc", true},
		{"Anne Rouxel", "Anne Roux", false},
		{"Marianne Roux", "Anne Roux", false},
		{"Roux", "Anne Roux", false},
		{"Anne", "Anne Roux", false},
		{"B. Roux", "Anne Roux", false},
		{"Secrétariat du Dr Anne Roux", "Anne Roux", false},
		{"pour Anne Roux", "Anne Roux", false},
		{"P/o Mme Roux", "Anne Roux", false},
		{"Dr Paul Roux", "Anne Roux", false},
		{"anything", "", false},
		{"Dr", "Dr", true},
	} {
		if got := NameIn([]string{"CHU", c.line}, c.name); got != c.want {
			t.Errorf("%q names %q: got %v", c.line, c.name, got)
		}
	}
}

// Display names in the national form, as software writes them.
func TestPersonShown(t *testing.T) {
	for _, c := range []struct{ display, want string }{
		{"Dr_Anne_ROUX_CHU Caen", "Dr Anne ROUX"},
		{"DR_ANNE_ROUX_CHU_CAEN", "DR ANNE ROUX"},
		{"Mme_Julie_PETIT_Cabinet Paul Durand", "Mme Julie PETIT"},
		{"M._Jean-Pierre_LE GOFF_Cabinet", "M. Jean-Pierre LE GOFF"},
		{" Docteur _ Hélène _ LEFÈVRE _ Pédiatrie", "Docteur Hélène LEFÈVRE"},
		{"_Anne_ROUX_CHU", "Anne ROUX"},
		{"Dr__ROUX_CHU", "Dr  ROUX"},
		{"Dr_Anne_ROUX", "Dr Anne ROUX"},
		{"Anne_ROUX", "Anne_ROUX"},
		{"Secretariat_Pediatrie_CHU", "Secretariat_Pediatrie_CHU"},
		{"Secrétariat de pédiatrie", "Secrétariat de pédiatrie"},
		{"___", "___"},
		{"", ""},
	} {
		if got := PersonShown(c.display); got != c.want {
			t.Errorf("%q: %q, want %q", c.display, got, c.want)
		}
	}
	for display, name := range map[string]string{
		"Dr_Anne_ROUX_CHU Caen": "Dr Anne Roux", "MME_JULIE_PETIT_CABINET": "Mme Julie Petit", "_A._ROUX_CHU": "Anne Roux", "Dr__ROUX_CHU": "Dr Anne Roux",
	} {
		if !NameIn([]string{PersonShown(display)}, name) {
			t.Errorf("%q does not name %q", display, name)
		}
	}
}

func FuzzNewText(f *testing.F) {
	f.Add("Vu.\n\nLe 12/03/2026 à 10:33, Anne a écrit :\n> x\n")
	f.Add("De : a\nEnvoyé : b\nÀ : c\nObjet : d\n")
	f.Add("Auteur : Anne Roux\nCordialement,\nAnne")
	f.Fuzz(func(t *testing.T, text string) {
		fresh := NewText(text)
		for line := range strings.SplitSeq(fresh, "\n") {
			if strings.HasPrefix(strings.TrimLeft(line, " \t\u00a0"), ">") {
				t.Errorf("quoted line %q is new", line)
			}
		}
		name, ok := AuthorLine(fresh)
		if ok && (name == "" || !strings.Contains(fresh, name)) {
			t.Errorf("author %q", name)
		}
		lines := Signature(fresh)
		if len(lines) > maxSignatureLines {
			t.Error("too long a signature")
		}
		NameIn(lines, name)
		NameIn([]string{text}, text[:min(len(text), 200)])
		PersonShown(text)
	})
}
