package trust

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/relais-sante/relais/store/journal"
)

// ErrRevocationList: a file of crl_dir is not a revocation list of one of the
// authorities.
const ErrRevocationList = journal.Fault("not a revocation list that an authority signed")

// maxCRLBytes bounds one revocation list.
const maxCRLBytes = 64 << 20

// revocations is what the authorities took back.
type revocations struct {
	// demanded: there is a crl_dir, so that not to know is to refuse.
	demanded bool
	lists    map[authorityKey]revocationList
	concerns []Concern
}

// authorityKey is an authority's name and key, whatever certificates it has.
type authorityKey [sha256.Size]byte

func keyOf(authority *x509.Certificate) authorityKey {
	return sha256.Sum256(slices.Concat(authority.RawSubject, authority.RawSubjectPublicKeyInfo))
}

// revocationList is the list of one authority by its parts: it is in one part
// unless it is partitioned (RFC 5280 §5.2.5), and then parts add up.
type revocationList map[string]*listPart

// listPart is the newest known list of one scope.
type listPart struct {
	thisUpdate, nextUpdate time.Time
	number                 *big.Int // nil if unsaid
	serials                map[string]bool
	der                    []byte // until it is kept
}

// loadRevocations reads every .crl and .pem file of crl_dir, DER or PEM. Of each
// list the newest wins that was ever seen: a download that failed half-way, or
// somebody who puts an old list back, must not make revoked certificates good
// again (nor cut the service). What was seen before is in before, and, at start,
// in the copies kept on disk.
func loadRevocations(o Options, authorities []*x509.Certificate, before *revocations) (*revocations, error) {
	now := &revocations{demanded: o.CRLDir != "", lists: map[authorityKey]revocationList{}}
	if !now.demanded {
		return now, nil
	}
	if before == nil || !before.demanded {
		before = keptRevocations(o, authorities)
	}
	for _, authority := range authorities {
		for scope, part := range before.of(authority) {
			now.take(keyOf(authority), scope, part)
		}
	}
	files, err := os.ReadDir(o.CRLDir)
	if err != nil {
		return nil, fmt.Errorf("opening crl_dir: %w", err)
	}
	faulty := Concern{Kind: CRLFaulty}
	for _, file := range files {
		if ext := filepath.Ext(file.Name()); file.IsDir() || ext != ".crl" && ext != ".pem" {
			continue
		}
		if err := now.read(filepath.Join(o.CRLDir, file.Name()), authorities); err != nil {
			faulty.Err = fmt.Errorf("reading %s of crl_dir: %w", file.Name(), err)
			faulty.Count++
		}
	}
	switch {
	case faulty.Count > 0 && len(before.lists) == 0: // nothing good to fall back on
		return nil, faulty.Err
	case faulty.Count > 0:
		now.concerns = append(now.concerns, faulty)
	}
	if o.KeepDir != "" {
		if err := now.keep(filepath.Join(o.KeepDir, keptCRLs)); err != nil {
			now.concerns = append(now.concerns, Concern{Kind: CopyNotKept, Err: err})
		}
	}
	return now, nil
}

// keptRevocations reads the copies on disk. They are as little trusted as any
// other file; what is of no use is passed over.
func keptRevocations(o Options, authorities []*x509.Certificate) *revocations {
	kept := &revocations{lists: map[authorityKey]revocationList{}}
	if o.KeepDir == "" {
		return kept
	}
	paths, _ := filepath.Glob(filepath.Join(o.KeepDir, keptCRLs, "*.crl"))
	for _, path := range paths {
		_ = kept.read(path, authorities)
	}
	return kept
}

// read takes in one file.
func (r *revocations) read(path string, authorities []*x509.Certificate) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if info.Size() > maxCRLBytes {
		return ErrRevocationList
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	block, rest := pem.Decode(data)
	if block == nil {
		return r.add(data, authorities)
	}
	for ; block != nil; block, rest = pem.Decode(rest) {
		if err := r.add(block.Bytes, authorities); err != nil {
			return err
		}
	}
	return nil
}

