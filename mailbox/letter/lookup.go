package letter

import "strings"

// Value gives the first field of that name (case ignored), unfolded and not
// decoded.
func (x *Index) Value(name string) (string, bool) { return value(x.Fields, name) }

// Values gives every field of that name, in order.
func (x *Index) Values(name string) []string {
	var all []string
	for i := range x.Fields {
		if strings.EqualFold(x.Fields[i].Name, name) {
			all = append(all, x.Fields[i].Value)
		}
	}
	return all
}

func value(fields []Field, name string) (string, bool) {
	for i := range fields {
		if strings.EqualFold(fields[i].Name, name) {
			return fields[i].Value, true
		}
	}
	return "", false
}

// Has reports whether the mail has a defect of that kind.
func (x *Index) Has(kind string) bool {
	for _, d := range x.Defects {
		if d.Kind == kind {
			return true
		}
	}
	return false
}

// Leaf reports whether the part has content of its own: Size and Sum.
func (p *Part) Leaf() bool { return len(p.Parts) == 0 }

// Media is type/subtype.
func (p *Part) Media() string { return p.Type + "/" + p.Subtype }

// Walk calls visit for the part and every part below it, in the order of the
// mail, until visit returns false.
func (p *Part) Walk(visit func(*Part) bool) bool {
	if !visit(p) {
		return false
	}
	for i := range p.Parts {
		if !p.Parts[i].Walk(visit) {
			return false
		}
	}
	return true
}

// Find gives the part with that IMAP section number, or nil.
func (p *Part) Find(number string) *Part {
	var found *Part
	if number == "" {
		return p
	}
	p.Walk(func(q *Part) bool {
		if q.Number == number {
			found = q
		}
		return found == nil
	})
	return found
}
