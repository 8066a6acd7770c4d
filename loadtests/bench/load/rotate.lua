-- wrk: POST the lines of a file in turn, and say at the end what was measured, as one JSON line.
-- Arguments after `--`: path, file of bodies (one a line).
local requests, at = {}, 0

function init(args)
  local headers = { ["Content-Type"] = "application/json" }
  for body in io.lines(args[2]) do
    requests[#requests + 1] = wrk.format("POST", args[1], headers, body)
  end
end

function request()
  at = at % #requests + 1
  return requests[at]
end

function done(summary, latency, _)
  local e = summary.errors
  io.write(string.format(
    'RESULT {"p50_us":%d,"p99_us":%d,"requests":%d,"duration_us":%d,"failed":%d}\n',
    latency:percentile(50), latency:percentile(99), summary.requests, summary.duration,
    e.connect + e.read + e.write + e.status + e.timeout))
end
