-- Asks Keybound about each request (its /verify/nginx dialect: method and URL in two headers), answers what is refused, and tells the API who calls.
--
--   http-request lua.keybound https://api.example.com
--
-- The argument is the public origin of the API, as in `url` of the [[resource]]. KEYBOUND in the environment is the address of the gateway
-- listener, KEYBOUND_GATEWAY_KEY its key, where one is configured.

local service = "http://" .. (os.getenv("KEYBOUND") or "127.0.0.1:8081") .. "/verify/nginx"
local gateway_key = os.getenv("KEYBOUND_GATEWAY_KEY")
local identity = { "x-dpop-subject", "x-dpop-client-id", "x-dpop-scope", "x-dpop-jkt", "x-dpop-token-id" }
local to_client = { "www-authenticate", "dpop-nonce", "cache-control", "content-type", "retry-after", "access-control-expose-headers" }
local unavailable = '{"error":"temporarily_unavailable"}'

-- All lines of a header, as a list that counts from one.
local function lines(headers, name)
  local found = {}
  local values = headers[name]
  if values then
    local index = 0
    while values[index] do
      found[#found + 1] = values[index]
      index = index + 1
    end
  end
  return found
end

local function refuse(txn, status, headers, body)
  local reply = txn:reply({ status = status })
  for name, value in pairs(headers) do
    reply:add_header(name, value)
  end
  reply:set_body(body or "")
  txn:done(reply)
end

core.register_action("keybound", { "http-req" }, function(txn, origin)
  local sent = txn.http:req_get_headers()
  local question = {
    ["x-original-method"] = { txn.f:method() },
    ["x-original-url"] = { origin .. txn.f:pathq() },
    ["authorization"] = lines(sent, "authorization"),
    ["dpop"] = lines(sent, "dpop"),
  }
  if gateway_key then
    question["x-gateway-key"] = { gateway_key }
  end
  local answer = core.httpclient():get({ url = service, headers = question })
  local status = answer and answer.status or 0
  local headers = answer and answer.headers or {}

  if status == 401 or status == 403 then
    local reply = {}
    for _, name in ipairs(to_client) do
      reply[name] = lines(headers, name)[1]
    end
    return refuse(txn, status, reply, answer.body)
  elseif status ~= 200 then
    return refuse(txn, 503, { ["content-type"] = "application/json", ["cache-control"] = "no-store", ["retry-after"] = "1" }, unavailable)
  end

  for _, name in ipairs(identity) do
    txn.http:req_set_header(name, lines(headers, name)[1] or "")
  end
  local replaced = lines(headers, "authorization")[1]
  if replaced then
    txn.http:req_set_header("authorization", replaced)
    txn.http:req_del_header("dpop")
  end
  local nonce = lines(headers, "dpop-nonce")[1]
  if nonce then
    txn:set_var("txn.keybound_nonce", nonce)
  end
end, 1)
