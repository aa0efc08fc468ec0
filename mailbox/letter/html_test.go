package letter

import "testing"

func TestHTMLText(t *testing.T) {
	for _, c := range []struct{ name, html, want string }{
		{"paragraphs", "<p>Bonjour,</p><p>Tout va&nbsp;bien.</p>", "Bonjour,\nTout va bien."},
		{"Outlook's empty line", "<p class=MsoNormal>a</p><p class=MsoNormal>&nbsp;</p><p class=MsoNormal>b</p>", "a\n\nb"},
		{"divs and breaks", "<div>a<br>b</div><div><br></div><div>c</div>", "a\nb\n\nc"},
		{"white space", "<p>  a \n b\t<b> c</b>d</p>", "a b cd"},
		{"hidden", "<html><head><title>t</title><style>p{}</style><script>x()</script></head><body>a<!-- c --></body></html>", "a"},
		{"entities", "&eacute;&#233;&#x20AC;&lt;", "éé€<"},
		{"quotation", "Oui.<blockquote>Question ?<br>Suite<blockquote>Avant</blockquote></blockquote>Merci", "Oui.\n> Question ?\n> Suite\n> > Avant\nMerci"},
		{"table", "<table><tr><td>a</td><td>b</td></tr><tr><td>c</td></tr></table>", "a b\nc"},
		{"preformatted", "<pre>a\nb</pre>", "a\nb"},
		{"unclosed", "<div>a<p>b<title>c", "a\nb"},
		{"no tag", "a\nb", "a b"},
		{"stray ends", "</blockquote></p>a</pre>", "a"},
		{"", "", ""},
	} {
		if got := htmlText(c.html); got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

// The new part of an HTML answer is found as that of a text is.
func TestHTMLNewText(t *testing.T) {
	for _, c := range []struct{ name, html, want string }{
		{
			"Gmail", `<div dir="ltr">Auteur : Anne Roux<br>Vu.</div><br><div class="gmail_quote"><div class="gmail_attr">Le jeu. 12 mars 2026 à 10:33, Paul &lt;<a href="mailto:p@x.example">p@x.example</a>&gt; a écrit :<br></div><blockquote>Auteur : Paul</blockquote></div>`,
			"Auteur : Anne Roux\nVu.",
		},
		{
			"Outlook", `<div><p class=MsoNormal>Auteur&nbsp;: Anne Roux</p><p class=MsoNormal><o:p>&nbsp;</o:p></p><div style='border-top:solid'><p class=MsoNormal><b>De&nbsp;:</b> Paul<br><b>Envoyé&nbsp;:</b> jeudi<br><b>À&nbsp;:</b> Anne<br><b>Objet&nbsp;:</b> x</p></div><p>Auteur : Paul</p></div>`,
			"Auteur : Anne Roux",
		},
		{
			"Outlook on the web", `<div>Vu</div><hr><div id="divRplyFwdMsg"><b>De :</b> Paul &lt;p@x.example&gt;<br><b>Envoyé :</b> jeudi<br><b>À :</b> Anne<br><b>Objet :</b> x</div><div>Auteur : Paul</div>`,
			"Vu",
		},
		{"Apple", `<div>Vu</div><div><br><blockquote type="cite"><div>Le 12 mars 2026 à 10:33, Paul &lt;p@x.example&gt; a écrit :</div><div>x</div></blockquote></div>`, "Vu"},
	} {
		if got := NewText(htmlText(c.html)); got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}
