-- ARGV: prefix, id, lifetime, how often it was sent again so far, due, due in ms.
local id = ARGV[2]
local now = call('HMGET', key_of(id), 'status', 'resent', 'held')
if now[1] ~= 'READY' or (now[2] or '0') ~= ARGV[4] then return 0 end
if now[3] then release(id) end
call('HSET', key_of(id), 'due', ARGV[5], 'due_ms', ARGV[6])
call('HINCRBY', key_of(id), 'resent', 1)
keep(id, ARGV[3])
return 1
