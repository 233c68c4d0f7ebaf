-- Starts counting from zero, unless somebody else already did.
-- KEYS[1]  the metrics hash
-- ARGV[1]  the epoch to end       ARGV[2]  the epoch to begin
-- ARGV[3]  field that counts such events, which alone goes on     ARGV[4]  its value from now on
-- ARGV[5]  Unix time: what happened before it has been counted
if redis.call('HGET', KEYS[1], 'epoch') == ARGV[1] then
  redis.call('DEL', KEYS[1])
  redis.call('HSET', KEYS[1], 'epoch', ARGV[2], 'since', ARGV[5], ARGV[3], ARGV[4])
end
