-- Presents a refresh token: what `Family::decide` does, in one atomic step.
--
-- KEYS[1]  the family's record, in the layout of src/store/record.rs
-- ARGV[1]  the generation presented, 4 bytes big-endian
-- ARGV[2]  the client_id of the request
-- ARGV[3]  "1" if the client authenticated itself, else "0"
-- ARGV[4]  the thumbprint of the proof's key, 32 bytes, or "" without a proof
-- ARGV[5]  "1" if the client's tokens rotate, else "0"
-- ARGV[6]  now, ms since 1970, 8 bytes big-endian
-- ARGV[7]  now plus the idle lifetime, likewise
-- ARGV[8]  ms for which a record outlives its expiry, decimal
-- ARGV[9]  the longest lifetime of a key in ms, decimal
-- ARGV[10] the thumbprint of the key that the family is moved to, 32 bytes, or "" where it stays
--
-- Returns  {outcome} or {outcome, record as it stands afterwards}; the outcomes are those of src/store/redis/families.rs.
-- Touches  KEYS[1] only, and only where something moved. Numbers are doubles here: instants are exact up to 2^53 ms, and
--          bytes that are written are copied, never computed from a double, except generation and flags.

local CLONE_GAP_MS = 60000
local CLONE_GENERATIONS = 4
local LAST_GENERATION = 4294967295

local ROTATED, REPEATED, ROLLED_FORWARD, KEPT, REUSED, CLONE_SUSPECTED, REBOUND = 1, 2, 3, 4, 5, 6, 7
local UNKNOWN, REVOKED, EXPIRED, OTHER_CLIENT, OTHER_KEY, NOT_AUTHENTICATED = -1, -2, -3, -4, -5, -6
local UNREADABLE = 0

local function millis(bytes, at)
  local high, low = struct.unpack('>i4I4', bytes, at)
  return high * 4294967296 + low
end

local record = redis.call('GET', KEYS[1])
if not record then
  return {UNKNOWN}
end
if #record < 75 or string.byte(record, 1) ~= 1 or string.byte(record, 3) > 1 then
  return {UNREADABLE}
end

local state, binding, clone_run, clone_flag = string.byte(record, 2, 5)
local generation = struct.unpack('>I4', record, 6)
local last_rotation, idle_expiry, absolute_expiry = millis(record, 10), millis(record, 18), millis(record, 26)
local client_end = 75 + struct.unpack('>I2', record, 74)

local presented, now, rotate = struct.unpack('>I4', ARGV[1]), millis(ARGV[6], 1), ARGV[5] == '1'

if string.sub(record, 76, client_end) ~= ARGV[2] then
  return {OTHER_CLIENT}
end
local held, target = string.sub(record, 42, 73), ARGV[10]
if binding == 1 then
  if ARGV[4] ~= held and target ~= held then
    return {OTHER_KEY}
  end
elseif ARGV[3] ~= '1' then
  return {NOT_AUTHENTICATED}
end
if state ~= 0 then
  return {REVOKED}
end
if now >= absolute_expiry or now >= idle_expiry then
  return {EXPIRED}
end

-- The answer, after the move to another key, if there is one: bytes 3 and 4, 9 to 16 and 41 to 72 of the record.
local function done(outcome)
  if binding ~= 1 or target == '' or target == held then
    return {outcome, record}
  end
  redis.call('SETRANGE', KEYS[1], 3, string.char(0, 0))
  redis.call('SETRANGE', KEYS[1], 9, ARGV[6])
  redis.call('SETRANGE', KEYS[1], 41, target)
  record = string.sub(record, 1, 3) .. string.char(0, 0) .. string.sub(record, 6, 9) .. ARGV[6] .. string.sub(record, 18, 41)
    .. target .. string.sub(record, 74)
  return {REBOUND, record}
end

local function after(g)
  return math.min(g + 1, LAST_GENERATION)
end

-- Writes bytes 3 to 24 of the record (run, flag, generation, last rotation, idle expiry) and its new end of life.
local function move(run, flag, to, rotation)
  local idle_bytes, ends = ARGV[7], millis(ARGV[7], 1)
  if absolute_expiry <= ends then
    idle_bytes, ends = string.sub(record, 26, 33), absolute_expiry
  end
  local head = string.char(run, flag) .. struct.pack('>I4', to) .. rotation .. idle_bytes
  redis.call('SETRANGE', KEYS[1], 3, head)
  local left = math.max(1, math.min(ends - now + tonumber(ARGV[8]), tonumber(ARGV[9])))
  redis.call('PEXPIRE', KEYS[1], string.format('%.0f', left))
  record = string.sub(record, 1, 3) .. head .. string.sub(record, 26)
end

if presented > generation then
  move(0, 0, rotate and after(presented) or presented, ARGV[6])
  return done(ROLLED_FORWARD)
end

if presented == generation then
  if not rotate then
    move(clone_run, clone_flag, generation, string.sub(record, 10, 17))
    return done(KEPT)
  end
  local run = clone_flag == 1 and math.min(clone_run + 1, 255) or 0
  move(run, 0, after(generation), ARGV[6])
  return done(ROTATED)
end

if after(presented) == generation then
  if now > last_rotation + CLONE_GAP_MS and clone_flag == 0 then
    if clone_run + 1 >= CLONE_GENERATIONS then
      return {CLONE_SUSPECTED, record}
    end
    redis.call('SETRANGE', KEYS[1], 4, string.char(1))
    record = string.sub(record, 1, 4) .. string.char(1) .. string.sub(record, 6)
  end
  return done(REPEATED)
end

return {REUSED, record}
