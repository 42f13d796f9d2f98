-- ARGV: prefix, before in ms. Returns queue, count, queue, count…
local counts = {}
for _, queue in ipairs(call('SMEMBERS', QUEUES)) do
  local count = call('ZCOUNT', waiting_in(queue), '-inf', '(' .. ARGV[2])
  if count > 0 then
    counts[#counts + 1] = queue
    counts[#counts + 1] = count
  elseif call('EXISTS', waiting_in(queue)) == 0 then
    call('SREM', QUEUES, queue)
  end
end
return counts
