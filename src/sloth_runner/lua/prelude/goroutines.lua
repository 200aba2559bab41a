-- goroutine.*: everything but the waiting itself is done here; Python parks and wakes.

local S = ...
local raw = S.raw
local type, format, error, xpcall, rawlen = raw.type, raw.format, raw.error, raw.xpcall, raw.rawlen
local table_pack, table_unpack, math_type = raw.table_pack, raw.table_unpack, raw.math_type
local setmetatable, next, concat, tostring = raw.setmetatable, raw.next, raw.concat, raw.tostring
local operate, complain, wake = S.operate, S.complain, S.wake

local spawned = {}                                   -- number -> what is yet to be begun
local handles = setmetatable({}, { __mode = "k" })   -- handle -> its goroutine
local failed_parts = setmetatable({}, { __mode = "k" })

function S.whoami() return S.current.id end

-- Waits until this goroutine is woken.
local function park(what)
  local file, line = S.where(2)
  operate(what, "park", S.current.id, what, file, line)
end

function S.wait_in(waiting, what)
  waiting[#waiting + 1] = S.current.id
  park(what)
end

function S.wake_all(waiting)
  for index = 1, #waiting do
    wake(waiting[index])
    waiting[index] = nil
  end
end

-- First in, first out.
local function queue() return { first = 1, last = 0 } end

local function push(line, item)
  line.last = line.last + 1
  line[line.last] = item
end

local function shift(line)
  if line.first > line.last then return nil end
  local item = line[line.first]
  line[line.first] = nil
  line.first = line.first + 1
  return item
end

-- Wakes the first of a queue that is still there, after giving it what it waits for.
local function hand(line, give)
  local waiter = shift(line)
  while waiter do
    give(waiter)
    if wake(waiter.id) then return waiter end
    waiter = shift(line)
  end
  return nil
end

local function nothing() end

local function callable(fn, what)
  if type(fn) ~= "function" then
    complain(format("%s: a function is needed, not %s", what, type(fn)))
  end
end

local function whole(number, least, what)
  if math_type(number) ~= "integer" and not (type(number) == "number" and number % 1 == 0)
    or number < least then
    complain(format("%s: a whole number of at least %d is needed, not %s", what, least,
      tostring(number)))
  end
  return raw.tointeger(number)
end

-- Spawning and waiting.

local HANDLE = { __name = "goroutine", __metatable = false }
HANDLE.__tostring = function(self) return format("goroutine %d", handles[self].id) end

local function spawn(fn, ...)
  local routine = { id = S.new_id(), fn = fn, args = table_pack(...), waiting = {} }
  local handle = setmetatable({}, HANDLE)
  handles[handle] = routine
  spawned[routine.id] = routine
  operate("goroutine.spawn", "spawn", routine.id)
  return handle, routine
end

S.kinds = {}

function S.kinds.go(id)
  local routine = spawned[id]
  spawned[id] = nil
  routine.results = table_pack(xpcall(routine.fn, S.diagnose,
    table_unpack(routine.args, 1, routine.args.n)))
  routine.fn, routine.args = nil, nil
  if not routine.results[1] and not routine.awaited then
    local attempt = S.current.attempt
    attempt.unclaimed = attempt.unclaimed or {}
    attempt.unclaimed[id] = routine
  end
  S.wake_all(routine.waiting)
  return "done"
end

-- Returns the first failure of a goroutine that nobody waited for, as bytes.
function S.unclaimed(number)
  local attempt = S.attempts[number]
  local least
  for id in next, attempt and attempt.unclaimed or {} do
    least = least and raw.min(least, id) or id
  end
  if least then return S.failure_bytes(attempt.unclaimed[least].results[2]) end
end

local function finish(routine, what)
  routine.awaited = true
  if not routine.results then S.wait_in(routine.waiting, what) end
  local unclaimed = S.current.attempt.unclaimed
  if unclaimed then unclaimed[routine.id] = nil end
  return routine.results
end

local function value_of(failure)
  if type(failure) == "table" then return failure.value end
  return failure
end

-- Raises one error for several failures: { { index, failure record } ... } out of `count`.
local function raise_parts(what, parts, count, results)
  local shown, errors, numbers = {}, {}, {}
  for place, part in raw.ipairs(parts) do
    local index, failure = part[1], part[2]
    errors[index] = value_of(failure)
    local text = S.text_of(errors[index])
    if place <= 8 then shown[place] = format("[%s] %s", tostring(index), text) end
    numbers[place] = { index = tostring(index), text = text, id = S.origin[errors[index]] or 0 }
  end
  if #parts > 8 then shown[9] = format("and %d more", #parts - 8) end
  local detail = format("%s: %d of %d failed: %s", what, #parts, count, concat(shown, "; "))
  local failure = S.new_error({ title = what, detail = detail, message = detail, errors = errors,
    results = results })
  failure.file, failure.line = S.where(2)
  failed_parts[failure] = numbers
  error(failure, 0)
end

function S.error_parts(value) return failed_parts[value] end

local function wait_one(handle)
  local results = finish(handles[handle], "goroutine.wait")
  if not results[1] then error(value_of(results[2]), 0) end
  return table_unpack(results, 2, results.n)
end

local function wait(handle)
  if handles[handle] then return wait_one(handle) end
  if type(handle) ~= "table" then
    complain("goroutine.wait: what goroutine.spawn returned is needed, or a list of such")
  end
  local results, failed = {}, {}
  for index = 1, rawlen(handle) do
    local routine = handles[handle[index]]
    if not routine then complain(format("goroutine.wait: [%d] is not a goroutine", index)) end
    local ended = finish(routine, "goroutine.wait")
    if ended[1] then results[index] = ended[2] else failed[#failed + 1] = { index, ended[2] } end
  end
  if #failed > 0 then raise_parts("goroutine.wait", failed, rawlen(handle), results) end
  return results
end

local function map(list, fn, options)
  if type(list) ~= "table" then
    complain("goroutine.map: a list is needed first, not " .. type(list))
  end
  callable(fn, "goroutine.map")
  local count = #list
  local limit = count
  if options ~= nil then
    if type(options) ~= "table" then complain("goroutine.map: the options are a table, { limit = 4 }") end
    for key in next, options do
      if key ~= "limit" then
        complain(format("goroutine.map: unknown option '%s'; it takes: limit", tostring(key)))
      end
    end
    if options.limit ~= nil then limit = whole(options.limit, 1, "goroutine.map: limit") end
  end
  local results, failures, following = {}, {}, 1
  local function work()
    while following <= count do
      local index = following
      following = index + 1
      local ok, value = xpcall(fn, S.diagnose, list[index], index)
      if ok then results[index] = value else failures[index] = value end
    end
  end
  local routines = {}
  for index = 1, raw.min(limit, count) do
    local _, routine = spawn(work)
    routines[index] = routine
  end
  for index = 1, #routines do
    local ended = finish(routines[index], "goroutine.map")
    if not ended[1] then error(value_of(ended[2]), 0) end
  end
  local failed = {}
  for index = 1, count do
    if failures[index] ~= nil then failed[#failed + 1] = { index, failures[index] } end
  end
  if #failed > 0 then raise_parts("goroutine.map", failed, count, results) end
  return results
end

-- What goroutines share.

local function class(name, methods)
  local meta = { __index = methods, __name = name, __metatable = false }
  local hidden = setmetatable({}, { __mode = "k" })
  local function of(self)
    return hidden[self] or complain(format("call it with a colon, on a %s", name))
  end
  local function make(state)
    local object = setmetatable({}, meta)
    hidden[object] = state
    return object
  end
  return make, of, meta
end

local Channel = {}
local new_channel, channel_of, channel_meta = class("channel", Channel)

local function refused_when_closed(channel)
  if channel.closed then complain("channel: it is closed, nothing can be sent any more") end
end

function Channel:send(value)
  local channel = channel_of(self)
  if value == nil then complain("channel: nil cannot be sent; receive answers nil when it is closed") end
  refused_when_closed(channel)
  local function give(waiter) waiter.value, waiter.ok = value, true end
  if hand(channel.receivers, give) then return end
  if channel.items.last - channel.items.first + 1 < channel.capacity then
    push(channel.items, value)
    return
  end
  local waiter = { id = S.current.id, value = value }
  push(channel.senders, waiter)
  park("send on a channel")
  if not waiter.taken then refused_when_closed(channel) end
end

function Channel:receive()
  local channel = channel_of(self)
  local function take(waiter) waiter.taken = true end
  local value = shift(channel.items)
  if value ~= nil then
    local sender = hand(channel.senders, take)
    if sender then push(channel.items, sender.value) end
    return value, true
  end
  local sender = hand(channel.senders, take)
  if sender then return sender.value, true end
  if channel.closed then return nil, false end
  local waiter = { id = S.current.id, ok = false }
  push(channel.receivers, waiter)
  park("receive from a channel")
  return waiter.value, waiter.ok
end

function Channel:close()
  local channel = channel_of(self)
  channel.closed = true
  while hand(channel.receivers, nothing) do end
  while hand(channel.senders, nothing) do end
end

function Channel:iterate()
  return function() return (self:receive()) end
end

channel_meta.__len = function(self)
  local items = channel_of(self).items
  return items.last - items.first + 1
end

local Semaphore = {}
local new_semaphore, semaphore_of = class("semaphore", Semaphore)

function Semaphore:acquire()
  local semaphore = semaphore_of(self)
  if semaphore.free > 0 then
    semaphore.free = semaphore.free - 1
    return
  end
  push(semaphore.waiting, { id = S.current.id })
  park("acquire a semaphore")
end

function Semaphore:release()
  local semaphore = semaphore_of(self)
  if semaphore.free >= semaphore.size then complain("semaphore: released more often than acquired") end
  if not hand(semaphore.waiting, nothing) then semaphore.free = semaphore.free + 1 end
end

local Mutex = {}
local new_mutex, mutex_of = class("mutex", Mutex)

function Mutex:lock()
  local mutex = mutex_of(self)
  local me = S.current.id
  if mutex.owner == me then complain("mutex: this goroutine holds it already") end
  if not mutex.owner then
    mutex.owner = me
    return
  end
  push(mutex.waiting, { id = me })
  park("lock a mutex")
end

function Mutex:unlock()
  local mutex = mutex_of(self)
  if mutex.owner ~= S.current.id then complain("mutex: unlocked by a goroutine that does not hold it") end
  mutex.owner = nil
  hand(mutex.waiting, function(waiter) mutex.owner = waiter.id end)
end

-- Gives `methods` a `with(fn, ...)` that lets go however the function ends.
local function add_with(methods, name, take, leave)
  methods.with = function(self, fn, ...)
    callable(fn, name .. ":with")
    take(self)
    local guard <close> = setmetatable({}, { __close = function() leave(self) end })
    return fn(...)
  end
end
add_with(Mutex, "mutex", Mutex.lock, Mutex.unlock)
add_with(Semaphore, "semaphore", Semaphore.acquire, Semaphore.release)

local Group = {}
local new_group, group_of = class("wait_group", Group)

function Group:add(count)
  local group = group_of(self)
  group.count = group.count + whole(count or 1, 1, "wait_group:add")
end

function Group:done()
  local group = group_of(self)
  if group.count == 0 then complain("wait_group: done more often than added") end
  group.count = group.count - 1
  if group.count == 0 then S.wake_all(group.waiting) end
end

function Group:wait()
  local group = group_of(self)
  if group.count > 0 then S.wait_in(group.waiting, "wait for a wait_group") end
end

raw.globals.goroutine = {
  spawn = function(fn, ...)
    callable(fn, "goroutine.spawn")
    return (spawn(fn, ...))
  end,
  wait = wait,
  map = map,
  sleep = function(duration)
    operate("goroutine.sleep", "sleep", S.as_data("goroutine.sleep", duration))
  end,
  channel = function(capacity)
    return new_channel({
      capacity = whole(capacity or 0, 0, "goroutine.channel"),
      items = queue(), senders = queue(), receivers = queue(),
    })
  end,
  mutex = function() return new_mutex({ waiting = queue() }) end,
  semaphore = function(size)
    size = whole(size or 1, 1, "goroutine.semaphore")
    return new_semaphore({ size = size, free = size, waiting = queue() })
  end,
  wait_group = function() return new_group({ count = 0, waiting = {} }) end,
}
