-- ARGV: prefix, limit.
return pick(RUNNING, '+inf', tonumber(ARGV[2]), function(id)
  local lease = call('HGET', key_of(id), 'lease')
  return lease and lease ~= '' and not is_leased(lease)
end)
