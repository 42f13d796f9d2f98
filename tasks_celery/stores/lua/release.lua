-- ARGV: prefix, lease, holder.
local key = prefix .. 'lease:' .. ARGV[2]
if redis.call('GET', key) == ARGV[3] then redis.call('DEL', key) end
