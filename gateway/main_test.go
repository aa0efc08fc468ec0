package gateway

import (
	"os"
	"testing"

	"github.com/relais-sante/relais/store/journal/journaltest"
)

func TestMain(m *testing.M) { os.Exit(journaltest.Run(m)) }
