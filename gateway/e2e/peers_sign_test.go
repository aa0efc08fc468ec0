package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// signer signs mails with S/MIME and checks them, both by openssl, with a
// certificate of its own.
type signer struct {
	t        *testing.T
	dir      string
	verified int
}

func newSigner(t *testing.T, dir string) *signer {
	t.Helper()
	s := &signer{t: t, dir: dir}
	tool(t, nil, "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=Dr Anne Roux (essai)",
		"-addext", "keyUsage=digitalSignature", "-addext", "extendedKeyUsage=emailProtection",
		"-keyout", s.file("signer.key"), "-out", s.file("signer.pem"))
	return s
}

func (s *signer) file(name string) string { return filepath.Join(s.dir, name) }

// sign makes a multipart/signed mail of a quoted-printable text, from its
// MIME-Version field on.
func (s *signer) sign(text string) []string {
	s.t.Helper()
	part := "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: quoted-printable\n\n" + text + "\n"
	out := tool(s.t, []byte(part), "openssl", "cms", "-sign", "-signer", s.file("signer.pem"), "-inkey", s.file("signer.key"))
	return strings.Split(strings.ReplaceAll(out, "\r\n", "\n"), "\n")
}

// verify checks a mail as it lies in a box.
func (s *signer) verify(raw []byte) {
	s.t.Helper()
	save(s.t, s.file("signed.eml"), raw)
	out := tool(s.t, nil, "openssl", "cms", "-verify", "-in", s.file("signed.eml"), "-CAfile", s.file("signer.pem"), "-out", os.DevNull)
	if !strings.Contains(out, "successful") {
		s.t.Errorf("openssl says %q", out)
	}
	s.verified++
}
