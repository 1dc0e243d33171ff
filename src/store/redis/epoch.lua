-- Replaces the epoch record if it still is the one that the caller saw, so that all nodes agree on one successor.
--
-- KEYS[1]  the epoch record
-- ARGV[1]  the record that the caller saw, "" for none
-- ARGV[2]  version and identifier of the new record, 17 bytes
-- ARGV[3]  what follows the instant in the new record
-- ARGV[4]  "1" if nothing came before it that may have been forgotten, else "0"
--
-- Returns  the record as it stands afterwards: the new one, or the one that another node put there first.
-- Touches  KEYS[1] only. The instant is the server's own, ms since 1970 in 8 bytes big-endian; all ones for none.

local seen = redis.call('GET', KEYS[1]) or ''
if seen ~= ARGV[1] then
  return seen
end
local since = string.rep(string.char(255), 8)
if ARGV[4] ~= '1' then
  local time = redis.call('TIME')
  local ms = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
  since = struct.pack('>I4I4', math.floor(ms / 4294967296), ms % 4294967296)
end
local record = ARGV[2] .. since .. ARGV[3]
redis.call('SET', KEYS[1], record)
return record
