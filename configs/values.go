package configs

import (
	"crypto/tls"
	"math"
	"net"
	"net/netip"
	"regexp"
	"strconv"
	"strings"

	"github.com/relais-sante/relais/rules/strict"
)

// Path is a file or folder. Loading resolves a relative one against the folder
// of the configuration file.
type Path string

// Size is a number of bytes: "25MiB", "64KiB", "512".
type Size int64

var sizeUnits = []struct {
	suffix string
	bytes  int64
}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"", 1}}

// UnmarshalValue implements [strict.Unmarshaler]; a bare number is bytes.
func (s *Size) UnmarshalValue(v any) error {
	switch v := v.(type) {
	case int64:
		if v >= 0 {
			*s = Size(v)
			return nil
		}
	case string:
		for _, u := range sizeUnits {
			digits, ok := strings.CutSuffix(v, u.suffix)
			if !ok {
				continue
			}
			n, err := strconv.ParseUint(strings.TrimSpace(digits), 10, 63)
			if err != nil || n > uint64(math.MaxInt64/u.bytes) {
				break
			}
			*s = Size(int64(n) * u.bytes)
			return nil
		}
	}
	return &strict.Fault{ID: badSize, Args: map[string]any{}}
}

func (s Size) String() string {
	for _, u := range sizeUnits {
		if n := int64(s); n >= u.bytes && n%u.bytes == 0 {
			return strconv.FormatInt(n/u.bytes, 10) + u.suffix
		}
	}
	return "0"
}

// Percent is a share: "20%", from "0%" to "100%".
type Percent int

// UnmarshalText implements [encoding.TextUnmarshaler].
func (p *Percent) UnmarshalText(text []byte) error {
	digits, ok := strings.CutSuffix(string(text), "%")
	n, err := strconv.ParseUint(digits, 10, 8)
	if !ok || err != nil || n > 100 {
		return &strict.Fault{ID: badPercent, Args: map[string]any{"value": string(text)}}
	}
	*p = Percent(n)
	return nil
}

func (p Percent) String() string { return strconv.Itoa(int(p)) + "%" }

// Coded is a code of a national list: "07^Consultation^1.2.250.1.213.2.2".
type Coded struct{ Code, System, Label string }

var codedShape = regexp.MustCompile(`^([!-\]_-~]{1,64})\^([^^\x00-\x1f]{1,200})\^([0-2](?:\.[0-9]+)+)$`)

// UnmarshalText implements [encoding.TextUnmarshaler].
func (c *Coded) UnmarshalText(text []byte) error {
	m := codedShape.FindSubmatch(text)
	if m == nil {
		return &strict.Fault{ID: badCoded, Args: map[string]any{"value": string(text)}}
	}
	*c = Coded{Code: string(m[1]), Label: string(m[2]), System: string(m[3])}
	return nil
}

func (c Coded) String() string { return c.Code + "^" + c.Label + "^" + c.System }

// TLSVersion is "1.2" or "1.3".
type TLSVersion string

// Number gives the version as crypto/tls counts them.
func (v TLSVersion) Number() uint16 {
	if v == "1.2" {
		return tls.VersionTLS12
	}
	return tls.VersionTLS13
}

// Modes of an [Endpoint].
const (
	STARTTLS    = "starttls"
	ImplicitTLS = "tls"
	PlainHTTP   = "http" // metrics on loopback
)

// Endpoint is an address to listen on or to connect to, and how TLS begins
// there. Loading fills in the mode that the section gives a bare address.
type Endpoint struct {
	Mode    string
	Address string // host:port
}

// UnmarshalText implements [encoding.TextUnmarshaler].
func (e *Endpoint) UnmarshalText(text []byte) error {
	mode, address, prefixed := strings.Cut(string(text), "://")
	if !prefixed {
		mode, address = "", string(text)
	}
	if !validAddress(address) || mode != "" && mode != STARTTLS && mode != ImplicitTLS || prefixed && mode == "" {
		return &strict.Fault{ID: badListen, Args: map[string]any{"value": string(text)}}
	}
	*e = Endpoint{mode, address}
	return nil
}

