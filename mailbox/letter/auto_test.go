package letter

import "testing"

func TestAutomatic(t *testing.T) {
	for _, c := range []struct {
		name, header string
		want         Auto
	}{
		{"person", "Subject: Bilan\n", Auto{}},
		{"no", "Auto-Submitted: no\nPrecedence: bulk\n", Auto{}},
		{"generated", "Auto-Submitted: auto-generated\n", Auto{Generated, "auto-submitted"}},
		{"generated, with a comment", "Auto-Submitted: (by cron) auto-generated (x)\n", Auto{Generated, "auto-submitted"}},
		{"replied", "Auto-Submitted: auto-replied; owner-email=\"a@b.example\"\n", Auto{Replied, "auto-submitted"}},
		{"replied, case", "AUTO-SUBMITTED: Auto-Replied\n", Auto{Replied, "auto-submitted"}},
		{"replied, Dovecot Sieve", "Auto-Submitted: auto-replied (vacation)\n", Auto{Replied, "auto-submitted"}},
		{"notified", "Auto-Submitted: auto-notified; owner-email=\"a@b.example\"\n", Auto{Notified, "auto-submitted"}},
		{"unknown word", "Auto-Submitted: yes\n", Auto{Generated, "auto-submitted"}},
		{
			"Exchange absence", "Auto-Submitted: auto-generated\nX-Auto-Response-Suppress: All\nSubject: =?utf-8?Q?R=C3=A9ponse_automatique_?=: Bilan\n",
			Auto{Replied, "auto-submitted"},
		},
		{"suppression alone", "X-Auto-Response-Suppress: All\nSubject: Bilan\n", Auto{}},
		{"absence in words alone", "Subject: Absence du bureau la semaine prochaine\n", Auto{}},
		{"absence and suppression", "Subject: Absence du bureau : Bilan\nX-Auto-Response-Suppress: DR, OOF\n", Auto{Replied, "absence"}},
		{"absence that answers", "Subject: Automatic reply: Bilan\nIn-Reply-To: <1@x.example>\n", Auto{Replied, "absence"}},
		{"X-Autoreply", "X-Autoreply: yes\n", Auto{Replied, "x-autoreply"}},
		{"X-Autorespond", "X-Autorespond: Bilan\n", Auto{Replied, "x-autorespond"}},
		{"X-Autoreply no", "X-Autoreply: no\n", Auto{}},
		{"precedence auto_reply", "Precedence: auto_reply\n", Auto{Replied, "precedence"}},
		{"precedence bulk", "Precedence: bulk\n", Auto{Generated, "precedence"}},
		{"precedence list", "Precedence: list\n", Auto{Generated, "precedence"}},
		{"precedence bulk, absent", "Precedence: bulk\nSubject: Out of Office: Bilan\n", Auto{Replied, "precedence"}},
		{"precedence first-class", "Precedence: first-class\n", Auto{}},
		{"null sender", "Return-Path: <>\n", Auto{Generated, "null-sender"}},
		{"null sender that answers", "Return-Path: <>\nIn-Reply-To: <1@x.example>\n", Auto{Replied, "null-sender"}},
		{"return path", "Return-Path: <a@b.example>\n", Auto{}},
		{"list", "List-Id: <x.example>\n", Auto{Generated, "list"}},
		{"urgent answer of a person", "In-Reply-To: <1@x.example>\nSubject: RE: Bilan\n", Auto{}},
	} {
		x := read(t, crlf(c.header+"\nTexte\n")).Index
		if got := Automatic(x); got != c.want {
			t.Errorf("%s: got %+v, want %+v", c.name, got, c.want)
		}
		if IsDSN(x) || IsMDN(x) {
			t.Errorf("%s is a report", c.name)
		}
	}
}

func TestLooksLikeBounce(t *testing.T) {
	for _, c := range []struct {
		name, header, sender string
		want                 bool
	}{
		{"Postfix", "From: MAILER-DAEMON@x.example (Mail Delivery System)\nSubject: Undelivered Mail Returned to Sender\n", "", true},
		{"with a sender", "From: Mail Delivery Subsystem <mailer-daemon@x.example>\nSubject: =?utf-8?Q?Message_non_distribu=C3=A9?=\n", "p@x.example", true},
		{"postmaster", "From: postmaster@x.example\nSubject: Non remis : Bilan\n", "<>", true},
		{"Exim", "From: a@x.example\nX-Failed-Recipients: b@y.example\nSubject: x\n", "", true},
		{"a person of that subject", "From: a@x.example\nSubject: Message non remis\n", "a@x.example", false},
		{"null sender and a subject", "From: a@x.example\nSubject: Bilan\n", "", false},
	} {
		if got := LooksLikeBounce(read(t, crlf(c.header+"\nx\n")).Index, c.sender); got != c.want {
			t.Errorf("%s: got %v", c.name, got)
		}
	}
}
