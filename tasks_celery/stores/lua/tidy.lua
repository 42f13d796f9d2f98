-- ARGV: prefix. Redis forgets records by itself; what is left of them is one entry in a sorted set, the oldest first.
local sets = { RUNNING, EXPIRES, HELD }
for _, queue in ipairs(call('SMEMBERS', QUEUES)) do sets[#sets + 1] = waiting_in(queue) end
for _, set in ipairs(sets) do
  for _, id in ipairs(call('ZRANGE', set, 0, 999)) do
    if call('EXISTS', key_of(id)) == 0 then call('ZREM', set, id) end
  end
end
