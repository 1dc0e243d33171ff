-- Puts back what a failover may have lost: joins the record that a node remembers with the one that is stored. The newer of the two
-- rotations stays, and a family that either of them calls revoked is revoked; so nodes may do this in any order, any number of times.
--
-- KEYS[1]  the family's record, in the layout of src/store/record.rs
-- ARGV[1]  the record that the node remembers, whole
-- ARGV[2]  ms for which it has yet to live, decimal
--
-- Returns  {1} where there was none; {2} where something was put back; {0} where nothing was missing; {-1} where the stored record
--          can't be read.
-- Touches  KEYS[1] only, and only where something is put back.

local function millis(bytes, at)
  local high, low = struct.unpack('>i4I4', bytes, at)
  return high * 4294967296 + low
end

-- Whether `a` was written after `b`: by generation, last rotation, idle expiry and the mark of a late repetition, in this order.
local function later(a, b)
  local ga, gb = struct.unpack('>I4', a, 6), struct.unpack('>I4', b, 6)
  if ga ~= gb then
    return ga > gb
  end
  local ra, rb = millis(a, 10), millis(b, 10)
  if ra ~= rb then
    return ra > rb
  end
  local ia, ib = millis(a, 18), millis(b, 18)
  if ia ~= ib then
    return ia > ib
  end
  return string.byte(a, 5) > string.byte(b, 5)
end

-- Revoked if either is; of two reasons the one with the smaller number.
local function join(a, b)
  if a == 0 or b == 0 then
    return a + b
  end
  return math.min(a, b)
end

local stored, ours = redis.call('GET', KEYS[1]), ARGV[1]
if not stored then
  redis.call('SET', KEYS[1], ours, 'PX', ARGV[2])
  return {1}
end
if #stored < 75 or string.byte(stored, 1) ~= 1 then
  return {-1}
end
local state = string.byte(stored, 2)
local joined = join(state, string.byte(ours, 2))
if later(ours, stored) then
  -- Bytes 1 to 72: the state, and everything that a rotation or a change of keys writes.
  redis.call('SETRANGE', KEYS[1], 1, string.char(joined) .. string.sub(ours, 3, 73))
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  return {2}
end
if joined ~= state then
  redis.call('SETRANGE', KEYS[1], 1, string.char(joined))
  return {2}
end
return {0}
