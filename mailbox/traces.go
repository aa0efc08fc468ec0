package mailbox

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/relais-sante/relais/store"
)

// Every access and every change leaves a trace in the commit that makes it;
// what is only read is traced before it is shown. A trace gives identity by
// codes and ids: it survives the erasure of the pathway it is about. Reasons
// that people type may name somebody and stay with the record they are about
// (event, retraction, consent).

// Outcomes of a trace.
const (
	outcomeDone    = "done"
	outcomeRefused = "refused"
	outcomeFailed  = "failed"
)

// technical are actions about nobody's care: their traces are of the technical
// family, which is kept for a shorter time.
var technical = map[string]bool{
	"account.login": true, "account.slowed": true, "directory.imported": true, "store.backed-up": true, "store.verified": true, "store.restored": true, "store.salvaged": true, "mailbox.listed": true, "mailbox.read": true, "audit.verified": true, "audit.head": true,
}

func familyOf(action string) store.Family {
	if technical[action] {
		return store.Technical
	}
	return store.Application
}

// trace puts a trace.
func (h *Hub) trace(tx store.Tx, by Actor, action string, code store.PathwayCode, object, outcome string, detail map[string]string) error {
	return h.put1(tx, by, store.Trace{Action: action, Pathway: code, Object: object, Outcome: outcome, Detail: detail})
}

// put1 completes a trace with who, when and from where, and puts it.
func (h *Hub) put1(tx store.Tx, by Actor, t store.Trace) error {
	if t.Family == "" {
		t.Family = familyOf(t.Action)
	}
	t.At, t.Actor, t.OnBehalf, t.Where = h.o.Now(), by.Name, by.OnBehalf, by.Where
	if err := tx.Trace(t); err != nil {
		return fmt.Errorf("tracing %s: %w", t.Action, err)
	}
	return nil
}

// seen traces that somebody read something; durable before it is shown.
func (h *Hub) seen(ctx context.Context, by Actor, action string, code store.PathwayCode, object string) error {
	return h.change(ctx, func(tx store.Tx) error {
		return h.trace(tx, by, action, code, object, outcomeDone, nil)
	})
}

// Most pathways, and most messages, that one record is about.
const (
	tracePathways = 200
	traceObjects  = 500
)

// seenList traces that somebody was shown a list, under each pathway in it.
func (h *Hub) seenList(ctx context.Context, by Actor, action string, codes []store.PathwayCode) error {
	codes = slices.Clone(codes)
	slices.Sort(codes)
	codes = slices.Compact(codes)
	return h.change(ctx, func(tx store.Tx) error {
		for {
			n := min(len(codes), tracePathways)
			if err := h.put1(tx, by, store.Trace{Action: action, Also: codes[:n], Outcome: outcomeDone}); err != nil {
				return err
			}
			if codes = codes[n:]; len(codes) == 0 {
				return nil
			}
		}
	})
}

// Reading is a way of reading messages: the action of its trace.
type Reading string

// Ways of reading.
const (
	ReadListed   Reading = "message.listed"     // what a list shows: subject, author, names of documents
	ReadOpened   Reading = "message.read"       // text, or documents
	ReadWhole    Reading = "message.downloaded" // the bytes as they are, or a document saved
	ReadSearched Reading = "message.searched"   // found by what it says
)

// TraceReads traces that somebody read messages: one commit, hence one wait for
// the disk, for one command of a client, whatever it fetches; a record for each
// pathway (and each 500 messages of it). When it returns nil the traces are
// durable: only then may the answer be completed (IMAP: the tagged OK).
func (h *Hub) TraceReads(ctx context.Context, by Actor, how Reading, read []store.MessageRef) error {
	return h.traceAll(ctx, by, readRecords(how, read))
}

// readRecords are the records of messages read.
func readRecords(how Reading, read []store.MessageRef) (records []store.Trace) {
	var codes []store.PathwayCode // in the order they came
	ids := map[store.PathwayCode][]string{}
	for _, r := range read {
		if ids[r.Pathway] == nil {
			codes = append(codes, r.Pathway)
		}
		ids[r.Pathway] = append(ids[r.Pathway], string(r.Message))
	}
	for _, code := range codes {
		for some := range slices.Chunk(ids[code], traceObjects) {
			records = append(records, aboutObjects(store.Trace{Action: string(how), Pathway: code, Outcome: outcomeDone}, some))
		}
	}
	return records
}

func aboutObjects(t store.Trace, some []string) store.Trace {
	if len(some) == 1 {
		t.Object = some[0]
	} else {
		t.Objects = some
	}
	return t
}

// traceAll traces reads in one commit.
func (h *Hub) traceAll(ctx context.Context, by Actor, records []store.Trace) error {
	if len(records) == 0 {
		return nil
	}
	err := h.commit(ctx, func(tx store.Tx) error {
		for i := range records {
			if err := h.put1(tx, by, records[i]); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("tracing what is read: %w", err)
	}
	return nil
}

// refusedFor traces a refusal that tells the sender something of a pathway: that
// it is closed, or its consent withdrawn. It gives the refusal back, or a fault
// when it could not be traced: what is not traced is not answered.
func (h *Hub) refusedFor(ctx context.Context, env *Envelope, err error) error {
	no, ok := errors.AsType[*Refusal](err)
	if !ok || no.Pathway == "" {
		return err
	}
	fault := h.commit(ctx, func(tx store.Tx) error {
		return h.trace(tx, Actor{Name: "box", Where: env.Peer.Where}, "message.refused", no.Pathway, "", outcomeRefused,
			map[string]string{"reason": string(no.Reason), "via": string(env.Via)})
	})
	if fault != nil {
		return storeFault(fault)
	}
	return err
}

// refusedNaming traces the refusal of an operation whose answer names another
// pathway: that this child is followed there.
func (h *Hub) refusedNaming(ctx context.Context, by Actor, action string, err error) error {
	no, ok := errors.AsType[*Failure](err)
	if !ok || no.Code != "ins-followed" {
		return err
	}
	code, _ := no.Args["pathway"].(string)
	fault := h.commit(ctx, func(tx store.Tx) error {
		return h.trace(tx, by, action, store.PathwayCode(code), "", outcomeRefused, map[string]string{"reason": no.Code})
	})
	if fault != nil {
		return fault
	}
	return err
}
