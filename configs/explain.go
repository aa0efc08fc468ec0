package configs

import (
	"strconv"
	"strings"

	"github.com/relais-sante/relais/mailbox/texts"
)

// Explain writes a problem on one line, as compilers do, so that editors find
// the place: relais.toml:12:1: what is wrong, and what is allowed.
func Explain(p Problem, l texts.Locale) string {
	var b strings.Builder
	b.WriteString(p.File)
	for _, n := range []int{p.Line, p.Column} {
		if n == 0 {
			break
		}
		b.WriteString(":" + strconv.Itoa(n))
	}
	b.WriteString(": ")
	text := texts.T(l, texts.ID(p.ID), p.Args)
	if p.Warning {
		text = texts.T(l, "check.warning", map[string]any{"text": text})
	}
	return b.String() + text
}
