-- Arguments: the number of conditions; kind, key and revision of each; operation, key, lease and value of each
-- write.
if not is_same_history() then
    return answer('GAP')
end
sweep()
local place = 5
for _ = 1, tonumber(ARGV[4]) do
    local kind, created, changed = ARGV[place], head(ARGV[place + 1])
    local holds = not created
    if kind == 'CREATED' then
        holds = created == ARGV[place + 2]
    elseif kind == 'CHANGED' then
        holds = changed == ARGV[place + 2]
    end
    if not holds then
        return answer('REFUSED')
    end
    place = place + 3
end
local writes = {}
while ARGV[place] do
    local write = {op = ARGV[place], key = ARGV[place + 1], lease = ARGV[place + 2], value = ARGV[place + 3]}
    if write.op == 'PUT' and not in_force(write.lease) then
        return answer('LEASE')
    end
    write.created = head(write.key)
    if write.op == 'PUT' or write.created then
        writes[#writes + 1] = write
    end
    place = place + 4
end
if #writes == 0 then
    return answer('DONE')
end
append(function(new)
    local changes = {}
    for _, write in ipairs(writes) do
        changes[#changes + 1] = write.key
        if write.op == 'PUT' then
            write.head = (write.created or new) .. ' ' .. new .. ' ' .. write.lease
            changes[#changes + 1] = 'P' .. write.head .. ' ' .. write.value
        else
            changes[#changes + 1] = 'G'
        end
    end
    return changes
end)
for _, write in ipairs(writes) do
    remove(write.key)
    if write.op == 'PUT' then
        call('HSET', HEADS, write.key, write.head)
        call('HSET', VALUES, write.key, write.value)
        call('ZADD', NAMES, 0, write.key)
        if write.lease ~= '-' then
            call('ZADD', HELD, 0, write.lease .. ' ' .. write.key)
        end
    end
end
return answer('DONE')
