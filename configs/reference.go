package configs

import (
	"cmp"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"unicode"

	"github.com/relais-sante/relais/mailbox/texts"
)

//go:generate go run ./gendoc

// section is a table of relais.toml; the first has no name.
type section struct {
	name string
	list bool // [[name]]
	doc  map[texts.Locale]string
	keys []setting
}

// setting is a key of relais.toml.
type setting struct {
	name     string
	literal  string // its default as it would be written
	required bool   // has no default
	doc      map[texts.Locale]string
}

// sections describes the configuration from its structs.
func sections() []section {
	all := []section{{}}
	t := reflect.TypeFor[Config]()
	for i := range t.NumField() {
		f := t.Field(i)
		name := f.Tag.Get("toml")
		inner := f.Type
		list := inner.Kind() == reflect.Slice && inner.Elem().Kind() == reflect.Struct
		if list {
			inner = inner.Elem()
		}
		switch {
		case name == "":
		case inner.Kind() == reflect.Struct:
			s := section{name: name, list: list, doc: docOf(f)}
			for j := range inner.NumField() {
				s.keys = append(s.keys, settingOf(inner.Field(j)))
			}
			all = append(all, s)
		default:
			all[0].keys = append(all[0].keys, settingOf(f))
		}
	}
	return all
}

func docOf(f reflect.StructField) map[texts.Locale]string {
	return map[texts.Locale]string{texts.French: f.Tag.Get("fr"), texts.English: f.Tag.Get("en")}
}

func settingOf(f reflect.StructField) setting {
	text, has := f.Tag.Lookup("default")
	s := setting{name: f.Tag.Get("toml"), required: !has, doc: docOf(f)}
	switch f.Type.Kind() {
	case reflect.Bool, reflect.Int:
		s.literal = text
		if f.Type == reflect.TypeFor[Percent]() {
			s.literal = quote(text)
		}
	case reflect.Slice:
		s.literal = "[]"
		if has {
			s.literal = list(strings.Split(text, ",")...)
		}
	default:
		if n, err := strconv.Atoi(text); err == nil && f.Type == reflect.TypeFor[Size]() {
			s.literal = strconv.Itoa(n)
		} else {
			s.literal = quote(text)
		}
	}
	return s
}

// quote writes a basic string of TOML.
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case unicode.IsControl(r):
			fmt.Fprintf(&b, `\u%04X`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

func list(items ...string) string {
	quoted := make([]string, len(items))
	for i, item := range items {
		quoted[i] = quote(item)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}

// Reference writes docs/configuration.md.
func Reference() []byte {
	var b strings.Builder
	b.WriteString(`# Configuration: relais.toml

<!-- Made by "go generate ./configs" from the structs of package configs: edit those. -->

The hub reads one TOML file: that of ` + "`--config`, else `$RELAIS_CONFIG`, `./relais.toml`, `/etc/relais/relais.toml`" + `. It is strict: an
unknown key is an error. Relative paths start at the file's folder. Sizes are written ` + "`\"25MiB\"`, durations `\"30s\"`, `\"4h\"`, `\"2d\"`" + `.
` + "`relais check`" + ` says every problem with its line and what is allowed.

Le relais lit un seul fichier TOML. Il est strict : une clé inconnue est une erreur. Les chemins relatifs partent du
dossier du fichier. ` + "`relais check`" + ` dit chaque problème avec sa ligne et ce qui est permis.
`)
	for _, s := range sections() {
		if s.name != "" {
			fmt.Fprintf(&b, "\n## %s\n\n%s  \n%s\n", header(s), s.doc[texts.English], s.doc[texts.French])
		}
		b.WriteString("\n| key · clé | default · défaut | meaning | sens |\n| --- | --- | --- | --- |\n")
		for _, k := range s.keys {
			literal := "`" + k.literal + "`"
			if k.required {
				literal = ""
			}
			fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", k.name, literal, cell(k.doc[texts.English]), cell(k.doc[texts.French]))
		}
	}
	return []byte(b.String())
}

func cell(s string) string { return strings.ReplaceAll(s, "|", "\\|") }

func header(s section) string {
	if s.list {
		return "[[" + s.name + "]]"
	}
	return "[" + s.name + "]"
}

// InitOptions are what `relais init` knows.
type InitOptions struct {
	Domain string
	Dev    bool // own test authority, loopback high ports
	Locale texts.Locale
	// Recovery: the public half of a recovery key lies at keys/recovery.pub.
	Recovery bool
}

// Render writes a relais.toml with every key explained: those that init sets,
// and the others as comments with their defaults.
func Render(o InitOptions) []byte {
	o.Locale = cmp.Or(o.Locale, texts.French)
	set := o.settings()
	var b strings.Builder
	comment(&b, texts.T(o.Locale, "config.head", nil))
	for _, s := range sections() {
		b.WriteByte('\n')
		if s.name != "" {
			comment(&b, s.doc[o.Locale])
			if s.list {
				b.WriteString("# ")
			}
			b.WriteString(header(s) + "\n")
		}
		for _, k := range s.keys {
			name := k.name
			if s.name != "" {
				name = s.name + "." + name
			}
			comment(&b, k.doc[o.Locale])
			if literal, ok := set[name]; ok {
				fmt.Fprintf(&b, "%s = %s\n", k.name, literal)
				delete(set, name)
			} else {
				fmt.Fprintf(&b, "# %s = %s\n", k.name, k.literal)
			}
		}
	}
	if len(set) > 0 {
		panic(fmt.Sprintf("configs: init sets keys that do not exist: %v", set))
	}
	return []byte(b.String())
}

// settings are the keys that init writes, as TOML.
func (o InitOptions) settings() map[string]string {
	set := map[string]string{
		"domain": quote(o.Domain), "data_dir": quote("data"), "programmes": quote("programmes"), "locale": quote(string(o.Locale)),
		"tls.cert": quote("tls/cert.pem"), "tls.key": quote("tls/key.pem"), "tls.authorities": quote("tls/ca.pem"),
		"outbound.nil": quote(devNIL), "keys.hub_key": quote("file:keys/hub.key"), "keys.epoch_dir": quote("keys/epochs"),
	}
	if o.Recovery {
		set["keys.recovery_key"] = quote("keys/recovery.pub")
	}
	if o.Dev {
		set["dev"] = "true"
		set["trust.white_list"] = quote("")
		set["inbound.listen"] = list("127.0.0.1:2525")
		set["inbound.require_client_cert"] = "false"
		set["submission.listen"] = list("127.0.0.1:2465")
		set["imap.listen"] = list("127.0.0.1:2993")
		set["imap.password"] = quote("on")
		set["outbound.route"] = quote(RouteSmarthost)
		set["outbound.smarthost"] = quote("127.0.0.1:2526")
		set["outbound.tls"] = quote(tlsNone)
		return set
	}
	set["trust.white_list"] = quote("listeblanchemssante.xml")
	set["inbound.listen"] = list("0.0.0.0:25")
	set["outbound.route"] = quote("mx")
	return set
}

func comment(b *strings.Builder, text string) {
	for line := range strings.SplitSeq(strings.TrimSpace(text), "\n") {
		b.WriteString("# " + line + "\n")
	}
}
