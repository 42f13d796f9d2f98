-- ARGV: prefix, lease, holder, milliseconds.
local key = prefix .. 'lease:' .. ARGV[2]
local holder = call('GET', key)
if holder and holder ~= ARGV[3] then return 0 end
call('SET', key, ARGV[3], 'PX', ARGV[4])
return 1
