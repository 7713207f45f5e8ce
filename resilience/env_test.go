package resilience_test

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/stabilize-dev/go-stabilize/resilience"
	"github.com/stabilize-dev/go-stabilize/stabilize"
)

type settings struct {
	Concurrency int           `env:"WORKER_CONCURRENCY,min=1,max=1000"`
	LeaseTTL    time.Duration `env:"LEASE_TTL,min=100ms,max=1h"`
	Poll        time.Duration `env:"POLL"`
	Ratio       float64       `env:"RATIO,min=0,max=1"`
	Cascade     bool          `env:"CASCADE"`
	Name        string        `env:"NAME"`
	Small       int8          `env:"SMALL"`
	Count       uint16        `env:"COUNT,min=3"`
	Store       storeSettings
	NotFromEnv  chan int
	secret      string
}

type storeSettings struct {
	Conns int `env:"STORE_CONNS,max=50"`
}

func (s *settings) Validate() error {
	if s.Poll > s.LeaseTTL {
		return stabilize.Invalid("poll interval", "%s is longer than the lease, %s", s.Poll, s.LeaseTTL)
	}
	return nil
}

func from(vars map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) { v, ok := vars[name]; return v, ok }
}

func TestEnvFillsWhatIsSet(t *testing.T) {
	got := settings{Concurrency: 7, Name: "as it was", LeaseTTL: time.Minute, Cascade: true, secret: "kept"}
	err := resilience.Env(from(map[string]string{
		"STABILIZE_WORKER_CONCURRENCY": "1000", "STABILIZE_LEASE_TTL": "100ms", "STABILIZE_RATIO": "0.5",
		"STABILIZE_CASCADE": "false", "STABILIZE_NAME": "", "STABILIZE_SMALL": "-128", "STABILIZE_COUNT": "3",
		"STABILIZE_STORE_CONNS": "50", "WORKER_CONCURRENCY": "5",
	}), "STABILIZE_", &got)
	want := settings{
		Concurrency: 1000, LeaseTTL: 100 * time.Millisecond, Ratio: 0.5, Name: "as it was", Small: -128, Count: 3,
		Store: storeSettings{Conns: 50}, secret: "kept",
	}
	if err != nil || got != want {
		t.Errorf("got %+v, error %v, want %+v", got, err, want)
	}
}

func TestEnvReportsEveryMistake(t *testing.T) {
	before := settings{Concurrency: 7, Poll: time.Second, LeaseTTL: time.Second}
	got := before
	err := resilience.Env(from(map[string]string{
		"WORKER_CONCURRENCY": "1001", "LEASE_TTL": "1", "RATIO": "NaN", "CASCADE": "perhaps", "SMALL": "128", "COUNT": "-1",
		"STORE_CONNS": "51", "POLL": "2s", "NAME": "a good one",
	}), "", &got)
	if !errors.Is(err, stabilize.ErrInvalid) || got != before {
		t.Fatalf("error %v; the target became %+v", err, got)
	}
	want := []string{
		`invalid WORKER_CONCURRENCY: "1001" is not a whole number from 1 to 1000`,
		`invalid LEASE_TTL: "1" is not a duration (such as 1.5s) from 100ms to 1h0m0s`,
		`invalid RATIO: "NaN" is not a number from 0 to 1`,
		`invalid CASCADE: "perhaps" is not true or false`,
		`invalid SMALL: "128" is not a whole number from -128 to 127`,
		`invalid COUNT: "-1" is not a whole number from 3 to 65535`,
		`invalid STORE_CONNS: "51" is not a whole number of at most 50`,
		`invalid poll interval: 2s is longer than the lease, 1s`,
	}
	if got := strings.Split(err.Error(), "\n"); strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestEnvRefusesWhatItCannotFill(t *testing.T) {
	var number int
	for name, target := range map[string]any{
		"no struct":     &number,
		"no pointer":    settings{},
		"a nil pointer": (*settings)(nil),
		"nil":           nil,
		"a type it does not know": &struct {
			F []string `env:"F"`
		}{},
		"a bound that is no number": &struct {
			F int `env:"F,min=x"`
		}{},
		"a bound of text": &struct {
			F string `env:"F,min=x"`
		}{},
		"a rule it does not know": &struct {
			F int `env:"F,most=1"`
		}{},
		"no name": &struct {
			F int `env:""`
		}{},
		"a field not exported": &struct {
			f int `env:"F"`
		}{},
	} {
		if err := resilience.Env(from(nil), "", target); !errors.Is(err, stabilize.ErrInvalid) {
			t.Errorf("%s: %v, want ErrInvalid", name, err)
		}
	}
}

// Any text either sets the field to the number it says, within the bounds, or
// is refused and changes nothing.
func TestEnvNumbers(t *testing.T) {
	text := rapid.OneOf(rapid.String(), rapid.StringMatching(`[+-]?[0-9]{0,6}`), rapid.Custom(func(t *rapid.T) string {
		return strconv.Itoa(rapid.IntRange(-5, 1005).Draw(t, "n"))
	}))
	rapid.Check(t, func(t *rapid.T) {
		value := text.Draw(t, "value")
		got := settings{Concurrency: 42}
		err := resilience.Env(from(map[string]string{"WORKER_CONCURRENCY": value}), "", &got)
		want, bad := strconv.Atoi(value)
		switch {
		case value == "":
			want, bad = 42, nil
		case bad != nil || want < 1 || want > 1000:
			want, bad = 42, stabilize.ErrInvalid
		}
		if got.Concurrency != want || (err != nil) != (bad != nil) {
			t.Fatalf("%q gave %d and the error %v", value, got.Concurrency, err)
		}
	})
}

func ExampleEnv() {
	cfg := struct {
		Concurrency int           `env:"WORKER_CONCURRENCY,min=1"`
		LeaseTTL    time.Duration `env:"LEASE_TTL"`
	}{Concurrency: 100, LeaseTTL: 3 * time.Second}
	vars := map[string]string{"STABILIZE_LEASE_TTL": "10s"} // os.LookupEnv in a program
	lookup := func(name string) (string, bool) { v, ok := vars[name]; return v, ok }
	err := resilience.Env(lookup, "STABILIZE_", &cfg)
	fmt.Println(cfg.Concurrency, cfg.LeaseTTL, err)
	vars["STABILIZE_WORKER_CONCURRENCY"] = "many"
	fmt.Println(resilience.Env(lookup, "STABILIZE_", &cfg))
	// Output:
	// 100 10s <nil>
	// invalid STABILIZE_WORKER_CONCURRENCY: "many" is not a whole number of at least 1
}
