-- Takes back a claim that was recorded but not relied on, because the epoch had moved: the same proof may then be presented
-- again with a nonce of the new epoch.
--
-- KEYS[1]  the claim
-- ARGV[1]  the attempt that recorded it, 8 bytes
--
-- Returns  1 if it was taken back; 0 if it is not this attempt's.
-- Touches  KEYS[1] only.

if redis.call('GET', KEYS[1]) == ARGV[1] then
  return redis.call('DEL', KEYS[1])
end
return 0
