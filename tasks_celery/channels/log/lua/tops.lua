-- ARGV: prefix, keep, lifetime, streams. Returns the position of each, nil for one that is not there. Its top is kept for as
-- long as somebody asks; the events expire by themselves, once the last of them is too old.
local run, answers = run_now(), {}
for at = 4, #ARGV do
  local epoch, seq = known(ARGV[at], run)
  if epoch then call('PEXPIRE', top_of(ARGV[at]), lifetime) end
  answers[at - 3] = epoch and epoch .. ':' .. whole(seq) or false
end
return answers
