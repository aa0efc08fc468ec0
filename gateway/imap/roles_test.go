package imap

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/relais-sante/relais/mailbox"
)

// What a role may not see is not there: a session gives the same transcript
// whether or not there is anything more on the hub than the reader may see
// (non-interference), but for gaps in UIDs and modseqs. The reader is the
// physiotherapist of a team.

// The hidden message, and words that are in nothing else.
const (
	hiddenID      = "secret-1@chu.test"
	hiddenSubject = "Entretien confidentiel"
	hiddenText    = "La petite parle de cauchemars."
)

func hiddenMail() string {
	return letterOf("simon@chu.test", hiddenID, hiddenSubject, hiddenText)
}

// visible is the part of the story that the reader sees; secret, which the one
// run has and the other has not, is called in the middle of it.
func (m *team) visible(secret func()) {
	c := m.child
	m.post("roux@chu.test", c, letterOf("roux@chu.test", "one@chu.test", "Premier bilan", "Rien de particulier."))
	m.post("bernard@kine.test", c, letterOf("bernard@kine.test", "two@kine.test", "Séance", "Bonne séance, marche trente mètres."))
	secret()
	m.post("moreau@chu.test", c+".coordination", letterOf("moreau@chu.test", "three@chu.test", "Re: Premier bilan", "Vu avec l'équipe.",
		"In-Reply-To: <one@chu.test>", "References: <one@chu.test>"))
	m.post("roux@chu.test", c+".imagerie", letterOf("roux@chu.test", "four@chu.test", "Radio du genou", "Normale."))
}

// secret is what the reader may not see. It returns the code of a pathway that
// he is not in, and a UID that is in use in coordination.
func (m *team) secret() (other string, uid uint32) {
	c := m.child
	r := m.post("simon@chu.test", c, hiddenMail())
	m.post("moreau@chu.test", c, letterOf("moreau@chu.test", "secret-2@chu.test", "Re: "+hiddenSubject, "Je la rappelle.",
		"In-Reply-To: <"+hiddenID+">", "References: <"+hiddenID+">"))
	m.post("roux@chu.test", c+".psychologie", letterOf("roux@chu.test", "secret-3@chu.test", "Re: Premier bilan", "À voir ensemble.",
		"In-Reply-To: <one@chu.test>", "References: <one@chu.test>"))
	// In a rubric that the reader sees, and in one that he does not: hidden.
	if _, err := m.hub.Refile(m.t.Context(), teamActor, mailbox.MessageRequest{Message: string(r.Message), Rubrics: []string{"coordination", "psychologie"}}); err != nil {
		m.t.Fatal(err)
	}
	gone := m.post("simon@chu.test", c, letterOf("simon@chu.test", "secret-4@chu.test", "Erreur", "Envoyé trop vite."))
	if _, err := m.hub.Retract(m.t.Context(), teamActor, mailbox.MessageRequest{Message: string(gone.Message), Reason: "erreur"}); err != nil {
		m.t.Fatal(err)
	}
	if held := m.post("inconnu@ailleurs.test", c, letterOf("inconnu@ailleurs.test", "held@ailleurs.test", "À propos de Léa", "Une question.")); held.Held == "" {
		m.t.Fatalf("not held: %+v", held)
	}
	m.post("mere@famille.test", c+".psychologie", letterOf("mere@famille.test", "mother@famille.test", "Ses nuits", "Elle dort mal."))
	other = m.include("114076300100140", "Durand", "Paul")
	m.member(other, "Mme Claire Simon", "psychologue", "simon@chu.test")
	m.member(other, "M. Karim Haddad", "kinesitherapeute", "haddad@kine.test")
	m.post("simon@chu.test", other+".coordination", letterOf("simon@chu.test", "secret-5@chu.test", "Autre enfant", "Rien à voir."))

	k := m.logs("roux@chu.test") // flags, a hide and a folder of somebody else
	rubric := m.folder(c, "Coordination")
	k.must("a CREATE Secret")
	k.must(fmt.Sprintf("b APPEND Secret {%d+}\r\n%s", len(hiddenMail()), hiddenMail()))
	k.must("c SELECT " + quoted(rubric))
	k.must(`d STORE 1 +FLAGS (\Flagged \Seen $Confidentiel)`)
	k.must(`e STORE 2 +FLAGS (\Deleted)`)
	k.must("f EXPUNGE")
	if _, err := fmt.Sscanf(k.must(`g UID SEARCH SUBJECT "` + hiddenSubject + `"`)[0], "* SEARCH %d", &uid); err != nil {
		m.t.Fatalf("the oncologist does not see it: %v", err)
	}
	return other, uid
}

