-- ARGV: prefix, id.
local id = ARGV[2]
local now = redis.call('HMGET', key_of(id), 'status', 'attempt', 'queue')
if now[1] == 'READY' and now[2] == '0' then
  redis.call('DEL', key_of(id))
  redis.call('ZREM', EXPIRES, id)
  if now[3] then redis.call('ZREM', waiting_in(now[3]), id) end
end
