-- ARGV: prefix, id, lifetime, seed, token, worker, at, retries, redelivered, lease, error of an attempt that is taken over.
local id, token, retries, lease = ARGV[2], ARGV[5], tonumber(ARGV[8]), ARGV[10]
local key = key_of(id)
seed(id, ARGV[4])
local now = redis.call('HMGET', key, 'status', 'retries', 'token', 'attempt', 'lease')
if now[3] == token and now[4] ~= '0' then return told(id) end
local leased = now[5] and now[5] ~= '' and is_held(now[5])
local again = (ARGV[9] == '1' and not leased) or retries > tonumber(now[2])
if not (now[1] == 'READY' or (now[1] == 'RUNNING' and again)) then return '' end
if now[1] == 'RUNNING' and retries <= tonumber(now[2]) then redis.call('HSETNX', key, 'error:' .. now[4], ARGV[11]) end
local attempt = redis.call('HINCRBY', key, 'attempt', 1)
redis.call('HSETNX', key, 'started_at', ARGV[7])
redis.call('HSET', key, 'status', 'RUNNING', 'retries', retries, 'token', token, 'lease', lease,
           'last_attempted_at', ARGV[7], 'worker:' .. attempt, ARGV[6])
keep(id, ARGV[3])
index(id)
return told(id)
