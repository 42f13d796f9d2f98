-- ARGV: prefix, id, lifetime, seed, token, status, at, attempt or '', worker or '', retries, error or '', value or '',
-- due, due in ms, whether it is a retry.
local id, token, status, attempt, worker, err = ARGV[2], ARGV[5], ARGV[6], ARGV[8], ARGV[9], ARGV[11]
local key = key_of(id)
seed(id, ARGV[4])
local now = redis.call('HMGET', key, 'status', 'retries', 'token', 'attempt')
if now[3] == token then return told(id) end
local finished = now[1] == 'SUCCESSFUL' or now[1] == 'FAILED'
local counts
if attempt ~= '' then
  counts = now[1] == 'RUNNING' and now[4] == attempt
  if err ~= '' and tonumber(attempt) < tonumber(now[4]) then redis.call('HSETNX', key, 'error:' .. attempt, err) end
elseif finished then
  counts = false
else
  local fits = worker == '' or redis.call('HGET', key, 'worker:' .. now[4]) == worker
  counts = tonumber(ARGV[10]) >= tonumber(now[2]) and (now[1] == 'READY' or fits)
end
if not counts then return '' end
redis.call('HSET', key, 'status', status, 'token', token)
if err ~= '' then
  local number = tonumber(now[4])
  if now[1] == 'READY' then number = number + 1 end
  redis.call('HSETNX', key, 'error:' .. number, err)
end
if status == 'READY' then
  redis.call('HSET', key, 'due', ARGV[13], 'due_ms', ARGV[14])
  if ARGV[15] == '1' then redis.call('HINCRBY', key, 'retries', 1) end
else
  redis.call('HSET', key, 'finished_at', ARGV[7])
  if ARGV[12] ~= '' then redis.call('HSET', key, 'value', ARGV[12]) end
end
keep(id, ARGV[3])
index(id)
return told(id)
