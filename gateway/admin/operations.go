package admin

import (
	"context"
	"io"

	"github.com/relais-sante/relais/mailbox"
)

var (
	_ Operations = (*mailbox.Hub)(nil)
	_ Operations = (*Client)(nil)
)

// The methods below do, over the socket, what those of [mailbox.Hub] do.

func (c *Client) Include(ctx context.Context, _ mailbox.Actor, q mailbox.IncludeRequest) (mailbox.PathwayView, error) {
	return ask[mailbox.PathwayView](ctx, c, "pathway/include", q)
}

func (c *Client) Pathways(ctx context.Context, _ mailbox.Actor, q mailbox.PathwayFilter) ([]mailbox.PathwayView, error) {
	return ask[[]mailbox.PathwayView](ctx, c, "pathway/list", q)
}

func (c *Client) Pathway(ctx context.Context, _ mailbox.Actor, code string) (mailbox.PathwayView, error) {
	return ask[mailbox.PathwayView](ctx, c, "pathway/show", pathwayRef{code})
}

func (c *Client) Export(ctx context.Context, _ mailbox.Actor, q mailbox.ExportRequest) (io.ReadCloser, error) {
	return fetch(ctx, c, "pathway/export", q)
}

func (c *Client) UpdatePathway(ctx context.Context, _ mailbox.Actor, q mailbox.PathwayUpdate) (mailbox.PathwayView, error) {
	return ask[mailbox.PathwayView](ctx, c, "pathway/update", q)
}

func (c *Client) MergePathways(ctx context.Context, _ mailbox.Actor, from, into string) (mailbox.PathwayView, error) {
	return ask[mailbox.PathwayView](ctx, c, "pathway/merge", mergeRequest{from, into})
}

func (c *Client) SuspendPathway(ctx context.Context, _ mailbox.Actor, q mailbox.StatusChange) (mailbox.PathwayView, error) {
	return ask[mailbox.PathwayView](ctx, c, "pathway/suspend", q)
}

func (c *Client) ClosePathway(ctx context.Context, _ mailbox.Actor, q mailbox.StatusChange) (mailbox.PathwayView, error) {
	return ask[mailbox.PathwayView](ctx, c, "pathway/close", q)
}

func (c *Client) ReopenPathway(ctx context.Context, _ mailbox.Actor, q mailbox.StatusChange) (mailbox.PathwayView, error) {
	return ask[mailbox.PathwayView](ctx, c, "pathway/reopen", q)
}

func (c *Client) ErasePathway(ctx context.Context, _ mailbox.Actor, q mailbox.ErasureRequest) (mailbox.ErasureView, error) {
	return ask[mailbox.ErasureView](ctx, c, "pathway/erase", q)
}

func (c *Client) Keys(ctx context.Context, _ mailbox.Actor) (mailbox.KeyView, error) {
	return ask[mailbox.KeyView](ctx, c, "key/status", none{})
}

func (c *Client) RotateKey(ctx context.Context, _ mailbox.Actor, q mailbox.KeyRotation) (mailbox.KeyView, error) {
	return ask[mailbox.KeyView](ctx, c, "key/rotate", q)
}

func (c *Client) ForgetPlace(ctx context.Context, _ mailbox.Actor, place string) (mailbox.KeyView, error) {
	return ask[mailbox.KeyView](ctx, c, "key/forget-place", placeRef{place})
}

func (c *Client) RecordConsent(ctx context.Context, _ mailbox.Actor, q mailbox.ConsentRequest) ([]mailbox.ConsentView, error) {
	return ask[[]mailbox.ConsentView](ctx, c, "consent/record", q)
}

func (c *Client) WithdrawConsent(ctx context.Context, _ mailbox.Actor, q mailbox.WithdrawRequest) ([]mailbox.ConsentView, error) {
	return ask[[]mailbox.ConsentView](ctx, c, "consent/withdraw", q)
}

func (c *Client) Consents(ctx context.Context, _ mailbox.Actor, code string) ([]mailbox.ConsentView, error) {
	return ask[[]mailbox.ConsentView](ctx, c, "consent/show", pathwayRef{code})
}

func (c *Client) AddMember(ctx context.Context, _ mailbox.Actor, q mailbox.MemberRequest) (mailbox.MemberView, error) {
	return ask[mailbox.MemberView](ctx, c, "team/add", q)
}

