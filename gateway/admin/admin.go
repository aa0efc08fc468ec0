// Package admin is the way coordinators and operators speak to a running hub:
// an API of HTTP and JSON, its server and its Go client.
//
// Every verb is POST /v1/GROUP/VERB with a JSON object of package mailbox's
// requests, answered by its views. [Operations] is the list of them; both
// [mailbox.Hub] and [Client] have its methods, so that whoever uses them need
// not know whether the hub is in this process. A mail or a file is sent as the
// body, its parameters as JSON in the query parameter q, and comes back as
// message/rfc822; an export is application/zip.
//
// Rules that hold here:
//
//   - The one who asks is known by what the connection proves (Unix peer
//     credentials, a client certificate), never by what a request says.
//   - Root and the hub's own user may do everything; whoever else, what the
//     table [needs] gives to a role they have, and as a coordinator only in
//     their programmes. Refusals are traced.
//   - Requests are strict: a field that is not known is an error, so that a
//     newer program never has half its request obeyed by an older hub.
//   - A refusal is an [Error] with a text in French and in English; what broke
//     inside the hub is told by a reference into the journal, not by its cause.
//   - Sizes, times and requests at once are bounded. A stream that fails in
//     the middle breaks the connection: its bytes cannot pass for the whole.
package admin

import (
	"context"
	"io"
	"time"

	"github.com/relais-sante/relais/mailbox"
)

// version of the API. It changes when an older client could misunderstand an
// answer; new verbs and fields do not change it.
const version = "1"

// Header fields of the handshake.
const (
	headerVersion = "Relais-Api"     // of the API, both ways
	headerProgram = "Relais-Version" // of the program that answers
)

// Bounds.
const (
	maxRequest  = 1 << 20   // bytes of a JSON request
	maxUpload   = 8 << 20   // bytes of an uploaded file that is not a mail
	maxExtract  = 256 << 20 // of the national directory: 89 MB, 20 as an archive
	maxAnswer   = 256 << 20
	maxHeader   = 64 << 10
	maxAtOnce   = 64
	requestTime = 2 * time.Minute  // a verb, its answer included
	streamTime  = 15 * time.Minute // a verb that carries a mail or a file
	chunkTime   = 30 * time.Second // each part of a stream
)

