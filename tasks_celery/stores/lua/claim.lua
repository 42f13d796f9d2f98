-- ARGV: prefix, id, lifetime, token, worker, at, retries, redelivered, lease, error of an attempt that is taken over,
-- and what `seed` takes. Returns '?' for a record that is not there, where no seed was given.
local id, token, retries, lease = ARGV[2], ARGV[4], tonumber(ARGV[7]), ARGV[9]
local key = key_of(id)
local now = call('HMGET', key, 'status', 'retries', 'token', 'attempt', 'lease', 'cancelled', 'held')
if not now[1] then
  if not ARGV[11] then return '?' end
  seed(id, 11)
  now = call('HMGET', key, 'status', 'retries', 'token', 'attempt', 'lease', 'cancelled', 'held')
end
if now[3] == token and now[4] ~= '0' then return told(id) end
if now[6] then return '' end
if now[1] == 'RUNNING' then
  local leased = now[5] and now[5] ~= '' and is_leased(now[5])
  if not (ARGV[8] == '1' and not leased) and retries <= tonumber(now[2]) then return '' end
  if retries <= tonumber(now[2]) then call('HSETNX', key, 'error:' .. now[4], ARGV[10]) end
elseif now[1] ~= 'READY' then
  return ''
end
if now[7] then release(id) end
local attempt = call('HINCRBY', key, 'attempt', 1)
call('HSETNX', key, 'started_at', ARGV[6])
call('HSET', key, 'status', 'RUNNING', 'retries', retries, 'token', token, 'lease', lease,
     'last_attempted_at', ARGV[6], 'worker:' .. attempt, ARGV[5])
keep(id, ARGV[3])
return told(id)