// add takes in one list, in DER.
func (r *revocations) add(der []byte, authorities []*x509.Certificate) error {
	list, err := x509.ParseRevocationList(der)
	if err != nil {
		return ErrRevocationList
	}
	i := slices.IndexFunc(authorities, func(a *x509.Certificate) bool {
		return bytes.Equal(a.RawSubject, list.RawIssuer) && list.CheckSignatureFrom(a) == nil
	})
	if i < 0 {
		return ErrRevocationList
	}
	scope, err := scopeOf(list)
	if err != nil {
		return err
	}
	part := &listPart{
		thisUpdate: list.ThisUpdate, nextUpdate: list.NextUpdate, number: list.Number,
		serials: make(map[string]bool, len(list.RevokedCertificateEntries)), der: der,
	}
	for _, entry := range list.RevokedCertificateEntries {
		part.serials[entry.SerialNumber.String()] = true
	}
	r.take(keyOf(authorities[i]), scope, part)
	return nil
}

// oidDistributionPoint is the extension that says which certificates a list
// covers (RFC 5280 §5.2.5).
var oidDistributionPoint = []int{2, 5, 29, 28}

// scopeOf tells lists of one authority apart that do not replace each other. A
// list with any other critical extension (a delta list, RFC 5280 §5.2.4) must
// not be used, nor one that does not say until when it is good.
func scopeOf(list *x509.RevocationList) (string, error) {
	if list.NextUpdate.IsZero() {
		return "", ErrRevocationList
	}
	scope := ""
	for _, e := range list.Extensions {
		switch {
		case e.Id.Equal(oidDistributionPoint):
			scope = string(e.Value)
		case e.Critical:
			return "", ErrRevocationList
		}
	}
	return scope, nil
}

// take puts a part in its place unless a newer one is there.
func (r *revocations) take(authority authorityKey, scope string, part *listPart) {
	if r.lists[authority] == nil {
		r.lists[authority] = revocationList{}
	}
	if known := r.lists[authority][scope]; known == nil || part.replaces(known) {
		r.lists[authority][scope] = part
	}
}

// replaces compares by date, then by number: two lists may bear one second.
func (p *listPart) replaces(known *listPart) bool {
	if !p.thisUpdate.Equal(known.thisUpdate) {
		return p.thisUpdate.After(known.thisUpdate)
	}
	return p.number != nil && (known.number == nil || p.number.Cmp(known.number) > 0)
}

// keep writes what is not on disk yet.
func (r *revocations) keep(dir string) error {
	for authority, list := range r.lists {
		for scope, part := range list {
			if part.der == nil {
				continue
			}
			name := sha256.Sum256(slices.Concat(authority[:], []byte(scope)))
			if err := keep(filepath.Join(dir, hex.EncodeToString(name[:16])+".crl"), part.der); err != nil {
				return err
			}
			part.der = nil
		}
	}
	return nil
}

// of gives an authority's list; nil if there is none.
func (r *revocations) of(authority *x509.Certificate) revocationList {
	if len(r.lists) == 0 {
		return nil
	}
	return r.lists[keyOf(authority)]
}

// judge tells whether a certificate of the chain was taken back by the one above
// it, and until when that answer holds. The last of a chain is an authority we
// were told to trust. A list past its time says nothing any more; that there is
// none is an answer for authorities in between only, whose own authority may not
// publish any.
func (r *revocations) judge(chain []*x509.Certificate, now time.Time, grace time.Duration) (Reason, time.Time) {
	reason, until := Reason(""), chain[0].NotAfter
	for i, cert := range chain[:len(chain)-1] {
		list := r.of(chain[i+1])
		if list.revokes(cert) {
			return Revoked, until
		}
		if list == nil {
			if r.demanded && i == 0 {
				reason = RevocationUnknown
			}
			continue
		}
		deadline := list.deadline(grace)
		if !now.Before(deadline) {
			reason = RevocationUnknown
		}
		if deadline.Before(until) {
			until = deadline
		}
	}
	return reason, until
}

func (l revocationList) revokes(cert *x509.Certificate) bool {
	serial := cert.SerialNumber.String()
	for _, part := range l {
		if part.serials[serial] {
			return true
		}
	}
	return false
}

// deadline is when the first part of the list is past its time and the grace.
func (l revocationList) deadline(grace time.Duration) time.Time {
	var first time.Time
	for _, part := range l {
		if first.IsZero() || part.nextUpdate.Before(first) {
			first = part.nextUpdate
		}
	}
	return first.Add(grace)
}

// dueSoon is when a new list should have come: most authorities issue the next
// one long before the end. A quarter of its time is left then, two days at most.
func (l revocationList) dueSoon() time.Time {
	var first time.Time
	for _, part := range l {
		left := min(part.nextUpdate.Sub(part.thisUpdate)/4, 48*time.Hour)
		if due := part.nextUpdate.Add(-left); first.IsZero() || due.Before(first) {
			first = due
		}
	}
	return first
}