// later is a message that arrives hidden in a rubric that is being watched.
func (m *team) later(id string) {
	r := m.post("simon@chu.test", m.child, letterOf("simon@chu.test", id, "Suite", "Elle dort mieux."))
	if _, err := m.hub.Refile(m.t.Context(), teamActor, mailbox.MessageRequest{Message: string(r.Message), Rubrics: []string{"coordination", "imagerie", "psychologie"}}); err != nil {
		m.t.Fatal(err)
	}
}

// folder is the name of a rubric of a pathway, or of the pathway.
func (m *team) folder(code string, rubric ...string) string {
	label := "L.M."
	if code != m.child {
		label = "P.D."
	}
	return strings.Join(append([]string{"Parcours/" + label + " " + code}, rubric...), "/")
}

func quoted(name string) string {
	return strconv.Quote(encodeUTF7(name))
}

// Both runs, the one with more first: what it made names what is not there in
// the other.
func TestRolesSeeNothingOfTheRest(t *testing.T) {
	with := newTeam(t)
	var other string
	var uid uint32
	with.visible(func() { other, uid = with.secret() })
	more := with.session(other, uid, true)

	without := newTeam(t)
	without.visible(func() {})
	less := without.session(other, 7_000_000, false) // a UID that is none here

	if len(less) < 150 {
		t.Fatalf("only %d lines", len(less))
	}
	for i := range min(len(more), len(less)) {
		if more[i] != less[i] {
			t.Fatalf("after %q\nwith the rest: %s\n      without: %s", less[max(0, i-3):i], more[i], less[i])
		}
	}
	if len(more) != len(less) {
		t.Errorf("%d lines with the rest, %d without", len(more), len(less))
	}
}

// transcript keeps what a session said, made comparable.
type transcript struct {
	team  *team
	k     *talk
	n     int
	in    string // selected folder: UIDs count in it
	names map[string]string
	lines []string
	other string
}

// say gives a command.
func (s *transcript) say(command string) {
	s.n++
	tag := "t" + strconv.Itoa(s.n)
	if _, name, ok := strings.Cut(command, "SELECT "); ok {
		s.in = name
	} else if _, name, ok := strings.Cut(command, "EXAMINE "); ok {
		s.in = name
	}
	s.keep(command, s.k.whole(tag, command))
}

func (s *transcript) appends(name, raw string) {
	s.n++
	s.keep("APPEND "+name, s.k.whole("t"+strconv.Itoa(s.n), fmt.Sprintf("APPEND %s {%d+}\r\n%s", quoted(name), len(raw), raw)))
}

var (
	numbered = regexp.MustCompile(`(UIDNEXT|UIDVALIDITY|HIGHESTMODSEQ|NOMODSEQ|MODSEQ|APPENDUID|COPYUID) (\(?)[0-9][0-9:,]*( [0-9][0-9:,]*)*`)
	uidItem  = regexp.MustCompile(`\b(UID|MIN|MAX) ([0-9]+)`)
	objects  = regexp.MustCompile(`(EMAILID|THREADID|MAILBOXID) \(([^)]*)\)`)
	sheets   = regexp.MustCompile(`fiche\.[0-9a-f]+@`) // Message-IDs of relay sheets: of the code
	digits   = regexp.MustCompile(`[0-9]+`)
)

// keep writes down an answer, with placeholders for what may differ.
func (s *transcript) keep(command string, answer []string) {
	s.lines = append(s.lines, "> "+digits.ReplaceAllString(s.clear(command), "0"))
	for _, l := range answer {
		if strings.HasPrefix(l, "* VANISHED (EARLIER) ") {
			continue // UIDs that are gaps, in either run
		}
		l = sheets.ReplaceAllStringFunc(l, func(id string) string { return s.placeholder("sheet", id) + "@" })
		l = numbered.ReplaceAllString(l, "$1 ${2}n")
		l = objects.ReplaceAllStringFunc(l, func(o string) string {
			m := objects.FindStringSubmatch(o)
			return m[1] + " (" + s.placeholder("object", m[2]) + ")"
		})
		uid := func(n string) string { return s.placeholder("uid "+s.in, n) }
		switch {
		case strings.HasPrefix(command, "UID SEARCH") && strings.HasPrefix(l, "* SEARCH"):
			l = digits.ReplaceAllStringFunc(l, uid)
		case strings.Contains(l, "UID "):
			l = uidItem.ReplaceAllStringFunc(l, func(o string) string {
				word, n, _ := strings.Cut(o, " ")
				return word + " " + uid(n)
			})
		}
		s.lines = append(s.lines, s.clear(l))
	}
}

func (s *transcript) clear(l string) string {
	return strings.NewReplacer(s.team.child, "CODE", s.other, "OTHER").Replace(l)
}

