package imap

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/relais-sante/relais/gateway/imap/imaptest"
)

// TestScripted runs the scripts of imaptest, which are not part of the
// project: they are found beside it. The one in urlauth2 has both its users be
// the same account, see urlauth.go.
func TestScripted(t *testing.T) {
	dir := filepath.Join("..", "..", "..", "shared", "imaptest", "tests")
	if _, err := os.Stat(dir); err != nil {
		t.Skip("the imaptest scripts are not there: shared/imaptest beside the project")
	}
	h := open(t, nil)
	imaptest.Run(t, dir, imaptest.Target{
		Dial:     h.dial,
		User:     testUser,
		Password: testSecret,
	})
}
