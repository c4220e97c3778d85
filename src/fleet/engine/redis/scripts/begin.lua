-- What all scripts share. Each begins with these arguments: a nonce for what it writes, and the latest revision
-- and nonce that the caller has seen ('' and '': none).
local STATE, HEADS, VALUES, NAMES, LEASES, HELD, LOG =
    KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6], KEYS[7]
local LOG_COUNT, LOG_BYTES = 10000, 64 * 1024 * 1024
local call = redis.call
local nonce = ARGV[1]

local function text(number)
    return string.format('%.0f', number)
end

local time = call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)

-- The revision, the nonce of the call that made it, the first revision, the bytes ever written to the log, and those
-- before its oldest entry.
local state = call('HMGET', STATE, 'revision', 'nonce', 'first', 'size', 'kept')
local revision, last, first = state[1], state[2], state[3]
local size, kept = tonumber(state[4] or '0'), tonumber(state[5] or '0')
local count = call('HLEN', HEADS)
if not (revision and last and first) or call('HLEN', VALUES) ~= count or call('ZCARD', NAMES) ~= count then
    -- New, or a part of it was evicted or deleted: begins anew, above all earlier revisions. The first write is
    -- one that is refused where memory is short, so that nothing is half done.
    first = text(math.max(now, tonumber(revision or '0') + 1))
    revision, last, size, kept = first, nonce, 0, 0
    call('HSET', STATE, 'revision', revision, 'nonce', last, 'first', first, 'size', '0', 'kept', '0')
    call('UNLINK', HEADS, VALUES, NAMES, LEASES, HELD, LOG)
end

local function answer(code, ...)
    return {code, revision, last, time[1], time[2], ...}
end

-- The entry of the log right after that revision, if it is there.
local function successor(of)
    local found = call('XRANGE', LOG, text(tonumber(of) + 1), '+', 'COUNT', 1)[1]
    if found and string.match(found[1], '^%d+') == text(tonumber(of) + 1) then
        return found
    end
end

-- The nonce of that revision by the log; nil: the log does not reach back so far.
local function nonce_of(at)
    if at == revision then
        return last
    end
    local after = successor(at)
    return after and string.match(after[2][2], '^%d+')
end

-- Whether the history still has what the caller has seen.
local function is_same_history()
    local seen, by = ARGV[2], ARGV[3]
    if seen == '' then
        return true
    end
    local at = tonumber(seen)
    if at > tonumber(revision) or at < tonumber(first) then
        return false
    end
    local known = nonce_of(seen)
    return not known or known == by
end

local function in_force(lease)
    local ends = lease ~= '-' and call('ZSCORE', LEASES, lease)
    return lease == '-' or (ends and tonumber(ends) > now)
end

-- When a key was created and changed, and its lease; nothing if it is absent or its lease has ended.
local function head(key)
    local found = call('HGET', HEADS, key)
    if found then
        local created, changed, lease = string.match(found, '^(%d+) (%d+) (%S+)$')
        if created and in_force(lease) then
            return created, changed, lease
        end
    end
end

-- Keeps the log within its bounds. Removes more than is added, and leaves the newest. Reads an entry, which may be
-- large, only where one is removed; if someone else has trimmed the log, `kept` is too low until then.
local function trim()
    for _ = 1, 2 do
        local length = call('XLEN', LOG)
        if length < 2 or (length <= LOG_COUNT and size - kept <= LOG_BYTES) then
            return
        end
        call('XTRIM', LOG, 'MAXLEN', length - 1)
        local oldest = call('XRANGE', LOG, '-', '+', 'COUNT', 1)[1]
        kept = tonumber(string.match(oldest[2][2], '%d+$'))
        call('HSET', STATE, 'kept', text(kept))
    end
end

-- Makes a revision of these changes, which `changes(its number)` returns as pairs of key and text.
local function append(changes)
    local new = text(tonumber(revision) + 1)
    local pairs_of = changes(new)
    local before = size
    for _, part in ipairs(pairs_of) do
        size = size + #part
    end
    call('XADD', LOG, new .. '-' .. nonce, 'before', last .. ' ' .. text(before), unpack(pairs_of))
    call('HSET', STATE, 'revision', new, 'nonce', nonce, 'size', text(size))
    revision, last = new, nonce
    trim()
end

local function remove(key)
    local found = call('HGET', HEADS, key)
    local lease = found and string.match(found, '%S+$')
    call('HDEL', HEADS, key)
    call('HDEL', VALUES, key)
    call('ZREM', NAMES, key)
    if lease and lease ~= '-' then
        call('ZREM', HELD, lease .. ' ' .. key)
    end
end

-- Ends a lease and deletes what is under it.
local function end_lease(lease)
    while true do
        local held = call('ZRANGEBYLEX', HELD, '[' .. lease .. ' ', '(' .. lease .. '!', 'LIMIT', 0, 256)
        if #held == 0 then
            break
        end
        local keys = {}
        for _, member in ipairs(held) do
            keys[#keys + 1] = string.sub(member, #lease + 2)
        end
        append(function()
            local changes = {}
            for _, key in ipairs(keys) do
                changes[#changes + 1] = key
                changes[#changes + 1] = 'G'
            end
            return changes
        end)
        for _, key in ipairs(keys) do
            remove(key)
        end
    end
    call('ZREM', LEASES, lease)
    call('HDEL', STATE, 'ttl ' .. lease)
end

-- Ends leases whose time is over, a few in a call.
local function sweep()
    for _, lease in ipairs(call('ZRANGEBYSCORE', LEASES, '-inf', now, 'LIMIT', 0, 4)) do
        end_lease(lease)
    end
end

-- A read-only server refuses this, so that nothing is read from a replica that lags behind.
local function only_primary()
    call('HDEL', STATE, '')
end
