-- ARGV: prefix, id, lifetime in ms or '', seed.
if seed(ARGV[2], ARGV[4]) then
  keep(ARGV[2], ARGV[3])
  index(ARGV[2])
end
