package configs_test

import (
	"strings"
	"testing"

	"github.com/relais-sante/relais/configs"
	"github.com/relais-sante/relais/mailbox/texts"
	"github.com/relais-sante/relais/rules/strict"
)

func TestProblems(t *testing.T) {
	met := map[strict.TextID]bool{}
	for _, c := range []struct {
		name     string
		old, new string
		want     string // English; * stands for anything
	}{
		{"no domain", `domain = "parcours.example.mssante.fr"`, ``, `relais.toml: "domain" is missing or empty.`},
		{"domain in capitals", `parcours.example`, `Parcours.example`, `relais.toml:1:1: "Parcours.example.mssante.fr" is not a mail domain. *`},
		{"domain without a dot", `parcours.example.mssante.fr`, `parcours`, `relais.toml:1:1: "parcours" is not a mail domain. *`},
		{"unknown key", `[tls]`, "[tls]\ncertificate = \"x\"", `relais.toml:3:1: There is no key "tls.certificate". Keys allowed here: cert, key, client_cert, client_key, authorities, crl_dir, crl_grace, peer_eku, min_version, max_version.`},
		{"unknown section", `[tls]`, "[tsl]\n[tls]", `relais.toml:2:2: There is no key "tsl". *`},
		{"unknown route", `nil =`, "route = \"fax\"\nnil =", `relais.toml:16:1: "outbound.route": "fax" is not allowed. Allowed values: mx, smarthost, operator.`},
		{"unknown locale", `[tls]`, "locale = \"de\"\n[tls]", `relais.toml:2:1: "locale": "de" is not allowed. Allowed values: fr, en.`},
		{"bad size", `[submission]`, "max_message_bytes = \"25 MB\"\n[submission]", `relais.toml:10:1: "inbound.max_message_bytes" is not a size. *`},
		{"size too small", `[submission]`, "max_message_bytes = 12\n[submission]", `relais.toml:10:1: "inbound.max_message_bytes" is too small: at least 1KiB.`},
		{"bad duration", `[keys]`, "[triage]\nalert = \"soon\"\n[keys]", `relais.toml:18:1: "triage.alert": "soon" is not a duration. *`},
		{"bad address", `127.0.0.1:2525`, `127.0.0.1`, `relais.toml:9:1: "inbound.listen": "127.0.0.1" is not an address. *`},
		{"bad scheme", `starttls://192.0.2.1:587`, `smtp://192.0.2.1:587`, `relais.toml:11:1: "submission.listen": "smtp://192.0.2.1:587" is not an address. *`},
		{"port out of range", `[::1]:993`, `[::1]:99300`, `relais.toml:13:1: "imap.listen": "[::1]:99300" is not an address. *`},
		{"listening twice", `[::1]:993`, `192.0.2.1:465`, `relais.toml:13:1: "imap.listen": "192.0.2.1:465" is taken already, *`},
		{"no password list", `["10.0.0.0/8", "192.0.2.7"]`, `"yes"`, `relais.toml:14:1: "imap.password" is "on", "off", or a list of networks *`},
		{"no network", `"192.0.2.7"`, `"hospital"`, `relais.toml:14:1: "imap.password" is "on", "off", or a list of networks *`},
		{"passwords from everywhere", `["10.0.0.0/8", "192.0.2.7"]`, `"on"`, `relais.toml:14:1: warning: Passwords are taken from everywhere. *`},
		{"no white list", `white_list = "list.xml"`, `white_list = ""`, `relais.toml:7:1: warning: Without a white list *`},
		{"share without a sign", `[inbound]`, "max_shrink = \"20\"\n[inbound]", `relais.toml:8:1: "trust.max_shrink": "20" is not a share. *`},
		{"code without a list", `[keys]`, "[export]\ncontent = \"07^Consultation\"\n[keys]", `relais.toml:18:1: "export.content": "07^Consultation" is not a code of a list. *`},
		{"share over the whole", `[inbound]`, "max_shrink = \"101%\"\n[inbound]", `relais.toml:8:1: "trust.max_shrink": "101%" is not a share. *`},
		{"clear peers on the network", `[submission]`, "require_client_cert = false\n[submission]", `relais.toml:10:1: "require_client_cert = false" is allowed on loopback only (127.0.0.1, ::1, localhost), not with tls://192.0.2.1:465.`},
		{"no certificate", `cert = "tls/cert.pem"`, ``, `relais.toml:2:2: "tls.cert" is missing or empty.`},
		{"no key", `key = "tls/key.pem"`, ``, `relais.toml:2:2: "tls.key" is missing or empty.`},
		{"client certificate without key", `[trust]`, "client_cert = \"c.pem\"\n[trust]", `relais.toml:6:1: "client_cert" and "client_key" go together: *`},
		{"no authorities", `authorities = "tls/ca.pem"`, ``, `relais.toml:2:2: "tls.authorities" is missing: *`},
		{"TLS versions crossed", `[trust]`, "min_version = \"1.3\"\nmax_version = \"1.2\"\n[trust]", `relais.toml:6:1: "tls.min_version": "1.3" is above max_version ("1.2"). Give one that is not, or raise max_version.`},
		{"no smarthost", `nil =`, "route = \"smarthost\"\nsmarthost_dn = \"CN=x\"\nnil =", `relais.toml:15:2: "outbound.smarthost" is missing or empty.`},
		{"smarthost without port", `nil =`, "route = \"smarthost\"\nsmarthost = \"mail\"\nsmarthost_dn = \"CN=x\"\nnil =", `relais.toml:17:1: "outbound.smarthost": "mail" is not an address. Write "host:port".`},
		{"smarthost without name", `nil =`, "route = \"smarthost\"\nsmarthost = \"mail:25\"\nnil =", `relais.toml:15:2: "outbound.smarthost_dn" is missing: *`},
		{"clear to a smarthost away", `nil =`, "route = \"smarthost\"\nsmarthost = \"192.0.2.9:25\"\ntls = \"none\"\nnil =", `relais.toml:18:1: "tls = "none"" is allowed on loopback only (127.0.0.1, ::1, localhost), not with 192.0.2.9:25.`},
		{"clear to a smarthost here", `nil =`, "route = \"smarthost\"\nsmarthost = \"localhost:2526\"\ntls = \"none\"\nnil =", ``},
		{"clear to everybody", `nil =`, "tls = \"none\"\nnil =", `relais.toml:16:1: tls = "none" is allowed only with route = "smarthost" *`},
		{"resolver without port", `nil =`, "resolver = \"192.0.2.53\"\nnil =", `relais.toml:16:1: "outbound.resolver": "192.0.2.53" is not an address. *`},
		{"no operator", `nil =`, "route = \"operator\"\nnil =", `relais.toml:16:1: route = "operator" wants at least one section [[operator]].`},
		{"no reference", `nil = "DEV000000"`, ``, `relais.toml:15:2: "outbound.nil" is missing or empty.`},
		{"reference with a space", `DEV000000`, `DEV 0`, `relais.toml:16:1: "outbound.nil": "DEV 0" is not a product reference: *`},
		{"no retries", `nil =`, "retry = []\nnil =", `relais.toml:16:1: "outbound.retry" is an empty list. *`},
		{"operator without anything", `[keys]`, "[[operator]]\nauth = \"xoauth2\"\n[keys]", `relais.toml:17:3: "operator.name" is missing or empty.
relais.toml:17:3: "operator.address" is missing or empty.
relais.toml:17:3: "operator.imap" is missing or empty.
relais.toml:17:3: "operator.smtp" is missing or empty.
relais.toml:17:3: "operator.secret" is missing or empty.
relais.toml:17:3: "operator.client_id" is missing or empty.
relais.toml:17:3: "operator.issuer" is missing or empty.`},
		{"operator's address", `[keys]`, operator("address = \"boite\"") + "[keys]", `relais.toml:21:1: "operator.address": "boite" is not a mail address, *`},
		{"operator's box in the own domain", `[keys]`, operator("address = \"a@parcours.example.mssante.fr\"") + "[keys]", `relais.toml:21:1: "operator.address": "a@parcours.example.mssante.fr" is in *`},
		{"one box twice", `[keys]`, operator("name = \"b\"") + operator("") + "[keys]", `relais.toml:24:1: "operator.address": "a@b.example" is taken already, *`},
		{"operator in clear", `[keys]`, operator("auth = \"xoauth2\"\nsecret = \"s\"\nclient_id = \"c\"\nissuer = \"http://idp.example/x\"") + "[keys]", `relais.toml:25:1: "operator.issuer": "http://idp.example/x" is not the address of an identity provider. *`},
		{"a document elsewhere", `[keys]`, operator("auth = \"oauthbearer\"\nsecret = \"s\"\nclient_id = \"c\"\nissuer = \"https://idp.example/x\"\ndiscovery = \"https://other.example/\"") + "[keys]", `relais.toml:26:1: "operator.discovery": "https://other.example/" is not a path *`},
		{"no first token", `[keys]`, operator("auth = \"xoauth2\"\ngrant = \"refresh_token\"\nclient_id = \"c\"\nissuer = \"https://idp.example\"") + "[keys]", `relais.toml:17:3: "operator.refresh_token" is missing or empty.`},
		{"half a certificate", `[keys]`, operator("auth = \"password\"\nsecret = \"s\"\ncert = \"c.pem\"") + "[keys]", `relais.toml:17:3: "operator.key" is missing or empty.`},
		{"taken back to the inbox", `[keys]`, operator("done = \"Inbox\"") + "[keys]", `relais.toml:22:1: "operator.done": "Inbox" is taken already, *`},
		{"not a folder", `[keys]`, operator("aside = \"a*\"") + "[keys]", `relais.toml:22:1: "operator.aside": "a*" cannot be the name of a folder of the box: *`},
		{"operator's name", `[keys]`, operator("name = \"ma boîte\"") + "[keys]", `relais.toml:21:1: "operator.name": "ma boîte" is not a short name: *`},
		{"operators of one name", `[keys]`, strings.Repeat("[[operator]]\nname = \"a\"\naddress = \"a@b.example\"\nimap = \"h:993\"\nsmtp = \"h:465\"\n", 2) + "[keys]", `relais.toml:23:1: "operator.name": "a" is taken already, *`},
		{"bad secret", `[keys]`, "[keys]\nhub_key = \"vault:x\"", `relais.toml:18:1: "keys.hub_key" says where the secret is kept: *`},
		{"no hub key", `[keys]`, "[keys]\nhub_key = \"\"", `relais.toml:18:1: "keys.hub_key" is missing or empty.`},
		{"keys among the data", `[keys]`, "[keys]\nhub_key = \"data/hub.key\"\nepoch_dir = \"data/epochs\"\ncopies = [\"/mnt/a\", \"data/../data\"]", `relais.toml:18:1: "keys.hub_key" is inside data_dir. *
relais.toml:19:1: "keys.epoch_dir" is inside data_dir. *
relais.toml:20:21: "keys.copies" is inside data_dir. *`},
		{"no epochs", `[keys]`, "[keys]\nepoch_dir = \"\"", `relais.toml:18:1: "keys.epoch_dir" is missing or empty.`},
		{"no recovery", `recovery_key = "keys/recovery.pub"`, ``, `relais.toml:17:2: warning: Without a recovery key, *`},
		{"figures to the network", `[keys]`, "[metrics]\nlisten = \"0.0.0.0:9090\"\n[keys]", `relais.toml:18:1: "metrics.listen" is allowed on loopback only (127.0.0.1, ::1, localhost), not with 0.0.0.0:9090.`},
		{"STARTTLS where there is none", `[keys]`, "[admin]\nlisten = \"starttls://127.0.0.1:9091\"\n[keys]", `relais.toml:18:1: "starttls://127.0.0.1:9091": this listener has no STARTTLS. *`},
		{"client settings to the network in clear", `[keys]`, "[autoconfig]\nlisten = \"0.0.0.0:8080\"\n[keys]", `relais.toml:18:1: "autoconfig.listen" is allowed on loopback only (127.0.0.1, ::1, localhost), not with 0.0.0.0:8080.`},
		{"client settings by TLS", `[keys]`, "[autoconfig]\nlisten = \"tls://0.0.0.0:443\"\n[keys]", ``},
		{"client settings of no server", "listen = [\"[::1]:993\"]\npassword = [\"10.0.0.0/8\", \"192.0.2.7\"]", "[autoconfig]\nlisten = \"127.0.0.1:8080\"", `relais.toml:13:2: "autoconfig.imap" is missing, *`},
		{"client settings without a host", `[keys]`, "[autoconfig]\nlisten = \"127.0.0.1:8080\"\nimap = \":993\"\n[keys]", `relais.toml:19:1: "autoconfig.imap": ":993" is not an address. *`},
		{"antivirus at no address", `[keys]`, "[clamd]\naddress = \"clamd.ctl\"\n[keys]", `relais.toml:18:1: "clamd.address": "clamd.ctl" is not an address. *`},
		{"antivirus away over the network", `[keys]`, "[clamd]\naddress = \"192.0.2.9:3310\"\n[keys]", `relais.toml:18:1: "clamd.address" is allowed on loopback only *`},
		{"antivirus here", `[keys]`, "[clamd]\naddress = \"127.0.0.1:3310\"\n[keys]", ``},
		{"antivirus at a socket", `[keys]`, "[clamd]\naddress = \"/run/clamav/clamd.ctl\"\n[keys]", ``},
		{"antivirus at a long socket", `[keys]`, "[clamd]\naddress = \"/" + strings.Repeat("x", 107) + "\"\n[keys]", `relais.toml:18:1: The path of "clamd.address" is longer than 107 characters, *`},
		{"antivirus for small mail only", `[keys]`, "[clamd]\naddress = \"/run/clamd\"\nmax_bytes = \"24MiB\"\n[keys]", `relais.toml:19:1: "clamd.max_bytes" is smaller than inbound.max_message_bytes (25MiB): *`},
		{"long socket", `[keys]`, "[admin]\nsocket = \"/" + strings.Repeat("x", 107) + "\"\n[keys]", `relais.toml:18:1: The path of "admin.socket" is longer than 107 characters, *`},
		{"tokens of anybody", `[keys]`, "[oauth]\nissuer = \"https://idp.example/realm\"\n[keys]", `relais.toml:17:2: "oauth.audiences" is missing or empty.`},
		{"tokens in clear", `[keys]`, "[oauth]\nissuer = \"http://idp.example\"\naudiences = [\"a\"]\n[keys]", `relais.toml:18:1: "oauth.issuer": "http://idp.example" is not the address of an identity provider. *`},
		{"tokens asked about without a secret", `[keys]`, "[oauth]\nissuer = \"https://idp.example\"\naudiences = [\"a\"]\nclient_id = \"c\"\n[keys]", `relais.toml:17:2: "oauth.secret" is missing or empty.`},
		{"administrator of nobody", `[keys]`, "[[administrator]]\nrole = \"auditor\"\n[keys]", `relais.toml:17:3: Say who it is: *`},
		{"administrator of two", `[keys]`, "[[administrator]]\nrole = \"auditor\"\nuser = \"a\"\ncertificate = \"CN=a\"\n[keys]", `relais.toml:17:3: Say who it is: *`},
		{"role of nothing", `[keys]`, "[[administrator]]\nrole = \"chief\"\nuser = \"a\"\n[keys]", `relais.toml:18:1: "administrator.role": "chief" is not allowed. *`},
		{"coordinator of nothing", `[keys]`, "[[administrator]]\nrole = \"coordinator\"\nuser = \"a\"\n[keys]", `relais.toml:17:3: "programmes" goes with the role coordinator: *`},
		{"auditor of a programme", `[keys]`, "[[administrator]]\nrole = \"auditor\"\nuser = \"a\"\nprogrammes = [\"pon\"]\n[keys]", `relais.toml:20:1: "programmes" goes with the role coordinator: *`},
		{"administration for nobody", `[keys]`, "[admin]\nlisten = \"127.0.0.1:9091\"\n[keys]", `relais.toml:18:1: warning: Nobody will be able to connect: *`},
		{"trial open to the network", `[tls]`, "dev = true\n[tls]", `relais.toml:10:1: warning: dev = true and a listener open to the network (tls://192.0.2.1:465): *
relais.toml:12:1: warning: dev = true and a listener open to the network (starttls://192.0.2.1:587): *`},
		{"no data", `[tls]`, "data_dir = \"\"\n[tls]", `relais.toml:2:1: "data_dir" is missing or empty.*`},
	} {
		t.Run(c.name, func(t *testing.T) {
			src := strings.Replace(sound, c.old, c.new, 1)
			if src == sound {
				t.Fatal("the edit changes nothing")
			}
			_, problems := configs.Parse("/etc/relais/relais.toml", []byte(src))
			for _, p := range problems {
				met[p.ID] = true
				for _, l := range texts.Locales() {
					if text := configs.Explain(p, l); strings.Contains(text, "<no value>") || strings.Contains(text, "check.") {
						t.Errorf("%s: text with holes: %s", l, text)
					}
				}
			}
			if got := explain(problems); !matches(c.want, got) {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
		})
	}
	for _, id := range configs.TextIDs {
		if !met[id] {
			t.Errorf("no line of the table meets %s", id)
		}
	}
}

// matches compares a text with a pattern in which * stands for anything.
func matches(pattern, text string) bool {
	parts := strings.Split(pattern, "*")
	rest, ok := strings.CutPrefix(text, parts[0])
	for _, part := range parts[1:] {
		if !ok {
			return false
		}
		if part == "" {
			rest = ""
			continue
		}
		_, rest, ok = strings.Cut(rest, part)
	}
	return ok && rest == ""
}

// operator is a box at an operator that is complete; lines replace its own.
func operator(lines string) string {
	all := "[[operator]]\n"
	for _, own := range []string{`name = "a"`, `address = "a@b.example"`, `imap = "h:993"`, `smtp = "h:465"`} {
		key, _, _ := strings.Cut(own, " ")
		if !strings.HasPrefix(lines, key+" ") && !strings.Contains(lines, "\n"+key+" ") {
			all += own + "\n"
		}
	}
	return all + lines + "\n"
}
