package configs_test

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/relais-sante/relais/configs"
	"github.com/relais-sante/relais/mailbox/texts"
	"github.com/relais-sante/relais/rules"
)

// explain writes the problems of a source, one line each.
func explain(problems []rules.Problem) string {
	var lines []string
	for _, p := range problems {
		lines = append(lines, strings.TrimPrefix(configs.Explain(p, texts.English), "/etc/relais/"))
	}
	return strings.Join(lines, "\n")
}

// sound is a configuration without a fault or a warning.
const sound = `domain = "parcours.example.mssante.fr"
[tls]
cert = "tls/cert.pem"
key = "tls/key.pem"
authorities = "tls/ca.pem"
[trust]
white_list = "list.xml"
[inbound]
listen = ["127.0.0.1:2525", "tls://192.0.2.1:465"]
[submission]
listen = "starttls://192.0.2.1:587"
[imap]
listen = ["[::1]:993"]
password = ["10.0.0.0/8", "192.0.2.7"]
[outbound]
nil = "DEV000000"
[keys]
recovery_key = "keys/recovery.pub"
`

func TestParse(t *testing.T) {
	c, problems := configs.Parse("/etc/relais/relais.toml", []byte(sound))
	if problems != nil {
		t.Fatal(explain(problems))
	}
	want := configs.Config{
		Domain: "parcours.example.mssante.fr", DataDir: "/etc/relais/data", Programmes: "/etc/relais/programmes", Locale: texts.French,
		Log: configs.Log{Level: "info"},
		TLS: configs.TLS{
			Cert: "/etc/relais/tls/cert.pem", Key: "/etc/relais/tls/key.pem", ClientCert: "/etc/relais/tls/cert.pem", ClientKey: "/etc/relais/tls/key.pem",
			Authorities: "/etc/relais/tls/ca.pem", CRLGrace: configs.Duration(24 * time.Hour), PeerEKU: "any", MinVersion: "1.2", MaxVersion: "1.3",
		},
		Trust: configs.Trust{WhiteList: "/etc/relais/list.xml", MaxAge: configs.Duration(7 * 24 * time.Hour), MaxShrink: 20, RequireOperatorMatch: true},
		Inbound: configs.Inbound{
			Listen: configs.Listens{{Mode: configs.STARTTLS, Address: "127.0.0.1:2525"}, {Mode: configs.ImplicitTLS, Address: "192.0.2.1:465"}}, RequireClientCert: true,
			MaxMessageBytes: 25 << 20, MaxConnections: 1000, MaxConnectionsPerPeer: 50, MessagesPerMinute: 600, RcptLimit: 100,
			LineLimit: 64 << 10, MinRate: 256, HandshakeTimeout: configs.Duration(30 * time.Second), CommandTimeout: configs.Duration(5 * time.Minute),
			DataTimeout: configs.Duration(3 * time.Minute), MessageTimeout: configs.Duration(30 * time.Minute), MaxCommands: 300, MaxErrors: 20,
		},
		Limits: configs.Limits{
			HeaderBytes: 1 << 20, HeaderFields: 1000, FieldBytes: 64 << 10, Parts: 1000, Depth: 64, TextBytes: 256 << 10, Archives: 20, ArchiveBytes: 64 << 20,
			ArchiveEntries: 1000, ArchiveRatio: 200, UnpackedBytes: 256 << 20, MetadataBytes: 2 << 20, CDAHeaderBytes: 1 << 20,
		},
		Submission: configs.Submission{Listen: configs.Listens{{Mode: configs.STARTTLS, Address: "192.0.2.1:587"}}, MaxConnections: 1000},
		IMAP: configs.IMAP{
			Listen:         configs.Listens{{Mode: configs.ImplicitTLS, Address: "[::1]:993"}},
			Password:       configs.Passwords{Networks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("192.0.2.7/32")}},
			MaxConnections: 5000, IdleTimeout: configs.Duration(30 * time.Minute),
			MaxConnectionsPerPeer: 200, MaxConnectionsPerAccount: 50, Quota: 1 << 30, QuotaMessages: 200_000,
			MaxFolders: 1000, MaxSubscriptions: 2000, MaxCopied: 5000,
			LoginAttempts: 5, CommandsBeforeLogin: 60, MaxErrors: 50, CommandLimit: 64 << 10, AppendMessages: 1000, SetRanges: 10_000,
			SearchKeys: 500, SearchDepth: 20, SearchBytes: 1 << 30, SearchContexts: 16, ListPatterns: 50,
			HandshakeTimeout: configs.Duration(30 * time.Second), LoginTimeout: configs.Duration(2 * time.Minute),
			CommandTimeout: configs.Duration(2 * time.Minute), MessageTimeout: configs.Duration(30 * time.Minute), MinRate: 1 << 10,
			WriteTimeout: configs.Duration(time.Minute), PushInterval: configs.Duration(100 * time.Millisecond),
		},
		Accounts: configs.Accounts{
			MaxWait: configs.Duration(15 * time.Minute), HashMemory: 64 << 20, HashPasses: 3, HashesAtOnce: 2,
		},
		OAuth: configs.OAuth{
			Discovery: ".well-known/openid-configuration", Claims: []string{"SubjectNameID", "preferred_username"}, Session: configs.Duration(12 * time.Hour),
		},
		Clamd: configs.Clamd{Timeout: configs.Duration(time.Minute), MaxBytes: 25 << 20, Scans: 8},
		Outbound: configs.Outbound{
			Route: "mx", CitizenMaxBytes: 23 << 20, NIL: "DEV000000", TLS: "required", Helo: "parcours.example.mssante.fr", MXPort: 25,
			Retry: []configs.Duration{
				configs.Duration(20 * time.Second), configs.Duration(time.Minute), configs.Duration(5 * time.Minute),
				configs.Duration(15 * time.Minute), configs.Duration(30 * time.Minute), configs.Duration(time.Hour),
			},
			GiveUp: configs.Duration(48 * time.Hour), Connections: 100, ConnectionsPerPeer: 10, YieldAtMost: configs.Duration(2 * time.Second), ConnectTimeout: configs.Duration(30 * time.Second),
			CommandTimeout: configs.Duration(5 * time.Minute), DataTimeout: configs.Duration(10 * time.Minute), IdleTimeout: configs.Duration(30 * time.Second),
		},
		Triage: configs.Triage{Alert: configs.Duration(30 * time.Minute), UrgentAlert: configs.Duration(10 * time.Minute), GiveUp: configs.Duration(48 * time.Hour)},
		Export: configs.Export{
			Content:  configs.Coded{Code: "07", Label: "Consultation", System: "1.2.250.1.213.2.2"},
			Facility: configs.Coded{Code: "SA01", Label: "Établissement public de santé", System: "1.2.250.1.71.4.2.4"},
			Practice: configs.Coded{Code: "AMBULATOIRE", Label: "Ambulatoire", System: "1.2.250.1.213.1.1.4.9"},
			Untyped:  "34120-6", Class: "10",
		},
		Audit:     configs.Audit{Every: configs.Duration(time.Hour)},
		Retention: configs.Retention{Technical: configs.Duration(365 * 24 * time.Hour), Record: configs.Duration(7305 * 24 * time.Hour), Taken: configs.Duration(400 * 24 * time.Hour), UntilAge: 28},
		Directory: configs.Directory{MaxShrink: 20, MaxAge: configs.Duration(30 * 24 * time.Hour)},
		Admin:     configs.Admin{Socket: "/etc/relais/data/admin.sock"},
		Keys: configs.Keys{
			HubKey: configs.Secret{In: configs.InFile, Name: "/etc/relais/keys/hub.key"}, RecoveryKey: "/etc/relais/keys/recovery.pub", EpochDir: "/etc/relais/keys/epochs",
		},
		File: "/etc/relais/relais.toml",
	}
	prefix := cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })
	if diff := cmp.Diff(want, *c, cmpopts.IgnoreUnexported(configs.Config{}), prefix); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	// The contract: the first retry after a temporary error within 30 s.
	if c.Outbound.Retry[0] > configs.Duration(30*time.Second) {
		t.Errorf("the first retry comes after %v", c.Outbound.Retry[0])
	}
}

