package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"

	"github.com/spf13/cobra"

	"github.com/relais-sante/relais/mailbox"
	"github.com/relais-sante/relais/mailbox/letter"
	"github.com/relais-sante/relais/mailbox/texts"
)

// exportView is what was exported.
type exportView struct {
	Pathway   string `json:"pathway"`
	File      string `json:"file"`
	Size      int64  `json:"size"`
	Documents int    `json:"documents"`
}

func (c *cli) pathwayExport() *cobra.Command {
	var q mailbox.ExportRequest
	var to string
	cmd := c.command("export", []string{"exporter"}, 1, 1, func(ctx context.Context, args []string) error {
		hub, err := c.hub()
		if err != nil {
			return err
		}
		q.Pathway = args[0]
		v := exportView{Pathway: q.Pathway, File: to}
		// Refused before anything is asked, and traced.
		f, err := os.OpenFile(to, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return err
		}
		archive, err := hub.Export(ctx, nobody, q)
		if err == nil {
			err = v.write(f, archive)
		}
		if err = errors.Join(err, f.Close()); err != nil {
			return errors.Join(err, os.Remove(to)) // half an archive serves nobody
		}
		return c.show(v, func() {
			c.line(texts.T(c.locale, "export.written", map[string]any{"n": v.Documents, "file": v.File, "size": texts.Size(c.locale, v.Size)}))
		})
	})
	f := cmd.Flags()
	f.StringVar(&to, "to", "", "")
	f.StringSliceVar(&q.Documents, "documents", nil, "")
	f.StringSliceVar(&q.Rubrics, "rubric", nil, "")
	f.StringVar(&q.As, "as", "", "")
	f.BoolVar(&q.AllVersions, "all-versions", false, "")
	required(cmd, "to")
	return cmd
}

// write keeps the archive, then reads it as a receiver would.
func (v *exportView) write(f *os.File, archive io.ReadCloser) error {
	defer archive.Close()
	var err error
	if v.Size, err = io.Copy(f, archive); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	// The hub's own archive: nothing in it is too large, and Deflate packs a
	// thousand times at most.
	s, err := letter.ReadXDM(f, v.Size, letter.ArchiveLimits{Unpacked: math.MaxInt64, Ratio: 2000})
	if err != nil {
		return fmt.Errorf("reading the archive back: %w", err)
	}
	v.Documents = len(s.Documents)
	return nil
}
