package main

import (
	"path/filepath"
	"strings"
)

// sqliteDSN names a file.
func sqliteDSN(path, synchronous string) string {
	escaped := strings.NewReplacer("%", "%25", "?", "%3F", "#", "%23").Replace(filepath.ToSlash(path))
	return "sqlite://" + escaped + "?synchronous=" + synchronous
}
