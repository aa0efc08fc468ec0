package admin

// Requests of the verbs that take only names. The others are package
// mailbox's.

type none struct{}

type pathwayRef struct {
	Pathway string `json:"pathway"`
}

type placeRef struct {
	Place string `json:"place"`
}

type mergeRequest struct {
	From string `json:"from"`
	Into string `json:"into"`
}

type teamRequest struct {
	Pathway string `json:"pathway"`
	History bool   `json:"history,omitempty"`
}

type importRequest struct {
	Pathway string `json:"pathway"`
	DryRun  bool   `json:"dry_run,omitempty"`
}

type boxList struct {
	After string `json:"after,omitempty"`
	Limit int    `json:"limit,omitempty"`
}

type boxRef struct {
	Mailbox string `json:"mailbox"`
}

type threadRequest struct {
	Pathway string `json:"pathway"`
	As      string `json:"as,omitempty"` // as a member sees it
}

type messageRef struct {
	Message string `json:"message"`
}

type idRef struct {
	ID string `json:"id"`
}

type explainRequest struct {
	Pathway string `json:"pathway"`
	From    string `json:"from,omitempty"`
}
