-- ARGV: prefix, keep, lifetime, stream, epoch for one that has none, epoch and number of the cursor or '', how many bodies at
-- most. Returns epoch, number of the last event and of the oldest, and the bodies after the cursor, where its place is kept.
local stream, events = ARGV[4], events_of(ARGV[4])
local epoch, seq = stand(stream, ARGV[5])
call('PEXPIRE', top_of(stream), lifetime)
if ARGV[6] ~= epoch then return { epoch, whole(seq), whole(seq + 1) } end
if forget(events, 1) > 0 then
  while forget(events, 100) == 100 do end
end
local first = call('XRANGE', events, '-', '+', 'COUNT', 1)[1]
local oldest, since = first and number_of(first) or seq + 1, tonumber(ARGV[7])
local answer = { epoch, whole(seq), whole(oldest) }
if oldest - 1 <= since and since < seq then
  for _, event in ipairs(call('XRANGE', events, whole(since + 1), '+', 'COUNT', ARGV[8])) do
    answer[#answer + 1] = event[2][4]
  end
end
return answer
