-- Arguments: begin of the keys, the last key of the page before ('': the first page), keys and bytes of a page.
-- Answers with the last key looked at if there may be more, else '', and with key, created, changed, lease and
-- value of each.
only_primary()
if not is_same_history() then
    return answer('GAP')
end
local begin, after, most, room = ARGV[4], ARGV[5], tonumber(ARGV[6]), tonumber(ARGV[7])
local from = after == '' and '[' .. begin or '(' .. after
local names = call('ZRANGEBYLEX', NAMES, from, '(' .. begin .. '\255', 'LIMIT', 0, most)
local more = #names == most
local page, looked = {}, ''
for _, key in ipairs(names) do
    if room <= 0 then
        more = true
        break
    end
    looked = key
    local created, changed, lease = head(key)
    if created then
        local value = call('HGET', VALUES, key)
        room = room - #value
        for _, part in ipairs({key, created, changed, lease, value}) do
            page[#page + 1] = part
        end
    end
end
return answer('DONE', more and looked or '', page)
