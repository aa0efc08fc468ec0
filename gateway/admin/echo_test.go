package admin

import (
	"context"
	"fmt"
	"io"
	"reflect"
	"strings"
	"sync"
	"time"

	"github.com/relais-sante/relais/mailbox"
)

// echo is a hub that notes what it is asked and answers with something in
// every field.
type echo struct {
	mu      sync.Mutex
	asked   map[string][]any
	actor   mailbox.Actor
	err     error
	refused []string
	mail    func() io.ReadCloser
}

func note[A any](e *echo, method string, a mailbox.Actor, args ...any) (answer A, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.asked == nil {
		e.asked = map[string][]any{}
	}
	e.asked[method], e.actor = args, a
	fill(reflect.ValueOf(&answer).Elem(), method)
	return answer, e.err
}

// fill puts something other than zero in every exported field.
func fill(v reflect.Value, word string) {
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), word)
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			v.Set(reflect.ValueOf(time.Date(2026, 3, 12, 14, 5, 0, 0, time.UTC)))
			return
		}
		for i := range v.NumField() {
			fill(v.Field(i), word+"."+v.Type().Field(i).Name)
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range v.Len() {
			fill(v.Index(i), word)
		}
	case reflect.String:
		v.SetString("é" + word)
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(int64(len(word)))
	case reflect.Uint64:
		v.SetUint(uint64(len(word)))
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		k, e := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		fill(k, word)
		fill(e, word)
		v.SetMapIndex(k, e)
	}
}

func (e *echo) raw(method string, a mailbox.Actor, of any) (io.ReadCloser, error) {
	if _, err := note[none](e, method, a, of); err != nil {
		return nil, err
	}
	if e.mail != nil {
		return e.mail(), nil
	}
	return io.NopCloser(strings.NewReader(fmt.Sprintf("the bytes of %v", of))), nil
}

func (e *echo) Include(_ context.Context, a mailbox.Actor, q mailbox.IncludeRequest) (mailbox.PathwayView, error) {
	return note[mailbox.PathwayView](e, "Include", a, q)
}

func (e *echo) Pathways(_ context.Context, a mailbox.Actor, q mailbox.PathwayFilter) ([]mailbox.PathwayView, error) {
	return note[[]mailbox.PathwayView](e, "Pathways", a, q)
}

func (e *echo) Pathway(_ context.Context, a mailbox.Actor, code string) (mailbox.PathwayView, error) {
	return note[mailbox.PathwayView](e, "Pathway", a, code)
}

func (e *echo) Export(_ context.Context, a mailbox.Actor, q mailbox.ExportRequest) (io.ReadCloser, error) {
	return e.raw("Export", a, q)
}

func (e *echo) UpdatePathway(_ context.Context, a mailbox.Actor, q mailbox.PathwayUpdate) (mailbox.PathwayView, error) {
	return note[mailbox.PathwayView](e, "UpdatePathway", a, q)
}

func (e *echo) MergePathways(_ context.Context, a mailbox.Actor, from, into string) (mailbox.PathwayView, error) {
	return note[mailbox.PathwayView](e, "MergePathways", a, from, into)
}

func (e *echo) SuspendPathway(_ context.Context, a mailbox.Actor, q mailbox.StatusChange) (mailbox.PathwayView, error) {
	return note[mailbox.PathwayView](e, "SuspendPathway", a, q)
}

func (e *echo) ClosePathway(_ context.Context, a mailbox.Actor, q mailbox.StatusChange) (mailbox.PathwayView, error) {
	return note[mailbox.PathwayView](e, "ClosePathway", a, q)
}

func (e *echo) ReopenPathway(_ context.Context, a mailbox.Actor, q mailbox.StatusChange) (mailbox.PathwayView, error) {
	return note[mailbox.PathwayView](e, "ReopenPathway", a, q)
}

func (e *echo) RecordConsent(_ context.Context, a mailbox.Actor, q mailbox.ConsentRequest) ([]mailbox.ConsentView, error) {
	return note[[]mailbox.ConsentView](e, "RecordConsent", a, q)
}

func (e *echo) WithdrawConsent(_ context.Context, a mailbox.Actor, q mailbox.WithdrawRequest) ([]mailbox.ConsentView, error) {
	return note[[]mailbox.ConsentView](e, "WithdrawConsent", a, q)
}

func (e *echo) Consents(_ context.Context, a mailbox.Actor, code string) ([]mailbox.ConsentView, error) {
	return note[[]mailbox.ConsentView](e, "Consents", a, code)
}

func (e *echo) AddMember(_ context.Context, a mailbox.Actor, q mailbox.MemberRequest) (mailbox.MemberView, error) {
	return note[mailbox.MemberView](e, "AddMember", a, q)
}

