-- ARGV: prefix, before in ms. Returns queue, count, queue, count…
local counts = {}
for _, queue in ipairs(redis.call('SMEMBERS', QUEUES)) do
  local count = redis.call('ZCOUNT', waiting_in(queue), '-inf', '(' .. ARGV[2])
  if count > 0 then
    counts[#counts + 1] = queue
    counts[#counts + 1] = count
  elseif redis.call('EXISTS', waiting_in(queue)) == 0 then
    redis.call('SREM', QUEUES, queue)
  end
end
return counts
