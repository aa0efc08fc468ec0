package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-smtp"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/relais-sante/relais/store/journal"
	"github.com/relais-sante/relais/store/journal/journaltest"
)

func TestMain(m *testing.M) {
	testscript.Main(journaltest.Watched{Runner: m}, map[string]func(){"relais": func() {
		code := run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr, os.Getenv)
		if n := journal.Panics(); n != 0 {
			fmt.Fprintln(os.Stderr, "panics were recovered:", n)
			code = 70 // EX_SOFTWARE: no script wants that
		}
		os.Exit(code)
	}})
}

// TestScripts runs the program as people do; see testdata/*.txtar.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(e *testscript.Env) error {
			e.Vars = append(e.Vars, "LANG=fr_FR.UTF-8", "TZ=UTC", "COLUMNS=80", "GORACE=atexit_sleep_ms=0")
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits":    exits,
			"json":     jsonValue,
			"mode":     mode,
			"replace":  replace,
			"sink":     sink,
			"received": received,
			"send":     send,
			"until":    until,
		},
	})
}

// exits CODE PROGRAM ARG... runs a program that ends with the code. When it
// fails it says so in one line.
func exits(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	code := 0
	var exit *exec.ExitError
	if err := ts.Exec(args[1], args[2:]...); errors.As(err, &exit) {
		code = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if code != want {
		ts.Fatalf("exit code %d, want %d", code, want)
	}
	if said := ts.ReadFile("stderr"); want != 0 && strings.Count(said, "\n") != 1 {
		ts.Fatalf("an error is said in one line, not: %s", said)
	}
}

// json NAME PATH puts into the variable NAME what the last output has at PATH:
// keys and indexes with dots between.
func jsonValue(ts *testscript.TestScript, _ bool, args []string) {
	var v any
	ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &v))
	for _, step := range strings.Split(args[1], ".") {
		switch in := v.(type) {
		case map[string]any:
			v = in[step]
		case []any:
			i, err := strconv.Atoi(step)
			ts.Check(err)
			if i >= len(in) {
				ts.Fatalf("no element %d at %s", i, args[1])
			}
			v = in[i]
		}
	}
	text, ok := v.(string)
	if !ok {
		ts.Fatalf("%s is %v", args[1], v)
	}
	ts.Setenv(args[0], text)
}

// mode OCTAL FILE... checks the rights of files.
func mode(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.ParseUint(args[0], 8, 32)
	ts.Check(err)
	for _, name := range args[1:] {
		info, err := os.Stat(ts.MkAbs(name))
		ts.Check(err)
		if got := info.Mode().Perm(); got != os.FileMode(want) {
			ts.Fatalf("%s has rights %o, want %o", name, got, want)
		}
	}
}

// replace FILE OLD NEW edits a file.
func replace(ts *testscript.TestScript, _ bool, args []string) {
	text := ts.ReadFile(args[0])
	if !strings.Contains(text, args[1]) {
		ts.Fatalf("%s does not contain %q", args[0], args[1])
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(strings.ReplaceAll(text, args[1], args[2])), 0o600))
}

// until REGEXP-FREE-TEXT PROGRAM ARG... runs a program until its output holds
// the text.
func until(ts *testscript.TestScript, _ bool, args []string) {
	deadline := time.Now().Add(20 * time.Second)
	for {
		_ = ts.Exec(args[1], args[2:]...) // it may fail at first
		if strings.Contains(ts.ReadFile("stdout"), args[0]) {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("%q did not come: %s%s", args[0], ts.ReadFile("stdout"), ts.ReadFile("stderr"))
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// operator is the server that the hub sends by: it keeps what comes, but puts
// off what is for absent@.
type operator struct {
	mu    sync.Mutex
	mails []string // recipient, line end, mail
}

type reception struct {
	*operator
	rcpt string
}

func (o *operator) NewSession(*smtp.Conn) (smtp.Session, error) { return &reception{operator: o}, nil }
func (r *reception) Mail(string, *smtp.MailOptions) error       { return nil }
func (r *reception) Rcpt(to string, _ *smtp.RcptOptions) error {
	if strings.HasPrefix(to, "absent") {
		return &smtp.SMTPError{Code: 451, EnhancedCode: smtp.EnhancedCode{4, 2, 0}, Message: "plus tard"}
	}
	r.rcpt = to
	return nil
}
func (r *reception) Reset()        {}
func (r *reception) Logout() error { return nil }
func (r *reception) Data(mail io.Reader) error {
	b, err := io.ReadAll(mail)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mails = append(r.mails, r.rcpt+"\r\n"+string(b))
	return nil
}

var operators sync.Map // working directory → *operator

// sink starts the operator; its address is $SINK.
func sink(ts *testscript.TestScript, _ bool, _ []string) {
	o := &operator{}
	s := smtp.NewServer(o)
	s.Domain = "operateur.example"
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve(l) }()
	ts.Defer(func() { s.Close(); <-done; operators.Delete(ts.Getenv("WORK")) })
	operators.Store(ts.Getenv("WORK"), o)
	ts.Setenv("SINK", l.Addr().String())
}

// received RECIPIENT TEXT waits for a mail to the recipient that holds the text.
func received(ts *testscript.TestScript, _ bool, args []string) {
	v, _ := operators.Load(ts.Getenv("WORK"))
	o := v.(*operator)
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		o.mu.Lock()
		for _, mail := range o.mails {
			if strings.HasPrefix(mail, args[0]+"\r\n") && strings.Contains(mail, args[1]) {
				o.mu.Unlock()
				return
			}
		}
		o.mu.Unlock()
	}
	ts.Fatalf("no mail to %s with %q", args[0], args[1])
}

// send ADDRESS FROM TO FILE hands a mail to the hub; $NAMES in the file are
// those of the script. Negated, the hub must refuse it.
func send(ts *testscript.TestScript, neg bool, args []string) {
	text := os.Expand(ts.ReadFile(args[3]), ts.Getenv)
	text = strings.ReplaceAll(text, "\n", "\r\n")
	conn, err := net.DialTimeout("tcp", args[0], 5*time.Second)
	ts.Check(err)
	c := smtp.NewClient(conn)
	defer c.Close()
	err = c.SendMail(args[1], []string{args[2]}, strings.NewReader(text))
	if neg {
		if err == nil {
			ts.Fatalf("the mail was taken")
		}
		return
	}
	ts.Check(err)
}