// placeholder stands for a value wherever it is.
func (s *transcript) placeholder(kind, value string) string {
	key := kind + " " + value
	if s.names[key] == "" {
		s.names[key] = fmt.Sprintf("%s-%d", strings.Fields(kind)[0], len(s.names))
	}
	return s.names[key]
}

// session is the script, as the physiotherapist gives it.
func (m *team) session(other string, uid uint32, secrets bool) []string {
	s := &transcript{team: m, k: m.logs("bernard@kine.test"), names: map[string]string{}, other: other}
	coordination, imaging := m.folder(m.child, "Coordination"), m.folder(m.child, "Imagerie")
	rubric := quoted(coordination)
	nowhere := []string{
		m.folder(m.child, "Psychologie"), m.folder(m.child, "Néant"), m.folder(other), m.folder(other, "Coordination"),
		m.folder(other, "Psychologie"), "Secret",
	}
	items := "(MESSAGES UIDNEXT UIDVALIDITY UNSEEN DELETED SIZE HIGHESTMODSEQ MAILBOXID)"
	all := []string{"INBOX", m.folder(m.child), coordination, imaging, "Envoyés", "Corbeille", "Brouillons"}

	for _, c := range []string{
		`LIST "" "*"`, `LIST "" "%"`, `LIST "Parcours/" "%"`, `LIST "" "Parcours/*/%"`, `LSUB "" "*"`, `LIST (SUBSCRIBED) "" "*" RETURN (CHILDREN)`,
		`LIST (SPECIAL-USE) "" "*"`, `LIST (RECURSIVEMATCH SUBSCRIBED) "" "*"`, `LIST "" "*" RETURN (STATUS ` + items + `)`,
		`LIST "" ("Parcours/*Psychologie" "Secret*")`, "NAMESPACE", "ID NIL", "CAPABILITY", "ENABLE CONDSTORE", `GETQUOTA ""`,
	} {
		s.say(c)
	}
	for _, name := range all {
		s.say("STATUS " + quoted(name) + " " + items)
		s.say("MYRIGHTS " + quoted(name))
		s.say("GETACL " + quoted(name))
		s.say("LISTRIGHTS " + quoted(name) + " role:psychologue")
		s.say("GETQUOTAROOT " + quoted(name))
	}
	for _, name := range all {
		s.say("SELECT " + quoted(name))
		s.say("FETCH 1:* (UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODYSTRUCTURE EMAILID THREADID MODSEQ PREVIEW)")
		s.say("FETCH 1:* (BODY.PEEK[])")
		for _, key := range []string{
			"ALL", "UNSEEN", "ANSWERED", "FLAGGED", "DELETED", "KEYWORD $Confidentiel", "NEW", "OLD", "LARGER 1", "SINCE 1-Jan-2026", "MODSEQ 1",
			`SUBJECT "` + hiddenSubject + `"`, "TEXT cauchemars", "BODY cauchemars", "FROM simon", "TO psychologie", `HEADER Message-ID "` + hiddenID + `"`,
			`HEADER References "` + hiddenID + `"`, "OR FROM simon SUBJECT bilan", "NOT FROM roux", "UID 1:100000",
		} {
			s.say("UID SEARCH " + key)
			s.say("SEARCH RETURN (MIN MAX COUNT ALL) " + key)
		}
		s.say("SORT (REVERSE DATE SUBJECT FROM) UTF-8 ALL")
		s.say("SORT RETURN (COUNT) (SIZE) UTF-8 TEXT cauchemars")
		s.say("THREAD REFERENCES UTF-8 ALL")
		s.say("THREAD ORDEREDSUBJECT UTF-8 ALL")
		s.say("THREAD REFS UTF-8 ALL")
		s.say("EXAMINE " + quoted(name) + " (CONDSTORE)")
	}
	// The UID of a hidden message is none.
	s.say("SELECT " + rubric)
	for _, c := range []string{
		"FETCH UID (FLAGS BODY[])", `STORE UID +FLAGS (\Flagged)`, "COPY UID Corbeille", "MOVE UID Corbeille", "EXPUNGE UID", "SEARCH UID UID",
		"STORE UID (UNCHANGEDSINCE 1) +FLAGS (vu)", "FETCH UID (FLAGS) (CHANGEDSINCE 1)",
	} {
		i := strings.LastIndex(c, "UID")
		s.say("UID " + c[:i] + fmt.Sprint(uid) + c[i+len("UID"):])
	}
	var first []string
	for _, name := range nowhere {
		q := quoted(name)
		at := len(s.lines)
		for _, c := range []string{
			"SELECT %s", "EXAMINE %s", "STATUS %s " + items, "GETACL %s", "MYRIGHTS %s", "LISTRIGHTS %s role:psychologue", "GETQUOTAROOT %s", "DELETE %s",
		} {
			s.say(fmt.Sprintf(c, q))
			s.say("SELECT " + rubric)
		}
		for _, c := range []string{"COPY 1 %s", "MOVE 1 %s", "RENAME %s Autre", `LIST "" %s`} {
			s.say(fmt.Sprintf(c, q))
		}
		s.appends(name, hiddenMail())
		// And of all the ways of not being there, none is told from another.
		answers := tagged(s.lines[at:])
		if first == nil {
			first = answers
		} else if name != "Secret" && !slices.Equal(answers, first) {
			m.t.Errorf("%s is answered otherwise than the first:\n%q\n%q", s.clear(name), answers, first)
		}
	}
	// Its own bytes, in one's own folder, are mail like any.
	s.say("CREATE Perso")
	s.appends("Perso", hiddenMail())
	s.appends("Perso", letterOf("bernard@kine.test", "two@kine.test", "Séance", "Bonne séance, marche trente mètres."))
	s.say("GETQUOTAROOT Perso")
	s.say("SELECT Perso")
	s.say("FETCH 1:* (UID FLAGS RFC822.SIZE ENVELOPE BODYSTRUCTURE EMAILID THREADID BODY.PEEK[])")
	s.say("THREAD REFERENCES UTF-8 ALL")
	s.say("COPY 1 " + rubric)
	s.say("CLOSE")

	// Posted, it is a new message; nobody learns that the team's psychologist
	// had written the same, or used its Message-ID.
	for _, raw := range []string{
		hiddenMail(), letterOf("bernard@kine.test", hiddenID, hiddenSubject, hiddenText),
		letterOf("bernard@kine.test", hiddenID, hiddenSubject, hiddenText),
		letterOf("bernard@kine.test", "answer@kine.test", "Re: ", "Bien noté.", "In-Reply-To: <"+hiddenID+">", "References: <"+hiddenID+">"),
		letterOf("bernard@kine.test", hiddenID, "À moi", "Un autre texte."),
	} {
		s.appends(coordination, raw)
		s.say("STATUS " + rubric + " " + items)
		s.say("SELECT " + rubric)
		s.say("FETCH 1:* (UID FLAGS RFC822.SIZE ENVELOPE EMAILID THREADID BODY.PEEK[])")
		s.say("THREAD REFERENCES UTF-8 ALL")
	}
	m.watch(s, coordination, secrets)

	s.say("ENABLE QRESYNC")
	s.say("SELECT " + rubric + " (QRESYNC (" + s.validity(coordination) + " 1 1:100))")
	s.say("UID FETCH 1:* (FLAGS) (CHANGEDSINCE 1 VANISHED)")
	s.say("LOGOUT")
	return s.lines
}

