package mailbox

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/relais-sante/relais/mailbox/password"
	"github.com/relais-sante/relais/store"
	"github.com/relais-sante/relais/store/journal"
)

// testProvider is an identity provider whose tokens say whom they stand for.
type testProvider struct{}

func (testProvider) Verify(_ context.Context, token string) (Identity, error) {
	switch rpps, ok := strings.CutPrefix(token, "for "); {
	case ok:
		return Identity{RPPS: rpps}, nil
	case token == "away":
		return Identity{}, ErrProvider
	}
	return Identity{}, ErrLogin
}

var here = netip.MustParseAddr("127.0.0.1")

func (h *house) account(r AccountRequest) AccountCreated {
	h.t.Helper()
	made, err := h.CreateAccount(h.t.Context(), testActor, r)
	if err != nil {
		h.t.Fatalf("making an account: %v", err)
	}
	return made
}

func (h *house) login(username, secret string) (*Account, error) {
	return h.Authenticate(h.t.Context(), Login{By: ByPassword, Username: username, Secret: secret, Where: here, Via: ViaIMAP})
}

// failureOf gives the code of a Failure.
func failureOf(t *testing.T, err error) string {
	t.Helper()
	var f *Failure
	if !errors.As(err, &f) {
		t.Fatalf("got %v, want a failure", err)
	}
	return f.Code
}

func TestAccountOfABox(t *testing.T) {
	h := newHouse(t)
	made := h.account(AccountRequest{Mailbox: "Roux@CHU.test", Label: "téléphone"})
	if made.Username != "roux@chu.test" || made.Password == "" || made.Account.State != "active" {
		t.Fatalf("made %+v", made)
	}
	for _, typed := range []string{made.Password, strings.ToUpper(made.Password), strings.ReplaceAll(made.Password, "-", "")} {
		a, err := h.login(" ROUX@chu.test ", typed)
		if err != nil {
			t.Fatal(err)
		}
		if a.Mailbox != "roux@chu.test" || a.Person != "" || a.Credential != made.Credential {
			t.Errorf("logged in as %+v", a)
		}
		members, err := h.AccountMembers(t.Context(), a)
		if err != nil || !slices.Equal(members, []AccountMember{{h.child, "m1"}}) {
			t.Errorf("stands for %v, %v", members, err)
		}
	}
	for _, wrong := range []struct{ username, secret string }{
		{"roux@chu.test", made.Password + "b"},
		{"roux@chu.test", ""},
		{"roux@chu.test", made.Password[:3]},
		{"moreau@chu.test", made.Password},
		{"", made.Password},
		{"anne.roux/roux@chu.test", made.Password},
		{strings.Repeat("x", 1000), strings.Repeat("y", 1000)},
	} {
		if _, err := h.login(wrong.username, wrong.secret); !errors.Is(err, ErrLogin) {
			t.Errorf("%.20q: got %v", wrong.username, err)
		}
	}
	list, err := h.Accounts(t.Context(), testActor, "")
	if err != nil || len(list) != 1 || list[0].LastUsed == nil || !list[0].LastUsed.Equal(h.clock.now()) ||
		!slices.Equal(list[0].Members, []string{string(h.child) + ".m1"}) {
		t.Errorf("list %+v, %v", list, err)
	}
}

