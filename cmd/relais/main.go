// Command relais is the whole program: the hub's daemon and the commands that
// coordinators and operators use.
//
// There is one file for each group of commands. They hold flags, output and
// exit codes, and no decision: those are the hub's, asked over its admin
// socket. Names of commands are English with French aliases; every text,
// help included, is in the catalogues help and cli, in both languages.
//
// Exit codes: 0 done, 1 refused or failed (one line on standard error: what,
// to what, what to do), 2 wrong usage.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/relais-sante/relais/gateway/admin"
	"github.com/relais-sante/relais/mailbox/texts"
)

func main() {
	os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr, os.Getenv))
}

// run does one command and gives the exit code.
func run(args []string, in io.Reader, out, errs io.Writer, getenv func(string) string) int {
	// SIGTERM and Ctrl-C end a command through its context; a second one kills.
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)

	c := &cli{in: in, out: out, errs: errs, getenv: getenv, locale: locale(args, getenv)}
	root := c.root()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	text, code := c.told(err)
	if text != "" {
		fmt.Fprintln(errs, texts.T(c.locale, "cli.error", map[string]any{"text": clean(text)}))
	}
	return code
}

// told gives the one line that says an error, and its exit code.
func (c *cli) told(err error) (string, int) {
	var said *failure
	var spoken *admin.Error
	switch {
	case errors.As(err, &said):
		return said.text, said.code
	case errors.As(err, &spoken):
		return spoken.In(c.locale), max(spoken.Exit, 1)
	case errors.Is(err, context.Canceled):
		return texts.T(c.locale, "cli.interrupted", nil), 1
	case errors.Is(err, os.ErrPermission), errors.Is(err, os.ErrNotExist), errors.Is(err, os.ErrExist):
		return c.fileFault(err), 1
	}
	return texts.T(c.locale, "cli.fault", map[string]any{"problem": err.Error()}), 1
}

// fileFault says what is wrong with a file in the reader's language.
func (c *cli) fileFault(err error) string {
	path := ""
	var p *os.PathError
	if errors.As(err, &p) {
		path = p.Path
	}
	args := map[string]any{"file": path}
	switch {
	case path == "":
		return texts.T(c.locale, "cli.fault", map[string]any{"problem": err.Error()})
	case errors.Is(err, os.ErrPermission):
		return texts.T(c.locale, "cli.file-forbidden", args)
	case errors.Is(err, os.ErrExist):
		return texts.T(c.locale, "cli.file-exists", args)
	}
	return texts.T(c.locale, "cli.file-missing", args)
}

// failure is an error of the program itself, told as it stands.
type failure struct {
	text string
	code int
}

func (f *failure) Error() string { return f.text }

// failed is a command that was not done; misused one that was badly asked.
func failed(text string) error  { return &failure{text, 1} }
func misused(text string) error { return &failure{text, 2} }
