-- The load of one measurement: POSTs from every connection, as fast as answers come.
--   wrk … -s load.lua URL -- BODIES [AUTHORIZATION]
-- BODIES is a file with a body a line. wrk builds each request once, so the load generator costs as little as it can;
-- where there is one body it does not even choose. What it counted goes to standard output as the last line, a JSON
-- object (percentiles in milliseconds).
local requests = {}

function init(arguments)
  wrk.method = "POST"
  wrk.headers["Content-Type"] = "application/json"
  if arguments[2] then wrk.headers["Authorization"] = arguments[2] end
  for body in io.lines(arguments[1]) do
    wrk.body = body
    requests[#requests + 1] = wrk.format()
  end
  if #requests > 1 then
    function request() return requests[math.random(#requests)] end
  end
end

function done(summary, latency)
  local errors = summary.errors
  print(string.format(
    '{"requests": %d, "seconds": %.6f, "p50": %.3f, "p99": %.3f, "failed": %d}',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