// Trials on one machine, as the contract describes them, pass.
func TestDevNeedsLess(t *testing.T) {
	c, problems := configs.Parse("relais.toml", []byte(`
dev = true
domain = "relais.example"
[tls]
cert = "c.pem"
key = "k.pem"
[inbound]
listen = ["127.0.0.1:0", "localhost:0"]
require_client_cert = false
max_connections = 5
[imap]
password = "on"
[outbound]
tls = "none"
connections = 2
[triage]
alert = "5s"
give_up = "2s"
[metrics]
listen = "127.0.0.1:0"
`))
	if got := explain(problems); !matches(`relais.toml: warning: Without a white list *`, got) {
		t.Error(got)
	}
	if c.Outbound.NIL != "DEV000000" {
		t.Errorf("nil is %q", c.Outbound.NIL)
	}
	if c.Inbound.MaxConnectionsPerPeer != 5 || c.Outbound.ConnectionsPerPeer != 2 || c.Triage.UrgentAlert != configs.Duration(5*time.Second) {
		t.Error("a smaller limit does not take those below it along")
	}
	if c.Metrics.Listen[0].Mode != configs.PlainHTTP {
		t.Errorf("metrics are %v", c.Metrics.Listen[0])
	}
}

func TestPasswords(t *testing.T) {
	near, far := netip.MustParseAddr("::ffff:10.1.2.3"), netip.MustParseAddr("203.0.113.9")
	for _, c := range []struct {
		p         configs.Passwords
		near, far bool
	}{
		{configs.Passwords{}, false, false},
		{configs.Passwords{On: true}, true, true},
		{configs.Passwords{Networks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}, true, false},
	} {
		if c.p.Allows(near) != c.near || c.p.Allows(far) != c.far {
			t.Errorf("%+v allows %v and %v", c.p, c.p.Allows(near), c.p.Allows(far))
		}
	}
}

