package main

import (
	"runtime/debug"
	"strings"
)

// The software bill of materials: what the program is built of, told by the
// program itself (CycloneDX 1.6, JSON; ECMA-424). Whoever holds the binary can
// compare it with lists of known vulnerabilities.

type sbom struct {
	Schema      string          `json:"$schema"`
	Format      string          `json:"bomFormat"`
	SpecVersion string          `json:"specVersion"`
	Version     int             `json:"version"`
	Metadata    sbomMetadata    `json:"metadata"`
	Components  []sbomComponent `json:"components"`
	Depends     []sbomDepends   `json:"dependencies"`
}

type sbomMetadata struct {
	Timestamp string        `json:"timestamp,omitempty"` // of the revision: the same build says the same
	Component sbomComponent `json:"component"`
}

type sbomComponent struct {
	Type       string         `json:"type"`
	Ref        string         `json:"bom-ref"`
	Name       string         `json:"name"`
	Version    string         `json:"version"`
	PURL       string         `json:"purl"`
	Scope      string         `json:"scope,omitempty"`
	Properties []sbomProperty `json:"properties,omitempty"`
}

type sbomProperty struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

type sbomDepends struct {
	Ref  string   `json:"ref"`
	Upon []string `json:"dependsOn"`
}

// billOf lists the modules of a build, and Go's own library.
func billOf(info *debug.BuildInfo) sbom {
	b := buildOf(info)
	main := sbomModule("application", info.Main.Path, b.Version)
	for _, p := range []sbomProperty{{"build:go", info.GoVersion}, {"build:revision", b.Revision}, {"build:platform", b.Platform}} {
		if p.Value != "" {
			main.Properties = append(main.Properties, p)
		}
	}
	bill := sbom{
		Schema: "http://cyclonedx.org/schema/bom-1.6.schema.json", Format: "CycloneDX", SpecVersion: "1.6", Version: 1,
		Metadata:   sbomMetadata{Timestamp: b.Time, Component: main},
		Components: []sbomComponent{sbomModule("library", "std", strings.TrimPrefix(info.GoVersion, "go"))},
	}
	for _, m := range info.Deps {
		if m.Replace != nil {
			m = m.Replace
		}
		c := sbomModule("library", m.Path, m.Version)
		if m.Sum != "" { // of the module's files together (golang.org/x/mod/sumdb/dirhash)
			c.Properties = append(c.Properties, sbomProperty{"go:sum", m.Sum})
		}
		bill.Components = append(bill.Components, c)
	}
	upon := make([]string, len(bill.Components))
	for i, c := range bill.Components {
		upon[i] = c.Ref
	}
	bill.Depends = []sbomDepends{{Ref: main.Ref, Upon: upon}}
	return bill
}

// sbomModule names a module by its package URL (purl-spec, type golang).
func sbomModule(kind, path, version string) sbomComponent {
	purl := "pkg:golang/" + path + "@" + strings.NewReplacer("+", "%2B", "(", "", ")", "").Replace(version)
	c := sbomComponent{Type: kind, Ref: purl, Name: path, Version: version, PURL: purl}
	if kind == "library" {
		c.Scope = "required"
	}
	return c
}
