-- Counts each event that has not been counted yet.
-- KEYS[1]  the metrics hash       KEYS[1+n]  the guard of the n-th event
-- ARGV[1]  epoch of a new hash    ARGV[2]    life of a guard in seconds    ARGV[3]  seconds that clocks may differ by
-- ARGV[4]  JSON: one list per event, {when it happened as Unix time or "", field, amount, field, amount, ...}
if redis.call('HSETNX', KEYS[1], 'epoch', ARGV[1]) == 1 then
  redis.call('HSET', KEYS[1], 'since', redis.call('TIME')[1] - ARGV[3])
end
-- The guards of what was counted before this epoch went with it, so only the event's own time tells of a repetition.
local since = tonumber(redis.call('HGET', KEYS[1], 'since') or 0)
for index, event in ipairs(cjson.decode(ARGV[4])) do
  local is_of_this_epoch = event[1] == '' or tonumber(event[1]) >= since
  if is_of_this_epoch and redis.call('SET', KEYS[index + 1], '', 'NX', 'EX', ARGV[2]) then
    for position = 2, #event, 2 do
      redis.call('HINCRBYFLOAT', KEYS[1], event[position], event[position + 1])
    end
  end
end
