-- ARGV: prefix, id, lifetime, attempt or '', worker or '', retries, what `settle` takes, and what `seed` takes. Returns '?'
-- for a record that is not there, where no seed was given.
local id, attempt, worker, token, err = ARGV[2], ARGV[4], ARGV[5], ARGV[7], ARGV[10]
local key = key_of(id)
local now = call('HMGET', key, 'status', 'retries', 'token', 'attempt', 'cancelled', 'held')
if not now[1] then
  if not ARGV[16] then return '?' end
  seed(id, 16)
  keep(id, ARGV[3])
  now = call('HMGET', key, 'status', 'retries', 'token', 'attempt', 'cancelled', 'held')
end
if now[3] == token then return told(id) end
local counts
if attempt ~= '' then
  counts = now[1] == 'RUNNING' and now[4] == attempt
  if err ~= '' and tonumber(attempt) < tonumber(now[4]) then call('HSETNX', key, 'error:' .. attempt, err) end
elseif now[1] == 'SUCCESSFUL' or now[1] == 'FAILED' then
  counts = false
else
  local fits = worker == '' or call('HGET', key, 'worker:' .. now[4]) == worker
  counts = tonumber(ARGV[6]) >= tonumber(now[2]) and (now[1] == 'READY' or fits)
end
if not counts then return '' end
settle(id, now[1], now[4], now[5], now[6], 7)
keep(id, ARGV[3])
return told(id)