func (e *echo) UpdateMember(_ context.Context, a mailbox.Actor, q mailbox.MemberUpdate) (mailbox.MemberView, error) {
	return note[mailbox.MemberView](e, "UpdateMember", a, q)
}

func (e *echo) RemoveMember(_ context.Context, a mailbox.Actor, q mailbox.MemberRemoval) (mailbox.MemberView, error) {
	return note[mailbox.MemberView](e, "RemoveMember", a, q)
}

func (e *echo) Team(_ context.Context, a mailbox.Actor, code string, history bool) ([]mailbox.MemberView, error) {
	return note[[]mailbox.MemberView](e, "Team", a, code, history)
}

func (e *echo) ImportTeam(_ context.Context, a mailbox.Actor, code string, csv io.Reader, dryRun bool) ([]mailbox.MemberView, error) {
	file, err := io.ReadAll(csv)
	if err != nil {
		return nil, err
	}
	return note[[]mailbox.MemberView](e, "ImportTeam", a, code, string(file), dryRun)
}

func (e *echo) Boxes(_ context.Context, a mailbox.Actor, after string, limit int) ([]mailbox.BoxView, error) {
	return note[[]mailbox.BoxView](e, "Boxes", a, after, limit)
}

func (e *echo) Box(_ context.Context, a mailbox.Actor, addr string) (mailbox.BoxView, error) {
	return note[mailbox.BoxView](e, "Box", a, addr)
}

func (e *echo) UpdateBox(_ context.Context, a mailbox.Actor, q mailbox.BoxUpdate) (mailbox.BoxView, error) {
	return note[mailbox.BoxView](e, "UpdateBox", a, q)
}

func (e *echo) Thread(_ context.Context, a mailbox.Actor, code, as string) (mailbox.ThreadView, error) {
	return note[mailbox.ThreadView](e, "Thread", a, code, as)
}

func (e *echo) Message(_ context.Context, a mailbox.Actor, id string) (mailbox.MessageView, error) {
	return note[mailbox.MessageView](e, "Message", a, id)
}

func (e *echo) RawMessage(_ context.Context, a mailbox.Actor, id string) (io.ReadCloser, error) {
	return e.raw("RawMessage", a, id)
}

func (e *echo) Retract(_ context.Context, a mailbox.Actor, q mailbox.MessageRequest) (mailbox.MessageView, error) {
	return note[mailbox.MessageView](e, "Retract", a, q)
}

func (e *echo) MoveMessage(_ context.Context, a mailbox.Actor, q mailbox.MessageRequest) (mailbox.MessageView, error) {
	return note[mailbox.MessageView](e, "MoveMessage", a, q)
}

func (e *echo) Refile(_ context.Context, a mailbox.Actor, q mailbox.MessageRequest) (mailbox.MessageView, error) {
	return note[mailbox.MessageView](e, "Refile", a, q)
}

func (e *echo) Resend(_ context.Context, a mailbox.Actor, q mailbox.MessageRequest) (mailbox.MessageView, error) {
	return note[mailbox.MessageView](e, "Resend", a, q)
}

func (e *echo) SetAuthor(_ context.Context, a mailbox.Actor, q mailbox.MessageRequest) (mailbox.MessageView, error) {
	return note[mailbox.MessageView](e, "SetAuthor", a, q)
}

func (e *echo) TriageList(_ context.Context, a mailbox.Actor) ([]mailbox.HeldView, error) {
	return note[[]mailbox.HeldView](e, "TriageList", a)
}

func (e *echo) CreateAccount(_ context.Context, a mailbox.Actor, q mailbox.AccountRequest) (mailbox.AccountCreated, error) {
	return note[mailbox.AccountCreated](e, "CreateAccount", a, q)
}

func (e *echo) Accounts(_ context.Context, a mailbox.Actor, box string) ([]mailbox.AccountView, error) {
	return note[[]mailbox.AccountView](e, "Accounts", a, box)
}

func (e *echo) RevokeAccount(_ context.Context, a mailbox.Actor, q mailbox.AccountRevoke) (mailbox.AccountView, error) {
	return note[mailbox.AccountView](e, "RevokeAccount", a, q)
}

func (e *echo) TraceRefusal(_ context.Context, a mailbox.Actor, verb string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.refused = append(e.refused, a.Name+" "+verb)
	return nil
}

func (e *echo) Held(_ context.Context, a mailbox.Actor, id string) (mailbox.HeldView, error) {
	return note[mailbox.HeldView](e, "Held", a, id)
}

func (e *echo) RawHeld(_ context.Context, a mailbox.Actor, id string) (io.ReadCloser, error) {
	return e.raw("RawHeld", a, id)
}

