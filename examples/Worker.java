import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.util.Base64;
import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * Works while it leads, and stands by while another does: URL USER PASSWORD NAME.
 *
 * Of any number that are started one leads. Its lease is kept alive beside the work; if it dies, another client leads when the lease has
 * ended. Each write is made only while the leader's key is still there, so that one that has lost it without having noticed
 * changes nothing.
 */
public class Worker {
    static final int TTL = 5;
    static final HttpClient CLIENT = HttpClient.newHttpClient();
    static String address;
    static String credentials;

    static String ask(String method, String path, String body) throws Exception {
        HttpRequest request = HttpRequest.newBuilder(URI.create(address + path))
            .header("Authorization", credentials)
            .method(method, body == null ? HttpRequest.BodyPublishers.noBody() : HttpRequest.BodyPublishers.ofString(body))
            .build();
        HttpResponse<String> answer = CLIENT.send(request, HttpResponse.BodyHandlers.ofString());
        if (answer.statusCode() / 100 != 2) throw new IllegalStateException(answer.statusCode() + ": " + answer.body());
        return answer.body();
    }

    /** A member of an object that is a number or a text; Java has no JSON of its own. */
    static String member(String json, String name) {
        Matcher found = Pattern.compile("\"" + name + "\":\"?([^\",}]*)").matcher(json);
        if (!found.find()) throw new IllegalStateException("no " + name + " in " + json);
        return found.group(1);
    }

    public static void main(String[] arguments) throws Exception {
        address = arguments[0];
        String userAndPassword = arguments[1] + ":" + arguments[2];
        credentials = "Basic " + Base64.getEncoder().encodeToString(userAndPassword.getBytes("UTF-8"));
        String name = arguments[3];

        System.out.println(name + " stands by");
        String leadership = ask(
            "POST", "/elections/worker", "{\"value\":\"" + name + "\",\"ttl\":\"" + TTL + "s\",\"wait\":\"10m\"}");
        String lease = member(leadership, "lease");
        System.out.println(name + " leads");

        ScheduledExecutorService keeper = Executors.newSingleThreadScheduledExecutor();
        keeper.scheduleAtFixedRate(() -> {
            try {
                ask("POST", "/elections/worker/keepalive", "{\"lease\":\"" + lease + "\"}");
            } catch (Exception error) {
                System.err.println("the lease is not kept alive: " + error);
                System.exit(1);
            }
        }, TTL * 1000 / 3, TTL * 1000 / 3, TimeUnit.MILLISECONDS);

        String condition = "{\"key\":\"" + member(leadership, "key") + "\",\"create_revision\":" + member(leadership, "revision") + "}";
        for (int job = 0; job < 3; job++) {
            String write = "{\"put\":{\"key\":\"jobs/" + job + "\",\"value\":\"" + name + "\"}}";
            String answer = ask("POST", "/txn", "{\"if\":[" + condition + "],\"then\":[" + write + "]}");
            if (!member(answer, "succeeded").equals("true")) throw new IllegalStateException(name + " does not lead any more");
            System.out.println(name + " did " + job);
        }
        keeper.shutdownNow();
        ask("DELETE", "/elections/worker?lease=" + lease, null);
        System.out.println(name + " has resigned");
        System.exit(0);
    }
}
