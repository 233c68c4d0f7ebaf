-- Counts each event that has not been counted yet.
-- KEYS[1]  the metrics hash       KEYS[1+n]  the guard of the n-th event
-- ARGV[1]  epoch of a new hash    ARGV[2]    life of a guard in seconds
-- ARGV[3]  JSON: one list per event, {field, amount, field, amount, ...}
redis.call('HSETNX', KEYS[1], 'epoch', ARGV[1])
for index, deltas in ipairs(cjson.decode(ARGV[3])) do
  if redis.call('SET', KEYS[index + 1], '', 'NX', 'EX', ARGV[2]) then
    for position = 1, #deltas, 2 do
      redis.call('HINCRBYFLOAT', KEYS[1], deltas[position], deltas[position + 1])
    end
  end
end
