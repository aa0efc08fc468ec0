package demo

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// searched looks for words in all files below the places, as somebody would who
// got hold of the disk. It gives the number of files read and of those in which
// a word is readable.
func searched(words []string, places ...string) (files, found int, err error) {
	for _, place := range places {
		err := filepath.WalkDir(place, func(path string, entry fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if !entry.Type().IsRegular() {
				return nil
			}
			content, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			files++
			for _, word := range words {
				if bytes.Contains(content, []byte(word)) {
					found++
					break
				}
			}
			return nil
		})
		if err != nil {
			return 0, 0, fmt.Errorf("searching the disk: %w", err)
		}
	}
	return files, found, nil
}
