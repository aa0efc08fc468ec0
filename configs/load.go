package configs

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"

	"github.com/relais-sante/relais/rules"
	"github.com/relais-sante/relais/rules/strict"
)

// Problem is something wrong in a file, said so that a person can mend it.
type Problem = rules.Problem

// TextID names the text of a problem.
type TextID = strict.TextID

// ErrNotFound is of [Find] when no configuration is where one is looked for.
var ErrNotFound = errors.New("no relais.toml: give --config or $RELAIS_CONFIG, or run relais init")

// Find gives the configuration file: the one of --config if that is given, else
// $RELAIS_CONFIG, ./relais.toml, /etc/relais/relais.toml. Only the last two are
// looked for; a file that was named is expected to be there.
func Find(flag string) (string, error) {
	for _, named := range []string{flag, os.Getenv("RELAIS_CONFIG")} {
		if named != "" {
			return named, nil
		}
	}
	for _, usual := range []string{"relais.toml", "/etc/relais/relais.toml"} {
		if _, err := os.Stat(usual); err == nil {
			return usual, nil
		}
	}
	return "", ErrNotFound
}

// Load reads and checks a configuration. It must not be used if a problem is
// more than a warning.
func Load(path string) (*Config, []Problem) {
	src, err := readFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return &Config{File: path}, []Problem{{File: path, ID: noConfig}}
	}
	if err != nil {
		return &Config{File: path}, []Problem{{File: path, ID: rules.Unreadable, Args: map[string]any{"error": err.Error()}}}
	}
	return Parse(path, src)
}

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, strict.MaxBytes+1)) // Decode refuses more
}

// Parse is [Load] of a source at hand; path is what messages call it, and what
// relative paths are resolved against.
func Parse(path string, src []byte) (*Config, []Problem) {
	c := &Config{File: path}
	doc, problems := strict.Decode(path, src, c)
	c.doc = doc
	c.finish()
	if !strict.Fatal(problems) {
		problems = append(problems, c.check()...)
	}
	strict.Sort(problems)
	return c, problems
}

// finish fills in what depends on other settings.
func (c *Config) finish() {
	resolve(reflect.ValueOf(c).Elem(), filepath.Dir(c.File))
	if c.Admin.Socket == "" {
		c.Admin.Socket = Path(filepath.Join(string(c.DataDir), "admin.sock"))
	}
	if c.TLS.ClientCert == "" && c.TLS.ClientKey == "" {
		c.TLS.ClientCert, c.TLS.ClientKey = c.TLS.Cert, c.TLS.Key
	}
	if c.Outbound.Helo == "" {
		c.Outbound.Helo = c.Domain
	}
	if c.Outbound.NIL == "" && c.Dev {
		c.Outbound.NIL = devNIL
	}
	// A limit written smaller takes those below it along.
	c.Inbound.MaxConnectionsPerPeer = min(c.Inbound.MaxConnectionsPerPeer, c.Inbound.MaxConnections)
	c.Outbound.ConnectionsPerPeer = min(c.Outbound.ConnectionsPerPeer, c.Outbound.Connections)
	c.Triage.UrgentAlert = min(c.Triage.UrgentAlert, c.Triage.Alert)
	bare := func(list Listens, mode string) {
		for i := range list {
			if list[i].Mode == "" {
				list[i].Mode = mode
			}
		}
	}
	bare(c.Inbound.Listen, STARTTLS)
	bare(c.Submission.Listen, ImplicitTLS)
	bare(c.IMAP.Listen, ImplicitTLS)
	bare(c.Admin.Listen, ImplicitTLS)
	bare(c.Metrics.Listen, PlainHTTP)
	bare(c.Autoconfig.Listen, PlainHTTP)
	for _, e := range []*Endpoint{&c.Autoconfig.IMAP, &c.Autoconfig.Submission} {
		if e.Mode == "" && e.Address != "" {
			e.Mode = ImplicitTLS
		}
	}
	for i := range c.Operators {
		o := &c.Operators[i]
		for _, e := range []*Endpoint{&o.IMAP, &o.SMTP} {
			if e.Mode == "" && e.Address != "" {
				e.Mode = ImplicitTLS
			}
		}
		if o.Username == "" && o.Auth != AuthCertificate {
			o.Username = o.Address
		}
		if o.Cert == "" && o.Key == "" {
			o.Cert, o.Key = c.TLS.ClientCert, c.TLS.ClientKey
		}
	}
}

// devNIL stands for a product reference while there is none.
const devNIL = "DEV000000"

// resolve makes every relative path in v one below dir.
func resolve(v reflect.Value, dir string) {
	under := func(path string) string {
		if path == "" || filepath.IsAbs(path) {
			return path
		}
		return filepath.Join(dir, path)
	}
	switch p := v.Addr().Interface().(type) {
	case *Path:
		*p = Path(under(string(*p)))
	case *Secret:
		if p.In == InFile {
			p.Name = under(p.Name)
		}
	case *strict.Document:
	default:
		switch v.Kind() {
		case reflect.Struct:
			for i := range v.NumField() {
				if v.Type().Field(i).IsExported() {
					resolve(v.Field(i), dir)
				}
			}
		case reflect.Slice:
			for i := range v.Len() {
				resolve(v.Index(i), dir)
			}
		}
	}
}

// ProgrammeOptions say what programme files are loaded for.
func (c *Config) ProgrammeOptions() rules.LoadOptions {
	o := rules.LoadOptions{Domain: c.Domain, Dev: c.Dev}
	for i := range c.Operators {
		o.Boxes = append(o.Boxes, c.Operators[i].Address)
	}
	return o
}

// LoadProgrammes loads the programme files; see [rules.LoadFS]. That a setting
// names one of them is checked here, too.
func (c *Config) LoadProgrammes() (*rules.Set, []Problem) {
	dir, base := filepath.Split(filepath.Clean(string(c.Programmes)))
	if dir == "" {
		dir = "."
	}
	set, problems := rules.LoadFS(os.DirFS(dir), base, c.ProgrammeOptions())
	for i := range problems {
		problems[i].File = filepath.Join(dir, problems[i].File)
	}
	if strict.Fatal(problems) { // which programmes there would be is not known
		return set, problems
	}
	return set, append(append(problems, c.operatorProgrammes(set)...), c.administratorProgrammes(set)...)
}
