package main

import (
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/relais-sante/relais/gateway/demo"
	"github.com/relais-sante/relais/mailbox/texts"
)

// demoCommand plays the story of gateway/demo. It fails if a point of the
// verdict does not hold.
func (c *cli) demoCommand() *cobra.Command {
	var stay, verbose bool
	cmd := c.command("demo", []string{"demonstration"}, 0, 0, func(ctx context.Context, _ []string) error {
		o := demo.Options{
			Out: c.out, Locale: c.locale, Colour: terminal(c.out) && c.getenv("NO_COLOR") == "",
			Verbose: verbose, Boxes: stay, Version: buildInfo().Version,
		}
		if c.json {
			o.Out = io.Discard
		}
		if file, err := os.Executable(); err == nil {
			o.Program = file
		}
		// Where the reader goes away (`| head`), the folder must still be removed.
		signal.Ignore(syscall.SIGPIPE)
		err := c.play(ctx, o, stay)
		var trouble *demo.Trouble
		switch {
		case demo.Interrupted(err):
			return failed(texts.T(c.locale, "demo.interrupted", nil))
		case errors.As(err, &trouble):
			return failed(trouble.In(c.locale))
		}
		return err
	})
	f := cmd.Flags()
	f.BoolVar(&stay, "stay", false, "")
	f.BoolVar(&verbose, "verbose", false, "")
	return cmd
}

func (c *cli) play(ctx context.Context, o demo.Options, stay bool) error {
	stage, err := demo.Set(ctx, o)
	if err != nil {
		return err
	}
	result, err := stage.Play(ctx)
	if err != nil {
		if demo.Interrupted(err) {
			stage.Close()
		} else {
			stage.Keep()
		}
		return err
	}
	if err := c.show(result, func() {}); err != nil {
		stage.Close()
		return err
	}
	if stay {
		defer stage.Close()
		if err := stage.Invite(ctx); err != nil {
			return err
		}
		<-ctx.Done()
		if !c.json {
			c.line(texts.T(c.locale, "demo.stay-over", nil))
		}
	}
	switch {
	case result.Passed:
		stage.Close()
		return nil
	case !stay:
		stage.Keep()
	}
	return failed(texts.T(c.locale, "demo.not-passed", nil))
}