func TestFind(t *testing.T) {
	t.Chdir(t.TempDir())
	t.Setenv("RELAIS_CONFIG", "")
	if _, err := os.Stat("/etc/relais/relais.toml"); err != nil {
		if path, err := configs.Find(""); err != configs.ErrNotFound {
			t.Errorf("found %q, %v", path, err)
		}
	}
	if err := os.WriteFile("relais.toml", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if path, err := configs.Find(""); path != "relais.toml" || err != nil {
		t.Errorf("found %q, %v", path, err)
	}
	t.Setenv("RELAIS_CONFIG", "/elsewhere.toml")
	if path, err := configs.Find(""); path != "/elsewhere.toml" || err != nil {
		t.Errorf("found %q, %v", path, err)
	}
	if path, err := configs.Find("mine.toml"); path != "mine.toml" || err != nil {
		t.Errorf("found %q, %v", path, err)
	}
}

func TestLoadMissing(t *testing.T) {
	_, problems := configs.Load(filepath.Join(t.TempDir(), "relais.toml"))
	if len(problems) != 1 || problems[0].ID != "check.no-config" || problems[0].Warning {
		t.Errorf("%v", problems)
	}
	_, problems = configs.Load(t.TempDir())
	if len(problems) != 1 || problems[0].ID != rules.Unreadable || problems[0].Warning {
		t.Errorf("a folder: %v", problems)
	}
}

// What init writes is complete: it loads, its files are looked for where they
// will be, and its programmes pass.
func TestRender(t *testing.T) {
	for _, dev := range []bool{true, false} {
		for _, l := range texts.Locales() {
			dir := t.TempDir()
			file := filepath.Join(dir, "relais.toml")
			if err := os.WriteFile(file, configs.Render(configs.InitOptions{Domain: "parcours.example.mssante.fr", Dev: dev, Locale: l, Recovery: !dev}), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.CopyFS(dir, configs.Programmes); err != nil {
				t.Fatal(err)
			}
			c, problems := configs.Load(file)
			problems = slices.DeleteFunc(problems, func(p rules.Problem) bool { return dev && p.ID == "check.no-white-list" })
			if len(problems) > 0 {
				t.Errorf("dev %v: %s", dev, explain(problems))
			}
			if c.Locale != l || c.Dev != dev || c.Domain != "parcours.example.mssante.fr" {
				t.Errorf("%+v", c)
			}
			set, problems := c.LoadProgrammes()
			if len(set.Programmes) != 3 && dev {
				t.Error(explain(problems))
			}
			for _, p := range problems {
				if filepath.Dir(p.File) != filepath.Join(dir, "programmes") {
					t.Errorf("%q is not a path of the file", p.File)
				}
			}
			for _, p := range c.CheckFiles() {
				if p.ID != "check.no-file" || p.Line == 0 {
					t.Errorf("%s", configs.Explain(p, l))
				}
			}
		}
	}
}

// In client mode each programme has one box, its own or that of all others.
func TestBoxesOfProgrammes(t *testing.T) {
	box := func(name, programme string) string {
		return operator("name = \"" + name + "\"\naddress = \"" + name + "@b.example\"\nprogramme = \"" + programme + "\"")
	}
	dir := t.TempDir()
	if err := os.CopyFS(dir, configs.Programmes); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, route, boxes, want string }{
		{"one for all", "operator", box("a", ""), ""},
		{"one each", "operator", box("a", "pon") + box("b", "parsac") + box("c", "nutripac"), ""},
		{"its own, and one for the others", "operator", box("a", "pon") + box("b", ""), ""},
		{"none for one", "operator", box("a", "pon") + box("b", "parsac"), "nutripac"},
		{"two for one", "operator", box("a", "pon") + box("b", "pon") + box("c", ""), "pon"},
		{"two for the others", "operator", box("a", "pon") + box("b", "") + box("c", ""), "nutripac parsac"},
		{"boxes that are only read", "mx", box("a", "pon") + box("b", "pon"), ""},
		{"a programme that is not there", "mx", box("a", "pom"), "pom"},
	} {
		t.Run(c.name, func(t *testing.T) {
			src := strings.NewReplacer("nil =", "route = \""+c.route+"\"\nnil =", "[keys]", c.boxes+"[keys]").Replace(sound)
			src = strings.Replace(src, "domain =", "dev = true\ndomain =", 1)
			cfg, problems := configs.Parse(filepath.Join(dir, "relais.toml"), []byte(src))
			for _, p := range problems {
				if !p.Warning {
					t.Fatal(explain(problems))
				}
			}
			_, problems = cfg.LoadProgrammes()
			var got []string
			for _, p := range problems {
				for _, l := range texts.Locales() {
					if text := configs.Explain(p, l); strings.Contains(text, "<no value>") || strings.Contains(text, "check.") {
						t.Errorf("%s: text with holes: %s", l, text)
					}
				}
				named, _ := p.Args["programme"].(string)
				if named == "" {
					named, _ = p.Args["value"].(string)
				}
				got = append(got, named)
			}
			if slices.Sort(got); strings.Join(got, " ") != c.want {
				t.Errorf("%q, want %q", strings.Join(got, " "), c.want)
			}
		})
	}
}

func TestCheckFiles(t *testing.T) {
	c, _ := configs.Parse("/nowhere/relais.toml", []byte(sound))
	got := explain(c.CheckFiles())
	for _, want := range []string{
		`/nowhere/relais.toml: "programmes": /nowhere/programmes does not exist`, `/nowhere/relais.toml:3:1: "tls.cert": /nowhere/tls/cert.pem does not exist`,
		`/nowhere/relais.toml:7:1: "trust.white_list"`, `/nowhere/relais.toml:17:2: "keys.hub_key"`, `/nowhere/relais.toml:18:1: "keys.recovery_key"`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no line %q in\n%s", want, got)
		}
	}
}