func (e *echo) Assign(_ context.Context, a mailbox.Actor, q mailbox.TriageRequest) (mailbox.Receipt, error) {
	return note[mailbox.Receipt](e, "Assign", a, q)
}

func (e *echo) Release(_ context.Context, a mailbox.Actor, q mailbox.TriageRequest) (mailbox.Receipt, error) {
	return note[mailbox.Receipt](e, "Release", a, q)
}

func (e *echo) Reject(_ context.Context, a mailbox.Actor, q mailbox.TriageRequest) error {
	_, err := note[none](e, "Reject", a, q)
	return err
}

func (e *echo) Queue(_ context.Context, a mailbox.Actor, q mailbox.QueueFilter) ([]mailbox.QueueView, error) {
	return note[[]mailbox.QueueView](e, "Queue", a, q)
}

func (e *echo) QueueEntry(_ context.Context, a mailbox.Actor, id string) (mailbox.QueueView, error) {
	return note[mailbox.QueueView](e, "QueueEntry", a, id)
}

func (e *echo) RetryDelivery(_ context.Context, a mailbox.Actor, q mailbox.QueueRequest) (mailbox.QueueView, error) {
	return note[mailbox.QueueView](e, "RetryDelivery", a, q)
}

func (e *echo) HoldDelivery(_ context.Context, a mailbox.Actor, q mailbox.QueueRequest) (mailbox.QueueView, error) {
	return note[mailbox.QueueView](e, "HoldDelivery", a, q)
}

func (e *echo) DropDelivery(_ context.Context, a mailbox.Actor, q mailbox.QueueRequest) (mailbox.QueueView, error) {
	return note[mailbox.QueueView](e, "DropDelivery", a, q)
}

func (e *echo) ImportDirectory(_ context.Context, a mailbox.Actor, q mailbox.DirectoryImport, extract io.Reader) (mailbox.DirectoryReport, error) {
	bytes, err := io.ReadAll(extract)
	if err != nil {
		return mailbox.DirectoryReport{}, err
	}
	return note[mailbox.DirectoryReport](e, "ImportDirectory", a, q, string(bytes))
}

func (e *echo) ErasePathway(_ context.Context, a mailbox.Actor, q mailbox.ErasureRequest) (mailbox.ErasureView, error) {
	return note[mailbox.ErasureView](e, "ErasePathway", a, q)
}

func (e *echo) Keys(_ context.Context, a mailbox.Actor) (mailbox.KeyView, error) {
	return note[mailbox.KeyView](e, "Keys", a)
}

func (e *echo) RotateKey(_ context.Context, a mailbox.Actor, q mailbox.KeyRotation) (mailbox.KeyView, error) {
	return note[mailbox.KeyView](e, "RotateKey", a, q)
}

func (e *echo) ForgetPlace(_ context.Context, a mailbox.Actor, place string) (mailbox.KeyView, error) {
	return note[mailbox.KeyView](e, "ForgetPlace", a, place)
}

func (e *echo) SearchDirectory(_ context.Context, a mailbox.Actor, q mailbox.DirectoryQuery) (mailbox.DirectoryPage, error) {
	return note[mailbox.DirectoryPage](e, "SearchDirectory", a, q)
}

func (e *echo) Explain(_ context.Context, a mailbox.Actor, code, from string, mail io.Reader) (mailbox.ExplainView, error) {
	bytes, err := io.ReadAll(mail)
	if err != nil {
		return mailbox.ExplainView{}, err
	}
	return note[mailbox.ExplainView](e, "Explain", a, code, from, string(bytes))
}

func (e *echo) Audit(_ context.Context, a mailbox.Actor, q mailbox.AuditQuery) (mailbox.AuditPage, error) {
	return note[mailbox.AuditPage](e, "Audit", a, q)
}

func (e *echo) AuditSeen(_ context.Context, a mailbox.Actor, code string) (mailbox.SeenReport, error) {
	return note[mailbox.SeenReport](e, "AuditSeen", a, code)
}

func (e *echo) AuditHead(_ context.Context, a mailbox.Actor) (mailbox.HeadView, error) {
	return note[mailbox.HeadView](e, "AuditHead", a)
}

func (e *echo) AuditVerify(_ context.Context, a mailbox.Actor, q mailbox.AuditCheck) (mailbox.AuditReport, error) {
	return note[mailbox.AuditReport](e, "AuditVerify", a, q)
}

func (e *echo) AuditExport(_ context.Context, a mailbox.Actor, q mailbox.AuditExport) (io.ReadCloser, error) {
	return e.raw("AuditExport", a, q)
}
