package trust

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/relais-sante/relais/store/journal"
)

// ErrName: a distinguished name cannot be read.
const ErrName = journal.Fault("not a distinguished name")

// maxName bounds the text of a name, in bytes. The longest of the national list
// are under 200.
const maxName = 4096

// Name is a distinguished name. Two names are equal when they have the same
// attributes, in whatever order and grouping: the white list and certificates
// write the same name in different orders (RFC 4514 §2.1 reverses them) and
// escape it differently. Values are compared as X.520 caseIgnoreMatch does,
// without regard to case and to repeated spaces (RFC 5280 §7.1, RFC 4518).
type Name struct {
	attributes []attribute // as they were written
	key        string
}

type attribute struct {
	oid   string // dotted
	value string
}

// shortNames are the attribute types of RFC 4519 and those seen in IGC-Santé
// certificates, by every name software writes them with.
var shortNames = map[string]string{
	"CN": "2.5.4.3", "COMMONNAME": "2.5.4.3",
	"SN": "2.5.4.4", "SURNAME": "2.5.4.4",
	"SERIALNUMBER": "2.5.4.5",
	"C":            "2.5.4.6", "COUNTRYNAME": "2.5.4.6",
	"L": "2.5.4.7", "LOCALITYNAME": "2.5.4.7",
	"ST": "2.5.4.8", "S": "2.5.4.8", "SP": "2.5.4.8", "STATEORPROVINCENAME": "2.5.4.8",
	"STREET": "2.5.4.9", "STREETADDRESS": "2.5.4.9",
	"O": "2.5.4.10", "ORGANIZATIONNAME": "2.5.4.10",
	"OU": "2.5.4.11", "ORGANIZATIONALUNITNAME": "2.5.4.11",
	"T": "2.5.4.12", "TITLE": "2.5.4.12",
	"DESCRIPTION": "2.5.4.13", "BUSINESSCATEGORY": "2.5.4.15", "POSTALCODE": "2.5.4.17",
	"G": "2.5.4.42", "GN": "2.5.4.42", "GIVENNAME": "2.5.4.42",
	"DNQ": "2.5.4.46", "DNQUALIFIER": "2.5.4.46",
	"ORGANIZATIONIDENTIFIER": "2.5.4.97",
	"DC":                     "0.9.2342.19200300.100.1.25", "DOMAINCOMPONENT": "0.9.2342.19200300.100.1.25",
	"UID": "0.9.2342.19200300.100.1.1", "USERID": "0.9.2342.19200300.100.1.1",
	"E": "1.2.840.113549.1.9.1", "EMAILADDRESS": "1.2.840.113549.1.9.1",
}

const (
	oidCommonName   = "2.5.4.3"
	oidOrganization = "2.5.4.10"
)

// ParseName reads a name as RFC 4514 writes it, and leniently what is met in the
// field: spaces around signs, ";" between attributes, quoted values (RFC 1779),
// and a comma inside a value that nobody escaped.
func ParseName(s string) (Name, error) {
	if len(s) > maxName {
		return Name{}, fmt.Errorf("name of %d bytes: %w", len(s), ErrName)
	}
	var raw []attribute
	for rest := s; rest != ""; {
		end := nextSeparator(rest)
		part := rest[:end]
		before := s[:len(s)-len(rest)]
		rest = rest[min(end+1, len(rest)):]
		typ, value, ok := strings.Cut(part, "=")
		oid, known := attributeType(typ)
		switch {
		case ok && known:
			raw = append(raw, attribute{oid: oid, value: value})
		case strings.TrimSpace(part) == "":
		case len(raw) == 0:
			return Name{}, fmt.Errorf("reading an attribute type: %w", ErrName)
		default: // the separator belonged to the value before it
			raw[len(raw)-1].value += before[len(before)-1:] + part
		}
	}
	for i := range raw {
		value, err := unescape(strings.TrimSpace(raw[i].value))
		if err != nil {
			return Name{}, err
		}
		raw[i].value = value
	}
	return newName(raw)
}

