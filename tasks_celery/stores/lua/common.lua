-- Before each script. ARGV[1] is the prefix of all keys; a record is a hash, and who looks for tasks that have not ended
-- finds them in sorted sets: by queue what waits, and apart from that what runs, what may expire, and what is held.
-- Short, for a script makes all of its functions anew at each call, and this is all that enqueueing needs.
local call, prefix = redis.call, ARGV[1]
local RUNNING, EXPIRES, QUEUES, HELD = prefix .. 'running', prefix .. 'expires', prefix .. 'queues', prefix .. 'held'

local function key_of(id) return prefix .. 'result:' .. id end
local function waiting_in(queue) return prefix .. 'ready:' .. queue end
local function unique_as(unique) return prefix .. 'unique:' .. unique end

-- Whether a unique key keeps others out, by what the record of its holder says: its end may have been told by a worker
-- of an earlier release, which knows no such keys. A key for a time does not ask.
local function keeps_out(until_when, status, attempt)
  if until_when == 'time' then return true end
  if until_when == 'start' then return status == 'READY' and attempt == '0' end
  return status == 'READY' or status == 'RUNNING'
end

-- Return who else holds a unique key, nil for nobody.
local function other_holder(id, unique)
  local value = call('GET', unique_as(unique))
  if not value then return nil end
  local until_when, holder = string.match(value, '^(%a+):(.*)$')
  if holder == id then return nil end
  local now = call('HMGET', key_of(holder), 'status', 'attempt')
  return keeps_out(until_when, now[1], now[2]) and holder or nil
end

-- Write a record that is not there. ARGV[at] and on: facts, queue, due, due in ms, and further fields in JSON; '' for
-- what it has not.
local function seed(id, at)
  local key, more = key_of(id), ARGV[at + 4]
  call('HSET', key, 'status', 'READY', 'retries', '0', 'attempt', '0', 'facts', ARGV[at], 'queue', ARGV[at + 1])
  if ARGV[at + 2] ~= '' then call('HSET', key, 'due', ARGV[at + 2], 'due_ms', ARGV[at + 3]) end
  if more ~= '' then call('HSET', key, unpack(cjson.decode(more))) end
end

-- Write a new record, where it is to be found, and its unique key. After what `seed` takes: expiry in ms, when it is to be
-- sent in microseconds, unique key, until when, and expiry of that in ms; none of them, or '' for what it has not.
local function create(id, lifetime, at)
  seed(id, at)
  if lifetime ~= '' then call('PEXPIRE', key_of(id), lifetime) end
  local queue, due, expires, held, unique = ARGV[at + 1], ARGV[at + 3], ARGV[at + 5], ARGV[at + 6], ARGV[at + 7]
  if held and held ~= '' then
    call('ZADD', HELD, held, id)
  elseif due ~= '' then
    call('ZADD', waiting_in(queue), due, id)
    call('SADD', QUEUES, queue)
  end
  if expires and expires ~= '' then call('ZADD', EXPIRES, expires, id) end
  if unique and unique ~= '' then
    call('SET', unique_as(unique), ARGV[at + 8] .. ':' .. id)
    if ARGV[at + 9] ~= '' then call('PEXPIREAT', unique_as(unique), ARGV[at + 9])
    elseif lifetime ~= '' then call('PEXPIRE', unique_as(unique), lifetime) end
  end
end
