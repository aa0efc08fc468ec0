package main

import (
	"encoding/json"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
)

func TestBillOfMaterials(t *testing.T) {
	info := &debug.BuildInfo{
		GoVersion: "go1.26.1", Main: debug.Module{Path: "github.com/relais-sante/relais", Version: "v1.2.3+dirty"},
		Deps: []*debug.Module{
			{Path: "go.etcd.io/bbolt", Version: "v1.5.0", Sum: "h1:abc="},
			{Path: "example.org/old", Version: "v1.0.0", Replace: &debug.Module{Path: "example.org/new", Version: "v1.0.1"}},
		},
		Settings: []debug.BuildSetting{{Key: "vcs.time", Value: "2026-11-23T09:00:00Z"}, {Key: "vcs.revision", Value: "abcdef"}},
	}
	text, err := json.Marshal(billOf(info))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`"bomFormat":"CycloneDX","specVersion":"1.6","version":1`,
		`"timestamp":"2026-11-23T09:00:00Z"`,
		`"type":"application","bom-ref":"pkg:golang/github.com/relais-sante/relais@v1.2.3%2Bdirty"`,
		`"name":"std","version":"1.26.1","purl":"pkg:golang/std@1.26.1"`,
		`"purl":"pkg:golang/go.etcd.io/bbolt@v1.5.0","scope":"required","properties":[{"name":"go:sum","value":"h1:abc="}]`,
		`"purl":"pkg:golang/example.org/new@v1.0.1"`,
		`{"name":"build:revision","value":"abcdef"}`,
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
	if strings.Contains(string(text), "example.org/old") {
		t.Error("a module that was replaced is listed")
	}
	bill := billOf(info)
	for _, c := range bill.Components {
		if !slices.Contains(bill.Depends[0].Upon, c.Ref) {
			t.Errorf("nothing depends on %s", c.Ref)
		}
	}
}
