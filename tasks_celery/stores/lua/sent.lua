-- ARGV: prefix, at, at in ms, ids.
for number = 4, #ARGV do
  local id = ARGV[number]
  local key = key_of(id)
  local now = call('HMGET', key, 'status', 'attempt', 'held')
  if is_held(now[1], now[2], now[3]) then
    -- The facts have the time of those that were enqueued before they were held, and go before this one.
    call('HSET', key, 'due', ARGV[2], 'due_ms', ARGV[3], 'enqueued_at', ARGV[2])
    release(id)
    index(id)
  end
end
