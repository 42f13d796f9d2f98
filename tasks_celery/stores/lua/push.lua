-- ARGV: prefix, database of the records, database of the broker where it is another or '', list, message,
-- whether this may have been done before, id, lifetime in ms or '', and what `create` takes. As create.lua, and the
-- message into the list. It goes first: where the list is none, nothing is kept.
local id, there = ARGV[7], call('EXISTS', key_of(ARGV[7])) == 1
if there and ARGV[6] == '1' then return nil end
local holder = not there and ARGV[16] and other_holder(id, ARGV[16])
if holder then return holder end
if ARGV[3] ~= '' then
  call('SELECT', ARGV[3])
  call('LPUSH', ARGV[4], ARGV[5])
  call('SELECT', ARGV[2])
else
  call('LPUSH', ARGV[4], ARGV[5])
end
if not there then create(id, ARGV[8], 9) end
