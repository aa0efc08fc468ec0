package demo

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"github.com/relais-sante/relais/mailbox"
)

// Names in the folder, for those who try.
const (
	sampleName = "message.eml"
	boxesName  = "boxes"
)

// Invite tells what to try while everything stays up, and from then on what
// arrives. The stage must keep boxes as files.
func (s *Stage) Invite(ctx context.Context) error {
	if err := s.sample(filepath.Join(s.dir, sampleName)); err != nil {
		return err
	}
	_, port, err := net.SplitHostPort(s.hub.inbound)
	if err != nil {
		return err
	}
	home := houses[0] // the doctor's operator
	s.tell.free()
	s.tell.title("demo.stay", nil)
	s.tell.paragraph("demo.stay-folder", map[string]any{"dir": s.dir, "address": s.pathway.Address, "listen": s.hub.inbound})
	s.tell.paragraph("demo.stay-admin", nil)
	s.tell.command("cd " + s.dir)
	s.tell.command("export RELAIS_CONFIG=$PWD/hub/" + filepath.Base(s.hub.config))
	if s.o.Program != "" {
		s.tell.command("alias relais=" + s.o.Program)
	}
	for _, command := range []string{"thread show " + s.pathway.ID, "team show " + s.pathway.ID, "queue list", "triage list", "status"} {
		s.tell.command("relais " + command)
	}
	s.tell.paragraph("demo.stay-send", map[string]any{"doctor": doctor.name, "letter": sampleName})
	s.tell.command(fmt.Sprintf("curl --url smtp://127.0.0.1:%s/%s --ssl-reqd --cacert hub/tls/ca.pem --cert %s.pem --key %s.key --mail-from %s --mail-rcpt %s --upload-file %s",
		port, home.host(), home.name, home.name, boxDoctor, s.pathway.Address, sampleName))
	s.tell.command(fmt.Sprintf("swaks --server 127.0.0.1:%s --tls --tls-cert %s.pem --tls-key %s.key --helo %s --from %s --to %s",
		port, home.name, home.name, home.host(), boxDoctor, s.pathway.Address))
	s.tell.paragraph("demo.stay-read", map[string]any{"dir": boxesName})
	s.tell.command("mutt -f " + filepath.Join(boxesName, boxWard))
	if err := s.inviteToRead(ctx); err != nil {
		return err
	}
	s.tell.free()
	s.tell.staying.Store(true)
	return nil
}

// inviteToRead tells how the doctor opens the pathway in a mail client.
func (s *Stage) inviteToRead(ctx context.Context) error {
	account, err := s.client.CreateAccount(ctx, nobody, mailbox.AccountRequest{Mailbox: boxDoctor})
	if err != nil {
		return err
	}
	_, imap, err := net.SplitHostPort(s.hub.mail)
	if err != nil {
		return err
	}
	_, submission, err := net.SplitHostPort(s.hub.send)
	if err != nil {
		return err
	}
	s.tell.paragraph("demo.stay-imap", map[string]any{
		"doctor": doctor.name, "imap": imap, "submission": submission, "username": account.Username, "password": account.Password,
	})
	s.tell.command(fmt.Sprintf("curl --cacert hub/tls/ca.pem --user %s:%s imaps://localhost:%s/", account.Username, account.Password, imap))
	s.tell.paragraph("demo.stay-then", nil)
	return nil
}

// sample writes a mail that is ready to be sent.
func (s *Stage) sample(path string) error {
	d := &draft{
		to: s.pathway.Address, subject: s.tell.text("demo.mail-sample-subject", nil), text: s.tell.text("demo.mail-sample", nil),
	}
	d.from.Name, d.from.Address = doctor.name, boxDoctor
	raw, _, err := d.write()
	if err != nil {
		return err
	}
	return os.WriteFile(path, raw, 0o600)
}
