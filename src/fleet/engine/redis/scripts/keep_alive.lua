-- Argument: lease.
local lease = ARGV[4]
local ttl = call('HGET', STATE, 'ttl ' .. lease)
if not ttl or not in_force(lease) or lease == '-' then
    return answer('LEASE')
end
if not is_same_history() then
    return answer('GAP')
end
call('ZADD', LEASES, text(now + tonumber(ttl)), lease)
sweep()
return answer('DONE')
