-- Closes a server that failed to new pictures, for longer each time in a row.
-- KEYS  trouble      ARGV  server, milliseconds of the first time, longest milliseconds, lifetime in milliseconds
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local text = redis.call('HGET', KEYS[1], ARGV[1])
local trouble = text and cjson.decode(text) or { failures = 0, closed_until = 0 }
if trouble.closed_until > now then return 0 end -- several pictures that fail together are one failure
local pause = math.min(tonumber(ARGV[2]) * 2 ^ trouble.failures, tonumber(ARGV[3]))
local entry = { failures = trouble.failures + 1, closed_until = now + pause }
redis.call('HSET', KEYS[1], ARGV[1], cjson.encode(entry))
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return pause