func TestAccountOfAPerson(t *testing.T) {
	h := newHouse(t)
	second := h.include("276027512345693", "Petit", "Tom", "2014-02-07")
	h.member(second, "Julie PETIT", "infirmier", "cabinet@idel.test", "ORG", "")
	create := func(person string) (AccountCreated, error) {
		return h.CreateAccount(t.Context(), testActor, AccountRequest{Mailbox: "cabinet@idel.test", Person: person})
	}
	for person, want := range map[string]string{
		"": "account-person-needed", "Mme Nobody": "account-person-unknown", string(h.child) + ".m1": "account-person-unknown",
		string(h.child) + ".m99": "account-person-unknown",
	} {
		if _, err := create(person); failureOf(t, err) != want {
			t.Errorf("person %q: %v, want %s", person, err, want)
		}
	}
	julie, err := create("julie PETIT")
	if err != nil || julie.Username != "julie.petit/cabinet@idel.test" {
		t.Fatalf("made %+v, %v", julie, err)
	}
	paul, err := create(string(h.child) + ".m6")
	if err != nil || paul.Username != "paul.durand/cabinet@idel.test" {
		t.Fatalf("made %+v, %v", paul, err)
	}
	if _, err := h.login("paul.durand/cabinet@idel.test", julie.Password); !errors.Is(err, ErrLogin) {
		t.Errorf("with the password of another: %v", err)
	}
	if _, err := h.login("cabinet@idel.test", julie.Password); !errors.Is(err, ErrLogin) {
		t.Errorf("as the box: %v", err)
	}
	a, err := h.login("Julie.Petit/cabinet@idel.test", julie.Password)
	if err != nil {
		t.Fatal(err)
	}
	members, err := h.AccountMembers(t.Context(), a)
	want := []AccountMember{{h.child, "m5"}, {second, "m1"}}
	slices.SortFunc(want, func(x, y AccountMember) int { return strings.Compare(string(x.Pathway), string(y.Pathway)) })
	if d := cmp.Diff(want, members); d != "" || err != nil {
		t.Errorf("%v, stands for (-want +got):\n%s", err, d)
	}
	// Who leaves is stood for no longer.
	if _, err := h.RemoveMember(t.Context(), testActor, MemberRemoval{Pathway: string(h.child), Member: "m5", Reason: "départ"}); err != nil {
		t.Fatal(err)
	}
	if members, _ = h.AccountMembers(t.Context(), a); !slices.Equal(members, []AccountMember{{second, "m1"}}) {
		t.Errorf("after leaving: %v", members)
	}
}

func TestAccountRequests(t *testing.T) {
	h := newHouse(t)
	for _, c := range []struct {
		r    AccountRequest
		want string
	}{
		{AccountRequest{Mailbox: "nobody@chu.test"}, "mailbox-unknown"},
		{AccountRequest{Mailbox: "roux@chu.test", Expires: "yesterday"}, "account-expires"},
		{AccountRequest{Mailbox: "roux@chu.test", Expires: "2020-01-01"}, "account-expires"},
		{AccountRequest{Mailbox: "roux@chu.test", Certificate: "abcd"}, "account-certificate"},
		{AccountRequest{Mailbox: "roux@chu.test", Label: "a\x00b"}, "text-form"},
	} {
		if _, err := h.CreateAccount(t.Context(), testActor, c.r); failureOf(t, err) != c.want {
			t.Errorf("%+v: %v, want %s", c.r, err, c.want)
		}
	}
	h.member(h.child, "L'enfant", "parent", "279035121518989@patient.mssante.fr", "", "")
	if _, err := h.CreateAccount(t.Context(), testActor, AccountRequest{Mailbox: "279035121518989@patient.mssante.fr"}); failureOf(t, err) != "account-citizen" {
		t.Errorf("a citizen's box: %v", err)
	}
	for range maxCredentials {
		h.account(AccountRequest{Mailbox: "roux@chu.test"})
	}
	if _, err := h.CreateAccount(t.Context(), testActor, AccountRequest{Mailbox: "roux@chu.test"}); failureOf(t, err) != "account-credentials" {
		t.Errorf("one more password: %v", err)
	}
	if _, err := h.RevokeAccount(t.Context(), testActor, AccountRevoke{Username: "x@chu.test"}); failureOf(t, err) != "account-unknown" {
		t.Errorf("revoking nobody: %v", err)
	}
}

