package rules

import "reflect"

// TextIDs lists the texts of problems that loading can find.
var TextIDs = []TextID{
	missing, notAddress, ownDomain, ownBox, twice, badID, badProgrammeID, noProgramme, programmeTwice, noDesk, noCoordinator,
	coordinatorOutside, badFolder, codeTwice, defaultTwice, noDefault, emptyList, doesNothing, outsideWithoutFile, cannotSee,
	whenTooLong, whenNotUnderstood, whenUnknownName, whenNotBool, whenForbidden, whenNested, whenUnknownWord, Unreadable,
}

// Vocabulary lists the keys of programme files and the names of facts.
func Vocabulary() []string {
	var words []string
	for _, t := range []reflect.Type{reflect.TypeFor[programmeFile](), reflect.TypeFor[roleFile](), reflect.TypeFor[rubricFile](), reflect.TypeFor[ruleFile](), reflect.TypeFor[sourceFile]()} {
		for i := range t.NumField() {
			if t.Field(i).Type.Kind() != reflect.Slice || t.Field(i).Type.Elem().Kind() != reflect.Struct {
				words = append(words, t.Field(i).Tag.Get("toml"))
			}
		}
	}
	for _, t := range factTypes {
		words = append(words, fieldNames(t)...)
	}
	return append(words, fieldNames(reflect.TypeFor[Facts]())...)
}
