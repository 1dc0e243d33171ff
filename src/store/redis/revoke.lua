-- Ends a family for good, in one atomic step. Its record stays until it would have expired, so that its tokens are refused
-- as revoked and not as unknown.
--
-- KEYS[1]  the family's record, in the layout of src/store/record.rs
-- ARGV[1]  the reason, one byte
-- ARGV[2]  now, ms since 1970, 8 bytes big-endian
--
-- Returns  {1, record} where this call ended it; {2, record} where it was revoked before, the reason being its second byte; {0}
--          where there is no such family or it is expired; {-1} where the record can't be read.
-- Touches  KEYS[1] only; its lifetime stays.

local function millis(bytes, at)
  local high, low = struct.unpack('>i4I4', bytes, at)
  return high * 4294967296 + low
end

local record = redis.call('GET', KEYS[1])
if not record then
  return {0}
end
if #record < 75 or string.byte(record, 1) ~= 1 then
  return {-1}
end
local state = string.byte(record, 2)
if state ~= 0 then
  return {2, record}
end
local now = millis(ARGV[2], 1)
if now >= millis(record, 26) or now >= millis(record, 18) then
  return {0}
end
redis.call('SETRANGE', KEYS[1], 1, ARGV[1])
return {1, string.sub(record, 1, 1) .. ARGV[1] .. string.sub(record, 3)}
