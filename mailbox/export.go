package mailbox

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/relais-sante/relais/mailbox/letter"
	"github.com/relais-sante/relais/rules"
	"github.com/relais-sante/relais/store"
)

// ExportRequest chooses documents of a pathway; all of them without a choice.
type ExportRequest struct {
	Pathway string `json:"pathway"`
	// Documents are named by their message, or by it and their number in it as
	// `message show` counts them: "01abc…" or "01abc…/2".
	Documents []string `json:"documents,omitempty"`
	Rubrics   []string `json:"rubrics,omitempty"`
	As        string   `json:"as,omitempty"` // what this member may see
	// AllVersions takes documents that were replaced as well; one that is named
	// is taken anyway, one that was deleted never.
	AllVersions bool `json:"all_versions,omitempty"`
}

// Export gives documents of a pathway as an IHE_XDM archive that the record of
// a hospital takes in; close it. The archive is made while it is read: nothing
// of it is ever on disk. What was withdrawn is not in it, and the same file
// sent twice is in it once.
func (h *Hub) Export(ctx context.Context, by Actor, q ExportRequest) (io.ReadCloser, error) {
	x := &export{h: h, all: q.AllVersions, wanted: make(map[string]bool), seen: make(map[string]bool)}
	if err := x.choose(ctx, by, q); err != nil {
		return nil, err
	}
	// Traced before the first byte leaves.
	err := h.change(ctx, func(tx store.Tx) error {
		return h.trace(tx, by, "pathway.exported", x.p.Code, q.As, outcomeDone, map[string]string{"documents": strconv.Itoa(len(x.found))})
	})
	if err != nil {
		return nil, err
	}
	return x.stream(ctx)
}

// export is the choice made for one archive.
type export struct {
	h       *Hub
	p       *store.Pathway
	prog    *rules.Programme // nil if it is not loaded
	see     func(store.View, *store.Message) (sight, error)
	rubrics []string
	all     bool            // versions
	wanted  map[string]bool // documents named, and whether they were found
	seen    map[string]bool // digests of documents found
	found   []exported
}

// exported is a document found.
type exported struct {
	m *store.Message
	n int // its index in the message
}

func (x *export) choose(ctx context.Context, by Actor, q ExportRequest) error {
	err := x.h.view(ctx, func(v store.View) (err error) {
		x.p, err = liveNamed(v, by, q.Pathway)
		return err
	})
	if err != nil {
		return err
	}
	x.prog, _ = x.h.programme(x.p.Programme)
	if len(q.Rubrics) > 0 && x.prog == nil {
		return fmt.Errorf("choosing rubrics of %s: %w", x.p.Code, ErrNoProgramme)
	}
	if x.rubrics, err = rubricsNamed(x.prog, q.Rubrics); err != nil {
		return err
	}
	if x.see = everything; q.As != "" {
		if x.see, err = x.h.seenBy(x.p, q.As); err != nil {
			return err
		}
	}
	for _, id := range q.Documents {
		x.wanted[strings.ToLower(strings.TrimSpace(id))] = false
	}
	if err := x.search(ctx); err != nil {
		return err
	}
	for id, there := range x.wanted {
		if !there {
			return fail("document-unknown", map[string]any{"document": id, "pathway": string(x.p.Code)})
		}
	}
	switch n := len(x.found); {
	case n == 0:
		return fail("export-empty", map[string]any{"pathway": string(x.p.Code)})
	case n > letter.MaxExport:
		return fail("export-many", map[string]any{"documents": n, "limit": letter.MaxExport})
	}
	return nil
}

// search goes through the thread, a page at a time.
func (x *export) search(ctx context.Context) error {
	for after, more := uint64(0), true; more; {
		err := x.h.view(ctx, func(v store.View) error {
			messages, err := v.Thread(x.p.Code, after, listPage)
			if err != nil {
				return fmt.Errorf("reading the thread of %s: %w", x.p.Code, err)
			}
			more = len(messages) == listPage
			for _, m := range messages {
				after = m.Seq
				if m.Kind != store.KindPost || m.Retracted != nil || m.Blob == nil {
					continue
				}
				s, err := x.see(v, m)
				if err != nil {
					return err
				}
				if s == seesAll {
					x.take(m)
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// take takes the documents of a message that are wanted.
func (x *export) take(m *store.Message) {
	for i := range m.Documents {
		d := &m.Documents[i]
		if !d.Deleted.IsZero() || d.ReplacedBy != nil && !x.all && len(x.wanted) == 0 {
			continue
		}
		if !x.named(m, i) || len(x.rubrics) > 0 && !slices.ContainsFunc(x.rubrics, func(r string) bool { return filedUnder(m, d, r) }) {
			continue
		}
		if sum := hex.EncodeToString(d.SHA256); !x.seen[sum] {
			x.seen[sum] = true
			x.found = append(x.found, exported{m, i})
		}
	}
}

func (x *export) named(m *store.Message, i int) bool {
	if len(x.wanted) == 0 {
		return true
	}
	all, one := string(m.ID), string(m.ID)+"/"+strconv.Itoa(i+1)
	found := false
	for _, id := range []string{all, one} {
		if _, there := x.wanted[id]; there {
			x.wanted[id], found = true, true
		}
	}
	return found
}

// filedUnder says whether a document is in a rubric: in that of its type where
// its message is filed there, else in every rubric of its message.
func filedUnder(m *store.Message, d *store.Document, rubric string) bool {
	filed := m.Rubrics()
	if slices.Contains(filed, d.Rubric) {
		return d.Rubric == rubric
	}
	return slices.Contains(filed, rubric)
}
