package mailbox

import (
	"context"
	"fmt"
	"time"
)

// StatusView are the figures of the store in `relais status`.
type StatusView struct {
	Queue             QueueFigures `json:"queue"`
	OldestUndelivered *time.Time   `json:"oldest_undelivered,omitempty"`
	Held              int64        `json:"held"`
	OldestHeld        *time.Time   `json:"oldest_held,omitempty"`
	Pathways          int64        `json:"pathways"`
	Messages          int64        `json:"messages"`
	Store             StoreFigures `json:"store"`
}

// QueueFigures count the deliveries that are not over, and the failed ones
// nobody has dropped.
type QueueFigures struct {
	Queued int64 `json:"queued"`
	Failed int64 `json:"failed"`
}

// StoreFigures are sizes in bytes, and the number of the last commit.
type StoreFigures struct {
	SegmentBytes int64  `json:"segment_bytes"`
	IndexBytes   int64  `json:"index_bytes"`
	Sequence     uint64 `json:"sequence"`
}

// Status gives the figures of the store. They name nobody: no trace.
func (h *Hub) Status(ctx context.Context) (StatusView, error) {
	s, err := h.store.Stats(ctx)
	if err != nil {
		return StatusView{}, fmt.Errorf("reading the figures of the store: %w", err)
	}
	return StatusView{
		Queue:             QueueFigures{Queued: s.Queued, Failed: s.Failed},
		OldestUndelivered: stamp(s.OldestUndelivered), Held: s.Held, OldestHeld: stamp(s.OldestHeld),
		Pathways: s.Pathways, Messages: s.Messages,
		Store: StoreFigures{SegmentBytes: s.SegmentBytes, IndexBytes: s.IndexBytes, Sequence: s.Sequence},
	}, nil
}

// stamp is nil for the zero time, so that JSON leaves it out.
func stamp(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
