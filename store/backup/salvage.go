package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Gather brings into a folder what an index is made again from: message segments
// and keystore, out of a data folder or a backup folder. Where both are the same
// folder nothing is copied. The folder is marked as half restored until Finish.
func Gather(ctx context.Context, from, dir, keystore string, progress func(done, total int64)) error {
	same, err := sameFolder(from, dir)
	if err != nil {
		return fmt.Errorf("salvaging: %w", err)
	}
	if same {
		err = writeWhole(filepath.Join(dir, unfinishedMark), []byte("salvage\n"))
	} else {
		err = gather(ctx, from, dir, keystore, progress)
	}
	if err == nil && keystore != "" {
		err = place(keystore, filepath.Join(dir, keystoreName))
	}
	if err != nil {
		return fmt.Errorf("salvaging: %w", err)
	}
	return nil
}

func sameFolder(a, b string) (bool, error) {
	one, err := resolved(a)
	if err != nil {
		return false, err
	}
	other, err := resolved(b)
	return one == other, err
}

func gather(ctx context.Context, from, dir, keystore string, progress func(done, total int64)) error {
	if err := Outside(dir, from); err != nil {
		return err
	}
	// A backup names its files; a data folder has them where they belong.
	files := map[string]string{}
	if m, err := choose(from, ""); err == nil {
		for _, f := range m.Files {
			files[f.Name] = f.File
		}
	} else if !errors.Is(err, ErrNoBackup) {
		return err
	} else {
		entries, err := os.ReadDir(filepath.Join(from, segmentsDir))
		if err != nil {
			return err
		}
		for _, e := range entries {
			if name := filepath.Join(segmentsDir, e.Name()); sane(name) {
				files[name] = name
			}
		}
		files[keystoreName] = keystoreName
	}
	delete(files, indexName)
	if keystore != "" {
		delete(files, keystoreName)
	}
	if err := beginIn(dir, "salvage"); err != nil {
		return err
	}
	var total, done int64
	for _, file := range files {
		if info, err := os.Stat(filepath.Join(from, file)); err == nil {
			total += info.Size()
		}
	}
	for name, file := range files {
		err := copyFile(ctx, filepath.Join(from, file), filepath.Join(dir, name), func(n int64) {
			if done += n; progress != nil {
				progress(min(done, total), total)
			}
		})
		if errors.Is(err, os.ErrNotExist) && name != keystoreName {
			continue // what is lost is told by the salvage
		}
		if err != nil {
			return fmt.Errorf("copying %s: %w", name, err)
		}
	}
	return nil
}

// copyFile copies a file unless one of that size is there from a run before.
func copyFile(ctx context.Context, from, to string, count func(int64)) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	if have, err := os.Stat(to); err == nil && have.Size() == info.Size() && strings.HasSuffix(to, ".seg") {
		count(info.Size())
		return nil
	}
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return room(err)
	}
	_, err = io.Copy(io.MultiWriter(out, told(count)), &whileAlive{ctx, in})
	if err == nil {
		err = out.Sync()
	}
	return room(errors.Join(err, out.Close()))
}

func place(from, to string) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return writeWhole(to, b)
}

// Finish ends a salvage: a hub may start on the folder.
func Finish(dir string, at time.Time) error {
	return finish(dir, &Restored{Generation: "salvage", Taken: at.UTC().Truncate(time.Second), At: at.UTC().Truncate(time.Second), Salvaged: true})
}
