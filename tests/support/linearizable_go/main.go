// Decides whether histories of registers are linearizable, with Porcupine.
//
// Standard input has one operation per line, in any order:
//
//	{"key":"a","kind":"write","value":3,"start":100,"end":200}          null: the item was deleted
//	{"key":"a","kind":"read","value":3,"start":150,"end":250}           null: there was none
//	{"key":"a","kind":"swap","expected":3,"value":4,"done":true,…}      replaced if it was 3; done: it was
//	{…,"end":null}                                                      nobody knows whether it took place
//
// Times are of one monotonic clock. Values of writes are positive. An operation that is known not to have taken
// place is left out by whoever writes the history; a swap that found another value is not, it has read.
//
// Standard output gets one line: {"result":"ok"} or "illegal" with the key and its operations, or "unknown" when
// that was not decided in time.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"sort"
	"time"

	"github.com/anishathalye/porcupine"
)

const (
	decideIn = 60 * time.Second
	absent   = 0
)

type operation struct {
	Key      string `json:"key"`
	Kind     string `json:"kind"`
	Value    *int64 `json:"value"`
	Expected *int64 `json:"expected"`
	Done     bool   `json:"done"`
	Start    int64  `json:"start"`
	End      *int64 `json:"end"`
}

type verdict struct {
	Result     string      `json:"result"`
	Operations int         `json:"operations"`
	Key        string      `json:"key,omitempty"`
	History    []operation `json:"history,omitempty"`
}

func number(value *int64) int64 {
	if value == nil {
		return absent
	}
	return *value
}

// What an operation makes of the value, and whether what it reported can be.
func step(state, input, _ any) (bool, any) {
	value, asked := state.(int64), input.(operation)
	isKnown := asked.End != nil
	switch asked.Kind {
	case "read":
		return !isKnown || value == number(asked.Value), value
	case "write":
		return true, number(asked.Value)
	case "swap":
		isEqual := value == number(asked.Expected)
		if isKnown && isEqual != asked.Done {
			return false, value
		}
		if isEqual {
			return true, number(asked.Value)
		}
		return true, value
	}
	panic("kind " + asked.Kind)
}

var register = porcupine.Model{
	Init: func() any { return int64(absent) },
	Step: step,
}

func read() (map[string][]operation, int, error) {
	found, count := map[string][]operation{}, 0
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var one operation
		if err := json.Unmarshal(lines.Bytes(), &one); err != nil {
			return nil, 0, fmt.Errorf("line %d: %w", count+1, err)
		}
		if one.Kind != "read" && one.Kind != "write" && one.Kind != "swap" {
			return nil, 0, fmt.Errorf("line %d: kind %q", count+1, one.Kind)
		}
		if one.Kind == "read" && one.End == nil {
			continue // it tells nothing
		}
		found[one.Key] = append(found[one.Key], one)
		count++
	}
	return found, count, lines.Err()
}

// Values are unique, so a write that nobody knows of took place before the first that saw its value ended, and one whose
// value nobody saw can as well be left out, unless a swap failed: its value may be why. Without this, each such write
// doubles what must be tried. A delete has no value of its own and stays as it is.
func narrow(history []operation) []operation {
	seen, hasFailure := map[int64]int64{}, false
	for _, one := range history {
		var value int64
		switch {
		case one.End == nil || one.Kind == "write":
			continue
		case one.Kind == "read":
			value = number(one.Value)
		case one.Done:
			value = number(one.Expected)
		default:
			hasFailure = true
			continue
		}
		if end, isSeen := seen[value]; !isSeen || *one.End < end {
			seen[value] = *one.End
		}
	}
	var kept []operation
	for _, one := range history {
		if one.End == nil && number(one.Value) != absent {
			end, isSeen := seen[number(one.Value)]
			if !isSeen && !hasFailure {
				continue
			}
			if isSeen {
				end = max(end, one.Start)
				one.End, one.Done = &end, true
			}
		}
		kept = append(kept, one)
	}
	return kept
}

func decide(history []operation, deadline time.Time) porcupine.CheckResult {
	var asked []porcupine.Operation
	for client, one := range narrow(history) {
		end := int64(math.MaxInt64)
		if one.End != nil {
			end = *one.End
		}
		asked = append(asked, porcupine.Operation{ClientId: client, Input: one, Call: one.Start, Return: end})
	}
	left := time.Until(deadline)
	if left <= 0 {
		return porcupine.Unknown
	}
	return porcupine.CheckOperationsTimeout(register, asked, left)
}

func run() error {
	histories, count, err := read()
	if err != nil {
		return err
	}
	answer := verdict{Result: "ok", Operations: count}
	deadline := time.Now().Add(decideIn)
	for key, history := range histories {
		result := decide(history, deadline)
		if result == porcupine.Ok || (result == porcupine.Unknown && answer.Result != "ok") {
			continue
		}
		sort.Slice(history, func(a, b int) bool { return history[a].Start < history[b].Start })
		answer.Key, answer.History = key, history
		if result == porcupine.Illegal {
			answer.Result = "illegal"
			break
		}
		answer.Result = "unknown"
	}
	return json.NewEncoder(os.Stdout).Encode(answer)
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
