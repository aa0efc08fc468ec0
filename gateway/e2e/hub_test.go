package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/smtp"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/relais-sante/relais/configs"
	"github.com/relais-sante/relais/gateway/admin"
	"github.com/relais-sante/relais/mailbox"
)

// long runs the long forms.
var long = os.Getenv("RELAIS_LONG") != ""

const domain = "parcours.e2e.test"

// binary is the program, built once for all tests.
var binary struct {
	once sync.Once
	path string
	err  error
}

func TestMain(m *testing.M) {
	code := m.Run()
	if binary.path != "" {
		os.RemoveAll(filepath.Dir(binary.path))
	}
	os.Exit(code)
}

func program(t *testing.T) string {
	t.Helper()
	binary.once.Do(func() {
		dir, err := os.MkdirTemp("", "relais-e2e")
		if err != nil {
			binary.err = err
			return
		}
		binary.path = filepath.Join(dir, "relais")
		out, err := exec.Command("go", "build", "-o", binary.path, "../../cmd/relais").CombinedOutput()
		if err != nil {
			binary.err = fmt.Errorf("%w: %s", err, out)
		}
	})
	if binary.err != nil {
		t.Fatal(binary.err)
	}
	return binary.path
}

// hub is a hub in a folder, running or not.
type hub struct {
	t       testing.TB
	bin     string
	dir     string
	config  string
	inbound string // address of the last start
	cmd     *exec.Cmd
	log     *logged
	logs    []*logged // of every start
	exited  chan error
}

// settings are the parts of relais.toml that tests vary.
type settings struct {
	mutual   bool   // certificates are demanded of those who hand mail over
	tls      string // further lines of [tls]
	inbound  string // of [inbound]
	outbound string // of [outbound]
	keys     string // of [keys]
	rest     string // whole sections
}

// newHub makes a hub with `relais init --dev` and a configuration for tests.
func newHub(t *testing.T, s settings) *hub {
	t.Helper()
	h := &hub{t: t, bin: program(t), dir: filepath.Join(t.TempDir(), "hub")}
	h.config = filepath.Join(h.dir, "relais.toml")
	h.run("init", h.dir, "--domain", domain, "--dev")
	toml := fmt.Sprintf(`domain = %q
data_dir = "data"
programmes = "programmes"
locale = "fr"
dev = true
[log]
level = "info"
[tls]
cert = "tls/cert.pem"
key = "tls/key.pem"
authorities = "tls/ca.pem"
%s
[inbound]
listen = ["127.0.0.1:0"]
require_client_cert = %t
messages_per_minute = 0
%s
[outbound]
nil = "DEV000000"
%s
[keys]
hub_key = "file:keys/hub.key"
epoch_dir = "keys/epochs"
%s
%s
`, domain, s.tls, s.mutual, s.inbound, s.outbound, s.keys, s.rest)
	if err := os.WriteFile(h.config, []byte(toml), 0o600); err != nil {
		t.Fatal(err)
	}
	h.run("check")
	t.Cleanup(func() {
		h.kill()
		for _, l := range h.logs {
			if p := l.panicked(); p != "" {
				t.Errorf("the hub panicked:\n%s", p)
			}
		}
	})
	return h
}

// start runs the daemon and waits until it is ready.
func (h *hub) start() {
	h.t.Helper()
	h.startWith(func(*exec.Cmd) {})
}

// startWith is start with another command.
func (h *hub) startWith(change func(*exec.Cmd)) {
	h.t.Helper()
	h.cmd = exec.Command(h.bin, "serve", "--config", h.config)
	change(h.cmd)
	h.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // a test out of time has no cleanup
	h.log = &logged{ready: make(chan map[string]any, 1)}
	h.logs = append(h.logs, h.log)
	h.cmd.Stderr = h.log
	if err := h.cmd.Start(); err != nil {
		h.t.Fatal(err)
	}
	h.exited = make(chan error, 1)
	go func(c *exec.Cmd, done chan error) { done <- c.Wait() }(h.cmd, h.exited)
	select {
	case line := <-h.log.ready:
		h.inbound, _, _ = strings.Cut(fmt.Sprint(line["inbound"]), " ")
	case err := <-h.exited:
		h.t.Fatalf("the hub ended before it was ready: %v\n%s", err, h.log.text())
	case <-time.After(30 * time.Second):
		h.t.Fatalf("the hub is not ready:\n%s", h.log.text())
	}
}

// kill ends the daemon with SIGKILL.
func (h *hub) kill() {
	if h.cmd == nil {
		return
	}
	_ = h.cmd.Process.Kill()
	<-h.exited
	h.cmd = nil
}

// stop ends it as systemd would, and says how long it took.
func (h *hub) stop() time.Duration {
	h.t.Helper()
	begin := time.Now()
	if err := h.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		h.t.Fatal(err)
	}
	select {
	case err := <-h.exited:
		if err != nil {
			h.t.Errorf("the hub ended with %v\n%s", err, h.log.text())
		}
	case <-time.After(15 * time.Second):
		h.t.Errorf("the hub did not stop")
		h.kill()
	}
	h.cmd = nil
	return time.Since(begin)
}

// logged keeps the journal and tells when the hub is ready.
type logged struct {
	mu    sync.Mutex
	lines bytes.Buffer
	part  []byte
	ready chan map[string]any
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines.Write(p)
	l.part = append(l.part, p...)
	for {
		i := bytes.IndexByte(l.part, '\n')
		if i < 0 {
			return len(p), nil
		}
		var line map[string]any
		if json.Unmarshal(l.part[:i], &line) == nil && line["msg"] == "ready" {
			select {
			case l.ready <- line:
			default:
			}
		}
		l.part = l.part[i+1:]
	}
}

