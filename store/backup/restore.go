package backup

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/relais-sante/relais/store/seal"
)

// RestoreOptions say what is restored and how.
type RestoreOptions struct {
	// Generation names the one to restore; empty: the newest finished one.
	Generation string
	// Keystore, if set, is the hub's current keystore: after an erasure or a
	// change of epochs that of the backup opens with no key any more.
	Keystore string
	// ResumeQueue lets copies that were still to be sent go out again by
	// themselves. Otherwise they wait for a human: they may have gone out since.
	ResumeQueue bool
	Progress    func(done, total int64)
	Now         func() time.Time // default: time.Now
}

// RestoreReport is what was restored.
type RestoreReport struct {
	Dir        string    `json:"dir"`
	Generation string    `json:"generation"`
	Taken      time.Time `json:"taken"`
	Sequence   uint64    `json:"sequence"`
	Epoch      uint32    `json:"epoch"` // whose file must be in epoch_dir
	Files      int       `json:"files"`
	Bytes      int64     `json:"bytes"`
	Copied     int64     `json:"copied"` // the rest was there from a run before
	Held       bool      `json:"held"`   // copies to send are put on hold at the next start
	Seconds    float64   `json:"seconds"`
}

// Marks in a data folder.
const (
	// unfinishedMark: the folder is being restored into.
	unfinishedMark = "restore-unfinished"
	// restoredMark: the folder was restored and no hub has started on it yet.
	restoredMark = "restored"
)

// Restored is what a hub finds at its first start on a restored folder.
type Restored struct {
	Generation string    `json:"generation"`
	Taken      time.Time `json:"taken"`
	At         time.Time `json:"at"`
	Resume     bool      `json:"resume_queue"`
	Salvaged   bool      `json:"salvaged"`
	// SHA-256 of the manifest and its MAC, for a hub that has its keys.
	Manifest []byte `json:"manifest,omitempty"`
	Mac      []byte `json:"mac,omitempty"`
}

// Authentic tells whether the hub with these keys made the backup.
func (r *Restored) Authentic(k *seal.Keys) bool {
	mac := k.Mac(macUse, string(r.Manifest))
	return r.Salvaged || hmac.Equal(r.Mac, mac[:])
}

// Restore brings a generation back into a folder, which must be empty or come
// from a run of the same that was cut off.
func Restore(ctx context.Context, from, dir string, o RestoreOptions) (*RestoreReport, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	start := o.Now()
	r := &RestoreReport{Dir: dir, Held: !o.ResumeQueue}
	if err := restore(ctx, from, dir, &o, r); err != nil {
		return r, fmt.Errorf("restoring: %w", err)
	}
	r.Seconds = o.Now().Sub(start).Seconds()
	return r, nil
}

func restore(ctx context.Context, from, dir string, o *RestoreOptions, r *RestoreReport) error {
	m, err := choose(from, o.Generation)
	if err != nil {
		return err
	}
	if err := Outside(dir, from); err != nil {
		return err
	}
	r.Generation, r.Taken, r.Sequence, r.Epoch, r.Files = m.generation, m.Taken, m.Sequence, m.Epoch, len(m.Files)
	for _, f := range m.Files {
		r.Bytes += f.Size
	}
	if o.Keystore != "" {
		id, epoch, err := seal.HeadOf(o.Keystore)
		if err != nil {
			return fmt.Errorf("reading the keystore: %w", err)
		}
		if hex.EncodeToString(id[:]) != m.Hub {
			return ErrOtherKeys
		}
		r.Epoch = epoch
	}
	if err := beginIn(dir, m.generation); err != nil {
		return err
	}
	c := &restorer{ctx: ctx, from: from, dir: dir, o: o, r: r}
	for _, late := range []bool{false, true} { // the index last
		for _, f := range m.Files {
			if (f.Name == indexName) != late || f.Name == keystoreName && o.Keystore != "" {
				continue
			}
			if err := c.file(f); err != nil {
				return fmt.Errorf("%s: %w", f.File, err)
			}
		}
	}
	if o.Keystore != "" {
		if err := c.keystore(); err != nil {
			return err
		}
	}
	sum := sha256.Sum256(m.raw)
	return finish(dir, &Restored{
		Generation: m.generation, Taken: m.Taken, At: o.Now().UTC().Truncate(time.Second), Resume: o.ResumeQueue,
		Manifest: sum[:], Mac: m.mac,
	})
}

// choose finds the generation to restore.
func choose(from, generation string) (*Manifest, error) {
	list, _, err := Generations(from)
	if err != nil {
		return nil, err
	}
	for i := len(list) - 1; i >= 0; i-- {
		if generation == "" || list[i].generation == generation {
			return list[i], nil
		}
	}
	return nil, ErrNoBackup
}

