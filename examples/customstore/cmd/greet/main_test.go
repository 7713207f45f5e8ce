package main

import (
	"bytes"
	"path/filepath"
	"testing"
)

func TestGreet(t *testing.T) {
	path := filepath.Join(t.TempDir(), "greetings.db")
	var out bytes.Buffer
	for _, name := range []string{"Ada", "Grace"} { // the second finds the first's workflow
		out.Reset()
		if err := run(t.Context(), path, name, &out); err != nil {
			t.Fatal(err)
		}
	}
	want := "SUCCEEDED: \"hello Grace\" has 11 letters\nGrace SUCCEEDED\nAda SUCCEEDED\n"
	if out.String() != want {
		t.Errorf("got %q, want %q", out.String(), want)
	}
}