func TestExpiry(t *testing.T) {
	h := newHouse(t)
	made := h.account(AccountRequest{Mailbox: "roux@chu.test", Expires: "1h"})
	a, err := h.login("roux@chu.test", made.Password)
	if err != nil {
		t.Fatal(err)
	}
	h.clock.advance(time.Hour)
	if _, err := h.login("roux@chu.test", made.Password); !errors.Is(err, ErrLogin) {
		t.Errorf("after its end: %v", err)
	}
	if alive, err := h.AccountAlive(t.Context(), a); alive || err != nil {
		t.Errorf("alive %v, %v", alive, err)
	}
	gone, stop, err := h.AccountGone(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	<-gone
	if list, _ := h.Accounts(t.Context(), testActor, "roux@chu.test"); list[0].State != "expired" || list[0].Credentials[0].State != "expired" {
		t.Errorf("listed as %+v", list)
	}
	day := h.account(AccountRequest{Mailbox: "roux@chu.test", Expires: "2026-12-31"})
	if want := time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC); !day.Expires.Equal(want) {
		t.Errorf("ends at %v, want %v", day.Expires, want)
	}
}

func TestRevocationEndsSessions(t *testing.T) {
	h := newHouse(t)
	phone := h.account(AccountRequest{Mailbox: "roux@chu.test", Label: "téléphone"})
	desk := h.account(AccountRequest{Mailbox: "roux@chu.test", Label: "bureau"})
	open := func(made AccountCreated) (<-chan struct{}, *Account) {
		a, err := h.login("roux@chu.test", made.Password)
		if err != nil {
			t.Fatal(err)
		}
		gone, stop, err := h.AccountGone(t.Context(), a)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(stop)
		return gone, a
	}
	onPhone, _ := open(phone)
	atDesk, a := open(desk)
	if h.Sessions() != 2 {
		t.Errorf("%d sessions", h.Sessions())
	}
	if _, err := h.RevokeAccount(t.Context(), testActor, AccountRevoke{Username: "roux@chu.test", Credential: phone.Credential}); err != nil {
		t.Fatal(err)
	}
	<-onPhone
	select {
	case <-atDesk:
		t.Fatal("the other password's session ended too")
	default:
	}
	if _, err := h.login("roux@chu.test", phone.Password); !errors.Is(err, ErrLogin) {
		t.Errorf("with the revoked password: %v", err)
	}
	view, err := h.RevokeAccount(t.Context(), testActor, AccountRevoke{Username: "ROUX@chu.test"})
	if err != nil || view.State != "revoked" {
		t.Fatalf("%+v, %v", view, err)
	}
	<-atDesk
	if _, err := h.login("roux@chu.test", desk.Password); !errors.Is(err, ErrLogin) {
		t.Errorf("with a password of the revoked account: %v", err)
	}
	if _, err := h.RevokeAccount(t.Context(), testActor, AccountRevoke{Username: "roux@chu.test"}); failureOf(t, err) != "account-revoked-already" {
		t.Errorf("again: %v", err)
	}
	// A session watched only after the revocation ends at once.
	gone, stop, err := h.AccountGone(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	<-gone
	stop()
	// A new password lets the same account live again; the old ones stay dead.
	again := h.account(AccountRequest{Mailbox: "roux@chu.test"})
	if again.Account.ID != view.ID || again.Account.State != "active" {
		t.Errorf("account %+v", again.Account)
	}
	if _, err := h.login("roux@chu.test", again.Password); err != nil {
		t.Error(err)
	}
	if _, err := h.login("roux@chu.test", desk.Password); !errors.Is(err, ErrLogin) {
		t.Errorf("with a password revoked before: %v", err)
	}
}

func TestCertificates(t *testing.T) {
	h := newHouse(t)
	print := [32]byte{1, 2, 3}
	h.account(AccountRequest{Mailbox: "roux@chu.test", Certificate: "01:02:03" + strings.Repeat(":00", 29)})
	if _, err := h.CreateAccount(t.Context(), testActor, AccountRequest{Mailbox: "moreau@chu.test", Certificate: "010203" + strings.Repeat("00", 29)}); failureOf(t, err) != "account-certificate-taken" {
		t.Errorf("the same certificate for another: %v", err)
	}
	for _, c := range []struct {
		name     string
		username string
		cert     *ClientCertificate
		want     string // username; empty: refused
	}{
		{"given", "", &ClientCertificate{Fingerprint: print}, "roux@chu.test"},
		{"given, named", "roux@chu.test", &ClientCertificate{Fingerprint: print}, "roux@chu.test"},
		{"given, other name", "moreau@chu.test", &ClientCertificate{Fingerprint: print}, ""},
		{"names a box", "", &ClientCertificate{Mailboxes: []store.Address{"moreau@chu.test"}}, "moreau@chu.test"},
		{"names a box, other name", "simon@chu.test", &ClientCertificate{Mailboxes: []store.Address{"moreau@chu.test"}}, ""},
		{"names two", "", &ClientCertificate{Mailboxes: []store.Address{"moreau@chu.test", "simon@chu.test"}}, ""},
		{"names two, says which", "simon@chu.test", &ClientCertificate{Mailboxes: []store.Address{"moreau@chu.test", "simon@chu.test"}}, "simon@chu.test"},
		{"names a box of nobody", "", &ClientCertificate{Mailboxes: []store.Address{"nobody@chu.test"}}, ""},
		{"names a shared box, wants a person", "paul.durand/cabinet@idel.test", &ClientCertificate{Mailboxes: []store.Address{"cabinet@idel.test"}}, ""},
		{"a citizen's", "", &ClientCertificate{Mailboxes: []store.Address{"279035121518989@patient.mssante.fr"}}, ""},
		{"names nothing", "roux@chu.test", &ClientCertificate{}, ""},
		{"none", "roux@chu.test", nil, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			h.clock.advance(2 * time.Hour) // no wait for the failures before
			a, err := h.Authenticate(t.Context(), Login{By: ByCertificate, Username: c.username, Certificate: c.cert, Where: here})
			if c.want == "" && !errors.Is(err, ErrLogin) || c.want != "" && (err != nil || a.Username != c.want) {
				t.Errorf("got %+v, %v", a, err)
			}
		})
	}
	// Made at the first login, found at the second; revoked, it stays out.
	before, _ := h.Accounts(t.Context(), testActor, "moreau@chu.test")
	if _, err := h.RevokeAccount(t.Context(), testActor, AccountRevoke{Username: "moreau@chu.test"}); err != nil || len(before) != 1 {
		t.Fatalf("%v, accounts %+v", err, before)
	}
	if _, err := h.Authenticate(t.Context(), Login{By: ByCertificate, Certificate: &ClientCertificate{Mailboxes: []store.Address{"moreau@chu.test"}}, Where: here}); !errors.Is(err, ErrLogin) {
		t.Errorf("revoked: %v", err)
	}
}

