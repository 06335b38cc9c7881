// The scenarios of tests/support/sdk.py with azcosmos. One JSON line per scenario on stdout.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/data/azcosmos"
)

var (
	endpoint   = os.Getenv("ORRERY_ENDPOINT")
	databaseID = os.Getenv("ORRERY_DATABASE")
)

type object = map[string]any

// skipped is what a scenario returns that this SDK cannot do.
type skipped string

func (s skipped) Error() string { return string(s) }

type scenario struct {
	name string
	work func(context.Context) error
}

func newClient() (*azcosmos.Client, error) {
	transport := &http.Transport{MaxIdleConnsPerHost: 32}
	if strings.HasPrefix(endpoint, "https:") {
		pem, err := os.ReadFile(os.Getenv("ORRERY_CA"))
		if err != nil {
			return nil, err
		}
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(pem) {
			return nil, errors.New("no certificate in ORRERY_CA")
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: roots}
	}
	key, err := azcosmos.NewKeyCredential(os.Getenv("ORRERY_KEY"))
	if err != nil {
		return nil, err
	}
	return azcosmos.NewClientWithKey(endpoint, key, &azcosmos.ClientOptions{
		ClientOptions: policy.ClientOptions{Transport: &http.Client{Transport: transport}},
	})
}

func statusOf(err error) int {
	var answer *azcore.ResponseError
	if errors.As(err, &answer) {
		return answer.StatusCode
	}
	return 0
}

// refused says whether an error is the wanted HTTP status.
func refused(err error, status int) error {
	if err == nil {
		return fmt.Errorf("was not refused with %d", status)
	}
	if statusOf(err) != status {
		return fmt.Errorf("wanted %d: %w", status, err)
	}
	return nil
}

func same(what string, found, wanted any) error {
	if fmt.Sprint(found) != fmt.Sprint(wanted) {
		return fmt.Errorf("%s: %v, wanted %v", what, found, wanted)
	}
	return nil
}

func encode(value any) []byte {
	data, err := json.Marshal(value)
	if err != nil {
		panic(err)
	}
	return data
}

func decode(data []byte) object {
	found := object{}
	if err := json.Unmarshal(data, &found); err != nil {
		return object{"broken": string(data)}
	}
	return found
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == "queries" {
		if err := runQueries(context.Background()); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	all := scenarios
	if strings.HasPrefix(endpoint, "http:") { // what they test is the same over TLS
		all = append(all, queryScenarios...)
	}
	for _, each := range all {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		err := each.work(ctx)
		cancel()
		line := object{"scenario": each.name, "ok": err == nil}
		var skip skipped
		if errors.As(err, &skip) {
			line["skipped"] = string(skip)
		} else if err != nil {
			line["detail"] = err.Error()
		}
		fmt.Println(string(encode(line)))
	}
}
