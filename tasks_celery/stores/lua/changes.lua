-- Before each script that does more than make records.
local function is_leased(lease) return call('EXISTS', prefix .. 'lease:' .. lease) == 1 end

-- The field `held` is when to send the task, in microseconds. Where a worker of an earlier release has begun the task, it
-- has left the field there.
local function is_held(status, attempt, held) return held and status == 'READY' and attempt == '0' end

-- End the hold of a record.
local function release(id)
  call('HDEL', key_of(id), 'held')
  call('ZREM', HELD, id)
end

local function place(set, id, score)
  if score then call('ZADD', set, score, id) else call('ZREM', set, id) end
end

local function free(id, unique, until_when)
  local key = unique_as(unique)
  if call('GET', key) == until_when .. ':' .. id then call('DEL', key) end
end

-- Bring the sorted sets in line with a record, and its unique key; the first release has no queue and no due time.
local function index(id, lifetime)
  local now = call('HMGET', key_of(id), 'status', 'queue', 'due_ms', 'expires_ms', 'lease', 'held', 'attempt',
                   'unique', 'unique_until', 'unique_ms')
  local status, queue, held, unique = now[1], now[2], now[6], now[8]
  local waits, waits_to_be_sent = status == 'READY', is_held(status, now[7], now[6])
  if queue then
    place(waiting_in(queue), id, waits and not waits_to_be_sent and now[3])
    if waits and now[3] then call('SADD', QUEUES, queue) end
  end
  if held then place(HELD, id, waits_to_be_sent and held) end
  if now[4] then place(EXPIRES, id, waits and now[4]) end
  if now[5] then place(RUNNING, id, status == 'RUNNING' and 0) end
  if unique and not keeps_out(now[9], status, now[7]) then
    free(id, unique, now[9])
  elseif unique and lifetime and not now[10] and call('GET', unique_as(unique)) == now[9] .. ':' .. id then
    -- As long as the record; what has a time of its own has it from the beginning.
    if lifetime == '' then call('PERSIST', unique_as(unique)) else call('PEXPIRE', unique_as(unique), lifetime) end
  end
end

-- Keep a record from now on for so many milliseconds, '' for ever.
local function keep(id, lifetime)
  if lifetime == '' then call('PERSIST', key_of(id)) else call('PEXPIRE', key_of(id), lifetime) end
  index(id, lifetime)
end

-- A record as one text: a client written in Python takes many times as long to read it field by field.
local function told(id) return cjson.encode(call('HGETALL', key_of(id))) end

-- End a task that has not ended, or make it READY again. ARGV[at] and on: token, status, at, error or '', value or '',
-- due, due in ms, whether it is a retry, and the error of what was cancelled and would else be READY again.
local function settle(id, status, attempt, cancelled, held, at)
  local key, becomes, err = key_of(id), ARGV[at + 1], ARGV[at + 3]
  if cancelled and becomes == 'READY' then becomes, err = 'FAILED', ARGV[at + 8] end
  call('HSET', key, 'status', becomes, 'token', ARGV[at])
  if err ~= '' then
    local number = tonumber(attempt)
    if status == 'READY' then number = number + 1 end
    call('HSETNX', key, 'error:' .. number, err)
  end
  if becomes == 'READY' then
    call('HSET', key, 'due', ARGV[at + 5], 'due_ms', ARGV[at + 6])
    if ARGV[at + 7] == '1' then call('HINCRBY', key, 'retries', 1) end
  else
    call('HSET', key, 'finished_at', ARGV[at + 2])
    if ARGV[at + 4] ~= '' then call('HSET', key, 'value', ARGV[at + 4]) end
  end
  if held then release(id) end
end

-- Return up to `limit` records of a sorted set that pass; entries whose record is gone are removed.
local function pick(set, top, limit, passes)
  local found, gone, start = {}, {}, 0
  while #found < limit do
    local ids = call('ZRANGEBYSCORE', set, '-inf', top, 'LIMIT', start, 500)
    if #ids == 0 then break end
    for _, id in ipairs(ids) do
      if call('EXISTS', key_of(id)) == 0 then
        gone[#gone + 1] = id
      elseif #found < limit and passes(id) then
        found[#found + 1] = { id, told(id) }
      end
    end
    start = start + #ids
  end
  for _, id in ipairs(gone) do call('ZREM', set, id) end
  return found
end

local function anything() return true end
