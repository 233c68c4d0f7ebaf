-- Tells Redis what one process has and wants, and gives every free place to whoever is next.
-- KEYS  tickets, processes, turns, models, trouble, draining
-- ARGV  process, its tickets (JSON), places at each server, pictures of a round, silence and lifetime in milliseconds
-- Returns JSON: the servers of this process's tickets that have a place, and the servers that take new pictures.
-- A ticket is {job, weight, model, servers = where it may go, server = where its place is or ""}.
local tickets_key, processes_key, turns_key, models_key, trouble_key, draining_key = unpack(KEYS)
local process, wanted = ARGV[1], cjson.decode(ARGV[2])
local places, round = tonumber(ARGV[3]), tonumber(ARGV[4])
local silence, lifetime = tonumber(ARGV[5]), ARGV[6]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function read_hash(key)
  local flat, fields = redis.call('HGETALL', key), {}
  for i = 1, #flat, 2 do fields[flat[i]] = flat[i + 1] end
  return fields
end

-- Who lives. A process that was killed says nothing any more, and its tickets lapse.
redis.call('ZADD', processes_key, now, process)
redis.call('ZREMRANGEBYSCORE', processes_key, '-inf', now - silence)
local lives = {}
for _, name in ipairs(redis.call('ZRANGE', processes_key, 0, -1)) do lives[name] = true end

-- Everybody's tickets. The same picture has the same ticket: while another living process has it, this one waits, and
-- then finds the picture; from a dead one it takes over the place. A place that another process's question got for this
-- one is heard of here. What a process gave back and wants anew has another order, and no place: the server may have
-- failed.
local tickets, changed = {}, {}
for id, text in pairs(read_hash(tickets_key)) do
  local ticket, mine = cjson.decode(text), wanted[id]
  if ticket.process ~= process and lives[ticket.process] then
    tickets[id], wanted[id] = ticket, nil
  elseif mine then
    mine.since = ticket.since
    local anew = ticket.process == process and ticket.order ~= mine.order
    for _, server in ipairs(mine.servers) do
      if mine.server == '' and ticket.server == server and not anew then mine.server = server end
    end
  else
    redis.call('HDEL', tickets_key, id)
  end
end
for id, ticket in pairs(wanted) do
  ticket.process, ticket.since = process, ticket.since or now
  tickets[id], changed[id] = ticket, true
end

-- What each server holds, which may take more, and how many: one that had trouble must prove itself with one picture.
local held, room = {}, {}
for _, ticket in pairs(tickets) do
  if ticket.server ~= '' then held[ticket.server] = (held[ticket.server] or 0) + 1 end
  for _, server in ipairs(ticket.servers) do room[server] = places end
end
for server, text in pairs(read_hash(trouble_key)) do
  if room[server] then room[server] = cjson.decode(text).closed_until > now and 0 or 1 end
end
for _, server in ipairs(redis.call('SMEMBERS', draining_key)) do
  if room[server] then room[server] = 0 end
end

-- How much each job has had, per weight, and has now. A newcomer begins level with the one that has had least.
local turns, had, least = read_hash(turns_key), {}, nil
for _, ticket in pairs(tickets) do
  had[ticket.job] = (had[ticket.job] or 0) + (ticket.server ~= '' and 1 or 0)
  local turn = tonumber(turns[ticket.job])
  if turn and (not least or turn < least) then least = turn end
end
for job in pairs(turns) do
  if not had[job] then redis.call('HDEL', turns_key, job) end
end
for job in pairs(had) do
  if not turns[job] then redis.call('HSET', turns_key, job, least or 0) end
  turns[job] = tonumber(turns[job] or least or 0)
end

-- The emptiest server first. Within a round of pictures those go first that need the model the server has loaded;
-- then whose job has had least, then whose has least now, then who has waited longest.
local models = read_hash(models_key)
local function rank(id, ticket, server)
  local turn = turns[ticket.job]
  return { held[server] or 0, math.floor(turn / round), models[server] == ticket.model and 0 or 1, turn,
           had[ticket.job], ticket.since, ticket.order, id }
end
local function goes_before(one, other)
  for i = 1, #one do
    if one[i] ~= other[i] then return one[i] < other[i] end
  end
  return false
end
while true do
  local best, chosen, place
  for id, ticket in pairs(tickets) do
    if ticket.server == '' then
      for _, server in ipairs(ticket.servers) do
        if (held[server] or 0) < room[server] then
          local this = rank(id, ticket, server)
          if not best or goes_before(this, best) then best, chosen, place = this, id, server end
        end
      end
    end
  end
  if not best then break end
  local ticket = tickets[chosen]
  ticket.server, changed[chosen] = place, true
  held[place] = (held[place] or 0) + 1
  models[place] = ticket.model
  had[ticket.job] = had[ticket.job] + 1
  turns[ticket.job] = turns[ticket.job] + 1 / ticket.weight
  redis.call('HSET', models_key, place, ticket.model)
  redis.call('HSET', turns_key, ticket.job, turns[ticket.job])
end

local reply = { granted = {}, open = {} }
for id in pairs(changed) do redis.call('HSET', tickets_key, id, cjson.encode(tickets[id])) end
for id in pairs(wanted) do
  if wanted[id].server ~= '' then reply.granted[id] = wanted[id].server end
end
for server, size in pairs(room) do
  if size > 0 then reply.open[server] = size end
end
for i = 1, 4 do redis.call('PEXPIRE', KEYS[i], lifetime) end
return cjson.encode(reply)