func (c *Client) UpdateMember(ctx context.Context, _ mailbox.Actor, q mailbox.MemberUpdate) (mailbox.MemberView, error) {
	return ask[mailbox.MemberView](ctx, c, "team/update", q)
}

func (c *Client) RemoveMember(ctx context.Context, _ mailbox.Actor, q mailbox.MemberRemoval) (mailbox.MemberView, error) {
	return ask[mailbox.MemberView](ctx, c, "team/remove", q)
}

func (c *Client) Team(ctx context.Context, _ mailbox.Actor, code string, history bool) ([]mailbox.MemberView, error) {
	return ask[[]mailbox.MemberView](ctx, c, "team/show", teamRequest{code, history})
}

func (c *Client) ImportTeam(ctx context.Context, _ mailbox.Actor, code string, csv io.Reader, dryRun bool) ([]mailbox.MemberView, error) {
	return send[[]mailbox.MemberView](ctx, c, "team/import", importRequest{code, dryRun}, "text/csv", csv)
}

func (c *Client) Boxes(ctx context.Context, _ mailbox.Actor, after string, limit int) ([]mailbox.BoxView, error) {
	return ask[[]mailbox.BoxView](ctx, c, "mailbox/list", boxList{after, limit})
}

func (c *Client) Box(ctx context.Context, _ mailbox.Actor, addr string) (mailbox.BoxView, error) {
	return ask[mailbox.BoxView](ctx, c, "mailbox/show", boxRef{addr})
}

func (c *Client) UpdateBox(ctx context.Context, _ mailbox.Actor, q mailbox.BoxUpdate) (mailbox.BoxView, error) {
	return ask[mailbox.BoxView](ctx, c, "mailbox/update", q)
}

func (c *Client) CreateAccount(ctx context.Context, _ mailbox.Actor, q mailbox.AccountRequest) (mailbox.AccountCreated, error) {
	return ask[mailbox.AccountCreated](ctx, c, "account/create", q)
}

func (c *Client) Accounts(ctx context.Context, _ mailbox.Actor, box string) ([]mailbox.AccountView, error) {
	return ask[[]mailbox.AccountView](ctx, c, "account/list", boxRef{box})
}

func (c *Client) RevokeAccount(ctx context.Context, _ mailbox.Actor, q mailbox.AccountRevoke) (mailbox.AccountView, error) {
	return ask[mailbox.AccountView](ctx, c, "account/revoke", q)
}

func (c *Client) Thread(ctx context.Context, _ mailbox.Actor, code, asMember string) (mailbox.ThreadView, error) {
	return ask[mailbox.ThreadView](ctx, c, "thread/show", threadRequest{code, asMember})
}

func (c *Client) Message(ctx context.Context, _ mailbox.Actor, id string) (mailbox.MessageView, error) {
	return ask[mailbox.MessageView](ctx, c, "message/show", messageRef{id})
}

func (c *Client) RawMessage(ctx context.Context, _ mailbox.Actor, id string) (io.ReadCloser, error) {
	return fetch(ctx, c, "message/raw", messageRef{id})
}

func (c *Client) Retract(ctx context.Context, _ mailbox.Actor, q mailbox.MessageRequest) (mailbox.MessageView, error) {
	return ask[mailbox.MessageView](ctx, c, "message/retract", q)
}

func (c *Client) MoveMessage(ctx context.Context, _ mailbox.Actor, q mailbox.MessageRequest) (mailbox.MessageView, error) {
	return ask[mailbox.MessageView](ctx, c, "message/move", q)
}

func (c *Client) Refile(ctx context.Context, _ mailbox.Actor, q mailbox.MessageRequest) (mailbox.MessageView, error) {
	return ask[mailbox.MessageView](ctx, c, "message/refile", q)
}

func (c *Client) Resend(ctx context.Context, _ mailbox.Actor, q mailbox.MessageRequest) (mailbox.MessageView, error) {
	return ask[mailbox.MessageView](ctx, c, "message/resend", q)
}

func (c *Client) SetAuthor(ctx context.Context, _ mailbox.Actor, q mailbox.MessageRequest) (mailbox.MessageView, error) {
	return ask[mailbox.MessageView](ctx, c, "message/author", q)
}

