-- The load of one measurement: the same POST from every connection, as fast as answers come.
--   wrk … -s load.lua URL -- METHOD_BODY [AUTHORIZATION]
-- The request never changes, so wrk builds it once: the load generator costs as little as it can. What it counted
-- goes to standard output as the last line, a JSON object (times in microseconds).
function init(arguments)
  wrk.method = "POST"
  wrk.body = arguments[1]
  wrk.headers["Content-Type"] = "application/json"
  if arguments[2] then wrk.headers["Authorization"] = arguments[2] end
end

function done(summary, latency)
  local errors = summary.errors
  print(string.format(
    '{"requests": %d, "duration": %d, "p50": %d, "p99": %d, "failed": %d}',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
