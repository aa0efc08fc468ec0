package rules

// TextIDs lists the texts of problems that loading can find.
var TextIDs = []TextID{
	missing, notAddress, ownDomain, twice, badID, badProgrammeID, noProgramme, programmeTwice, noDesk, noCoordinator,
	coordinatorOutside, badFolder, codeTwice, defaultTwice, noDefault, emptyList, doesNothing, outsideWithoutFile, cannotSee,
	whenTooLong, whenNotUnderstood, whenUnknownName, whenNotBool, whenForbidden, whenNested, whenUnknownWord, Unreadable,
}
