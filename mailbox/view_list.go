package mailbox

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/relais-sante/relais/mailbox/folder"
	"github.com/relais-sante/relais/store"
)

// The list of folders, as one reader sees it.

// List implements [folder.User].
func (r *Reader) List(ctx context.Context) ([]folder.Info, error) {
	sources, err := r.sources(ctx, "")
	if err != nil {
		return nil, err
	}
	all := []folder.Info{{Name: folder.Inbox, ID: "inbox", Fixed: true}}
	for i := range sources {
		all = append(all, r.pathwayFolders(&sources[i])...)
	}
	err = r.h.view(ctx, func(v store.View) error {
		folders, err := v.Folders(r.a.ID)
		if err != nil {
			return err
		}
		for _, f := range folders {
			if !f.Dropped && f.Use != sheetUse {
				all = append(all, folder.Info{Name: f.Name, ID: string(f.ID), Use: folder.Use(f.Use)})
			}
		}
		have, err := v.Reader(r.a.ID)
		if err != nil {
			return err
		}
		all = holding(subscribed(all, have))
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("listing folders: %w", err)
	}
	slices.SortFunc(all, func(a, b folder.Info) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

// holding adds names that are no folder and only hold some.
func holding(all []folder.Info) []folder.Info {
	known := map[string]bool{}
	for _, f := range all {
		known[f.Name] = true
	}
	for _, f := range all {
		for name := f.Name; ; {
			i := strings.LastIndexByte(name, folder.Delimiter)
			if i < 0 || known[name[:i]] {
				break
			}
			name = name[:i]
			known[name] = true
			all = append(all, folder.Info{Name: name, Missing: true, Fixed: isFixed(name)})
		}
	}
	return all
}

// subscribed marks what the reader subscribed to and adds names that are no
// folder (RFC 9051 §6.3.9.4). The hub's own folders are subscribed to by
// themselves: many mail clients show nothing else, and nobody subscribes to the
// folder of a child they have not seen. Of those that somebody does not want the
// id is kept: the name may say who the child is, and must not outlast the
// pathway.
func subscribed(all []folder.Info, have *store.Reader) []folder.Info {
	wanted := map[string]bool{}
	for _, name := range have.Subscribed {
		wanted[name] = true
	}
	for i := range all {
		f := &all[i]
		if f.Fixed {
			f.Subscribed = !slices.Contains(have.Unsubscribed, f.ID)
			continue
		}
		f.Subscribed = wanted[f.Name]
		delete(wanted, f.Name)
	}
	for name := range wanted {
		all = append(all, folder.Info{Name: name, Subscribed: true, Missing: true})
	}
	return all
}

// pathwayFolders are those of a pathway that the reader may see: its own with
// the relay sheet, the rubrics open to one of its roles, and any other in which
// something is to be seen (one's own posts, and the answers to them).
func (r *Reader) pathwayFolders(s *source) []folder.Info {
	if len(s.members) == 0 {
		return nil
	}
	name := pathwayFolder(s.p, s.prog)
	all := []folder.Info{{Name: name, ID: "p" + string(s.p.Code), Fixed: true}}
	for i := range s.prog.Rubrics {
		rubric := &s.prog.Rubrics[i]
		if r.rubricShown(s, rubric.ID) {
			all = append(all, folder.Info{Name: rubricFolder(name, rubric), ID: "p" + string(s.p.Code) + "." + rubric.ID, Fixed: true})
		}
	}
	return all
}

func (r *Reader) rubricShown(s *source, rubric string) bool {
	for _, m := range s.members {
		if role := s.prog.Role(m.Role); role != nil && role.CareTeam && s.prog.MayRole(role.ID, rubric) {
			return true
		}
	}
	return slices.ContainsFunc(s.on.items, func(it shelved) bool {
		return slices.ContainsFunc(it.m.Filings, func(f store.Filing) bool { return f.Rubric == rubric }) && s.sees(it.m)
	})
}