// watch waits for news, some of which are not for the reader.
func (m *team) watch(s *transcript, rubric string, secrets bool) {
	hidden := func(id string) {
		if secrets {
			m.later(id)
		}
		s.keep("quiet", s.k.quiet())
	}
	post := func(id string) {
		m.post("roux@chu.test", m.child+".coordination", letterOf("roux@chu.test", id, "Pour tous", "Visite jeudi."))
	}
	s.say("SELECT " + quoted(rubric))
	fmt.Fprint(s.k.c, "i1 IDLE\r\n")
	s.keep("IDLE", s.k.until("+"))
	hidden("later-1@chu.test")
	post("five@chu.test")
	s.keep("IDLE", s.k.until("* 7 EXISTS"))
	fmt.Fprint(s.k.c, "DONE\r\n")
	s.keep("DONE", s.k.until("i1 "))
	hidden("later-2@chu.test")
	s.say("NOOP")
	s.say("UNSELECT")

	for i, events := range []string{"MessageNew MessageExpunge", "MessageNew MessageExpunge FlagChange"} {
		s.say("NOTIFY SET STATUS (PERSONAL (" + events + " MailboxName SubscriptionChange))")
		hidden(fmt.Sprintf("later-3%d@chu.test", i))
		post(fmt.Sprintf("six-%d@chu.test", i))
		s.keep("NOTIFY", append(s.k.until("* STATUS "+quoted(rubric)), s.k.quiet()...))
	}
	s.say("NOTIFY NONE")
}

// tagged are the tagged answers without their tags.
func tagged(lines []string) (all []string) {
	for _, l := range lines {
		if tag, rest, ok := strings.Cut(l, " "); ok && strings.HasPrefix(tag, "t") {
			all = append(all, rest)
		}
	}
	return all
}

func (s *transcript) validity(name string) string {
	line := s.k.do("v STATUS " + quoted(name) + " (UIDVALIDITY)")[0]
	return digits.FindString(line[strings.Index(line, "UIDVALIDITY"):])
}
