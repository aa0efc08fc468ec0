package configs

import "github.com/relais-sante/relais/rules/strict"

// TextIDs lists the texts of problems that [Parse] can find.
var TextIDs = []strict.TextID{
	missing, twice, emptyList, badSize, badCoded, badListen, badHostPort, badPasswords, badSecret, badDomain, badNIL, longSocket,
	needsLoopback, needsSmarthost, nothingPublished, noStartTLS, certAndKey, noAuthorities, noSmarthostDN, noOperator, badBoxName, insideData,
	whoAdministers, whichProgramme, nobodyRemote, noWhiteList, passwordOn, noRecoveryKey, devOpen,
}