// panicked gives what the journal says of panics, those that were recovered (by
// this program, or by net/http) and those that ended it.
func (l *logged) panicked() string {
	text := l.text()
	for _, mark := range []string{`"msg":"panic recovered"`, "http: panic serving", "\npanic: ", "\nfatal error: "} {
		if i := strings.Index("\n"+text, mark); i >= 0 {
			return text[max(i-1, 0):]
		}
	}
	return ""
}

// worst lists the lines above information.
func (l *logged) worst() string {
	var worst []string
	for _, line := range strings.Split(l.text(), "\n") {
		if strings.Contains(line, `"level":"ERROR"`) {
			worst = append(worst, line)
		}
	}
	return strings.Join(worst, "\n")
}

func (l *logged) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lines.String()
}

// run runs the command line and returns what it printed.
func (h *hub) run(args ...string) string {
	h.t.Helper()
	out, err := h.try(args...)
	if err != nil {
		h.t.Fatalf("relais %s: %v", strings.Join(args, " "), err)
	}
	return out
}

func (h *hub) try(args ...string) (string, error) {
	cmd := exec.Command(h.bin, args...)
	cmd.Env = append(os.Environ(), "RELAIS_CONFIG="+h.config, "LC_ALL=C.UTF-8", "LANG=fr_FR.UTF-8")
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if err != nil {
		err = fmt.Errorf("%w: %s", err, strings.TrimSpace(errs.String()))
	}
	return out.String(), err
}

// ask runs a command with --json into v.
func (h *hub) ask(v any, args ...string) {
	h.t.Helper()
	out := h.run(append(args, "--json")...)
	if err := json.Unmarshal([]byte(out), v); err != nil {
		h.t.Fatalf("relais %s --json: %v\n%s", strings.Join(args, " "), err, out)
	}
}

type thread struct {
	Messages []struct {
		ID         string
		MessageID  string `json:"message_id"`
		Subject    string
		Kind       string
		Rubrics    []string
		Author     struct{ Name, Certainty string }
		Documents  []struct{ Filename, Code string }
		Deliveries []struct {
			Mailbox, State, Kind string
			LastError            string `json:"last_error"`
			Attempts             int
		}
	}
}

// children are invented; matricules have a right key under the test OID.
var children = []struct{ ins, family, given, birth, sex string }{
	{"215036300100177", "Martin", "Léa", "2015-03-02", "F"},
	{"114076300100140", "Lefèvre", "Tom", "2014-07-12", "M"},
	{"216096300100153", "Caron", "Zoé", "2016-09-21", "F"},
	{"117116300100183", "Morin", "Noé", "2017-11-05", "M"},
	{"218066300100297", "Girard", "Ana", "2018-06-09", "F"},
}

// include makes a pathway for the n-th child and returns its code.
func (h *hub) include(n int) string {
	h.t.Helper()
	c := children[n]
	var p struct{ ID string }
	h.ask(&p, "pathway", "include", "--programme", "pon", "--ins", c.ins, "--ins-oid", "1.2.250.1.213.1.4.10",
		"--family-name", c.family, "--given-name", c.given, "--birth-date", c.birth, "--sex", c.sex,
		"--establishment", "CHU Caen", "--consent", "oral", "--consent-from", "mère", "--consent-by", "IDEC PON")
	return p.ID
}

func (h *hub) member(code, name, role, box, kind string) string {
	h.t.Helper()
	var m struct{ Member string }
	h.ask(&m, "team", "add", code, "--name", name, "--role", role, "--mailbox", box, "--type", kind, "--establishment", "CHU Caen")
	return m.Member
}

func (h *hub) thread(code string) thread {
	h.t.Helper()
	var t thread
	h.ask(&t, "thread", "show", code)
	return t
}

// reader gives what reads messages as `message show --raw` does, without a
// process for each: thousands are read back. The other function ends it.
func (h *hub) reader() (raw func(id string) []byte, done func()) {
	h.t.Helper()
	config, problems := configs.Load(h.config)
	if config == nil {
		h.t.Fatalf("the configuration has faults: %v", problems)
	}
	c := admin.NewClient(string(config.Admin.Socket))
	return func(id string) []byte {
		r, err := c.RawMessage(context.Background(), mailbox.Actor{}, id)
		if err != nil {
			h.t.Errorf("reading message %s: %v", id, err)
			return nil
		}
		defer r.Close()
		b, err := io.ReadAll(r)
		if err != nil {
			h.t.Errorf("reading message %s: %v", id, err)
		}
		return b
	}, c.Close
}

// send is one SMTP transaction in clear (development hub on loopback). The
// error is the reply.
func (h *hub) send(from, to string, mail []byte) error {
	c, err := smtp.Dial(h.inbound)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := transaction(c, from, to, mail); err != nil {
		return err
	}
	return c.Quit()
}

func transaction(c *smtp.Client, from, to string, mail []byte) error {
	if err := c.Mail(from); err != nil {
		return err
	}
	if err := c.Rcpt(to); err != nil {
		return err
	}
	w, err := c.Data()
	if err != nil {
		return err
	}
	if _, err := w.Write(mail); err != nil {
		return err
	}
	return w.Close()
}

// eventually waits until ok, with a bound; it never waits longer than needed.
func eventually(t testing.TB, within time.Duration, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(within)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", within, what)
		}
		time.Sleep(20 * time.Millisecond)
	}
}
