package admin

import (
	"context"
	"io"

	"github.com/relais-sante/relais/mailbox"
)

// routes lists every verb of the API. What a verb does is the hub's affair;
// here stands only how its request is handed over.
var routes = map[string]handler{
	"/v1/pathway/include": verb(Operations.Include),
	"/v1/pathway/list":    verb(Operations.Pathways),
	"/v1/pathway/show": verb(func(o Operations, ctx context.Context, a mailbox.Actor, q pathwayRef) (mailbox.PathwayView, error) {
		return o.Pathway(ctx, a, q.Pathway)
	}),
	"/v1/pathway/export": download(anArchive, Operations.Export),
	"/v1/pathway/update": verb(Operations.UpdatePathway),
	"/v1/pathway/merge": verb(func(o Operations, ctx context.Context, a mailbox.Actor, q mergeRequest) (mailbox.PathwayView, error) {
		return o.MergePathways(ctx, a, q.From, q.Into)
	}),
	"/v1/pathway/suspend": verb(Operations.SuspendPathway),
	"/v1/pathway/close":   verb(Operations.ClosePathway),
	"/v1/pathway/reopen":  verb(Operations.ReopenPathway),

	"/v1/pathway/erase": verb(Operations.ErasePathway),

	"/v1/key/status": verb(func(o Operations, ctx context.Context, a mailbox.Actor, _ none) (mailbox.KeyView, error) {
		return o.Keys(ctx, a)
	}),
	"/v1/key/rotate": verb(Operations.RotateKey),
	"/v1/key/forget-place": verb(func(o Operations, ctx context.Context, a mailbox.Actor, q placeRef) (mailbox.KeyView, error) {
		return o.ForgetPlace(ctx, a, q.Place)
	}),

	"/v1/consent/record":   verb(Operations.RecordConsent),
	"/v1/consent/withdraw": verb(Operations.WithdrawConsent),
	"/v1/consent/show": verb(func(o Operations, ctx context.Context, a mailbox.Actor, q pathwayRef) ([]mailbox.ConsentView, error) {
		return o.Consents(ctx, a, q.Pathway)
	}),

	"/v1/team/add":    verb(Operations.AddMember),
	"/v1/team/update": verb(Operations.UpdateMember),
	"/v1/team/remove": verb(Operations.RemoveMember),
	"/v1/team/show": verb(func(o Operations, ctx context.Context, a mailbox.Actor, q teamRequest) ([]mailbox.MemberView, error) {
		return o.Team(ctx, a, q.Pathway, q.History)
	}),
	"/v1/team/import": upload(ofFile, func(o Operations, ctx context.Context, a mailbox.Actor, q importRequest, r io.Reader) ([]mailbox.MemberView, error) {
		return o.ImportTeam(ctx, a, q.Pathway, r, q.DryRun)
	}),

	"/v1/mailbox/list": verb(func(o Operations, ctx context.Context, a mailbox.Actor, q boxList) ([]mailbox.BoxView, error) {
		return o.Boxes(ctx, a, q.After, q.Limit)
	}),
	"/v1/mailbox/show": verb(func(o Operations, ctx context.Context, a mailbox.Actor, q boxRef) (mailbox.BoxView, error) {
		return o.Box(ctx, a, q.Mailbox)
	}),
	"/v1/mailbox/update": verb(Operations.UpdateBox),

	"/v1/account/create": verb(Operations.CreateAccount),
	"/v1/account/list": verb(func(o Operations, ctx context.Context, a mailbox.Actor, q boxRef) ([]mailbox.AccountView, error) {
		return o.Accounts(ctx, a, q.Mailbox)
	}),
	"/v1/account/revoke": verb(Operations.RevokeAccount),

	"/v1/thread/show": verb(func(o Operations, ctx context.Context, a mailbox.Actor, q threadRequest) (mailbox.ThreadView, error) {
		return o.Thread(ctx, a, q.Pathway, q.As)
	}),

	"/v1/message/show": verb(func(o Operations, ctx context.Context, a mailbox.Actor, q messageRef) (mailbox.MessageView, error) {
		return o.Message(ctx, a, q.Message)
	}),
	"/v1/message/raw": download(aMail, func(o Operations, ctx context.Context, a mailbox.Actor, q messageRef) (io.ReadCloser, error) {
		return o.RawMessage(ctx, a, q.Message)
	}),
	"/v1/message/retract": verb(Operations.Retract),
	"/v1/message/move":    verb(Operations.MoveMessage),
	"/v1/message/refile":  verb(Operations.Refile),
	"/v1/message/resend":  verb(Operations.Resend),
	"/v1/message/author":  verb(Operations.SetAuthor),

	"/v1/triage/list": verb(func(o Operations, ctx context.Context, a mailbox.Actor, _ none) ([]mailbox.HeldView, error) {
		return o.TriageList(ctx, a)
	}),
	"/v1/triage/show": verb(func(o Operations, ctx context.Context, a mailbox.Actor, q idRef) (mailbox.HeldView, error) {
		return o.Held(ctx, a, q.ID)
	}),
	"/v1/triage/raw": download(aMail, func(o Operations, ctx context.Context, a mailbox.Actor, q idRef) (io.ReadCloser, error) {
		return o.RawHeld(ctx, a, q.ID)
	}),
	"/v1/triage/assign":  verb(Operations.Assign),
	"/v1/triage/release": verb(Operations.Release),
	"/v1/triage/reject": verb(func(o Operations, ctx context.Context, a mailbox.Actor, q mailbox.TriageRequest) (none, error) {
		return none{}, o.Reject(ctx, a, q)
	}),

	"/v1/queue/list": verb(Operations.Queue),
	"/v1/queue/show": verb(func(o Operations, ctx context.Context, a mailbox.Actor, q idRef) (mailbox.QueueView, error) {
		return o.QueueEntry(ctx, a, q.ID)
	}),
	"/v1/queue/retry": verb(Operations.RetryDelivery),
	"/v1/queue/hold":  verb(Operations.HoldDelivery),
	"/v1/queue/drop":  verb(Operations.DropDelivery),

	"/v1/directory/import": upload(ofExtract, Operations.ImportDirectory),
	"/v1/directory/search": verb(Operations.SearchDirectory),

	"/v1/audit/show": verb(Operations.Audit),
	"/v1/audit/seen": verb(func(o Operations, ctx context.Context, a mailbox.Actor, q pathwayRef) (mailbox.SeenReport, error) {
		return o.AuditSeen(ctx, a, q.Pathway)
	}),
	"/v1/audit/head": verb(func(o Operations, ctx context.Context, a mailbox.Actor, _ none) (mailbox.HeadView, error) {
		return o.AuditHead(ctx, a)
	}),
	"/v1/audit/verify": verb(Operations.AuditVerify),
	"/v1/audit/export": download(jsonLines, Operations.AuditExport),

	"/v1/rules/explain": upload(ofMail, func(o Operations, ctx context.Context, a mailbox.Actor, q explainRequest, r io.Reader) (mailbox.ExplainView, error) {
		return o.Explain(ctx, a, q.Pathway, q.From, r)
	}),

	"/v1/backup/begin":  caring(begin),
	"/v1/backup/read":   readPiece,
	"/v1/backup/digest": caring(digest),
	"/v1/backup/sign":   caring(sign),
	"/v1/backup/end":    caring(end),

	"/v1/hub/status": status,
	"/v1/hub/verify": caring(verify),
}
