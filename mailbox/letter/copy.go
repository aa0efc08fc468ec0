package letter

import "time"

// Copy says what the relayed copy of a mail has in its header, for one box.
// (The contract's "Mail out" is the source of every line.) Everything not
// named here or in the list of kept fields is dropped.
type Copy struct {
	From        Mailbox // author and the author's address at the hub
	ReplyTo     string
	To          Mailbox
	Subject     string    // decoded, tag included; written as RFC 2047 when not ASCII
	RawSubject  bool      // an APP box: the original Subject field passes unchanged
	Date        time.Time // used only when the mail has no readable Date
	MessageID   string    // without brackets
	InReplyTo   string
	References  []string
	ThreadTopic string
	ThreadIndex []byte
	NIL         string // X-MSS-NIL
	Pathway     string // X-Relais-Pathway, and so on
	Rubrics     []string
	Author      string
	For         []string
	Delivery    string
	// NotifyTo asks for a receipt (Disposition-Notification-To); empty: none.
	NotifyTo string
}
