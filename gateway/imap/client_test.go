package imap

import (
	"bytes"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
)

const sample = "From: Paul <paul@chu.example>\r\nTo: anne@box.example\r\nSubject: =?utf-8?q?R=C3=A9sultats?=\r\nDate: Mon, 1 Jun 2026 10:00:00 +0200\r\n" +
	"Message-ID: <1@chu.example>\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\nhello\r\n--b\r\n" +
	"Content-Type: application/pdf; name=a.pdf\r\nContent-Disposition: attachment; filename=a.pdf\r\nContent-Transfer-Encoding: base64\r\n\r\nJVBERi0=\r\n--b--\r\n"

// TestImapclient goes through what go-imap's client can do.
func TestImapclient(t *testing.T) {
	h := open(t, nil)
	exists := make(chan uint32, 10)
	c, err := imapclient.DialTLS(h.addrs, &imapclient.Options{
		TLSConfig: clientTLS(),
		UnilateralDataHandler: &imapclient.UnilateralDataHandler{
			Mailbox: func(d *imapclient.UnilateralDataMailbox) {
				if d.NumMessages != nil {
					exists <- *d.NumMessages
				}
			},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	check := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	check("login", c.Login(testUser, testSecret).Wait())
	_, err = c.Namespace().Wait()
	check("namespace", err)
	_, err = c.ID(&imap.IDData{Name: "test"}).Wait()
	check("id", err)
	_, err = c.Enable(imap.CapUTF8Accept, imap.CapIMAP4rev2).Wait()
	check("enable", err)
	check("create", c.Create("Été", nil).Wait())
	for range 3 {
		a := c.Append("INBOX", int64(len(sample)), &imap.AppendOptions{Flags: []imap.Flag{imap.FlagFlagged}, Time: theTime})
		_, err = io.WriteString(a, sample)
		check("append", err)
		check("append", a.Close())
		data, err := a.Wait()
		check("append", err)
		if data.UIDValidity == 0 || data.UID == 0 {
			t.Errorf("%+v", data)
		}
	}
	selected, err := c.Select("INBOX", &imap.SelectOptions{CondStore: true}).Wait()
	check("select", err)
	if selected.NumMessages != 3 || selected.HighestModSeq == 0 {
		t.Errorf("%+v", selected)
	}
	all := imap.SeqSetNum(1, 2, 3)
	body := &imap.FetchItemBodySection{Peek: true}
	messages, err := c.Fetch(all, &imap.FetchOptions{
		Envelope: true, Flags: true, InternalDate: true, RFC822Size: true, UID: true, ModSeq: true,
		BodyStructure: &imap.FetchItemBodyStructure{Extended: true}, BodySection: []*imap.FetchItemBodySection{body},
		BinarySection: []*imap.FetchItemBinarySection{{Part: []int{2}, Peek: true}},
	}).Collect()
	check("fetch", err)
	if len(messages) != 3 {
		t.Fatalf("%d messages", len(messages))
	}
	m := messages[0]
	if m.Envelope.Subject != "Résultats" || m.RFC822Size != int64(len(sample)) || !m.InternalDate.Equal(theTime) || m.ModSeq == 0 || m.UID != 1 {
		t.Errorf("%+v", m)
	}
	if !bytes.Equal(m.FindBodySection(body), []byte(sample)) {
		t.Error("another body than was put")
	}
	if parts, ok := m.BodyStructure.(*imap.BodyStructureMultiPart); !ok || len(parts.Children) != 2 {
		t.Errorf("%+v", m.BodyStructure)
	}
	if len(m.BinarySection) != 1 || string(m.BinarySection[0].Bytes) != "%PDF-" {
		t.Errorf("%+v", m.BinarySection)
	}
	found, err := c.UIDSearch(&imap.SearchCriteria{Body: []string{"HELLO"}, Header: []imap.SearchCriteriaHeaderField{{Key: "Subject", Value: "résultats"}}},
		&imap.SearchOptions{ReturnAll: true, ReturnCount: true}).Wait()
	check("search", err)
	if found.Count != 3 {
		t.Errorf("%+v", found)
	}
	_, err = c.Sort(&imapclient.SortOptions{SearchCriteria: &imap.SearchCriteria{}, SortCriteria: []imapclient.SortCriterion{{Key: imapclient.SortKeyDate, Reverse: true}}}).Wait()
	check("sort", err)
	_, err = c.Thread(&imapclient.ThreadOptions{Algorithm: imap.ThreadReferences, SearchCriteria: &imap.SearchCriteria{}}).Wait()
	check("thread", err)
	_, err = c.Store(all, &imap.StoreFlags{Op: imap.StoreFlagsAdd, Flags: []imap.Flag{imap.FlagSeen}}, &imap.StoreOptions{UnchangedSince: 1 << 40}).Collect()
	check("store", err)
	copied, err := c.Copy(imap.SeqSetNum(1), "Été").Wait()
	check("copy", err)
	if copied.UIDValidity == 0 {
		t.Errorf("%+v", copied)
	}
	_, err = c.Move(imap.SeqSetNum(2), "Été").Wait()
	check("move", err)
	status, err := c.Status("Été", &imap.StatusOptions{NumMessages: true, UIDNext: true, Size: true, HighestModSeq: true}).Wait()
	check("status", err)
	if *status.NumMessages != 2 {
		t.Errorf("%+v", status)
	}
	list, err := c.List("", "*", &imap.ListOptions{ReturnStatus: &imap.StatusOptions{NumMessages: true}, ReturnSubscribed: true}).Collect()
	check("list", err)
	if len(list) != 2 || list[1].Mailbox != "Été" {
		t.Errorf("%+v", list)
	}
	_, err = c.GetQuotaRoot("INBOX").Wait()
	check("quota", err)
	_, err = c.MyRights("INBOX").Wait()
	check("rights", err)
	_, err = c.Store(imap.SeqSetNum(1), &imap.StoreFlags{Op: imap.StoreFlagsAdd, Flags: []imap.Flag{imap.FlagDeleted}}, nil).Collect()
	check("store", err)
	gone, err := c.Expunge().Collect()
	check("expunge", err)
	if fmt.Sprint(gone) != "[1]" {
		t.Errorf("%v", gone)
	}
	for len(exists) > 0 {
		<-exists
	}
	idle, err := c.Idle()
	check("idle", err)
	h.user().deliver(t, "INBOX", "Subject: new\n\nnew\n")
	select {
	case n := <-exists:
		if n != 2 {
			t.Errorf("%d messages", n)
		}
	case <-time.After(5 * time.Second):
		t.Error("not told of a new message")
	}
	check("idle", idle.Close())
	check("idle", idle.Wait())
	check("logout", c.Logout().Wait())
}