// The reference is that of the structs: run go generate ./configs.
func TestReferenceIsCurrent(t *testing.T) {
	got, err := os.ReadFile("../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(configs.Reference()), string(got)); diff != "" {
		t.Errorf("docs/configuration.md is not that of the structs (-want +got); run go generate ./configs:\n%s", diff)
	}
}

// A setting written out as its default is the default.
func TestDefaultsReadBack(t *testing.T) {
	var src []string
	for line := range strings.Lines(string(configs.Render(configs.InitOptions{Domain: "parcours.example.mssante.fr"}))) {
		if strings.Contains(line, "# [[operator]]") {
			src = append(src, "[[operator]]\n")
			continue
		}
		if key, value, ok := strings.Cut(strings.TrimPrefix(line, "# "), " = "); ok && !strings.ContainsAny(key, " ([") && !strings.HasSuffix(value, `""`+"\n") {
			line = key + " = " + value
		}
		src = append(src, line)
	}
	written, problems := configs.Parse("/etc/relais/relais.toml", []byte(strings.Join(src, "")))
	if got := explain(problems); strings.Contains(got, "not") {
		t.Fatal(got)
	}
	plain, _ := configs.Parse("/etc/relais/relais.toml", configs.Render(configs.InitOptions{Domain: "parcours.example.mssante.fr"}))
	if diff := cmp.Diff(*plain, *written, cmpopts.IgnoreUnexported(configs.Config{}), cmpopts.IgnoreFields(configs.Config{}, "Operators"), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("(-left out +written):\n%s", diff)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(sound))
	f.Add(configs.Render(configs.InitOptions{Domain: "relais.example", Dev: true}))
	f.Fuzz(func(t *testing.T, src []byte) {
		c, problems := configs.Parse("/etc/relais/relais.toml", src)
		last := strings.Count(string(src), "\n") + 1
		for _, p := range problems {
			if p.Line > last {
				t.Errorf("line %d of %d", p.Line, last)
			}
			configs.Explain(p, texts.French)
		}
		for _, e := range c.Inbound.Listen {
			e.HostPort()
		}
	})
}

// Nothing is told to clients unless asked for; then what is listened on, or
// what stands for it.
func TestPublished(t *testing.T) {
	c, _ := configs.Parse("/etc/relais/relais.toml", []byte(sound))
	if len(c.Autoconfig.Listen) != 0 {
		t.Errorf("client settings are served at %v without being asked for", c.Autoconfig.Listen)
	}
	imap, submission := c.Published()
	if got := fmt.Sprint(imap, submission); got != "[tls://parcours.example.mssante.fr:993] [starttls://parcours.example.mssante.fr:587]" {
		t.Error(got)
	}
	c, _ = configs.Parse("/etc/relais/relais.toml", []byte(sound+"[autoconfig]\nimap = \"imap.example:994\"\nsubmission = \"starttls://smtp.example:588\"\n"))
	imap, submission = c.Published()
	if got := fmt.Sprint(imap, submission); got != "[tls://imap.example:994] [starttls://smtp.example:588]" {
		t.Error(got)
	}
}
