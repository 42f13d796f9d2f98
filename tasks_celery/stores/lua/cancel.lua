-- ARGV: prefix, id, and what `settle` takes.
local id = ARGV[2]
local now = call('HMGET', key_of(id), 'status', 'attempt', 'token', 'held')
if now[1] and now[3] == ARGV[3] then return told(id) end
if now[1] == 'RUNNING' then
  call('HSET', key_of(id), 'cancelled', '1')
elseif now[1] == 'READY' then
  settle(id, now[1], now[2], false, now[4], 3)
  index(id)
else
  return ''
end
return told(id)
