-- SPDX-License-Identifier: MIT
-- The load of one row, for wrk: METHOD BODY_BYTES keep|close as arguments after the URL. The request is
-- fixed, so that wrk formats it once. The figures come out as one line of JSON, the errors split by kind.

function init(args)
    wrk.method = args[1]
    if tonumber(args[2]) > 0 then
        wrk.body = string.rep("x", tonumber(args[2]))
        wrk.headers["Content-Type"] = "application/octet-stream"
    end
    if args[3] == "close" then
        wrk.headers["Connection"] = "close"
    end
end

function done(summary, latency, requests)
    local errors = summary.errors
    io.write(string.format(
        '\nRESULT {"seconds": %.6f, "requests": %d, "bytes": %d, "p50_ms": %.3f, "p99_ms": %.3f, ' ..
        '"p999_ms": %.3f, "max_ms": %.3f, "errors": {"connect": %d, "read": %d, "write": %d, ' ..
        '"timeout": %d, "status above 399": %d}}\n',
        summary.duration / 1e6, summary.requests, summary.bytes, latency:percentile(50) / 1e3,
        latency:percentile(99) / 1e3, latency:percentile(99.9) / 1e3, latency.max / 1e3, errors.connect,
        errors.read, errors.write, errors.timeout, errors.status))
end