func (e Endpoint) String() string {
	if e.Mode == "" {
		return e.Address
	}
	return e.Mode + "://" + e.Address
}

// Loopback reports whether only this machine reaches the address.
func (e Endpoint) Loopback() bool { return loopback(e.Address) }

// HostPort splits an address that [Load] has checked.
func (e Endpoint) HostPort() (host, port string) {
	host, port, _ = net.SplitHostPort(e.Address)
	return host, port
}

func validAddress(address string) bool {
	host, port, err := net.SplitHostPort(address)
	if err != nil || strings.ContainsAny(host, " /@") {
		return false
	}
	n, err := strconv.ParseUint(port, 10, 16)
	return err == nil && strconv.FormatUint(n, 10) == port
}

func loopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

// Listens is a list of addresses to listen on; one may be written without
// brackets.
type Listens []Endpoint

// UnmarshalValue implements [strict.Unmarshaler].
func (l *Listens) UnmarshalValue(v any) error {
	list, ok := v.([]any)
	if text, single := v.(string); single {
		list, ok = []any{text}, true
		if text == "" {
			list = nil
		}
	}
	if !ok {
		return &strict.Fault{ID: badListen, Args: map[string]any{"value": ""}}
	}
	*l = make(Listens, len(list))
	for i, item := range list {
		text, ok := item.(string)
		if !ok {
			return &strict.Fault{ID: badListen, Args: map[string]any{"value": ""}}
		}
		if err := (*l)[i].UnmarshalText([]byte(text)); err != nil {
			return err
		}
	}
	return nil
}

// Passwords says from where a login by password is taken.
type Passwords struct {
	On       bool           // from everywhere
	Networks []netip.Prefix // or from these
}

// UnmarshalValue implements [strict.Unmarshaler].
func (p *Passwords) UnmarshalValue(v any) error {
	*p = Passwords{}
	switch v := v.(type) {
	case string:
		if v == "on" || v == "off" {
			p.On = v == "on"
			return nil
		}
	case []any:
		for _, item := range v {
			text, _ := item.(string)
			network, err := netip.ParsePrefix(text)
			if ip, ipErr := netip.ParseAddr(text); ipErr == nil {
				network, err = netip.PrefixFrom(ip, ip.BitLen()), nil
			}
			if err != nil {
				return &strict.Fault{ID: badPasswords}
			}
			p.Networks = append(p.Networks, network.Masked())
		}
		return nil
	}
	return &strict.Fault{ID: badPasswords}
}

// Allows reports whether a login by password is taken from an address.
func (p Passwords) Allows(from netip.Addr) bool {
	from = from.Unmap()
	for _, network := range p.Networks {
		if network.Contains(from) {
			return true
		}
	}
	return p.On
}

// Places of a [Secret].
const (
	InFile       = "file"
	InCredential = "credential" // systemd, $CREDENTIALS_DIRECTORY
	InEnv        = "env"
)

// Secret says where a secret is kept, never what it is. The zero value is none.
type Secret struct {
	In   string // file, credential, env
	Name string // path or name
}

// UnmarshalText implements [encoding.TextUnmarshaler]; a bare path is a file.
func (s *Secret) UnmarshalText(text []byte) error {
	in, name, ok := strings.Cut(string(text), ":")
	switch {
	case len(text) == 0:
		*s = Secret{}
	case !ok:
		*s = Secret{InFile, string(text)}
	case (in == InFile || in == InCredential || in == InEnv) && name != "":
		*s = Secret{in, name}
	default:
		return &strict.Fault{ID: badSecret}
	}
	return nil
}

func (s Secret) String() string {
	if s.In == "" {
		return ""
	}
	return s.In + ":" + s.Name
}
