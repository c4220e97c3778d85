-- Argument: key. Answers with created, changed, lease and value, or with none of them.
only_primary()
local created, changed, lease = head(ARGV[4])
if not created then
    return answer('DONE')
end
return answer('DONE', created, changed, lease, call('HGET', VALUES, ARGV[4]))
