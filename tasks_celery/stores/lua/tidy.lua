-- ARGV: prefix. Redis forgets records by itself; what is left of them is one entry in a sorted set, the oldest first.
local sets = { RUNNING, EXPIRES }
for _, queue in ipairs(redis.call('SMEMBERS', QUEUES)) do sets[#sets + 1] = waiting_in(queue) end
for _, set in ipairs(sets) do
  for _, id in ipairs(redis.call('ZRANGE', set, 0, 999)) do
    if redis.call('EXISTS', key_of(id)) == 0 then redis.call('ZREM', set, id) end
  end
end
