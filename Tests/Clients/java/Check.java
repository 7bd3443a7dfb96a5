// What a client that OpenAPI Generator made for Java (`native`) does with a live gateway: URL USER PASSWORD. See python.py.
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.util.Arrays;
import java.util.Base64;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import org.openapitools.client.ApiClient;
import org.openapitools.client.ApiException;
import org.openapitools.client.api.*;
import org.openapitools.client.model.*;

class Check {
  interface Call {
    void make() throws ApiException;
  }

  static void done(String step) {
    System.out.println("ok: " + step);
  }

  static void check(boolean holds, Object... what) {
    if (!holds) throw new AssertionError("not as it should be: " + Arrays.toString(what));
  }

  /** The error that a call ends with. */
  static ApiException refusal(Call call) {
    try {
      call.make();
    } catch (ApiException error) {
      return error;
    }
    throw new AssertionError("it was done");
  }

  /** Its body: this generator leaves it to the caller. */
  static ErrorAnswer answer(ApiException error) throws Exception {
    return JsonMapper.builder().build().readValue(error.getResponseBody(), ErrorAnswer.class);
  }

  static ApiClient client(String url, String user, String password) {
    ApiClient client = new ApiClient();
    client.updateBaseUri(url);
    String credentials = Base64.getEncoder().encodeToString((user + ":" + password).getBytes());
    client.setRequestInterceptor(request -> request.header("Authorization", "Basic " + credentials));
    return client;
  }

  static Keys get(KeysApi keys, String key) throws ApiException {
    return keys.listKeys(
        key, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null);
  }

  static Keys page(KeysApi keys, String prefix, long limit, String cursor) throws ApiException {
    return keys.listKeys(
        null, prefix, null, null, null, null, limit, cursor, null, null, null, null, null, null, null, null, null, null);
  }

  public static void main(String[] arguments) throws Exception {
    String url = arguments[0], user = arguments[1], password = arguments[2];

    // example
    ApiClient client = new ApiClient();
    client.updateBaseUri(url);
    String credentials = Base64.getEncoder().encodeToString((user + ":" + password).getBytes());
    client.setRequestInterceptor(request -> request.header("Authorization", "Basic " + credentials));
    KeysApi keys = new KeysApi(client);
    KeyWritten written = keys.putKey(new KeyPut().key("app/color").value("green"), null);
    Keys color = keys.listKeys("app/color", null, null, null, null, null, null, null, null, null, null, null, null, null,
        null, null, null, null);
    System.out.println(color.getValue() + " " + color.getModRevision());
    try {
      keys.putKey(new KeyPut().key("app/color").value("grey").ifAbsent(true), null);
    } catch (ApiException error) {
      System.out.println(error.getCode() + " " + error.getResponseBody());
    }
    // end
    done("put text");

    byte[] bytes = {0, (byte) 255};
    keys.putKey(new KeyPut().key("app/bytes").valueBase64(bytes), null);
    done("put bytes");

    check(color.getValue().equals("green") && color.getModRevision().equals(written.getRevision()), color);
    check(color.getLease().equals("0"), color);
    Keys read = get(keys, "app/bytes");
    check(read.getValue() == null && Arrays.equals(read.getValueBase64(), bytes), read);
    check(keys.getKey("app/color", null, null, null, null).equals("green"), "getKey");
    done("get");

    Keys first = page(keys, "app/", 1, null), second = page(keys, "app/", 1, first.getCursor());
    check(first.getKeys().get(0).getKey().equals("app/bytes"), first);
    check(second.getKeys().get(0).getKey().equals("app/color"), second);
    check(first.getCount() == 2 && second.getCursor() == null, first, second);
    done("list two pages");

    ApiException loss = refusal(() -> keys.putKey(new KeyPut().key("app/color").value("grey").ifAbsent(true), null));
    check(loss.getCode() == 412 && answer(loss).getCode() == 9 && !answer(loss).getMessage().isEmpty(), loss);
    done("a put that loses: 412, typed");

    check(keys.deleteKey("app/bytes", null).getDeleted() == 1);
    done("delete");

    List<TransactionOperation> then = List.of(
        new TransactionOperation().put(new PutOperation().key("app/color").value("red")),
        new TransactionOperation().get(new GetOperation().key("app/color")));
    TransactionAnswer answer = new TransactionsApi(client).commitTransaction(new Transaction()
        ._if(List.of(new Comparison().key("app/color").modRevision(written.getRevision()))).then(then));
    check(answer.getSucceeded() && answer.getResponses().get(1).getGet().getValue().equals("red"), answer);
    done("transaction");

    LeasesApi leases = new LeasesApi(client);
    Lease lease = leases.grantLease(new LeaseGrant().ttl("60s"));
    check(lease.getTtl() == 60 && leases.keepLeaseAlive(lease.getId()).getTtl() == 60, lease);
    keys.putKey(new KeyPut().key("app/leased").value("for a while").lease(lease.getId()), null);
    check(leases.getLease(lease.getId(), true).getKeys().get(0).getKey().equals("app/leased"));
    leases.revokeLease(lease.getId());
    done("lease");

    LocksApi locks = new LocksApi(client);
    HeldLock held = locks.acquireLock("jobs", new LockAcquisition().ttl("60s"));
    ApiException taken = refusal(() -> locks.acquireLock("jobs", new LockAcquisition().ttl("60s").wait("0s")));
    check(taken.getCode() == 409, taken);
    locks.releaseLock("jobs", held.getLease());
    done("lock");

    CompletableFuture<Changes> wait = CompletableFuture.supplyAsync(() -> {
      try {
        return new ChangesApi(client).getChanges("app/color", null, null, null, answer.getRevision(), null, "30s");
      } catch (ApiException error) {
        throw new AssertionError(error);
      }
    });
    KeyWritten put = keys.putKey(new KeyPut().key("app/color").value("blue"), null);
    Changes changes = wait.get();
    Change event = changes.getEvents().get(0);
    check(changes.getRevision().equals(put.getRevision()) && event.getValue().equals("blue"), changes);
    check(event.getType() == Change.TypeEnum.PUT, changes);
    done("long poll");

    KeyValue kv = new KvApi(client).kvRange(new RangeRequest().key("app/color".getBytes())).getKvs().get(0);
    check(new String(kv.getValue()).equals("blue"), kv);
    check(kv.getModRevision().equals(put.getRevision().toString()), kv);
    done("/v3 range");

    ApiException refused = refusal(() -> get(new KeysApi(client(url, user, "wrong")), "app/color"));
    check(refused.getCode() == 401 && answer(refused).getCode() == 3, refused);
    done("wrong password: 401, typed");
  }
}
