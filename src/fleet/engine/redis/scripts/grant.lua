-- Arguments: lease, its time in milliseconds.
local lease, ttl = ARGV[4], ARGV[5]
if not is_same_history() then
    return answer('GAP')
end
if call('ZSCORE', LEASES, lease) and not in_force(lease) then
    end_lease(lease)
end
sweep()
call('ZADD', LEASES, text(now + tonumber(ttl)), lease)
call('HSET', STATE, 'ttl ' .. lease, ttl)
return answer('DONE')
