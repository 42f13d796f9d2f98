-- ARGV: prefix, id.
local id = ARGV[2]
local now = call('HMGET', key_of(id), 'status', 'attempt', 'queue', 'held', 'unique', 'unique_until')
if now[1] == 'READY' and now[2] == '0' then
  call('DEL', key_of(id))
  call('ZREM', EXPIRES, id)
  if now[3] then call('ZREM', waiting_in(now[3]), id) end
  if now[4] then call('ZREM', HELD, id) end
  if now[5] then free(id, now[5], now[6]) end
end
