-- ARGV: prefix, before in microseconds, limit, until, until in ms, until in microseconds.
local found, limit = {}, tonumber(ARGV[3])
while #found < limit do
  local ids = call('ZRANGEBYSCORE', HELD, '-inf', ARGV[2], 'LIMIT', #found, limit - #found)
  if #ids == 0 then break end
  for _, id in ipairs(ids) do
    local now = call('HMGET', key_of(id), 'status', 'attempt', 'held')
    if is_held(now[1], now[2], now[3]) then found[#found + 1] = id else call('ZREM', HELD, id) end
  end
end
for number, id in ipairs(found) do
  call('HSET', key_of(id), 'due', ARGV[4], 'due_ms', ARGV[5], 'held', ARGV[6])
  call('ZADD', HELD, ARGV[6], id)
  found[number] = { id, told(id) }
end
return found
