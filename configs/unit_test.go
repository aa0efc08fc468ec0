package configs_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// unit reads a systemd unit: section and key to values, in their order.
func unit(t *testing.T, name string) map[string][]string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	values := map[string][]string{}
	section := ""
	for i, line := range strings.Split(string(text), "\n") {
		switch {
		case line == "" || line[0] == '#':
		case line[0] == '[' && strings.HasSuffix(line, "]"):
			section = line[1 : len(line)-1]
		default:
			key, value, ok := strings.Cut(line, "=")
			if !ok || section == "" || strings.ContainsAny(key, " \t") {
				t.Fatalf("%s:%d: %q is no setting", name, i+1, line)
			}
			values[section+"."+key] = append(values[section+"."+key], value)
		}
	}
	return values
}

// The unit keeps what makes it safe, and does what the program expects of it.
func TestUnit(t *testing.T) {
	s := unit(t, "relais.service")
	for key, want := range map[string]string{
		"Type": "notify", "DynamicUser": "yes", "StateDirectoryMode": "0700", "UMask": "0077",
		"CapabilityBoundingSet": "", "AmbientCapabilities": "", "NoNewPrivileges": "yes", "PrivateUsers": "yes",
		"ProtectSystem": "strict", "ProtectHome": "yes", "PrivateTmp": "yes", "PrivateDevices": "yes", "ProtectProc": "invisible",
		"ProtectClock": "yes", "ProtectHostname": "yes", "ProtectKernelLogs": "yes", "ProtectKernelModules": "yes",
		"ProtectKernelTunables": "yes", "ProtectControlGroups": "yes", "RestrictAddressFamilies": "AF_INET AF_INET6 AF_UNIX",
		"RestrictNamespaces": "yes", "RestrictRealtime": "yes", "RestrictSUIDSGID": "yes", "LockPersonality": "yes",
		"MemoryDenyWriteExecute": "yes", "SystemCallArchitectures": "native", "MemorySwapMax": "0", "LimitCORE": "0",
	} {
		if got := s["Service."+key]; len(got) != 1 || got[0] != want {
			t.Errorf("%s is %q, want %q", key, got, want)
		}
	}
	// The daemon is gone 10 s after SIGTERM at the latest.
	if got := s["Service.TimeoutStopSec"]; !slices.Equal(got, []string{"15s"}) {
		t.Errorf("TimeoutStopSec is %q", got)
	}
	for _, line := range s["Service.LoadCredential"] {
		if name, path, _ := strings.Cut(line, ":"); !strings.HasSuffix(name, ".key") || !strings.HasPrefix(path, "/etc/relais/") {
			t.Errorf("credential %q", line)
		}
	}
	if len(unit(t, "relais.socket")["Socket.ListenStream"]) == 0 {
		t.Error("no port")
	}
}

// systemd itself reads the units, and finds little that they expose.
func TestUnitBySystemd(t *testing.T) {
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		if os.Getenv("RELAIS_PEERS") == "require" {
			t.Fatal("systemd-analyze is not installed")
		}
		t.Skip("systemd-analyze is not installed")
	}
	dir := t.TempDir()
	for _, name := range []string{"relais.service", "relais.socket"} {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		// verify looks whether the program is there.
		text = []byte(strings.Replace(string(text), "ExecStart=/usr/local/bin/relais", "ExecStart=/bin/sh", 1))
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	service, socket := filepath.Join(dir, "relais.service"), filepath.Join(dir, "relais.socket")
	if out, err := exec.Command(analyze, "verify", service, socket).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("verify: %v\n%s", err, out)
	}
	// Exposure in tenths: 0 is a unit that can do nothing, 100 one without limits.
	if out, err := exec.Command(analyze, "security", "--offline=yes", "--threshold=15", "--no-pager", service).CombinedOutput(); err != nil {
		t.Errorf("security: %v\n%s", err, out)
	}
}
