/// What `GET /metrics` tells, by the names that Prometheus knows it by ("Metric and label naming"): base units, and
/// `_total` at the end of what only ever grows. docs/metrics.md says the same with the labels.
///
/// No label is made of what a client sends: routes are templates, and users and keys are in none.
enum Metric: String, CaseIterable {
  case requests = "etcd_rest_http_requests_total"
  case requestDuration = "etcd_rest_http_request_duration_seconds"
  case requestsInFlight = "etcd_rest_http_requests_in_flight"
  case requestBytes = "etcd_rest_http_request_bytes_total"
  case responseBytes = "etcd_rest_http_response_bytes_total"
  case cutAnswers = "etcd_rest_http_responses_cut_total"
  case connections = "etcd_rest_client_connections"
  case acceptedConnections = "etcd_rest_client_connections_accepted_total"
  case refusedConnections = "etcd_rest_client_connections_refused_total"

  case streams = "etcd_rest_streams"
  case openedStreams = "etcd_rest_streams_opened_total"
  case streamMessages = "etcd_rest_stream_messages_sent_total"
  case streamBytes = "etcd_rest_stream_bytes_sent_total"

  case calls = "etcd_rest_upstream_calls_total"
  case callDuration = "etcd_rest_upstream_call_duration_seconds"
  case callsInFlight = "etcd_rest_upstream_calls_in_flight"
  case repeatedCalls = "etcd_rest_upstream_calls_repeated_total"
  case unsentCalls = "etcd_rest_upstream_calls_unsent_total"
  case readBatches = "etcd_rest_read_batches_total"
  case batchedReads = "etcd_rest_batched_reads_total"
  case sharedReads = "etcd_rest_shared_reads_total"
  case repeatedReads = "etcd_rest_batched_reads_repeated_total"
  case upstreamConnections = "etcd_rest_upstream_connections"
  case connects = "etcd_rest_upstream_connects_total"
  case connectFailures = "etcd_rest_upstream_connection_failures_total"

  case loginRequests = "etcd_rest_login_requests_total"
  case loginRenewals = "etcd_rest_login_renewals_total"
  case logins = "etcd_rest_logins_total"
  case loginsInFlight = "etcd_rest_logins_in_flight"
  case loginsWaiting = "etcd_rest_logins_waiting"
  case tokens = "etcd_rest_tokens"
  case tokenLookups = "etcd_rest_token_lookups_total"

  case watches = "etcd_rest_watches"
  case upstreamWatchers = "etcd_rest_upstream_watchers"
  case eventsReceived = "etcd_rest_watch_events_received_total"
  case eventsDelivered = "etcd_rest_watch_events_delivered_total"
  case watchResumes = "etcd_rest_watch_resumes_total"
  case leaseKeepalives = "etcd_rest_lease_keepalives_total"
  case leaseStreams = "etcd_rest_upstream_lease_streams"

  case shardUp = "etcd_rest_shard_up"
  case loopLag = "etcd_rest_shard_loop_lag_seconds"
  case memoryKept = "etcd_rest_shard_memory_kept_bytes"
  case memoryLimit = "etcd_rest_memory_limit_bytes"
  case reloads = "etcd_rest_config_reloads_total"
  case lastReloadSuccessful = "etcd_rest_config_last_reload_successful"
  case lastReloadTime = "etcd_rest_config_last_reload_success_timestamp_seconds"
  case droppedLogLines = "etcd_rest_log_lines_dropped_total"

  case tlsHandshakes = "etcd_rest_tls_handshakes_total"
  case tlsExpiry = "etcd_rest_tls_certificate_expiry_timestamp_seconds"

  case buildInfo = "etcd_rest_build_info"
  case processCPU = "process_cpu_seconds_total"
  case processMemory = "process_resident_memory_bytes"
  case processVirtualMemory = "process_virtual_memory_bytes"
  case processDescriptors = "process_open_fds"
  case processMaxDescriptors = "process_max_fds"
  case processStart = "process_start_time_seconds"

  /// As in a `TYPE` line (Prometheus documentation, "Exposition formats").
  var type: StaticString {
    switch self {
    case .requestDuration, .callDuration: "histogram"
    case .processCPU: "counter"
    default: rawValue.hasSuffix("_total") ? "counter" : "gauge"
    }
  }

