package letter

import (
	"bytes"
	"encoding/base64"
	"math/rand/v2"
	"strconv"
	"testing"
)

// mailWithAttachment writes a mail with a text and a base64 attachment of
// about that size.
func mailWithAttachment(size int) []byte {
	content := make([]byte, size/4*3)
	random := rand.NewChaCha8([32]byte{1})
	random.Read(content)
	encoded := base64.StdEncoding.EncodeToString(content)
	var b bytes.Buffer
	b.WriteString(crlf("Received: from a.example by b.example; Thu, 12 Mar 2026 10:33:00 +0100\n" +
		"From: =?utf-8?Q?Anne_Roux?= <anne.roux@chu.example>\nTo: k7f3q2x@hub.example\n" +
		"Subject: =?utf-8?Q?Compte_rendu_de_l=27h=C3=B4pital_de_jour?=\nDate: Thu, 12 Mar 2026 10:33:00 +0100\n" +
		"Message-ID: <1@chu.example>\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=\"=_b1\"\n\n" +
		"--=_b1\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: quoted-printable\n\n" +
		"Bonjour,\n\nVeuillez trouver le compte rendu.\n\nCordialement,\nAnne Roux\n\n" +
		"--=_b1\nContent-Type: application/pdf; name=\"cr.pdf\"\nContent-Transfer-Encoding: base64\n" +
		"Content-Disposition: attachment; filename=\"cr.pdf\"\n\n"))
	for len(encoded) > 0 {
		n := min(76, len(encoded))
		b.WriteString(encoded[:n] + "\r\n")
		encoded = encoded[n:]
	}
	b.WriteString("\r\n--=_b1--\r\n")
	return b.Bytes()
}

func BenchmarkScanner(b *testing.B) {
	for _, size := range []int{3 << 10, 1 << 20, 18 << 20} {
		mail := mailWithAttachment(size)
		b.Run(strconv.Itoa(size>>10)+"KiB", func(b *testing.B) {
			b.SetBytes(int64(len(mail)))
			b.ReportAllocs()
			for b.Loop() {
				s := NewScanner(Limits{})
				for p := mail; len(p) > 0; { // as it comes from a connection
					n := min(len(p), 64<<10)
					s.Write(p[:n])
					p = p[n:]
				}
				if r, _ := s.Close(); len(r.Index.Root.Parts) != 2 {
					b.Fatal("not read")
				}
			}
		})
	}
}
