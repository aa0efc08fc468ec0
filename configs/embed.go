// Package configs holds what a deployment is set up with: the configuration and
// its checks, and the sample files that `relais init` writes.
//
// The configuration is strict: an unknown key is an error, every problem has its
// line, and says what is allowed. Its reference, docs/configuration.md, is
// generated from the structs, so that no setting goes without a description.
package configs

import "embed"

// Programmes holds the programme files that are shipped: programmes/*.toml.
//
//go:embed programmes/*.toml
var Programmes embed.FS