// NameOf reads the subject of a certificate.
func NameOf(cert *x509.Certificate) (Name, error) {
	var rdns pkix.RDNSequence
	rest, err := asn1.Unmarshal(cert.RawSubject, &rdns)
	if err != nil || len(rest) > 0 {
		return Name{}, fmt.Errorf("reading a certificate's subject: %w", ErrName)
	}
	var attributes []attribute
	for _, rdn := range rdns {
		for _, a := range rdn {
			value, ok := a.Value.(string)
			if !ok {
				return Name{}, fmt.Errorf("reading a certificate's subject: %w", ErrName)
			}
			attributes = append(attributes, attribute{oid: a.Type.String(), value: utf8Text(value)})
		}
	}
	// RFC 4514 §2.1 writes the last first, as the white list does.
	slices.Reverse(attributes)
	return newName(attributes)
}

func newName(attributes []attribute) (Name, error) {
	keys := make([]string, 0, len(attributes))
	for _, a := range attributes {
		// A NUL would hide what follows it from programs written in C.
		if !utf8.ValidString(a.value) || strings.ContainsRune(a.value, 0) {
			return Name{}, fmt.Errorf("reading an attribute value: %w", ErrName)
		}
		folded := strings.Join(strings.Fields(strings.ToLower(norm.NFKC.String(a.value))), " ")
		keys = append(keys, a.oid+"="+folded)
	}
	if len(keys) == 0 {
		return Name{}, fmt.Errorf("name without attributes: %w", ErrName)
	}
	slices.Sort(keys)
	return Name{attributes: attributes, key: strings.Join(keys, "\x00")}, nil
}

// Equal reports whether both are the same name; no name equals the zero Name.
func (n Name) Equal(m Name) bool { return n.key != "" && n.key == m.key }

// Zero reports whether n is no name.
func (n Name) Zero() bool { return n.key == "" }

// CommonName is the first CN: for an operator, the host name of its server.
func (n Name) CommonName() string { return n.first(oidCommonName) }

// Organization is the first O: the operator's legal name.
func (n Name) Organization() string { return n.first(oidOrganization) }

func (n Name) first(oid string) string {
	for _, a := range n.attributes {
		if a.oid == oid {
			return a.value
		}
	}
	return ""
}

// written gives the name to write an attribute type with.
var written = func() map[string]string {
	m := map[string]string{}
	for short, oid := range shortNames {
		if old, ok := m[oid]; !ok || len(short) == 2 && len(old) != 2 || len(old) > 2 && len(short) < len(old) {
			m[oid] = short
		}
	}
	for _, one := range []string{"C", "O", "L"} {
		m[shortNames[one]] = one
	}
	m[shortNames["ST"]] = "ST"
	m[shortNames["GN"]] = "GN"
	return m
}()

// String writes the name as RFC 4514 §2 does.
func (n Name) String() string {
	var b strings.Builder
	for i, a := range n.attributes {
		if i > 0 {
			b.WriteByte(',')
		}
		typ, ok := written[a.oid]
		if !ok {
			typ = a.oid
		}
		b.WriteString(typ + "=" + escape(a.value))
	}
	return b.String()
}

// der encodes the name for a certificate, each attribute its own RDN.
func (n Name) der() ([]byte, error) {
	var rdns pkix.RDNSequence
	for _, a := range slices.Backward(n.attributes) {
		var oid asn1.ObjectIdentifier
		for arc := range strings.SplitSeq(a.oid, ".") {
			number, err := strconv.Atoi(arc)
			if err != nil {
				return nil, fmt.Errorf("encoding an attribute type: %w", ErrName)
			}
			oid = append(oid, number)
		}
		rdns = append(rdns, pkix.RelativeDistinguishedNameSET{{Type: oid, Value: a.value}})
	}
	return asn1.Marshal(rdns)
}
