package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/data/azcosmos"
)

// Queries over five ranges. This SDK merges nothing: the server answers them whole.

const queryItems = 40

var (
	queryContainer *azcosmos.ContainerClient
	kinds          = []string{"red", "green", "blue"}
)

var queryScenarios = []scenario{
	{"query_filters", queryFilters},
	{"query_one_key", queryOneKey},
	{"query_order", queryOrder},
	{"query_order_of_several", queryOrderOfSeveral},
	{"query_aggregates", queryAggregates},
	{"query_groups", queryGroups},
	{"query_distinct", queryDistinct},
	{"query_windows", queryWindows},
	{"query_pages", queryPages},
	{"query_ordered_pages", queryOrderedPages},
	{"query_key_prefix", queryKeyPrefix},
	{"query_feed_ranges", func(context.Context) error { return skipped("azcosmos 1.5 cannot query a feed range") }},
	{"query_refused", queryRefused},
}

func makeQueryContainer(ctx context.Context) error {
	if queryContainer != nil {
		return nil
	}
	path := func(path string, order azcosmos.CompositeIndexOrder) azcosmos.CompositeIndex {
		return azcosmos.CompositeIndex{Path: path, Order: order}
	}
	made, err := createContainer(ctx, azcosmos.ContainerProperties{
		ID: "queries", PartitionKeyDefinition: hash("/pk", 2),
		IndexingPolicy: &azcosmos.IndexingPolicy{
			Automatic: true, IndexingMode: azcosmos.IndexingModeConsistent,
			IncludedPaths: []azcosmos.IncludedPath{{Path: "/*"}},
			CompositeIndexes: [][]azcosmos.CompositeIndex{{
				path("/kind", azcosmos.CompositeIndexAscending), path("/n", azcosmos.CompositeIndexDescending)}},
		}}, 50000)
	if err != nil {
		return err
	}
	for n := range queryItems {
		pk := fmt.Sprint("p", n%10)
		item := object{"id": fmt.Sprint("i", n), "pk": pk, "n": n, "kind": kinds[n%3], "tags": []int{n % 2, n % 5}}
		if v := []any{nil, true, 2, -1.5, "text", ""}; n%7 < 6 {
			item["v"] = v[n%7]
		}
		if _, err = made.CreateItem(ctx, azcosmos.NewPartitionKeyString(pk), encode(item), nil); err != nil {
			return err
		}
	}
	queryContainer = made
	return nil
}

type asking struct {
	key        azcosmos.PartitionKey
	parameters []azcosmos.QueryParameter
}

// rowsOf gives the results as one JSON text each.
func rowsOf(ctx context.Context, container *azcosmos.ContainerClient, text string, how asking) ([]string, error) {
	found, err := queryWhole(ctx, container, text, how.key, azcosmos.QueryOptions{QueryParameters: how.parameters})
	rows := []string{}
	for _, row := range found {
		rows = append(rows, string(row))
	}
	return rows, err
}

// ask compares a query's results, in order, with JSON texts separated by blanks.
func ask(ctx context.Context, text, wanted string, parameters ...azcosmos.QueryParameter) error {
	if err := makeQueryContainer(ctx); err != nil {
		return err
	}
	rows, err := rowsOf(ctx, queryContainer, text, asking{everyPartition, parameters})
	if err != nil {
		return err
	}
	return same(text, strings.Join(rows, " "), wanted)
}

// askAny is ask without regard to the order.
func askAny(ctx context.Context, text, wanted string, parameters ...azcosmos.QueryParameter) error {
	if err := makeQueryContainer(ctx); err != nil {
		return err
	}
	rows, err := rowsOf(ctx, queryContainer, text, asking{everyPartition, parameters})
	if err != nil {
		return err
	}
	slices.Sort(rows)
	expected := strings.Fields(wanted)
	slices.Sort(expected)
	return same(text, strings.Join(rows, " "), strings.Join(expected, " "))
}

func numbers(from, to int) string {
	texts := []string{}
	for n := from; n < to; n++ {
		texts = append(texts, fmt.Sprint(n))
	}
	return strings.Join(texts, " ")
}

func reversed(texts string) string {
	fields := strings.Fields(texts)
	slices.Reverse(fields)
	return strings.Join(fields, " ")
}

