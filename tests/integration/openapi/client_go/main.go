// A program over the client that was generated in Go.
//
//	client URL DATABASE [KEY]
//
// Without a key requests are not signed. One line is printed per step, the same as the program in
// Python prints; a failure ends it.
package main

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"reflect"
	"sort"
	"strings"
	"time"

	api "example.org/generated"
)

const key = `["customer-7"]`

// signer adds the two headers of authorization to every request.
type signer struct{ secret []byte }

func (s signer) RoundTrip(request *http.Request) (*http.Response, error) {
	segments := strings.Split(strings.Trim(request.URL.Path, "/"), "/")
	word, link := "", ""
	if segments[0] != "" {
		if len(segments)%2 == 1 {
			word, link = segments[len(segments)-1], strings.Join(segments[:len(segments)-1], "/")
		} else {
			word, link = segments[len(segments)-2], strings.Join(segments, "/")
		}
	}
	date := time.Now().UTC().Format(http.TimeFormat)
	mac := hmac.New(sha256.New, s.secret)
	fmt.Fprintf(mac, "%s\n%s\n%s\n%s\n\n", strings.ToLower(request.Method), word, link, strings.ToLower(date))
	signed := request.Clone(request.Context())
	signed.Header.Set("x-ms-date", date)
	signed.Header.Set("authorization", url.QueryEscape("type=master&ver=1.0&sig="+base64.StdEncoding.EncodeToString(mac.Sum(nil))))
	return http.DefaultTransport.RoundTrip(signed)
}

func step(text string) { fmt.Println(text) }

func check(err error) {
	var answer *api.GenericOpenAPIError
	if errors.As(err, &answer) {
		fmt.Fprintln(os.Stderr, string(answer.Body()))
	}
	if err != nil {
		panic(err)
	}
}

func require(holds bool, seen ...any) {
	if !holds {
		panic(fmt.Sprintf("not as expected: %+v", seen))
	}
}

// expect wants a call to have failed with a status and a word for it.
func expect(status int, code string, answer *http.Response, err error) {
	var failure *api.GenericOpenAPIError
	require(errors.As(err, &failure), err)
	require(answer.StatusCode == status, answer.Status)
	model, isError := failure.Model().(api.Error)
	require(isError && model.Code == code && model.Message != "", failure.Model(), string(failure.Body()))
}

func newItem(id string, members map[string]any) api.Item {
	item := api.NewItem(id)
	item.AdditionalProperties = members
	return *item
}

