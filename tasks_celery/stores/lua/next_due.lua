-- ARGV: prefix. Returns microseconds.
while true do
  local first = call('ZRANGE', HELD, 0, 0, 'WITHSCORES')
  if not first[1] then return nil end
  local now = call('HMGET', key_of(first[1]), 'status', 'attempt', 'held')
  if is_held(now[1], now[2], now[3]) then return now[3] end
  call('ZREM', HELD, first[1])
end