func TestTokens(t *testing.T) {
	h := newHouse(t)
	for m, rpps := range map[string]string{"m1": "10003456781", "m6": "10003456799"} {
		if _, err := h.UpdateMember(t.Context(), testActor, MemberUpdate{Pathway: string(h.child), Member: m, RPPS: &rpps}); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct{ username, token, want string }{
		{"roux@chu.test", "for 810003456781", "roux@chu.test"},
		{"cabinet@idel.test", "for 10003456799", "paul.durand/cabinet@idel.test"},
		{"paul.durand/cabinet@idel.test", "for 10003456799", "paul.durand/cabinet@idel.test"},
		{"julie.petit/cabinet@idel.test", "for 10003456799", ""},
		{"moreau@chu.test", "for 10003456781", ""},
		{"cabinet@idel.test", "for 10003456781", ""},
		{"", "for 10003456781", ""},
		{"roux@chu.test", "for nobody", ""},
		{"roux@chu.test", "forged", ""},
	} {
		h.clock.advance(2 * time.Hour)
		a, err := h.Authenticate(t.Context(), Login{By: ByToken, Username: c.username, Secret: c.token, Where: here})
		if c.want == "" && !errors.Is(err, ErrLogin) || c.want != "" && (err != nil || a.Username != c.want) {
			t.Errorf("%s with %q: got %+v, %v", c.username, c.token, a, err)
		}
	}
	if _, err := h.Authenticate(t.Context(), Login{By: ByToken, Username: "roux@chu.test", Secret: "away", Where: here}); !errors.Is(err, ErrProvider) {
		t.Errorf("the provider is away: %v", err)
	}
}

func TestPasswordsOnlyFromAllowedNetworks(t *testing.T) {
	h := newHouse(t)
	made := h.account(AccountRequest{Mailbox: "roux@chu.test"})
	for addr, want := range map[string]error{"127.0.0.1": nil, "192.0.2.7": ErrLoginWay, "2001:db8::1": nil} {
		_, err := h.Authenticate(t.Context(), Login{By: ByPassword, Username: "roux@chu.test", Secret: made.Password, Where: netip.MustParseAddr(addr)})
		if !errors.Is(err, want) {
			t.Errorf("from %s: %v, want %v", addr, err, want)
		}
	}
}

func TestFailuresMakeWait(t *testing.T) {
	h := newHouse(t)
	made := h.account(AccountRequest{Mailbox: "roux@chu.test"})
	from := func(addr, username, secret string) error {
		_, err := h.Authenticate(t.Context(), Login{By: ByPassword, Username: username, Secret: secret, Where: netip.MustParseAddr(addr)})
		return err
	}
	if err := from("127.0.0.9", "roux@chu.test", made.Password); err != nil {
		t.Fatal(err)
	}
	// Known or not, an account answers alike: a wait after six failures.
	for _, username := range []string{"roux@chu.test", "nobody@chu.test"} {
		for i := range 6 {
			if err := from("127.0.0.1", username, "wrong"); !errors.Is(err, ErrLogin) {
				t.Fatalf("%s, failure %d: %v", username, i+1, err)
			}
		}
		if err := from("127.0.0.1", username, "wrong"); !errors.Is(err, ErrLoginSlow) {
			t.Errorf("%s after six failures: %v", username, err)
		}
	}
	if err := from("127.0.0.2", "roux@chu.test", made.Password); !errors.Is(err, ErrLoginSlow) {
		t.Errorf("from elsewhere: %v", err)
	}
	if err := from("127.0.0.9", "roux@chu.test", made.Password); err != nil {
		t.Errorf("from where it logged in before: %v", err)
	}
	if n := h.LoginsSlowed(); n != 1 {
		t.Errorf("%d accounts wait, want 1", n)
	}
	h.clock.advance(2 * time.Second)
	if err := from("127.0.0.2", "roux@chu.test", made.Password); err != nil {
		t.Errorf("after the wait: %v", err)
	}
	// An address that tries many names waits, a neighbour in the same /64 too,
	// and nobody else.
	for i := range 21 {
		if err := from("2001:db8::1", strings.Repeat("x", i), "wrong"); !errors.Is(err, ErrLogin) {
			t.Fatalf("name %d: %v", i, err)
		}
	}
	if err := from("2001:db8::2", "moreau@chu.test", "wrong"); !errors.Is(err, ErrLoginSlow) {
		t.Errorf("from the same network: %v", err)
	}
	if err := from("2001:db8:0:1::1", "moreau@chu.test", "wrong"); !errors.Is(err, ErrLogin) {
		t.Errorf("from another network: %v", err)
	}
	slowed := 0
	for _, tr := range h.traces(store.Technical) {
		if tr.Action == "account.slowed" {
			slowed++
		}
	}
	if slowed != 1 {
		t.Errorf("%d traces of waits, want 1", slowed)
	}
}

func (h *house) traces(f store.Family) (all []*store.Trace) {
	h.t.Helper()
	if err := h.store.View(h.t.Context(), func(v store.View) (err error) {
		all, err = v.Traces(f, 0, 0)
		return err
	}); err != nil {
		h.t.Fatal(err)
	}
	return all
}

// Nothing of a password is on disk, in a trace or in the journal.
func TestPasswordIsNowhere(t *testing.T) {
	var log bytes.Buffer
	h := newHouse(t)
	h.Hub.log = journal.New(&log, nil)
	made := h.account(AccountRequest{Mailbox: "roux@chu.test"})
	if _, err := h.login("roux@chu.test", made.Password); err != nil {
		t.Fatal(err)
	}
	if _, err := h.login("roux@chu.test", "wrong-secret"); !errors.Is(err, ErrLogin) {
		t.Fatal(err)
	}
	if log.Len() == 0 || strings.Contains(log.String(), "roux") || strings.Contains(log.String(), "wrong-secret") {
		t.Errorf("journal: %s", log.String())
	}
	var actions []string
	for _, f := range []store.Family{store.Application, store.Technical} {
		for _, tr := range h.traces(f) {
			if strings.HasPrefix(tr.Action, "account.") {
				actions = append(actions, tr.Action)
			}
			if s := tr.Actor + tr.Object + tr.Detail["credential"]; strings.Contains(s, "roux") || strings.Contains(s, made.Password) {
				t.Errorf("trace %+v", tr)
			}
		}
	}
	if !slices.Equal(actions, []string{"account.created", "account.login"}) {
		t.Errorf("traces %v", actions)
	}
	err := filepath.WalkDir(h.dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		held, err := os.ReadFile(name)
		for _, secret := range []string{made.Password, password.Fold(made.Password), "$argon2id$", "roux@chu.test"} {
			if bytes.Contains(held, []byte(secret)) {
				t.Errorf("%s holds a secret in clear", d.Name())
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// The person who logs in is the author for certain, in a shared box too; what
// the box's own account sends is attributed as ever.
func TestAccountIsTheAuthor(t *testing.T) {
	h := newHouse(t)
	paul := h.account(AccountRequest{Mailbox: "cabinet@idel.test", Person: "Paul Durand"})
	a, err := h.login(paul.Username, paul.Password)
	if err != nil {
		t.Fatal(err)
	}
	send := func(from, header string) (Receipt, error) {
		env := Envelope{MailFrom: store.Address(from), Peer: Peer{Where: "127.0.0.1", Account: a}, Via: ViaSubmit, Received: h.clock.now()}
		to, err := h.Recipient(t.Context(), &env, string(h.child)+"@"+testDomain)
		if err != nil {
			t.Fatal(err)
		}
		env.Rcpts = append(env.Rcpts, to)
		return h.Intake(t.Context(), env, strings.NewReader("From: "+header+"\r\nMessage-ID: <"+from+header[:3]+"@idel.test>\r\nDate: Mon, 23 Nov 2026 09:00:00 +0000\r\nSubject: Visite\r\n\r\nFaite.\r\n"))
	}
	got, err := send("cabinet@idel.test", "Cabinet du Port <cabinet@idel.test>")
	if err != nil || got.Message == "" {
		t.Fatalf("%+v, %v", got, err)
	}
	m, err := h.Message(t.Context(), testActor, string(got.Message))
	if err != nil || m.Author.Member != "m6" || m.Author.Certainty != "sure" || m.Author.Clue != "account" {
		t.Errorf("author %+v, %v", m.Author, err)
	}
	for _, c := range [][2]string{
		{"roux@chu.test", "Cabinet du Port <cabinet@idel.test>"},
		{"cabinet@idel.test", "Dr Anne Roux <roux@chu.test>"},
		{"cabinet@idel.test", "a <cabinet@idel.test>, b <roux@chu.test>"},
	} {
		var refusal *Refusal
		if _, err := send(c[0], c[1]); !errors.As(err, &refusal) || refusal.Reason != RefuseSender {
			t.Errorf("from %q as %q: %v", c[0], c[1], err)
		}
	}
}