// beginIn marks a folder that is empty, or goes on in one that is marked so.
func beginIn(dir, what string) error {
	if err := os.MkdirAll(filepath.Join(dir, segmentsDir), 0o700); err != nil {
		return room(err)
	}
	mark := filepath.Join(dir, unfinishedMark)
	b, err := os.ReadFile(mark)
	if err == nil && strings.TrimSpace(string(b)) == what {
		return nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err == nil {
		return fmt.Errorf("another generation is half restored there: %w", ErrNotEmpty)
	}
	for _, d := range []string{dir, filepath.Join(dir, segmentsDir)} {
		entries, err := os.ReadDir(d)
		if err != nil {
			return err
		}
		for _, e := range entries {
			// The mark itself may have found no room, or met the end of the machine.
			if e.Name() != segmentsDir && e.Name() != unfinishedMark+freshSuffix {
				return ErrNotEmpty
			}
		}
	}
	return writeWhole(mark, []byte(what+"\n"))
}

// finish makes a restored folder one that a hub starts on.
func finish(dir string, mark *Restored) error {
	b, err := json.MarshalIndent(mark, "", " ")
	if err != nil {
		return err
	}
	if err := syncDir(filepath.Join(dir, segmentsDir)); err != nil {
		return err
	}
	if err := writeWhole(filepath.Join(dir, restoredMark), b); err != nil {
		return err
	}
	if err := os.Remove(filepath.Join(dir, unfinishedMark)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return syncDir(dir)
}

type restorer struct {
	ctx       context.Context
	from, dir string
	o         *RestoreOptions
	r         *RestoreReport
	done      int64
}

// file copies one file, unless a run before did, and compares it.
func (c *restorer) file(f Copied) error {
	to := filepath.Join(c.dir, f.Name)
	if info, err := os.Stat(to); err == nil && info.Size() == f.Size {
		if sum, err := c.hash(to); err != nil || sum == f.SHA256 {
			c.told(f.Size)
			return err
		}
	}
	in, err := os.Open(filepath.Join(c.from, f.File))
	if errors.Is(err, fs.ErrNotExist) {
		return ErrDamaged
	}
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return room(err)
	}
	sum := sha256.New()
	n, err := io.Copy(io.MultiWriter(out, sum, told(c.told)), &whileAlive{c.ctx, io.LimitReader(in, f.Size)})
	c.r.Copied += n
	if err == nil {
		err = out.Sync()
	}
	if err = errors.Join(err, out.Close()); err != nil {
		return room(err)
	}
	if n != f.Size || hex.EncodeToString(sum.Sum(nil)) != f.SHA256 {
		return errors.Join(ErrDamaged, os.Remove(to))
	}
	return nil
}

func (c *restorer) hash(path string) (string, error) {
	in, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer in.Close()
	sum := sha256.New()
	_, err = io.Copy(sum, &whileAlive{c.ctx, in})
	return hex.EncodeToString(sum.Sum(nil)), err
}

// keystore puts the current one in place of that of the backup.
func (c *restorer) keystore() error {
	b, err := os.ReadFile(c.o.Keystore)
	if err != nil {
		return fmt.Errorf("reading the keystore: %w", err)
	}
	return writeWhole(filepath.Join(c.dir, keystoreName), b)
}

func (c *restorer) told(n int64) {
	c.done += n
	if c.o.Progress != nil {
		c.o.Progress(min(c.done, c.r.Bytes), c.r.Bytes)
	}
}

// told counts what is written.
type told func(int64)

func (t told) Write(p []byte) (int, error) {
	t(int64(len(p)))
	return len(p), nil
}

// Unfinished refuses a folder that is half restored.
func Unfinished(dir string) error {
	_, err := os.Lstat(filepath.Join(dir, unfinishedMark))
	switch {
	case err == nil:
		return ErrUnfinished
	case errors.Is(err, fs.ErrNotExist):
		return nil
	}
	return err
}

// FirstStart gives what a hub has to see to before it starts on a folder: nil on
// one that was not restored.
func FirstStart(dir string) (*Restored, error) {
	b, err := os.ReadFile(filepath.Join(dir, restoredMark))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	r := new(Restored)
	if err := json.Unmarshal(b, r); err != nil {
		return nil, fmt.Errorf("reading what was restored: %w", ErrDamaged)
	}
	return r, nil
}

// Started forgets that a folder was restored.
func Started(dir string) error {
	if err := os.Remove(filepath.Join(dir, restoredMark)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return syncDir(dir)
}