  /// What it counts, as in a `HELP` line.
  var help: StaticString {
    switch self {
    case .requests: "Requests that were answered, by route, method and status. 499 is for clients that left before."
    case .requestDuration: "How long requests took, from the end of their head to the end of their answer."
    case .requestsInFlight: "Requests that are being served."
    case .requestBytes: "Bytes of request bodies."
    case .responseBytes: "Bytes of response bodies, without those of streams."
    case .cutAnswers: "Responses that broke off, because of etcd or of the client."
    case .connections: "Open connections of clients, without those of streams, by shard."
    case .acceptedConnections: "Connections of clients that were served; with TLS, from the end of the handshake on."
    case .refusedConnections: "Connections that were refused for --max-connections-per-address."
    case .streams: "Open streams and WebSockets, by route."
    case .openedStreams: "Streams and WebSockets that were opened, by route."
    case .streamMessages: "Messages that were sent on streams and WebSockets, by route."
    case .streamBytes: "Bytes that were sent on streams and WebSockets, and in responses to incomplete requests."
    case .calls: "Calls to etcd that have ended, by RPC, gRPC code and endpoint; a repeated call counts again."
    case .callDuration: "How long unary calls to etcd took."
    case .callsInFlight: "Calls to etcd that are under way or wait for a connection or a login."
    case .repeatedCalls: "Calls that were sent to etcd again."
    case .unsentCalls: "Calls that failed before they were sent to any member of etcd."
    case .readBatches: "Transactions in which several reads of a user went to etcd (--max-batch)."
    case .batchedReads: "Reads that went to etcd in such transactions, equal ones counted once."
    case .sharedReads: "Reads that were answered by the answer of an equal one."
    case .repeatedReads: "Reads that went to etcd alone, as their transaction had failed."
    case .upstreamConnections: "Connections to etcd, by endpoint, use and state; a member without one counts as idle."
    case .connects: "Attempts to connect to etcd."
    case .connectFailures: "Connections to etcd that were lost or could not be made."
    case .loginRequests: "Requests of shards for the token of a user, and logins that clients make themselves."
    case .loginRenewals: "Login requests that were made because etcd no longer accepted a token."
    case .logins:
      "Login requests that have ended, by result."
    case .loginsInFlight: "Logins that are under way at etcd."
    case .loginsWaiting: "Logins that wait for their turn."
    case .tokens: "Users whose tokens are kept."
    case .tokenLookups:
      "Calls of users: with a token that the shard knew, that waited for one, or whose token etcd no longer accepted."
    case .watches: "Watches of clients."
    case .upstreamWatchers: "Watchers at etcd, which watches share."
    case .eventsReceived: "Events that etcd has sent."
    case .eventsDelivered: "Events that were passed on to watches of clients, one for each watch."
    case .watchResumes: "Watchers that were created again after their stream had ended."
    case .leaseKeepalives: "Keepalives of leases that etcd has answered."
    case .leaseStreams: "Streams to etcd that carry keepalives."
    case .shardUp: "Whether the shard has answered this time; if not, its other numbers are those of its last answer."
    case .loopLag: "How long the shard's loop took to get to a job that came from another thread."
    case .memoryKept: "Bytes that the shard keeps for clients."
    case .memoryLimit: "Bytes that may be kept for clients (--max-memory)."
    case .reloads: "How often the gateway was told to read its settings again, by whether it has taken them."
    case .lastReloadSuccessful: "Whether the last reload was taken; 1 until there was one."
    case .lastReloadTime: "When settings were last taken, at the start or by a reload, in Unix time."
    case .droppedLogLines: "Log lines that were dropped, as nothing took them in time."
    case .tlsHandshakes: "TLS handshakes with clients, by result."
    case .tlsExpiry: "When the certificate of the gateway expires, in Unix time."
    case .buildInfo:
      "The versions of the gateway and of libmicrohttpd, and the commit of the gateway if known; the value is always 1."
    case .processCPU: "CPU time of the process, in user and system mode."
    case .processMemory: "Resident memory of the process."
    case .processVirtualMemory: "Virtual memory of the process."
    case .processDescriptors: "Open file descriptors."
    case .processMaxDescriptors: "How many file descriptors may be open."
    case .processStart: "When the process started, in Unix time."
    }
  }
}
