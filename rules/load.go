package rules

import (
	"time"

	"github.com/relais-sante/relais/rules/strict"
)

// Words of the settings, and what they mean, are the contract's.
const (
	everyone  = "all"
	mixedHold = "hold"
)

// LoadOptions say what a programme file is loaded for.
type LoadOptions struct {
	Domain string // the hub's own; "" leaves checks against it out
	// Boxes are the hub's own at operators: nobody's to be told at.
	Boxes []string
	Dev   bool // init --dev: nobody needs to answer yet
}

// programmeFile is a programme as it is written.
type programmeFile struct {
	ID              string       `toml:"id"`
	Name            string       `toml:"name"`
	SubjectLabel    string       `toml:"subject_label" default:"initials" enum:"code,initials,name"`
	Desk            []string     `toml:"desk"`
	Conversation    string       `toml:"conversation" default:"pathway" enum:"pathway,post"`
	Mixed           string       `toml:"mixed" default:"send" enum:"send,hold"`
	Receipts        string       `toml:"receipts" default:"none" enum:"none,urgent,all"`
	MissingIdentity string       `toml:"missing_identity" default:"hold" enum:"hold,file"`
	SecretWords     []string     `toml:"secret_words"`
	Roles           []roleFile   `toml:"role"`
	Rubrics         []rubricFile `toml:"rubric"`
	Rules           []ruleFile   `toml:"rule"`
	Sources         []sourceFile `toml:"source"`
}

type roleFile struct {
	ID            string   `toml:"id"`
	Name          string   `toml:"name"`
	CareTeam      bool     `toml:"care_team"`
	Coordinator   bool     `toml:"coordinator"`
	Codes         []string `toml:"codes"`
	DefaultRubric string   `toml:"default_rubric"`
	Family        bool     `toml:"family"`
}

type rubricFile struct {
	ID        string   `toml:"id"`
	Name      string   `toml:"name"`
	Types     []string `toml:"types"`
	VisibleTo []string `toml:"visible_to"`
	Default   bool     `toml:"default"`
	Unclassed bool     `toml:"unclassed"`

	HiddenFromParents bool `toml:"hidden_from_parents"`
}

type ruleFile struct {
	Name      string          `toml:"name"`
	When      string          `toml:"when"`
	File      []string        `toml:"file"`
	To        []string        `toml:"to"`
	Only      []string        `toml:"only"`
	Urgent    bool            `toml:"urgent"`
	AckWithin strict.Duration `toml:"ack_within"`
	Notify    []string        `toml:"notify"`
	Hold      bool            `toml:"hold"`

	HiddenFromParents bool `toml:"hidden_from_parents"`
}

type sourceFile struct {
	Mailbox       string `toml:"mailbox"`
	Establishment string `toml:"establishment"`
	Name          string `toml:"name"`
}

// Load reads one programme file; name is what messages call it. The programme
// must not be used if a problem is more than a warning.
func Load(name string, src []byte, o LoadOptions) (*Programme, []Problem) {
	var f programmeFile
	doc, problems := strict.Decode(name, src, &f)
	p := f.programme(name)
	if strict.Fatal(problems) && len(f.Roles)+len(f.Rubrics) == 0 {
		return p, problems // nothing to check yet
	}
	c := &checker{doc: doc, options: o, p: p, problems: problems}
	c.check()
	strict.Sort(c.problems)
	return p, c.problems
}

func (f *programmeFile) programme(name string) *Programme {
	p := &Programme{
		ID: f.ID, Name: f.Name, SubjectLabel: f.SubjectLabel, Desk: f.Desk, Conversation: f.Conversation,
		Mixed: f.Mixed, Receipts: f.Receipts, MissingIdentity: f.MissingIdentity, SecretWords: f.SecretWords, File: name,
	}
	for _, r := range f.Roles {
		p.Roles = append(p.Roles, Role(r))
	}
	for _, r := range f.Rubrics {
		p.Rubrics = append(p.Rubrics, Rubric(r))
	}
	for _, s := range f.Sources {
		p.Sources = append(p.Sources, Source(s))
	}
	for _, r := range f.Rules {
		p.Rules = append(p.Rules, Rule{
			Name: r.Name, When: r.When, File: r.File, To: r.To, Only: r.Only, Urgent: r.Urgent,
			AckWithin: time.Duration(r.AckWithin), Notify: r.Notify, Hold: r.Hold, HiddenFromParents: r.HiddenFromParents,
		})
	}
	byConvention(p)
	// Until somebody has classed a document, only those who class may see it
	// (contract: coordinators, until classed).
	for i := range p.Rubrics {
		if r := &p.Rubrics[i]; r.Unclassed && len(r.VisibleTo) == 0 {
			r.VisibleTo = p.Coordinators()
		}
	}
	return p
}

// byConvention marks the rubrics and the role that every programme has, where
// the file leaves their keys out.
func byConvention(p *Programme) {
	if r := p.Role("parent"); r != nil {
		r.Family = true // also where the file says otherwise: in doubt, narrower
	}
	if p.SecretWords == nil {
		p.SecretWords = defaultSecretWords
	}
	p.secretWords = alone(p.SecretWords)
	if p.DefaultRubric() == nil {
		if r := p.Rubric("coordination"); r != nil {
			r.Default = true
		}
	}
	if p.rubricWhere(func(r *Rubric) bool { return r.Unclassed }) == nil {
		if r := p.Rubric("a-classer"); r != nil {
			r.Unclassed = true
		}
	}
}
