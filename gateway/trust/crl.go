package trust

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"fmt"
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
	// lists maps the raw name of an authority to its newest known list. Lists
	// of one authority that are partitioned (RFC 5280 §5.2.5) add up.
	lists map[string]*revocationList
	// Faulty counts files that could not be used; last good lists stand.
	faulty int
}

type revocationList struct {
	issuer     *x509.Certificate
	nextUpdate time.Time // the earliest of its parts
	serials    map[string]bool
}

// loadRevocations reads every .crl and .pem file of a directory, DER or PEM.
// Where an authority's list cannot be read, or is not there any more, the one
// in before is kept: a download that failed half-way must not make revoked
// certificates good again (nor cut the service).
func loadRevocations(dir string, authorities []*x509.Certificate, before *revocations) (*revocations, error) {
	now := &revocations{lists: map[string]*revocationList{}}
	if dir != "" {
		files, err := os.ReadDir(dir)
		if err != nil {
			return nil, fmt.Errorf("opening crl_dir: %w", err)
		}
		for _, file := range files {
			if ext := filepath.Ext(file.Name()); file.IsDir() || ext != ".crl" && ext != ".pem" {
				continue
			}
			if err := now.add(filepath.Join(dir, file.Name()), authorities); err != nil {
				if before == nil { // nothing good to fall back on
					return nil, fmt.Errorf("reading %s of crl_dir: %w", file.Name(), err)
				}
				now.faulty++
			}
		}
	}
	if before != nil {
		for issuer, list := range before.lists {
			if now.lists[issuer] == nil && slices.ContainsFunc(authorities, list.issuer.Equal) {
				now.lists[issuer] = list
			}
		}
	}
	return now, nil
}

func (r *revocations) add(path string, authorities []*x509.Certificate) error {
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
	if block, _ := pem.Decode(data); block != nil {
		data = block.Bytes
	}
	list, err := x509.ParseRevocationList(data)
	if err != nil {
		return ErrRevocationList
	}
	i := slices.IndexFunc(authorities, func(a *x509.Certificate) bool {
		return bytes.Equal(a.RawSubject, list.RawIssuer) && list.CheckSignatureFrom(a) == nil
	})
	if i < 0 {
		return ErrRevocationList
	}
	known := r.lists[string(list.RawIssuer)]
	if known == nil {
		known = &revocationList{issuer: authorities[i], nextUpdate: list.NextUpdate, serials: map[string]bool{}}
		r.lists[string(list.RawIssuer)] = known
	}
	if list.NextUpdate.Before(known.nextUpdate) {
		known.nextUpdate = list.NextUpdate
	}
	for _, entry := range list.RevokedCertificateEntries {
		known.serials[entry.SerialNumber.String()] = true
	}
	return nil
}

// revoked reports whether any certificate of the chain was taken back by the
// one above it. The last of a chain is an authority we were told to trust.
func (r *revocations) revoked(chain []*x509.Certificate) bool {
	for i := range len(chain) - 1 {
		list := r.lists[string(chain[i].RawIssuer)]
		if list != nil && list.serials[chain[i].SerialNumber.String()] {
			return true
		}
	}
	return false
}