func (c *Client) TriageList(ctx context.Context, _ mailbox.Actor) ([]mailbox.HeldView, error) {
	return ask[[]mailbox.HeldView](ctx, c, "triage/list", none{})
}

func (c *Client) Held(ctx context.Context, _ mailbox.Actor, id string) (mailbox.HeldView, error) {
	return ask[mailbox.HeldView](ctx, c, "triage/show", idRef{id})
}

func (c *Client) RawHeld(ctx context.Context, _ mailbox.Actor, id string) (io.ReadCloser, error) {
	return fetch(ctx, c, "triage/raw", idRef{id})
}

func (c *Client) Assign(ctx context.Context, _ mailbox.Actor, q mailbox.TriageRequest) (mailbox.Receipt, error) {
	return ask[mailbox.Receipt](ctx, c, "triage/assign", q)
}

func (c *Client) Release(ctx context.Context, _ mailbox.Actor, q mailbox.TriageRequest) (mailbox.Receipt, error) {
	return ask[mailbox.Receipt](ctx, c, "triage/release", q)
}

func (c *Client) Reject(ctx context.Context, _ mailbox.Actor, q mailbox.TriageRequest) error {
	_, err := ask[none](ctx, c, "triage/reject", q)
	return err
}

func (c *Client) Queue(ctx context.Context, _ mailbox.Actor, q mailbox.QueueFilter) ([]mailbox.QueueView, error) {
	return ask[[]mailbox.QueueView](ctx, c, "queue/list", q)
}

func (c *Client) QueueEntry(ctx context.Context, _ mailbox.Actor, id string) (mailbox.QueueView, error) {
	return ask[mailbox.QueueView](ctx, c, "queue/show", idRef{id})
}

func (c *Client) RetryDelivery(ctx context.Context, _ mailbox.Actor, q mailbox.QueueRequest) (mailbox.QueueView, error) {
	return ask[mailbox.QueueView](ctx, c, "queue/retry", q)
}

func (c *Client) HoldDelivery(ctx context.Context, _ mailbox.Actor, q mailbox.QueueRequest) (mailbox.QueueView, error) {
	return ask[mailbox.QueueView](ctx, c, "queue/hold", q)
}

func (c *Client) DropDelivery(ctx context.Context, _ mailbox.Actor, q mailbox.QueueRequest) (mailbox.QueueView, error) {
	return ask[mailbox.QueueView](ctx, c, "queue/drop", q)
}

func (c *Client) ImportDirectory(ctx context.Context, _ mailbox.Actor, q mailbox.DirectoryImport, extract io.Reader) (mailbox.DirectoryReport, error) {
	return send[mailbox.DirectoryReport](ctx, c, "directory/import", q, "application/octet-stream", extract)
}

func (c *Client) SearchDirectory(ctx context.Context, _ mailbox.Actor, q mailbox.DirectoryQuery) (mailbox.DirectoryPage, error) {
	return ask[mailbox.DirectoryPage](ctx, c, "directory/search", q)
}

func (c *Client) Explain(ctx context.Context, _ mailbox.Actor, code, from string, mail io.Reader) (mailbox.ExplainView, error) {
	return send[mailbox.ExplainView](ctx, c, "rules/explain", explainRequest{code, from}, "message/rfc822", mail)
}

func (c *Client) Audit(ctx context.Context, _ mailbox.Actor, q mailbox.AuditQuery) (mailbox.AuditPage, error) {
	return ask[mailbox.AuditPage](ctx, c, "audit/show", q)
}

func (c *Client) AuditSeen(ctx context.Context, _ mailbox.Actor, code string) (mailbox.SeenReport, error) {
	return ask[mailbox.SeenReport](ctx, c, "audit/seen", pathwayRef{code})
}

func (c *Client) AuditHead(ctx context.Context, _ mailbox.Actor) (mailbox.HeadView, error) {
	return ask[mailbox.HeadView](ctx, c, "audit/head", none{})
}

func (c *Client) AuditVerify(ctx context.Context, _ mailbox.Actor, q mailbox.AuditCheck) (mailbox.AuditReport, error) {
	return ask[mailbox.AuditReport](ctx, c, "audit/verify", q)
}

func (c *Client) AuditExport(ctx context.Context, _ mailbox.Actor, q mailbox.AuditExport) (io.ReadCloser, error) {
	return fetch(ctx, c, "audit/export", q)
}
