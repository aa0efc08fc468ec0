package letter

import "strings"

// fromCDA takes what metadata say from the header of the document itself, as
// the national volet asks.
func (e *xdmEntry) fromCDA(root *element) {
	c := cdaOf(root)
	e.media, e.uniqueID = "text/xml", c.ID
	if c.Title != "" {
		e.title = c.Title
	}
	if c.Code != "" {
		e.kind = typeCoded(c.Code, root.at("code").attr("displayname"))
		if c.CodeSystem != "" {
			e.kind.System = c.CodeSystem
		}
	}
	for _, label := range c.Confidentiality {
		e.secrecy = addLabel(e.secrecy, label)
	}
	var models []string
	for m := range root.each("templateid") {
		models = append(models, m.attr("root"))
	}
	e.format = formatCoded(models)
	if l := cleanText(root.at("languagecode").attr("code"), maxCode); l != "" {
		e.language = l
	}
	if t := dtmOf(root.at("effectivetime").attr("value")); t != "" {
		e.created = t
	}
	if w := cdaWriter(root.at("author", "assignedauthor")); w != (Writer{}) {
		setOnce(&w.Institution, c.Institution)
		setOnce(&w.InstitutionID, c.InstitutionID)
		e.author = w
	}
	e.legal = cdaWriter(root.at("legalauthenticator", "assignedentity"))
	act := root.at("documentationof", "serviceevent")
	e.start = dtmOf(act.at("effectivetime", "low").attr("value"))
	e.stop = dtmOf(act.at("effectivetime", "high").attr("value"))
	e.practice.fromCDA(act.at("performer", "assignedentity", "representedorganization", "standardindustryclasscode"), systemPractice)
	e.facility.fromCDA(root.at("componentof", "encompassingencounter", "location", "healthcarefacility", "code"), systemFacility)
}

// fromCDA takes a code of the list that is wanted; without one, what was there
// stays.
func (c *Coded) fromCDA(e *element, system string) {
	if v := code(e.attr("code")); v != "" && e.attr("codesystem") == system {
		*c = Coded{v, system, cleanText(e.attr("displayname"), maxTitleBytes)}
		setOnce(&c.Label, v)
	}
}

// cdaWriter reads an assignedAuthor or assignedEntity.
func cdaWriter(assigned *element) Writer {
	var w Writer
	w.ID = nationalID(assigned, oidProfessional)
	name := assigned.at("assignedperson", "name")
	w.Title, w.Family = name.at("prefix").value(), name.at("family").value()
	var given []string
	for g := range name.each("given") {
		given = append(given, g.value())
	}
	w.Given = strings.Join(given, " ")
	place := assigned.at("representedorganization")
	w.Institution, w.InstitutionID = place.at("name").value(), nationalID(place, oidStructure)
	w.Speciality.fromCDA(assigned.at("code"), systemSpeciality)
	return w
}
