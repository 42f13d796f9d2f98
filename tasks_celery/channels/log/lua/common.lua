-- Before each script. ARGV[1] is the prefix of all keys, ARGV[2] how many events of a stream are kept, ARGV[3] for how many
-- milliseconds. A stream is two keys: its top (epoch, and number of the last event), and the events that are kept, each
-- under the id `number-milliseconds`: numbers alone put them in order, and nothing else has to say when they came.
local call, prefix, keep, lifetime = redis.call, ARGV[1], ARGV[2], tonumber(ARGV[3])

local function top_of(stream) return prefix .. 'event_top:' .. stream end
local function events_of(stream) return prefix .. 'event_log:' .. stream end

-- A whole number as text; Lua's own way would write 1e+15.
local function whole(number) return string.format('%.0f', number) end

local function milliseconds()
  local now = call('TIME')
  return now[1] * 1000 + math.floor(now[2] / 1000)
end

local function number_of(event) return tonumber(string.match(event[1], '^%d+')) end

-- Return a part of what the server tells of itself; nothing where it does not tell, as to a user who may not ask.
local function told(section, name, length)
  local text = redis.pcall('INFO', section)
  local _, at = string.find(type(text) == 'string' and text or '', name .. ':', 1, true)
  return at and string.sub(text, at + 1, at + length)
end

-- Return the epoch and the number of the last event of a stream that is there, and when an event was last sent to it again. Its top is believed in the `run` of the server
-- in which it was written. One that was started again, or a replica that took over, may have forgotten the last events: their
-- numbers would be given a second time, and who has seen the first would not miss the second. With an append-only file, it has
-- forgotten nothing.
local function known(stream, run)
  local top = top_of(stream)
  local found = call('HMGET', top, 'epoch', 'seq', 'run', 'again')
  if not found[1] then return nil end
  if run and found[3] ~= run then
    if found[3] and told('persistence', 'aof_enabled', 1) ~= '1' then return nil end
    call('HSET', top, 'run', run)
  end
  return found[1], tonumber(found[2]), tonumber(found[4] or 0)
end

local function run_now() return told('server', 'run_id', 40) end

-- Return the same of a stream that begins where it is not there. What an older epoch has left goes: the server may have evicted
-- one of the two keys. What takes memory is written first: once a script has written, a server that has none left refuses it
-- nothing.
local function stand(stream, candidate)
  local run = run_now()
  local epoch, seq, again = known(stream, run)
  if epoch then return epoch, seq, again end
  call('HSET', top_of(stream), 'epoch', candidate, 'seq', '0')
  if run then call('HSET', top_of(stream), 'run', run) end
  call('DEL', events_of(stream))
  return candidate, 0, 0
end

-- Remove what is too old among so many of the oldest events, and return how many were.
local function forget(events, most)
  local oldest, aged = milliseconds() - lifetime, 0
  for _, event in ipairs(call('XRANGE', events, '-', '+', 'COUNT', most)) do
    if tonumber(string.match(event[1], '%d+$')) > oldest then break end
    aged = aged + 1
  end
  -- By number: MINID came with Redis 6.2.
  if aged > 0 then call('XTRIM', events, 'MAXLEN', call('XLEN', events) - aged) end
  return aged
end
