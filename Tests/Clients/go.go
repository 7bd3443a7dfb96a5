// What a client that OpenAPI Generator made for Go does with a live gateway: URL USER PASSWORD. See python.py.
package main

import (
	"context"
	"encoding/base64"
	"fmt"
	"log"
	"os"
	"strconv"

	etcd "github.com/GIT_USER_ID/GIT_REPO_ID"
)

func done(step string) { fmt.Println("ok:", step) }

func check(holds bool, what ...any) {
	if !holds {
		log.Fatalf("not as it should be: %+v", what)
	}
}

func must[Value, Answer any](value Value, _ Answer, err error) Value {
	if err != nil {
		log.Fatal(err)
	}
	return value
}

// The body of an answer that is an error.
func refusal(err error) etcd.ErrorAnswer {
	failure, isFailure := err.(*etcd.GenericOpenAPIError)
	check(isFailure, err)
	answer, isTyped := failure.Model().(etcd.ErrorAnswer)
	check(isTyped, string(failure.Body()))
	return answer
}

func base64Of(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }

func main() {
	url, user, password := os.Args[1], os.Args[2], os.Args[3]

	// example
	configuration := etcd.NewConfiguration()
	configuration.Servers = etcd.ServerConfigurations{{URL: url}}
	client := etcd.NewAPIClient(configuration)
	me := context.WithValue(context.Background(), etcd.ContextBasicAuth, etcd.BasicAuth{UserName: user, Password: password})
	keys := client.KeysAPI
	green := etcd.KeyPut{Key: etcd.PtrString("app/color"), Value: etcd.PtrString("green")}
	written, _, err := keys.PutKey(me).KeyPut(green).Execute()
	if err != nil {
		log.Fatal(err)
	}
	color := must(keys.ListKeys(me).Key("app/color").Execute())
	fmt.Println(color.GetValue(), color.GetModRevision())
	grey := etcd.KeyPut{Key: etcd.PtrString("app/color"), Value: etcd.PtrString("grey"), IfAbsent: etcd.PtrBool(true)}
	if _, response, err := keys.PutKey(me).KeyPut(grey).Execute(); err != nil {
		fmt.Println(response.StatusCode, err)
	}
	// end
	done("put text")

	bytes := etcd.KeyPut{Key: etcd.PtrString("app/bytes"), ValueBase64: etcd.PtrString(base64Of("\x00\xff"))}
	must(keys.PutKey(me).KeyPut(bytes).Execute())
	done("put bytes")

	check(color.GetValue() == "green" && color.GetModRevision() == written.Revision && color.GetLease() == "0", color)
	read := must(keys.ListKeys(me).Key("app/bytes").Execute())
	check(!read.HasValue() && read.GetValueBase64() == base64Of("\x00\xff"), read)
	check(must(keys.GetKey(me, "app/color").Execute()) == "green", "GetKey")
	done("get")

	first := must(keys.ListKeys(me).Prefix("app/").Limit(1).Execute())
	second := must(keys.ListKeys(me).Prefix("app/").Limit(1).Cursor(first.GetCursor()).Execute())
	check(first.Keys[0].GetKey() == "app/bytes" && second.Keys[0].GetKey() == "app/color", first, second)
	check(first.GetCount() == 2 && !second.HasCursor(), first, second)
	done("list two pages")

	_, response, err := keys.PutKey(me).KeyPut(grey).Execute()
	loss := refusal(err)
	check(response.StatusCode == 412 && loss.Code == 9 && loss.Message != "", loss)
	done("a put that loses: 412, typed")

	check(must(keys.DeleteKey(me, "app/bytes").Execute()).Deleted == 1)
	done("delete")

	then := []etcd.TransactionOperation{
		{Put: &etcd.PutOperation{Key: etcd.PtrString("app/color"), Value: etcd.PtrString("red")}},
		{Get: &etcd.GetOperation{Key: etcd.PtrString("app/color")}},
	}
	condition := etcd.Comparison{Key: etcd.PtrString("app/color"), ModRevision: &written.Revision}
	transaction := etcd.Transaction{If: []etcd.Comparison{condition}, Then: then}
	answer := must(client.TransactionsAPI.CommitTransaction(me).Transaction(transaction).Execute())
	got := answer.Responses[1].GetGet()
	check(answer.Succeeded && got.GetValue() == "red", answer)
	done("transaction")

	leases := client.LeasesAPI
	lease := must(leases.GrantLease(me).LeaseGrant(*etcd.NewLeaseGrant("60s")).Execute())
	renewed := must(leases.KeepLeaseAlive(me, lease.Id).Execute())
	check(lease.GetTtl() == 60 && renewed.GetTtl() == 60, lease)
	leased := etcd.KeyPut{Key: etcd.PtrString("app/leased"), Value: etcd.PtrString("for a while"), Lease: &lease.Id}
	must(keys.PutKey(me).KeyPut(leased).Execute())
	check(must(leases.GetLease(me, lease.Id).Keys(true).Execute()).Keys[0].GetKey() == "app/leased")
	must(leases.RevokeLease(me, lease.Id).Execute())
	done("lease")

	locks := client.LocksAPI
	held := must(locks.AcquireLock(me, "jobs").LockAcquisition(*etcd.NewLockAcquisition("60s")).Execute())
	impatient := etcd.LockAcquisition{Ttl: "60s", Wait: etcd.PtrString("0s")}
	_, response, err = locks.AcquireLock(me, "jobs").LockAcquisition(impatient).Execute()
	check(refusal(err).Message != "" && response.StatusCode == 409, err)
	must(locks.ReleaseLock(me, "jobs").Lease(held.Lease).Execute())
	done("lock")

	poll := make(chan *etcd.Changes)
	go func() {
		poll <- must(client.ChangesAPI.GetChanges(me).Key("app/color").Since(answer.Revision).Wait("30s").Execute())
	}()
	blue := etcd.KeyPut{Key: etcd.PtrString("app/color"), Value: etcd.PtrString("blue")}
	put := must(keys.PutKey(me).KeyPut(blue).Execute())
	changes := <-poll
	event := changes.Events[0]
	check(changes.Revision == put.Revision && event.GetType() == "put" && event.GetValue() == "blue", changes)
	done("long poll")

	request := etcd.RangeRequest{Key: etcd.PtrString(base64Of("app/color"))}
	kv := must(client.KVAPI.KvRange(me).RangeRequest(request).Execute()).Kvs[0]
	check(kv.GetValue() == base64Of("blue") && kv.GetModRevision() == strconv.FormatInt(put.Revision, 10), kv)
	done("/v3 range")

	stranger := context.WithValue(me, etcd.ContextBasicAuth, etcd.BasicAuth{UserName: user, Password: "wrong"})
	_, response, err = keys.ListKeys(stranger).Key("app/color").Execute()
	refused := refusal(err)
	check(response.StatusCode == 401 && refused.Code == 3, refused)
	done("wrong password: 401, typed")
}
