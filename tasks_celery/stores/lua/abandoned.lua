-- ARGV: prefix, limit.
return pick(RUNNING, '+inf', tonumber(ARGV[2]), function(id)
  local lease = redis.call('HGET', key_of(id), 'lease')
  return lease and lease ~= '' and not is_held(lease)
end)
