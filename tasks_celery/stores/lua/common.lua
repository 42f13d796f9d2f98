-- Before each script. ARGV[1] is the prefix of all keys; a record is a hash, and the sweeper finds those that are
-- not finished in sorted sets: by queue what waits, and apart from that what runs and what may expire.
local prefix = ARGV[1]
local RUNNING, EXPIRES, QUEUES = prefix .. 'running', prefix .. 'expires', prefix .. 'queues'

local function key_of(id) return prefix .. 'result:' .. id end
local function waiting_in(queue) return prefix .. 'ready:' .. queue end
local function is_held(lease) return redis.call('EXISTS', prefix .. 'lease:' .. lease) == 1 end

local function seed(id, fields)
  if redis.call('EXISTS', key_of(id)) == 1 then return false end
  redis.call('HSET', key_of(id), unpack(cjson.decode(fields)))
  return true
end

local function keep(id, lifetime)
  if lifetime == '' then redis.call('PERSIST', key_of(id)) else redis.call('PEXPIRE', key_of(id), lifetime) end
end

local function place(set, id, score)
  if score then redis.call('ZADD', set, score, id) else redis.call('ZREM', set, id) end
end

-- Bring the sorted sets in line with a record; records of the first release have no queue and no due time.
local function index(id)
  local now = redis.call('HMGET', key_of(id), 'status', 'queue', 'due_ms', 'expires_ms', 'lease')
  local status, queue = now[1], now[2]
  local waits = status == 'READY'
  if queue then
    place(waiting_in(queue), id, waits and now[3])
    if waits and now[3] then redis.call('SADD', QUEUES, queue) end
  end
  if now[4] then place(EXPIRES, id, waits and now[4]) end
  if now[5] then place(RUNNING, id, status == 'RUNNING' and 0) end
end

-- A record as one text: a client written in Python takes many times as long to read it field by field.
local function told(id) return cjson.encode(redis.call('HGETALL', key_of(id))) end

-- Return up to `limit` records of a sorted set that pass; entries whose record is gone are removed.
local function pick(set, top, limit, passes)
  local found, gone, start = {}, {}, 0
  while #found < limit do
    local ids = redis.call('ZRANGEBYSCORE', set, '-inf', top, 'LIMIT', start, 500)
    if #ids == 0 then break end
    for _, id in ipairs(ids) do
      if redis.call('EXISTS', key_of(id)) == 0 then
        gone[#gone + 1] = id
      elseif #found < limit and passes(id) then
        found[#found + 1] = { id, told(id) }
      end
    end
    start = start + #ids
  end
  for _, id in ipairs(gone) do redis.call('ZREM', set, id) end
  return found
end

local function anything() return true end