func first(checks ...func() error) error {
	for _, check := range checks {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

func queryFilters(ctx context.Context) error {
	parameter := func(name string, value any) azcosmos.QueryParameter {
		return azcosmos.QueryParameter{Name: name, Value: value}
	}
	return first(
		func() error { return askAny(ctx, "SELECT VALUE c.n FROM c", numbers(0, queryItems)) },
		func() error {
			return askAny(ctx, "SELECT VALUE c.n FROM c WHERE c.n >= @low AND c.kind IN (@kind, 'none') AND ARRAY_CONTAINS(c.tags, @tag)",
				"9 24 39", parameter("@low", 9), parameter("@kind", "red"), parameter("@tag", 4))
		},
		func() error {
			return ask(ctx, "SELECT VALUE c.n FROM c WHERE c.v = @v AND c.n < 3", "0", parameter("@v", nil))
		},
		func() error { return ask(ctx, "SELECT VALUE c.n FROM c WHERE c.none > 1", "") },
		func() error {
			return askAny(ctx, "SELECT VALUE t FROM c JOIN t IN c.tags WHERE c.n < 3", "0 0 0 1 1 2")
		},
	)
}

func queryOneKey(ctx context.Context) error {
	if err := makeQueryContainer(ctx); err != nil {
		return err
	}
	for text, wanted := range map[string]string{
		"SELECT VALUE c.n FROM c ORDER BY c.n DESC":             "33 23 13 3",
		"SELECT VALUE COUNT(1) FROM c":                          "4",
		"SELECT VALUE c.n FROM c ORDER BY c.n OFFSET 1 LIMIT 2": "13 23",
	} {
		rows, err := rowsOf(ctx, queryContainer, text, asking{key: azcosmos.NewPartitionKeyString("p3")})
		if err != nil {
			return err
		}
		if err = same(text, strings.Join(rows, " "), wanted); err != nil {
			return err
		}
	}
	return ask(ctx, "SELECT VALUE c.n FROM c WHERE c.pk = 'p3' ORDER BY c.n", "3 13 23 33")
}

func queryOrder(ctx context.Context) error {
	return first(
		func() error { return ask(ctx, "SELECT VALUE c.n FROM c ORDER BY c.n", numbers(0, queryItems)) },
		func() error {
			return ask(ctx, "SELECT VALUE c.n FROM c ORDER BY c.n DESC", reversed(numbers(0, queryItems)))
		},
		func() error {
			return ask(ctx, "SELECT c.v FROM c WHERE c.n < 7 ORDER BY c.v",
				`{} {"v":null} {"v":true} {"v":-1.5} {"v":2} {"v":""} {"v":"text"}`)
		},
	)
}

func queryOrderOfSeveral(ctx context.Context) error {
	wanted := []string{}
	for _, kind := range []string{"blue", "green", "red"} {
		for n := queryItems - 1; n >= 0; n-- {
			if kinds[n%3] == kind {
				wanted = append(wanted, fmt.Sprint(n))
			}
		}
	}
	texts := strings.Join(wanted, " ")
	return first(
		func() error { return ask(ctx, "SELECT VALUE c.n FROM c ORDER BY c.kind, c.n DESC", texts) },
		func() error {
			return ask(ctx, "SELECT VALUE c.n FROM c ORDER BY c.kind DESC, c.n ASC", reversed(texts))
		},
	)
}

func queryAggregates(ctx context.Context) error {
	for text, wanted := range map[string]string{
		"SELECT VALUE COUNT(1) FROM c":                                                          "40",
		"SELECT VALUE COUNT(1) FROM c WHERE c.none":                                             "0",
		"SELECT VALUE SUM(c.n) FROM c":                                                          "780",
		"SELECT VALUE AVG(c.n) FROM c WHERE c.n < 4":                                            "1.5",
		"SELECT VALUE MIN(c.n) FROM c WHERE c.n > 5":                                            "6",
		"SELECT VALUE MAX(c.kind) FROM c":                                                       `"red"`,
		"SELECT COUNT(1) AS n, MIN(c.n) AS low, AVG(c.n) AS mean FROM c WHERE c.n < 3":          `{"n":3,"low":0,"mean":1}`,
		"SELECT VALUE COUNT(1) FROM (SELECT DISTINCT VALUE c.kind FROM c)":                      "3",
		"SELECT VALUE MAX(s.n) - MIN(s.n) FROM (SELECT COUNT(1) AS n FROM c GROUP BY c.kind) s": "1",
	} {
		if err := ask(ctx, text, wanted); err != nil {
			return err
		}
	}
	return nil
}

func queryGroups(ctx context.Context) error {
	return first(
		func() error {
			return askAny(ctx, "SELECT c.kind, COUNT(1) AS n, SUM(c.n) AS sum, MAX(c.n) AS high FROM c WHERE c.n < 10 GROUP BY c.kind",
				`{"kind":"blue","n":3,"sum":15,"high":8} {"kind":"green","n":3,"sum":12,"high":7} {"kind":"red","n":4,"sum":18,"high":9}`)
		},
		func() error { return askAny(ctx, "SELECT VALUE c.kind FROM c GROUP BY c.kind", `"blue" "green" "red"`) },
	)
}

func queryDistinct(ctx context.Context) error {
	return first(
		func() error { return askAny(ctx, "SELECT DISTINCT VALUE c.kind FROM c", `"blue" "green" "red"`) },
		func() error {
			return ask(ctx, "SELECT DISTINCT VALUE c.kind FROM c ORDER BY c.kind DESC", `"red" "green" "blue"`)
		},
	)
}

func queryWindows(ctx context.Context) error {
	return first(
		func() error {
			return ask(ctx, "SELECT TOP 7 VALUE c.n FROM c ORDER BY c.n DESC", reversed(numbers(33, 40)))
		},
		func() error {
			return ask(ctx, "SELECT VALUE c.n FROM c ORDER BY c.n OFFSET 11 LIMIT 12", numbers(11, 23))
		},
		func() error {
			return ask(ctx, "SELECT VALUE c.n FROM c ORDER BY c.n OFFSET @o LIMIT @l", "38 39",
				azcosmos.QueryParameter{Name: "@o", Value: 38}, azcosmos.QueryParameter{Name: "@l", Value: 9})
		},
		func() error {
			return ask(ctx, "SELECT TOP 9 VALUE true FROM c", strings.TrimSpace(strings.Repeat("true ", 9)))
		},
		func() error {
			return ask(ctx, "SELECT VALUE 1 FROM c OFFSET 30 LIMIT 20", strings.TrimSpace(strings.Repeat("1 ", 10)))
		},
	)
}

// resumed compares what comes page by page, each asked for anew.
func resumed(ctx context.Context, text string, size int32, wanted string, isOrdered bool) error {
	if err := makeQueryContainer(ctx); err != nil {
		return err
	}
	found, err := queryResumed(ctx, queryContainer, text, everyPartition, azcosmos.QueryOptions{PageSizeHint: size})
	if err != nil {
		return err
	}
	rows := make([]int, len(found))
	for i, row := range found {
		if err = json.Unmarshal(row, &rows[i]); err != nil {
			return err
		}
	}
	if !isOrdered {
		slices.Sort(rows)
	}
	return same(text, strings.Trim(fmt.Sprint(rows), "[]"), wanted)
}

func queryPages(ctx context.Context) error {
	return first(
		func() error { return resumed(ctx, "SELECT VALUE c.n FROM c", 3, numbers(0, queryItems), false) },
		func() error { return resumed(ctx, "SELECT VALUE c.n FROM c WHERE c.n < 20", 1, numbers(0, 20), false) },
		func() error { return resumed(ctx, "SELECT DISTINCT VALUE c.n % 9 FROM c", 2, numbers(0, 9), false) },
		func() error {
			return resumed(ctx, "SELECT VALUE COUNT(1) FROM c GROUP BY c.kind", 2, "13 13 14", false)
		},
	)
}

func queryOrderedPages(ctx context.Context) error {
	return first(
		func() error {
			return resumed(ctx, "SELECT VALUE c.n FROM c ORDER BY c.n", 3, numbers(0, queryItems), true)
		},
		func() error {
			return resumed(ctx, "SELECT VALUE c.n FROM c ORDER BY c.n DESC", 7, reversed(numbers(0, queryItems)), true)
		},
		func() error {
			return resumed(ctx, "SELECT VALUE c.n FROM c ORDER BY c.v DESC", 3, numbers(0, queryItems), false)
		},
		func() error {
			return resumed(ctx, "SELECT VALUE c.n FROM c ORDER BY c.n OFFSET 11 LIMIT 12", 5, numbers(11, 23), true)
		},
	)
}

func queryKeyPrefix(ctx context.Context) error {
	made, err := createContainer(ctx, azcosmos.ContainerProperties{
		ID: "tenants", PartitionKeyDefinition: multiHash("/tenant", "/user", "/session")}, 50000)
	if err != nil {
		return err
	}
	for n := range 12 {
		tenant, user := fmt.Sprint("t", n%2), fmt.Sprint("u", n%3)
		key := azcosmos.NewPartitionKeyString(tenant).AppendString(user).AppendNumber(float64(n))
		item := object{"id": fmt.Sprint("i", n), "tenant": tenant, "user": user, "session": n, "n": n}
		if _, err = made.CreateItem(ctx, key, encode(item), nil); err != nil {
			return err
		}
	}
	tenant := azcosmos.NewPartitionKeyString("t1")
	for _, each := range []struct {
		text, wanted string
		key          azcosmos.PartitionKey
	}{
		{"SELECT VALUE c.n FROM c ORDER BY c.n", "1 3 5 7 9 11", tenant},
		{"SELECT VALUE COUNT(1) FROM c", "6", tenant},
		{"SELECT VALUE c.n FROM c ORDER BY c.n", "3 9", tenant.AppendString("u0")},
		{"SELECT VALUE c.n FROM c WHERE c.tenant = 't0' AND c.user = 'u1' ORDER BY c.n", "4 10", everyPartition},
	} {
		rows, err := rowsOf(ctx, made, each.text, asking{key: each.key})
		if err != nil {
			return err
		}
		if err = same(each.text, strings.Join(rows, " "), each.wanted); err != nil {
			return err
		}
	}
	return nil
}

func queryRefused(ctx context.Context) error {
	for _, text := range []string{"SELECT * FROM", "SELECT NOSUCH(c.n) FROM c", "SELECT * FROM c ORDER BY c.n, c.pk"} {
		if err := refused(ask(ctx, text, ""), 400); err != nil {
			return err
		}
	}
	return nil
}
