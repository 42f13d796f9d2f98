-- ARGV: prefix, keep, lifetime, stream, epoch for one that has none, key, body, whether it may be there already.
-- Returns the position. The event goes first: where the server takes it not, the number is not used up.
local stream, key = ARGV[4], ARGV[6]
local events = events_of(stream)
local epoch, seq, again = stand(stream, ARGV[5])
local now = milliseconds()
-- A server that stood still may be handed what was sent again before what was sent first.
if ARGV[8] == '1' or now - again < 60000 then
  for _, event in ipairs(call('XREVRANGE', events, '+', '-', 'COUNT', 100)) do
    if event[2][2] == key then return epoch .. ':' .. whole(number_of(event)) end
  end
end
seq = whole(seq + 1)
call('XADD', events, 'MAXLEN', keep, seq .. '-' .. whole(now), 'key', key, 'body', ARGV[7])
call('HSET', top_of(stream), 'seq', seq)
if ARGV[8] == '1' then call('HSET', top_of(stream), 'again', whole(now)) end
if seq % 16 == 0 then forget(events, 32) end
call('PEXPIRE', events, lifetime)
call('PEXPIRE', top_of(stream), lifetime)
return epoch .. ':' .. seq