func items(ctx context.Context, calls *api.ItemsAPIService, db string) {
	const id = "order 1-ä"
	sent := map[string]any{"customer": "customer-7", "total": 12.5, "größe": "5 €", "lines": []any{map[string]any{"n": 1.0}, nil, true}}
	first := newItem(id, sent)
	post := func() api.ApiCreateItemRequest {
		return calls.CreateItem(ctx, db, "orders").XMsDocumentdbPartitionkey(key)
	}
	created, answer, err := post().ItemPost(api.ItemPost{Item: &first}).Execute()
	check(err)
	require(answer.StatusCode == 201 && created.StoredItem != nil, answer.Status, created)
	step("item created")

	get := calls.GetItem(ctx, db, "orders", id).XMsDocumentdbPartitionkey(key)
	read, _, err := get.XMsSessionToken(answer.Header.Get("x-ms-session-token")).Execute()
	check(err)
	require(read.Etag == created.StoredItem.Etag && read.Rid == created.StoredItem.Rid, read)
	require(read.Id == id && reflect.DeepEqual(read.AdditionalProperties, sent), read)
	step("item read back as it was sent")
	_, answer, err = post().ItemPost(api.ItemPost{Item: &first}).Execute()
	expect(409, "Conflict", answer, err)
	step("item refused a second time")

	second := newItem(id, map[string]any{"customer": "customer-7", "total": 13})
	replace := calls.ReplaceItem(ctx, db, "orders", id).XMsDocumentdbPartitionkey(key).IfMatch(read.Etag).Item(second)
	changed, _, err := replace.Execute()
	check(err)
	require(changed.AdditionalProperties["total"] == 13.0 && changed.Etag != read.Etag, changed)
	_, answer, err = replace.Execute()
	expect(412, "PreconditionFailed", answer, err)
	step("item replaced, but not with an old etag")

	increment := *api.NewPatchOperation("incr", "/total")
	increment.Value = 1
	patched, _, err := calls.PatchItem(ctx, db, "orders", id).XMsDocumentdbPartitionkey(key).
		Patch(api.Patch{PatchDocument: api.NewPatchDocument([]api.PatchOperation{increment})}).Execute()
	check(err)
	require(patched.AdditionalProperties["total"] == 14.0, patched)
	step("item patched")

	upserted, answer, err := post().XMsDocumentdbIsUpsert(true).ItemPost(api.ItemPost{Item: &first}).Execute()
	check(err)
	require(answer.StatusCode == 200 && upserted.StoredItem != nil, answer.Status, upserted)
	step("item upserted")

	create, readAgain, readID := api.NewBatchOperation("Create"), api.NewBatchOperation("Read"), id
	create.ResourceBody = map[string]any{"id": "2", "customer": "customer-7"}
	readAgain.Id = &readID
	batch := []api.BatchOperation{*create, *readAgain}
	done, _, err := post().XMsCosmosIsBatchRequest(true).XMsCosmosBatchAtomic(true).
		ItemPost(api.ItemPost{ArrayOfBatchOperation: &batch}).Execute()
	check(err)
	require(done.ArrayOfBatchOperationResult != nil, done)
	results := *done.ArrayOfBatchOperationResult
	require(len(results) == 2 && results[0].StatusCode == 201 && results[1].StatusCode == 200, results)
	step("batch run")

	page, _, err := calls.ListItems(ctx, db, "orders").XMsDocumentdbPartitionkey(key).Execute()
	check(err)
	found := []string{}
	for _, item := range page.Documents {
		found = append(found, item.Id)
	}
	sort.Strings(found)
	require(reflect.DeepEqual(found, []string{"2", id}) && page.Count == 2, found, page.Count)
	step("items listed")

	query := api.NewQuery("SELECT VALUE c.total FROM c WHERE c.customer = @who AND IS_DEFINED(c.total)")
	query.Parameters = []api.QueryParameter{*api.NewQueryParameter("@who")}
	query.Parameters[0].Value = "customer-7"
	ask := calls.CreateItem(ctx, db, "orders").XMsDocumentdbIsquery(true).XMsDocumentdbQueryEnablecrosspartition(true)
	rows, _, err := ask.ItemPost(api.ItemPost{Query: query}).Execute()
	check(err)
	require(rows.QueryResult != nil && reflect.DeepEqual(rows.QueryResult.Documents, []any{12.5}) && rows.QueryResult.Count == 1, rows)
	_, answer, err = ask.ItemPost(api.ItemPost{Query: api.NewQuery("SELECT")}).Execute()
	expect(400, "BadRequest", answer, err)
	step("items queried")

	_, err = calls.DeleteItem(ctx, db, "orders", id).XMsDocumentdbPartitionkey(key).Execute()
	check(err)
	_, answer, err = get.Execute()
	expect(404, "NotFound", answer, err)
	step("item deleted")
}

func main() {
	configuration := api.NewConfiguration()
	configuration.Servers = api.ServerConfigurations{{URL: strings.TrimRight(os.Args[1], "/")}}
	if len(os.Args) > 3 {
		secret, err := base64.StdEncoding.DecodeString(os.Args[3])
		check(err)
		configuration.HTTPClient = &http.Client{Transport: signer{secret}}
	}
	client, ctx, db := api.NewAPIClient(configuration), context.Background(), os.Args[2]

	account, _, err := client.AccountAPI.GetAccount(ctx).Execute()
	check(err)
	require(account.UserConsistencyPolicy.DefaultConsistencyLevel != "", account)
	step("account read")
	database, _, err := client.DatabasesAPI.CreateDatabase(ctx).DatabaseDefinition(*api.NewDatabaseDefinition(db)).Execute()
	check(err)
	require(database.Database != nil && database.Database.Id == db, database)
	step("database created")
	kind, version := "Hash", int32(2)
	paths := api.PartitionKeyDefinition{Paths: []string{"/customer"}, Kind: &kind, Version: &version}
	created, _, err := client.ContainersAPI.CreateContainer(ctx, db).
		ContainerDefinition(*api.NewContainerDefinition("orders", paths)).Execute()
	check(err)
	container := created.Container
	require(container != nil, created)
	require(*container.PartitionKey.Version == 2 && *container.IndexingPolicy.IndexingMode == "consistent", container)
	step("container created")
	ranges, _, err := client.PartitionKeyRangesAPI.ListPartitionKeyRanges(ctx, db, "orders").Execute()
	check(err)
	all := ranges.PartitionKeyRanges
	require(all[0].MinInclusive == "" && all[len(all)-1].MaxExclusive == "FF", all)
	step("ranges read")
	items(ctx, client.ItemsAPI, db)
	_, err = client.DatabasesAPI.DeleteDatabase(ctx, db).Execute()
	check(err)
	_, answer, err := client.DatabasesAPI.GetDatabase(ctx, db).Execute()
	expect(404, "NotFound", answer, err)
	step("database deleted")
}
