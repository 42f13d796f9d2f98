-- ARGV: prefix, queue, before in ms, limit.
return pick(waiting_in(ARGV[2]), '(' .. ARGV[3], tonumber(ARGV[4]), anything)
