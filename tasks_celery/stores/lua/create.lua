-- ARGV: prefix, id, lifetime in ms or '', and what `create` takes. Returns who else holds the unique key.
local id = ARGV[2]
if call('EXISTS', key_of(id)) == 1 then return nil end
local holder = ARGV[11] and other_holder(id, ARGV[11])
if holder then return holder end
create(id, ARGV[3], 4)
