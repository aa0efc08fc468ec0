// Package backup copies a running hub to a folder elsewhere, and brings such a
// copy back.
//
// A backup folder holds the message segments once, and beside them a generation
// for each backup taken:
//
//	DEST/segments/*.seg
//	DEST/generations/TAKEN-SEQUENCE/index.db
//	DEST/generations/TAKEN-SEQUENCE/keystore
//	DEST/generations/TAKEN-SEQUENCE/manifest
//
// Rules that hold here:
//
//   - What is copied is a snapshot: the index between two commits, the keys of
//     that moment, and as much of each segment as that index speaks of. Segments
//     only grow, so that a later backup copies what was added.
//   - The manifest lists every file with its size and SHA-256, carries a MAC that
//     only this hub can make, and is written last. A generation without one is
//     no backup: the next run clears it away and goes on from the segments it
//     left.
//   - Nothing that a manifest names is ever changed or cut; a file grows behind
//     what they name, or another is begun.
//   - The keystore is copied as it is, every key wrapped by an epoch key. Epoch
//     keys, the hub key and the recovery key are in no backup, so that a backup
//     reveals nothing, and what was erased since is erased in it too.
//   - A folder under restoration is marked until all of it was written and
//     compared; nothing starts on it before.
package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/relais-sante/relais/store/journal"
)

// Faults.
const (
	// ErrInside: the backup folder lies in the hub's own folders, or they in it.
	ErrInside = journal.Fault("backup folder inside the hub's own folders")
	// ErrOtherHub: the folder holds backups of another hub.
	ErrOtherHub = journal.Fault("backups of another hub")
	// ErrBusy: another backup is being written there.
	ErrBusy = journal.Fault("another backup is under way")
	// ErrDestFull: no room left in the folder written to.
	ErrDestFull = journal.Fault("no room left at the destination")
	// ErrNoBackup: there is no (such) finished generation.
	ErrNoBackup = journal.Fault("no finished backup")
	// ErrDamaged: a file of the backup is not what its manifest says.
	ErrDamaged = journal.Fault("backup damaged")
	// ErrNotEmpty: the folder to restore into holds something else.
	ErrNotEmpty = journal.Fault("folder not empty")
	// ErrUnfinished: the folder is half restored.
	ErrUnfinished = journal.Fault("restore not finished")
	// ErrOtherKeys: the keystore given is another hub's.
	ErrOtherKeys = journal.Fault("keystore of another hub")
	// ErrForged: the manifest was not made by this hub.
	ErrForged = journal.Fault("manifest not made by this hub")
)

// Snapshot is what a backup is made from: a hub at one moment.
type Snapshot struct {
	ID       string    `json:"id"`
	Taken    time.Time `json:"taken"`
	Hub      string    `json:"hub"`      // id of its keystore
	Line     string    `json:"line"`     // history of its segments: see store/bolt
	Sequence uint64    `json:"sequence"` // of the last commit in it
	Epoch    uint32    `json:"epoch"`    // whose key opens the keystore
	Files    []File    `json:"files"`
}

// File is one file of a snapshot.
type File struct {
	Name string `json:"name"` // index.db, keystore, segments/…
	Size int64  `json:"size"`
}

// Source is a hub that snapshots can be had from: in this process, or over its
// admin API.
type Source interface {
	Begin(ctx context.Context) (*Snapshot, error)
	// Read gives length bytes of a file from offset on.
	Read(ctx context.Context, snapshot, name string, offset, length int64) (io.ReadCloser, error)
	// Digest is the SHA-256 of the first length bytes of a file.
	Digest(ctx context.Context, snapshot, name string, length int64) ([]byte, error)
	// Sign gives the MAC of a manifest, by its SHA-256.
	Sign(ctx context.Context, snapshot string, digest []byte) ([]byte, error)
	// End gives the snapshot up, and says what came of it.
	End(ctx context.Context, snapshot string, done Outcome) error
}

// Outcome is what is said of a backup in the hub's traces.
type Outcome struct {
	Done       bool   `json:"done"`
	Generation string `json:"generation"`
	Copied     int64  `json:"copied"` // bytes
}

// Names in a backup folder and in a data folder.
const (
	segmentsDir    = "segments"
	generationsDir = "generations"
	indexName      = "index.db"
	keystoreName   = "keystore"
	manifestName   = "manifest"
	lockName       = ".lock"
)

// Outside refuses a destination that lies in one of the hub's folders, or holds
// one: a copy beside what it copies goes with it, and would be copied itself.
func Outside(dest string, folders ...string) error {
	to, err := resolved(dest)
	if err != nil {
		return err
	}
	for _, f := range folders {
		if f == "" {
			continue
		}
		own, err := resolved(f)
		if err != nil {
			return err
		}
		if within(own, to) || within(to, own) {
			return ErrInside
		}
	}
	return nil
}

func within(dir, path string) bool {
	rel, err := filepath.Rel(dir, path)
	return err == nil && filepath.IsLocal(rel)
}

// resolved follows links as far as the path exists.
func resolved(path string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	rest := ""
	for {
		real, err := filepath.EvalSymlinks(path)
		if err == nil {
			return filepath.Join(real, rest), nil
		}
		if !errors.Is(err, os.ErrNotExist) || path == filepath.Dir(path) {
			return "", err
		}
		path, rest = filepath.Dir(path), filepath.Join(filepath.Base(path), rest)
	}
}

// room gives a full disk its name.
func room(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EFBIG) {
		return fmt.Errorf("%w: %w", ErrDestFull, err)
	}
	return err
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// freshSuffix ends the name of a small file that is being written.
const freshSuffix = ".new"

// writeWhole writes a small file so that it is there whole or not at all.
func writeWhole(path string, b []byte) error {
	f, err := os.OpenFile(path+freshSuffix, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(path+freshSuffix, path)
	}
	if err == nil {
		err = syncDir(filepath.Dir(path))
	}
	return room(err)
}
