-- Arguments: the revision that a watch has got to, and its nonce or '' if it is not known. Answers with the nonce.
only_primary()
local at, by = ARGV[4], ARGV[5]
if tonumber(at) > tonumber(revision) or tonumber(at) < tonumber(first) then
    return answer('GAP')
end
local known = nonce_of(at)
if not known or (by ~= '' and by ~= known) then
    return answer('GAP')
end
return answer('DONE', known)
