// What a client that OpenAPI Generator made for TypeScript does with a live gateway: URL USER PASSWORD. See python.py.
import * as etcd from "./client/index";

declare const process: { argv: string[]; exitCode?: number };
const [url, user, password] = process.argv.slice(2);

const done = (step: string) => console.log(`ok: ${step}`);

function check(holds: boolean, what: unknown): asserts holds {
  if (!holds) throw new Error(`not as it should be: ${JSON.stringify(what)}`);
}

/** The status and the body of an answer that is an error. */
async function refusal(answer: Promise<unknown>): Promise<[number, etcd.ErrorAnswer]> {
  try {
    await answer;
  } catch (error) {
    if (error instanceof etcd.ResponseError) {
      return [error.response.status, etcd.ErrorAnswerFromJSON(await error.response.json())];
    }
    throw error;
  }
  throw new Error("it was done");
}

async function main() {
  // example
  const client = new etcd.Configuration({ basePath: url, username: user, password });
  const keys = new etcd.KeysApi(client);
  const written = await keys.putKey({ keyPut: { key: "app/color", value: "green" } });
  const color = await keys.listKeys({ key: "app/color" });
  console.log(color.value, color.modRevision);
  try {
    await keys.putKey({ keyPut: { key: "app/color", value: "grey", ifAbsent: true } });
  } catch (error) {
    if (!(error instanceof etcd.ResponseError)) throw error;
    console.log(error.response.status, etcd.ErrorAnswerFromJSON(await error.response.json()).message);
  }
  // end
  done("put text");

  await keys.putKey({ keyPut: { key: "app/bytes", valueBase64: "AP8=" } });
  done("put bytes");

  check(color.value === "green" && color.modRevision === written.revision && color.lease === "0", color);
  const read = await keys.listKeys({ key: "app/bytes" });
  check(read.value === undefined && read.valueBase64 === "AP8=", read);
  check((await keys.getKey({ key: "app/color" })) === "green", "getKey");
  done("get");

  const first = await keys.listKeys({ prefix: "app/", limit: 1 });
  const second = await keys.listKeys({ prefix: "app/", limit: 1, cursor: first.cursor });
  const names = [...(first.keys ?? []), ...(second.keys ?? [])].map(({ key }) => key);
  check(names.join() === "app/bytes,app/color" && first.count === 2 && second.cursor === undefined, [first, second]);
  done("list two pages");

  const [lost, loss] = await refusal(keys.putKey({ keyPut: { key: "app/color", value: "grey", ifAbsent: true } }));
  check(lost === 412 && loss.code === 9 && loss.message !== "", [lost, loss]);
  done("a put that loses: 412, typed");

  check((await keys.deleteKey({ key: "app/bytes" })).deleted === 1, "deleted");
  done("delete");

  const answer = await new etcd.TransactionsApi(client).commitTransaction({
    transaction: {
      _if: [{ key: "app/color", modRevision: written.revision }],
      then: [{ put: { key: "app/color", value: "red" } }, { get: { key: "app/color" } }],
    },
  });
  check(answer.succeeded && answer.responses[1]?.get?.value === "red", answer);
  done("transaction");

  const leases = new etcd.LeasesApi(client);
  const lease = await leases.grantLease({ leaseGrant: { ttl: "60s" } });
  check(lease.ttl === 60 && (await leases.keepLeaseAlive({ id: lease.id })).ttl === 60, lease);
  await keys.putKey({ keyPut: { key: "app/leased", value: "for a while", lease: lease.id } });
  const left = await leases.getLease({ id: lease.id, keys: true });
  check(left.keys?.[0]?.key === "app/leased", left);
  await leases.revokeLease({ id: lease.id });
  done("lease");

  const locks = new etcd.LocksApi(client);
  const held = await locks.acquireLock({ name: "jobs", lockAcquisition: { ttl: "60s" } });
  const [taken] = await refusal(locks.acquireLock({ name: "jobs", lockAcquisition: { ttl: "60s", wait: "0s" } }));
  check(taken === 409, taken);
  await locks.releaseLock({ name: "jobs", lease: held.lease });
  done("lock");

  const wait = new etcd.ChangesApi(client).getChanges({ key: "app/color", since: answer.revision, wait: "30s" });
  const put = await keys.putKey({ keyPut: { key: "app/color", value: "blue" } });
  const changes = await wait;
  const [event] = changes.events;
  check(changes.revision === put.revision && event?.type === "put" && event.value === "blue", changes);
  done("long poll");

  const kv = (await new etcd.KVApi(client).kvRange({ rangeRequest: { key: btoa("app/color") } })).kvs?.[0];
  check(kv !== undefined && atob(kv.value ?? "") === "blue" && Number(kv.modRevision) === put.revision, kv);
  done("/v3 range");

  const stranger = new etcd.KeysApi(new etcd.Configuration({ basePath: url, username: user, password: "wrong" }));
  const [refused, reason] = await refusal(stranger.listKeys({ key: "app/color" }));
  check(refused === 401 && reason.code === 3, [refused, reason]);
  done("wrong password: 401, typed");
}

main().catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
