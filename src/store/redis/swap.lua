-- swap: replaces a short-lived record if it is still what the caller expects, in one atomic step.
-- KEYS[1]  the record
-- ARGV[1]  the bytes that are expected
-- ARGV[2]  the bytes to put in their place
-- ARGV[3]  their lifetime in milliseconds, at least 1
-- Returns  {"done"}, {"other", the bytes found} or {"gone"}
-- Touches  KEYS[1] alone, and only where it says "done"
local found = redis.call('GET', KEYS[1])
if not found then return {'gone'} end
if found ~= ARGV[1] then return {'other', found} end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return {'done'}
