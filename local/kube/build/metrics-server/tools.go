//go:build tools

// Package tools names what is built, so that go.mod keeps its modules.
package tools

import _ "sigs.k8s.io/metrics-server/cmd/metrics-server"
