-- ARGV: prefix, lease, holder.
local key = prefix .. 'lease:' .. ARGV[2]
if call('GET', key) == ARGV[3] then call('DEL', key) end
