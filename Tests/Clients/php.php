<?php
// What a client that OpenAPI Generator made for PHP does with a live gateway: URL USER PASSWORD. See python.py.

require __DIR__ . "/autoload.php";

use OpenAPI\Client\Api\{ChangesApi, KVApi, KeysApi, LeasesApi, LocksApi, TransactionsApi};
use OpenAPI\Client\Model\{Comparison, ErrorAnswer, GetOperation, KeyPut, LeaseGrant, LockAcquisition, PutOperation};
use OpenAPI\Client\Model\{RangeRequest, Transaction, TransactionOperation};
use OpenAPI\Client\{ApiException, Configuration};

[, $url, $user, $password] = $argv;

function done(string $step): void {
    echo "ok: $step\n";
}

function check(bool $holds, mixed $what): void {
    if (!$holds) throw new Exception("not as it should be: " . json_encode($what));
}

/** The status and the body of an answer that is an error. */
function refusal(callable $call): array {
    try {
        $call();
    } catch (ApiException $error) {
        check($error->getResponseObject() instanceof ErrorAnswer, $error->getMessage());
        return [$error->getCode(), $error->getResponseObject()];
    }
    throw new Exception("it was done");
}

// example
$client = (new Configuration())->setHost($url)->setUsername($user)->setPassword($password);
$keys = new KeysApi(config: $client);
$written = $keys->putKey(new KeyPut(["key" => "app/color", "value" => "green"]));
$color = $keys->listKeys(key: "app/color");
echo $color->getValue(), " ", $color->getModRevision(), "\n";
try {
    $keys->putKey(new KeyPut(["key" => "app/color", "value" => "grey", "if_absent" => true]));
} catch (ApiException $error) {
    echo $error->getCode(), " ", $error->getResponseObject()->getMessage(), "\n";
}
// end
done("put text");

$keys->putKey(new KeyPut(["key" => "app/bytes", "value_base64" => base64_encode("\x00\xff")]));
done("put bytes");

check($color->getValue() === "green" && $color->getModRevision() === $written->getRevision(), $color);
check($color->getLease() === "0", $color);
$read = $keys->listKeys(key: "app/bytes");
check($read->getValue() === null && base64_decode($read->getValueBase64()) === "\x00\xff", $read);
check($keys->getKey("app/color") === "green", "getKey");
done("get");

$first = $keys->listKeys(prefix: "app/", limit: 1);
$second = $keys->listKeys(prefix: "app/", limit: 1, cursor: $first->getCursor());
$names = array_map(fn ($key) => $key->getKey(), [...$first->getKeys(), ...$second->getKeys()]);
check($names === ["app/bytes", "app/color"], [$first, $second]);
check($first->getCount() === 2 && $second->getCursor() === null, [$first, $second]);
done("list two pages");

[$status, $error] = refusal(
    fn () => $keys->putKey(new KeyPut(["key" => "app/color", "value" => "grey", "if_absent" => true])));
check($status === 412 && $error->getCode() === 9 && $error->getMessage() !== "", $error);
done("a put that loses: 412, typed");

check($keys->deleteKey("app/bytes")->getDeleted() === 1, "deleted");
done("delete");

$answer = (new TransactionsApi(config: $client))->commitTransaction(new Transaction([
    "if" => [new Comparison(["key" => "app/color", "mod_revision" => $written->getRevision()])],
    "then" => [
        new TransactionOperation(["put" => new PutOperation(["key" => "app/color", "value" => "red"])]),
        new TransactionOperation(["get" => new GetOperation(["key" => "app/color"])]),
    ],
]));
check($answer->getSucceeded() && $answer->getResponses()[1]->getGet()->getValue() === "red", $answer);
done("transaction");

$leases = new LeasesApi(config: $client);
$lease = $leases->grantLease(new LeaseGrant(["ttl" => "60s"]));
check($lease->getTtl() === 60 && $leases->keepLeaseAlive($lease->getId())->getTtl() === 60, $lease);
$keys->putKey(new KeyPut(["key" => "app/leased", "value" => "for a while", "lease" => $lease->getId()]));
check($leases->getLease($lease->getId(), keys: true)->getKeys()[0]->getKey() === "app/leased", $lease);
$leases->revokeLease($lease->getId());
done("lease");

$locks = new LocksApi(config: $client);
$held = $locks->acquireLock("jobs", new LockAcquisition(["ttl" => "60s"]));
[$status] = refusal(fn () => $locks->acquireLock("jobs", new LockAcquisition(["ttl" => "60s", "wait" => "0s"])));
check($status === 409, $status);
$locks->releaseLock("jobs", $held->getLease());
done("lock");

// The request goes out with the first tick of the other one.
$wait = (new ChangesApi(config: $client))->getChangesAsync(
    key: "app/color", since: $answer->getRevision(), wait: "30s");
$put = $keys->putKey(new KeyPut(["key" => "app/color", "value" => "blue"]));
$changes = $wait->wait();
$event = $changes->getEvents()[0];
check($changes->getRevision() === $put->getRevision(), $changes);
check([$event->getType(), $event->getKey(), $event->getValue()] === ["put", "app/color", "blue"], $changes);
done("long poll");

$kv = (new KVApi(config: $client))->kvRange(new RangeRequest(["key" => base64_encode("app/color")]))->getKvs()[0];
check(base64_decode($kv->getValue()) === "blue" && (int) $kv->getModRevision() === $put->getRevision(), $kv);
done("/v3 range");

$stranger = (new Configuration())->setHost($url)->setUsername($user)->setPassword("wrong");
[$status, $error] = refusal(fn () => (new KeysApi(config: $stranger))->listKeys(key: "app/color"));
check($status === 401 && $error->getCode() === 3, $error);
done("wrong password: 401, typed");
