package mailbox

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"

	"github.com/relais-sante/relais/store"
)

// AuditExport asks for traces as a file. Of the query, After and Limit count
// for nothing: all that is chosen is given.
type AuditExport struct {
	AuditQuery
	Format string `json:"format,omitempty"` // jsonl (default), fhir
}

// Formats of an export of traces.
const (
	AuditJSONL = "jsonl" // an [AuditView] a line
	AuditFHIR  = "fhir"  // a FHIR R4 AuditEvent a line
)

// AuditExport gives traces a line each, in their order; close it. They are read
// while the file is: what is written after the export began may be among them.
// The export is traced before its first byte leaves.
func (h *Hub) AuditExport(ctx context.Context, by Actor, q AuditExport) (io.ReadCloser, error) {
	q.After, q.Limit = 0, 0
	scan, err := h.auditScan(q.AuditQuery)
	if err != nil {
		return nil, err
	}
	if err := h.withinPathway(ctx, by, scan.code); err != nil {
		return nil, err
	}
	f := &auditFile{ctx: ctx, h: h, scan: scan, line: func(t *store.Trace) any { return auditView(t) }}
	switch q.Format {
	case "", AuditJSONL:
		q.Format = AuditJSONL
	case AuditFHIR:
		f.line = func(t *store.Trace) any { return h.auditEvent(t) }
	default:
		return nil, fail("audit-format", map[string]any{"format": q.Format})
	}
	err = h.change(ctx, func(tx store.Tx) error {
		return h.trace(tx, by, "audit.exported", scan.code, "", outcomeDone, map[string]string{"format": q.Format})
	})
	return f, err
}

// auditFile makes the lines as they are read.
type auditFile struct {
	ctx  context.Context
	h    *Hub
	scan *auditScan
	line func(*store.Trace) any
	rest bytes.Buffer
}

func (f *auditFile) Read(b []byte) (int, error) {
	for f.rest.Len() == 0 {
		if f.scan.over {
			return 0, io.EOF
		}
		found, _, err := f.scan.next(f.ctx, f.h.store)
		if err != nil {
			return 0, err
		}
		e := json.NewEncoder(&f.rest)
		e.SetEscapeHTML(false)
		for _, t := range found {
			if err := e.Encode(f.line(t)); err != nil {
				return 0, fmt.Errorf("writing a trace: %w", err)
			}
		}
	}
	return f.rest.Read(b)
}

func (f *auditFile) Close() error {
	f.scan.over = true
	return nil
}
