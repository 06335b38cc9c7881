package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/data/azcosmos"
)

// The cases of tests/query, as the server answers them: this SDK merges nothing itself. One JSON line per case and way.

const (
	queriesAtOnce = 4
	pagesMax      = 200
)

type queryCase struct {
	Name, Container, Query string
	Parameters             []struct {
		Name  string
		Value any
	}
}

type way struct {
	name string
	size int32
	ask  func(context.Context, *azcosmos.ContainerClient, string, azcosmos.PartitionKey, azcosmos.QueryOptions) ([]json.RawMessage, error)
}

var ways = []way{{"whole", 0, queryWhole}, {"resumed", 2, queryResumed}}

// everyPartition is the key of queries that name none.
var everyPartition = azcosmos.NewPartitionKey()

func raw(items [][]byte) []json.RawMessage {
	rows := make([]json.RawMessage, 0, len(items))
	for _, item := range items {
		rows = append(rows, item)
	}
	return rows
}

func queryWhole(ctx context.Context, container *azcosmos.ContainerClient, query string, key azcosmos.PartitionKey,
	options azcosmos.QueryOptions) ([]json.RawMessage, error) {
	rows := []json.RawMessage{}
	pager := container.NewQueryItemsPager(query, key, &options)
	for pager.More() {
		page, err := pager.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		rows = append(rows, raw(page.Items)...)
	}
	return rows, nil
}

// queryResumed asks for page after page, each with a new pager.
func queryResumed(ctx context.Context, container *azcosmos.ContainerClient, query string, key azcosmos.PartitionKey,
	options azcosmos.QueryOptions) ([]json.RawMessage, error) {
	rows := []json.RawMessage{}
	for range pagesMax {
		page, err := container.NewQueryItemsPager(query, key, &options).NextPage(ctx)
		if err != nil {
			return nil, err
		}
		rows = append(rows, raw(page.Items)...)
		options.ContinuationToken = page.ContinuationToken
		if options.ContinuationToken == nil || *options.ContinuationToken == "" {
			return rows, nil
		}
	}
	return nil, fmt.Errorf("still not at the end after %d pages", pagesMax)
}

// messageOf is the message of the server's answer, where there is one.
func messageOf(err error) string {
	var answer *azcore.ResponseError
	if errors.As(err, &answer) && answer.RawResponse != nil {
		var body struct{ Message string }
		if json.NewDecoder(answer.RawResponse.Body).Decode(&body) == nil {
			return body.Message
		}
	}
	return err.Error()
}

func runCase(ctx context.Context, database *azcosmos.DatabaseClient, each queryCase) []object {
	lines := make([]object, 0, len(ways))
	container, err := database.NewContainer(each.Container)
	for _, way := range ways {
		line := object{"case": each.Name, "way": way.name}
		var rows []json.RawMessage
		if err == nil {
			options := azcosmos.QueryOptions{PageSizeHint: way.size}
			for _, parameter := range each.Parameters {
				options.QueryParameters = append(options.QueryParameters,
					azcosmos.QueryParameter{Name: parameter.Name, Value: parameter.Value})
			}
			rows, err = way.ask(ctx, container, each.Query, everyPartition, options)
		}
		if err != nil {
			line["status"], line["message"] = statusOf(err), messageOf(err)
			err = nil
		} else {
			line["rows"] = rows
		}
		lines = append(lines, line)
	}
	return lines
}

func runQueries(ctx context.Context) error {
	data, err := os.ReadFile(os.Getenv("ORRERY_CASES"))
	if err != nil {
		return err
	}
	var cases []queryCase
	if err = json.Unmarshal(data, &cases); err != nil {
		return err
	}
	if err = clientInit(ctx); err != nil {
		return err
	}
	database, err := client.NewDatabase(databaseID)
	if err != nil {
		return err
	}
	todo := make(chan queryCase)
	var workers sync.WaitGroup
	var printing sync.Mutex
	for range queriesAtOnce {
		workers.Add(1)
		go func() {
			defer workers.Done()
			for each := range todo {
				lines := runCase(ctx, database, each)
				printing.Lock()
				for _, line := range lines {
					fmt.Println(string(encode(line)))
				}
				printing.Unlock()
			}
		}()
	}
	for _, each := range cases {
		todo <- each
	}
	close(todo)
	workers.Wait()
	return nil
}
