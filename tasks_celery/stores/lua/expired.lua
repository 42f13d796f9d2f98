-- ARGV: prefix, before in ms, limit.
return pick(EXPIRES, '(' .. ARGV[2], tonumber(ARGV[3]), anything)