// Operations are what the admin API can do; see the methods of [mailbox.Hub].
type Operations interface {
	Include(context.Context, mailbox.Actor, mailbox.IncludeRequest) (mailbox.PathwayView, error)
	Pathways(context.Context, mailbox.Actor, mailbox.PathwayFilter) ([]mailbox.PathwayView, error)
	Pathway(ctx context.Context, a mailbox.Actor, code string) (mailbox.PathwayView, error)
	Export(context.Context, mailbox.Actor, mailbox.ExportRequest) (io.ReadCloser, error)
	UpdatePathway(context.Context, mailbox.Actor, mailbox.PathwayUpdate) (mailbox.PathwayView, error)
	MergePathways(ctx context.Context, a mailbox.Actor, from, into string) (mailbox.PathwayView, error)
	SuspendPathway(context.Context, mailbox.Actor, mailbox.StatusChange) (mailbox.PathwayView, error)
	ClosePathway(context.Context, mailbox.Actor, mailbox.StatusChange) (mailbox.PathwayView, error)
	ReopenPathway(context.Context, mailbox.Actor, mailbox.StatusChange) (mailbox.PathwayView, error)

	ErasePathway(context.Context, mailbox.Actor, mailbox.ErasureRequest) (mailbox.ErasureView, error)

	Keys(context.Context, mailbox.Actor) (mailbox.KeyView, error)
	RotateKey(context.Context, mailbox.Actor, mailbox.KeyRotation) (mailbox.KeyView, error)
	ForgetPlace(ctx context.Context, a mailbox.Actor, place string) (mailbox.KeyView, error)

	RecordConsent(context.Context, mailbox.Actor, mailbox.ConsentRequest) ([]mailbox.ConsentView, error)
	WithdrawConsent(context.Context, mailbox.Actor, mailbox.WithdrawRequest) ([]mailbox.ConsentView, error)
	Consents(ctx context.Context, a mailbox.Actor, code string) ([]mailbox.ConsentView, error)

	AddMember(context.Context, mailbox.Actor, mailbox.MemberRequest) (mailbox.MemberView, error)
	UpdateMember(context.Context, mailbox.Actor, mailbox.MemberUpdate) (mailbox.MemberView, error)
	RemoveMember(context.Context, mailbox.Actor, mailbox.MemberRemoval) (mailbox.MemberView, error)
	Team(ctx context.Context, a mailbox.Actor, code string, history bool) ([]mailbox.MemberView, error)
	ImportTeam(ctx context.Context, a mailbox.Actor, code string, csv io.Reader, dryRun bool) ([]mailbox.MemberView, error)

	Boxes(ctx context.Context, a mailbox.Actor, after string, limit int) ([]mailbox.BoxView, error)
	Box(ctx context.Context, a mailbox.Actor, addr string) (mailbox.BoxView, error)
	UpdateBox(context.Context, mailbox.Actor, mailbox.BoxUpdate) (mailbox.BoxView, error)

	CreateAccount(context.Context, mailbox.Actor, mailbox.AccountRequest) (mailbox.AccountCreated, error)
	Accounts(ctx context.Context, a mailbox.Actor, box string) ([]mailbox.AccountView, error)
	RevokeAccount(context.Context, mailbox.Actor, mailbox.AccountRevoke) (mailbox.AccountView, error)

	Thread(ctx context.Context, a mailbox.Actor, code, asMember string) (mailbox.ThreadView, error)
	Message(ctx context.Context, a mailbox.Actor, id string) (mailbox.MessageView, error)
	RawMessage(ctx context.Context, a mailbox.Actor, id string) (io.ReadCloser, error)
	Retract(context.Context, mailbox.Actor, mailbox.MessageRequest) (mailbox.MessageView, error)
	MoveMessage(context.Context, mailbox.Actor, mailbox.MessageRequest) (mailbox.MessageView, error)
	Refile(context.Context, mailbox.Actor, mailbox.MessageRequest) (mailbox.MessageView, error)
	Resend(context.Context, mailbox.Actor, mailbox.MessageRequest) (mailbox.MessageView, error)
	SetAuthor(context.Context, mailbox.Actor, mailbox.MessageRequest) (mailbox.MessageView, error)

	TriageList(context.Context, mailbox.Actor) ([]mailbox.HeldView, error)
	Held(ctx context.Context, a mailbox.Actor, id string) (mailbox.HeldView, error)
	RawHeld(ctx context.Context, a mailbox.Actor, id string) (io.ReadCloser, error)
	Assign(context.Context, mailbox.Actor, mailbox.TriageRequest) (mailbox.Receipt, error)
	Release(context.Context, mailbox.Actor, mailbox.TriageRequest) (mailbox.Receipt, error)
	Reject(context.Context, mailbox.Actor, mailbox.TriageRequest) error

	Queue(context.Context, mailbox.Actor, mailbox.QueueFilter) ([]mailbox.QueueView, error)
	QueueEntry(ctx context.Context, a mailbox.Actor, id string) (mailbox.QueueView, error)
	RetryDelivery(context.Context, mailbox.Actor, mailbox.QueueRequest) (mailbox.QueueView, error)
	HoldDelivery(context.Context, mailbox.Actor, mailbox.QueueRequest) (mailbox.QueueView, error)
	DropDelivery(context.Context, mailbox.Actor, mailbox.QueueRequest) (mailbox.QueueView, error)

	ImportDirectory(ctx context.Context, a mailbox.Actor, q mailbox.DirectoryImport, extract io.Reader) (mailbox.DirectoryReport, error)
	SearchDirectory(context.Context, mailbox.Actor, mailbox.DirectoryQuery) (mailbox.DirectoryPage, error)

	Audit(context.Context, mailbox.Actor, mailbox.AuditQuery) (mailbox.AuditPage, error)
	AuditSeen(ctx context.Context, a mailbox.Actor, code string) (mailbox.SeenReport, error)
	AuditHead(context.Context, mailbox.Actor) (mailbox.HeadView, error)
	AuditVerify(context.Context, mailbox.Actor, mailbox.AuditCheck) (mailbox.AuditReport, error)
	AuditExport(context.Context, mailbox.Actor, mailbox.AuditExport) (io.ReadCloser, error)

	Explain(ctx context.Context, a mailbox.Actor, code, from string, mail io.Reader) (mailbox.ExplainView, error)
}
