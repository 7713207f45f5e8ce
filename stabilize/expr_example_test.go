package stabilize_test

import (
	"encoding/json"
	"fmt"

	"github.com/stabilize-dev/go-stabilize/stabilize"
)

func ExampleExprBool() {
	context := stabilize.Values{
		"order":    json.RawMessage(`{"total": 120, "items": [{"price": 90}, {"price": 30}]}`),
		"order-id": json.RawMessage(`"o-17"`),
	}
	for _, condition := range []string{
		`order.total > 100 and any(order.items, .price > 80)`,
		`$env["order-id"] startsWith "x-"`,
		`(discount ?? 0) > 10`, // not there: nil, replaced
		`discount > 10`,        // nil compared: an error
	} {
		fmt.Println(stabilize.ExprBool(condition, context))
	}
	// Output:
	// true <nil>
	// false <nil>
	// false <nil>
	// false expression "discount > 10": invalid operation: <nil> > int (line 1, column 10)
}

func ExampleExprList() {
	context := stabilize.Values{"order": json.RawMessage(`{"items": [{"sku":"b","n":2}, {"sku":"a","n":1}]}`)}
	items, err := stabilize.ExprList(`order.items`, context)
	fmt.Printf("%s %v\n", items, err)
	items, err = stabilize.ExprList(`filter(order.items, .n > 1) | map(.sku)`, context)
	fmt.Printf("%s %v\n", items, err)
	// Output:
	// [{"sku":"b","n":2} {"sku":"a","n":1}] <nil>
	// ["b"] <nil>
}

func ExampleRegistry_Reduce() {
	branches := []stabilize.Values{
		{"candidate": json.RawMessage(`"a"`), "cost": json.RawMessage(`3`)},
		{"candidate": json.RawMessage(`"b"`), "cost": json.RawMessage(`4`)},
		{"candidate": json.RawMessage(`["c","d"]`)},
	}
	r := stabilize.NewRegistry()
	count := func(values []json.RawMessage) (json.RawMessage, error) { return json.Marshal(len(values)) }
	if err := r.AddReducer("count", count); err != nil {
		fmt.Println(err)
	}
	out, err := r.Reduce([]stabilize.Reduction{{Key: "candidate", With: "collect"}, {Key: "cost", With: "sum"}}, branches)
	fmt.Printf("%s %s %v\n", out["candidate"], out["cost"], err)
	out, err = r.Reduce([]stabilize.Reduction{{Key: "cost", With: "count"}}, branches)
	fmt.Printf("%s %v\n", out["cost"], err)
	// Output:
	// ["a","b","c","d"] 7 <nil>
	// 2 <nil>
}
