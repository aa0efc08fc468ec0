package main

import (
	"context"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"github.com/relais-sante/relais/mailbox/texts"
)

// build is what the program knows of its own making.
type build struct {
	Version  string `json:"version"`
	Revision string `json:"revision,omitempty"`
	Time     string `json:"time,omitempty"` // of the revision
	Modified bool   `json:"modified"`       // built from more than the revision
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

func buildInfo() build {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		info = &debug.BuildInfo{}
	}
	return buildOf(info)
}

func buildOf(info *debug.BuildInfo) build {
	b := build{Version: "(devel)", Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	if info.Main.Version != "" {
		b.Version = info.Main.Version
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Revision = s.Value
		case "vcs.time":
			b.Time = s.Value
		case "vcs.modified":
			b.Modified = s.Value == "true"
		}
	}
	return b
}

func (c *cli) versionCommand() *cobra.Command {
	var bill bool
	cmd := c.command("version", nil, 0, 0, func(context.Context, []string) error {
		if bill {
			info, ok := debug.ReadBuildInfo()
			if !ok {
				return failed(texts.T(c.locale, "cli.no-build-info", nil))
			}
			b, err := encode(billOf(info))
			if err == nil {
				_, err = c.out.Write(b)
			}
			return err
		}
		b := buildInfo()
		return c.show(b, func() {
			c.line(strings.Join(nonEmpty("relais", b.Version, b.Go, b.Platform), " "))
		})
	})
	cmd.Flags().BoolVar(&bill, "sbom", false, "")
	return cmd
}
