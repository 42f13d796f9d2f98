-- ARGV: prefix, unique key. Returns the id of the task that has it.
return other_holder('', ARGV[2])
