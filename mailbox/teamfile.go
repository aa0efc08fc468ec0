package mailbox

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"

	"github.com/relais-sante/relais/mailbox/identity"
	"github.com/relais-sante/relais/store"
)

// A care team from a table, as a spreadsheet saves it: a first line that names
// the columns, in French or English, then a member a line. Commas, semicolons
// (what French spreadsheets write) or tabs part the columns; UTF-8, or
// Windows-1252 where it is not.

// Bounds of a table.
const (
	maxTeamFile = 1 << 20
	maxTeamRows = 1000
)

// columns gives the field of a request by the folded name of its column.
var columns = map[string]func(*MemberRequest) *string{
	"name": func(r *MemberRequest) *string { return &r.Name }, "nom": func(r *MemberRequest) *string { return &r.Name },
	"role":    func(r *MemberRequest) *string { return &r.Role },
	"mailbox": func(r *MemberRequest) *string { return &r.Mailbox }, "bal": func(r *MemberRequest) *string { return &r.Mailbox },
	"boite": func(r *MemberRequest) *string { return &r.Mailbox }, "adresse": func(r *MemberRequest) *string { return &r.Mailbox },
	"type":          func(r *MemberRequest) *string { return &r.Type },
	"establishment": func(r *MemberRequest) *string { return &r.Establishment }, "etablissement": func(r *MemberRequest) *string { return &r.Establishment },
	"service": func(r *MemberRequest) *string { return &r.Service },
	"rpps":    func(r *MemberRequest) *string { return &r.RPPS },
	"phone":   func(r *MemberRequest) *string { return &r.Phone }, "telephone": func(r *MemberRequest) *string { return &r.Phone },
	"tel":     func(r *MemberRequest) *string { return &r.Phone },
	"boxname": func(r *MemberRequest) *string { return &r.BoxName }, "nomboite": func(r *MemberRequest) *string { return &r.BoxName },
}

// alsoColumns hold several addresses, parted by spaces or commas.
var alsoColumns = []string{"alsofrom", "aussi", "ecritausside"}

// ImportTeam adds the members of a table, all or none; who is in the team
// already stays as they are. A dry run only shows what would be.
func (h *Hub) ImportTeam(ctx context.Context, by Actor, code string, table io.Reader, dryRun bool) ([]MemberView, error) {
	rows, err := readTeam(table)
	if err != nil {
		return nil, err
	}
	for i := range rows {
		rows[i].typed = rows[i].request.Type != ""
		err := h.fromDirectory(&rows[i].request)
		var failure *Failure
		if errors.As(err, &failure) {
			return nil, fail("import-line", map[string]any{"line": rows[i].line, "problem": failure})
		}
		if err != nil {
			return nil, err
		}
	}
	var views []MemberView
	var tried store.PathwayCode
	err = h.change(ctx, func(tx store.Tx) error {
		views = []MemberView{}
		p, err := liveNamed(tx, by, code)
		if err != nil {
			return err
		}
		prog, err := h.programme(p.Programme)
		if err != nil {
			return err
		}
		for _, row := range rows {
			m, warnings, err := h.join(tx, p, prog, row.request, row.typed)
			var failure *Failure
			if errors.As(err, &failure) && failure.Code == "member-exists" {
				m = member(p, store.MemberID(failure.Args["member"].(string)))
				warnings, err = []string{warnAlready}, nil
			}
			if errors.As(err, &failure) {
				return fail("import-line", map[string]any{"line": row.line, "problem": failure})
			}
			if err != nil {
				return err
			}
			v := h.memberView(p, prog, m)
			v.Warnings = warnings
			views = append(views, v)
		}
		if dryRun {
			tried = p.Code
			return errDryRun
		}
		if err := h.save(tx, p); err != nil {
			return err
		}
		return h.trace(tx, by, "team.imported", p.Code, "", outcomeDone, map[string]string{"members": fmt.Sprint(len(views))})
	})
	if errors.Is(err, errDryRun) { // it shows who is in the team
		err = h.seen(ctx, by, "team.read", tried, "")
	}
	if err != nil {
		return nil, err
	}
	return views, nil
}

// errDryRun undoes a commit that was only tried.
var errDryRun = errors.New("dry run")

// teamRow is a line of the table and what it asks for.
type teamRow struct {
	line    int
	request MemberRequest
	typed   bool // the type of the box is the table's, not the directory's
}

func readTeam(r io.Reader) ([]teamRow, error) {
	raw, err := io.ReadAll(io.LimitReader(r, maxTeamFile+1))
	if err != nil {
		return nil, fmt.Errorf("reading a team: %w", err)
	}
	if len(raw) > maxTeamFile {
		return nil, fail("import-size", nil)
	}
	raw = bytes.TrimPrefix(raw, []byte("\xef\xbb\xbf"))
	if !utf8.Valid(raw) {
		if raw, err = charmap.Windows1252.NewDecoder().Bytes(raw); err != nil {
			return nil, fail("import-form", map[string]any{"line": 1})
		}
	}
	first, _, _ := bytes.Cut(raw, []byte("\n"))
	reader := csv.NewReader(bytes.NewReader(raw))
	reader.FieldsPerRecord, reader.TrimLeadingSpace = -1, true
	for _, comma := range ";\t" {
		if bytes.ContainsRune(first, comma) {
			reader.Comma = comma
			break
		}
	}
	return teamRows(reader)
}

func teamRows(reader *csv.Reader) ([]teamRow, error) {
	head, err := reader.Read()
	if err != nil {
		return nil, fail("import-empty", nil)
	}
	for i, name := range head {
		head[i] = identity.NameKey(name)
	}
	for _, needed := range []func(*MemberRequest) *string{columns["name"], columns["role"], columns["mailbox"]} {
		var probe MemberRequest
		if !slices.ContainsFunc(head, func(name string) bool {
			field := columns[name]
			return field != nil && field(&probe) == needed(&probe)
		}) {
			return nil, fail("import-columns", nil)
		}
	}
	var rows []teamRow
	for {
		cells, err := reader.Read()
		if err == io.EOF { // the csv reader's own
			break
		}
		var syntax *csv.ParseError
		if errors.As(err, &syntax) {
			return nil, fail("import-form", map[string]any{"line": syntax.Line})
		}
		if err != nil {
			return nil, fmt.Errorf("reading a team: %w", err)
		}
		if strings.TrimSpace(strings.Join(cells, "")) == "" {
			continue
		}
		if len(rows) == maxTeamRows {
			return nil, fail("import-size", nil)
		}
		line, _ := reader.FieldPos(0)
		row := teamRow{line: line}
		for i, cell := range cells[:min(len(cells), len(head))] {
			if field := columns[head[i]]; field != nil {
				*field(&row.request) = strings.TrimSpace(cell)
			} else if slices.Contains(alsoColumns, head[i]) {
				row.request.AlsoFrom = strings.FieldsFunc(cell, func(r rune) bool { return r == ' ' || r == ',' || r == ';' })
			}
		}
		rows = append(rows, row)
	}
	if len(rows) == 0 {
		return nil, fail("import-empty", nil)
	}
	return rows, nil
}
