// Reads feature flags, keys below flags/, and hears of each change: URL USER PASSWORD.
//
// Prints the flags whenever they change. Wherever the connection breaks it goes on behind the last change that it has seen;
// where that history is gone (410) it reads all flags anew.
package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"time"
)

var address, user, password = os.Args[1], os.Args[2], os.Args[3]

type key struct {
	Type  string `json:"type"`
	Key   string `json:"key"`
	Value string `json:"value"`
}

type page struct {
	Revision int64  `json:"revision"`
	Keys     []key  `json:"keys"`
	Cursor   string `json:"cursor"`
	Events   []key  `json:"events"`
}

// ask returns the status of an answer, and what it says if that is 200.
func ask(path string, query url.Values) (int, page, error) {
	var answer page
	request, err := http.NewRequest("GET", address+path+"?"+query.Encode(), nil)
	if err != nil {
		return 0, answer, err
	}
	request.SetBasicAuth(user, password)
	client := http.Client{Timeout: time.Minute}
	response, err := client.Do(request)
	if err != nil {
		return 0, answer, err
	}
	defer response.Body.Close()
	if response.StatusCode == http.StatusOK {
		err = json.NewDecoder(response.Body).Decode(&answer)
	}
	return response.StatusCode, answer, err
}

func readAll() (map[string]string, int64) {
	flags := map[string]string{}
	query := url.Values{"prefix": {"flags/"}}
	var revision int64
	for {
		status, answer, err := ask("/keys", query)
		if err != nil || status != http.StatusOK {
			fmt.Fprintln(os.Stderr, "no flags:", status, err)
			os.Exit(1)
		}
		if revision == 0 {
			revision = answer.Revision
		}
		for _, key := range answer.Keys {
			flags[key.Key] = key.Value
		}
		if answer.Cursor == "" {
			return flags, revision
		}
		query.Set("cursor", answer.Cursor)
	}
}

func show(flags map[string]string) {
	text, _ := json.Marshal(flags) // in the order of the keys
	fmt.Println(string(text))
}

func main() {
	flags, revision := readAll()
	show(flags)
	for {
		status, changes, err := ask("/changes", url.Values{
			"prefix": {"flags/"}, "since": {fmt.Sprint(revision)}, "wait": {"30s"}})
		switch {
		case status == http.StatusGone:
			flags, revision = readAll()
			show(flags)
		case err != nil || status != http.StatusOK:
			time.Sleep(time.Second)
		case len(changes.Events) == 0:
			revision = changes.Revision
		default:
			revision = changes.Revision
			for _, change := range changes.Events {
				if change.Type == "put" {
					flags[change.Key] = change.Value
				} else {
					delete(flags, change.Key)
				}
			}
			show(flags)
		}
	}
}
