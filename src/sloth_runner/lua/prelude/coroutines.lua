-- Coroutines: the one door to Python (`operate`), and the library that workflows see.
--
-- A task or goroutine is a coroutine that Python resumes ("top"). Our functions yield an
-- operation from wherever they are; a coroutine that the workflow made itself hands it on to
-- whoever resumed it, until it reaches the top. What the workflow yields itself carries a mark.

local S = ...
local raw = S.raw
local yield, raw_resume, status, running = raw.yield, raw.resume, raw.status, raw.running
local raw_create, raw_close, isyieldable = raw.create, raw.close, raw.isyieldable
local sethook, error, type, format = raw.sethook, raw.error, raw.type, raw.format
local table_pack, table_unpack, select = raw.table_pack, raw.table_unpack, raw.select
local setmetatable, pcall, xpcall, gethook = raw.setmetatable, raw.pcall, raw.xpcall, raw.gethook
local flag, attempts, complain = S.flag, S.attempts, S.complain

local EVERY = 10000          -- instructions between two looks at the flag
local CLOSING = 1000         -- looks after which the <close> variables of a stopped task must end
local TRUE = "\0\xc3"        -- `true` as Python sends it
local USER = {}              -- marks what a workflow's own coroutine yields
local tops = setmetatable({}, { __mode = "k" })
local queued = {}            -- what was said, woken or written where no operation could be made

-- Interrupting. Once the flag is up the hook fires at each instruction, so pcall cannot hold it.
-- What an error of the hook calls at once, a message handler, runs with hooks off: none of the
-- workflow's may.

local remaining = nil        -- looks that are left while a stopped task is closed

local function hook()
  local current = S.current
  if remaining then remaining = remaining - 1 end
  if flag(0) or (current and flag(current.number)) or (remaining and remaining < 0) then
    sethook(hook, "", 1)
    error("interrupted", 0)
  end
end

-- Whether a thread (by default the running one) was ended by its hook, or is about to be.
local function is_ending(...)
  local _, _, count = gethook(...)
  return count == 1
end

raw.globals.xpcall = function(fn, handler, ...)
  return xpcall(fn, function(why)
    if is_ending() then return why end
    return handler(why)
  end, ...)
end

local function freeze()
  sethook(freeze, "", 1)
  error("not predicted any further", 0)
end

local function guarded(thread)
  sethook(thread, hook, "", EVERY)
  return thread
end

-- Stops the rest of this attempt where it cannot yield: nothing that it calls does anything.
local function halt(file, line, why)
  local attempt = S.current.attempt
  attempt.stopped = attempt.stopped or { file = file, line = line, why = why }
  sethook(freeze, "", 1)
  error("not predicted any further", 0)
end

local function here_refused(what)
  complain(format("%s cannot be called inside a table.sort comparator, a string.gsub callback or "
    .. "another function that C calls; collect first, then call", what))
end

-- The statuses with which Python resumes us.
local settle = {
  [0] = function(_, bytes) return S.decode(bytes) end,
  [1] = function(_, bytes) return S.answer(S.decode(bytes)) end,
  [2] = function(_, bytes)
    local fields = S.decode(bytes)
    local number = fields.number
    fields.number = nil
    if not fields.file then fields.file, fields.line = S.where(1) end
    error(S.new_error(fields, number), 0)
  end,
  [3] = function(_, bytes) return bytes end,
  [4] = function(what) here_refused(what) end,
  [5] = function() complain("not enough memory") end,
  [6] = function(_, text) complain(text) end,
  [7] = function(_, bytes, rest) return S.partly(S.decode(bytes), rest) end,
}

-- Yields an operation to Python and returns its answer, or raises its error.
function S.operate(what, op, a, b, c, d)
  local mine = S.current
  local stopped = mine.attempt.stopped
  if not isyieldable() then
    if stopped then halt() end
    here_refused(what)
  end
  if stopped then op, a, b, c = "stop", stopped.file, stopped.line, stopped.why end
  if #queued > 0 then yield("drain", S.drain()) end
  local answer, bytes, rest = yield(op, a, b, c, d)
  S.current = mine
  return settle[answer](what, bytes, rest)
end

-- Ends the attempt where a preview reads what it cannot know; it is never resumed.
function S.stop(blank)
  local file, line = S.where(2)
  if isyieldable() then yield("stop", file, line, blank.why) end
  halt(file, line, blank.why)
end

-- Says a line; where nothing can be yielded it is kept until the next operation.
function S.say(level, text)
  local file, line = S.where(2)
  if isyieldable() then
    local mine = S.current
    if #queued > 0 then yield("drain", S.drain()) end
    yield("say", level, text, file, line)
    S.current = mine
  else
    queued[#queued + 1] = { level, text, file or "", line or 0 }
  end
end

-- Tells Python with the next operation, where none can be made now.
function S.later(what, text)
  local file, line = S.where(2)
  queued[#queued + 1] = { what, text, file or "", line or 0 }
end

-- Wakes a waiting goroutine; answers whether it was still there.
function S.wake(id)
  if not isyieldable() then
    queued[#queued + 1] = { "wake", id }
    return true
  end
  local mine = S.current
  local answer, bytes = yield("wake", id)
  S.current = mine
  return settle[answer]("goroutine", bytes)
end

-- Returns what could not be said at its time, as bytes; nil if there is nothing.
function S.drain()
  if #queued == 0 then return nil end
  local kept = queued
  queued = {}
  return (S.encode(kept))
end

-- The library.

local function close_inner(guard)
  local thread = guard[1]
  if thread and status(thread) == "suspended" then pcall(raw_close, thread) end
end

local GUARD = { __close = close_inner }

-- After a coroutine has failed: an interrupt or a stop goes on through whoever resumed it.
local function check_stopped()
  local current = S.current
  if current and current.attempt.stopped then halt() end
  hook()
end

-- Hands the operations of `thread` on until it yields something of its own, ends or fails.
local function carry(thread, op, a, b, c, d)
  local guard <close> = setmetatable({ thread }, GUARD)
  while true do
    local results
    if isyieldable() then
      results = table_pack(raw_resume(thread, yield(op, a, b, c, d)))
    elseif op == "stop" then
      halt(a, b, c)
    elseif op == "say" then
      queued[#queued + 1] = { a, b, c or "", d or 0 }
      results = table_pack(raw_resume(thread, 0))
    elseif op == "drain" then
      for _, item in raw.ipairs(S.decode(a)) do queued[#queued + 1] = item end
      results = table_pack(raw_resume(thread, 0))
    elseif op == "wake" then
      queued[#queued + 1] = { "wake", a }
      results = table_pack(raw_resume(thread, 0, TRUE))
    else
      results = table_pack(raw_resume(thread, 4))
    end
    if not results[1] then
      check_stopped()
      return table_unpack(results, 1, results.n)
    end
    if status(thread) == "dead" then
      return table_unpack(results, 1, results.n)
    end
    if results[2] == USER then
      guard[1] = nil
      return true, table_unpack(results, 3, results.n)
    end
    op, a, b, c, d = table_unpack(results, 2, 6)
  end
end

local function after(thread, ok, ...)
  if not ok then
    check_stopped()
    return false, ...
  end
  if status(thread) == "dead" then return true, ... end
  if (...) == USER then return true, select(2, ...) end
  return carry(thread, ...)
end

local function own(thread, what)
  if type(thread) ~= "thread" then
    complain(format("bad argument #1 to '%s' (coroutine expected, got %s)", what, type(thread)))
  end
  if tops[thread] then
    complain(format("coroutine.%s: a task or goroutine is not a coroutine of yours", what))
  end
end

local function resume(thread, ...)
  own(thread, "resume")
  return after(thread, raw_resume(thread, ...))
end

local function create(body)
  if type(body) ~= "function" then
    complain("bad argument #1 to 'create' (function expected, got " .. type(body) .. ")")
  end
  return guarded(raw_create(body))
end

local function unwrapped(thread, ok, ...)
  if ok then return ... end
  if not is_ending(thread) then pcall(raw_close, thread) end
  error(..., 0)
end

local library = raw.globals.coroutine
library.create = create
library.resume = resume
library.status = status
library.running = function()
  local thread, main = running()
  return thread, main or tops[thread] or false
end
library.isyieldable = function(thread)
  if thread ~= nil then return not tops[thread] and isyieldable(thread) end
  return isyieldable() and not tops[running()]
end
library.yield = function(...)
  if tops[running()] then
    complain("coroutine.yield: this is not inside a coroutine of yours (coroutine.create or "
      .. "coroutine.wrap); to wait, use goroutine.sleep or a channel")
  end
  return yield(USER, ...)
end
library.wrap = function(body)
  local thread = create(body)
  return function(...) return unwrapped(thread, resume(thread, ...)) end
end
library.close = function(thread)
  own(thread, "close")
  if is_ending(thread) then return false, "interrupted" end
  return raw_close(thread)
end

-- What Python calls, beside `entry`.

-- Closes a top coroutine that is not resumed any more: its <close> variables run, for a while.
-- Returns what is left to be said.
function S.close_thread(thread)
  if status(thread) == "suspended" then
    remaining = CLOSING
    pcall(raw_close, thread)
    remaining = nil
  end
  return S.drain()
end

-- Returns where an attempt was stopped, if it was stopped where it could not yield.
function S.stopped(number)
  local found = attempts[number]
  found = found and found.stopped
  if found then return found.file, found.line, found.why end
end

local last = 0

-- Returns the number of a new goroutine.
function S.new_id()
  last = last + 1
  return last
end

-- Begins a top coroutine: `kind` is what it runs, for the attempt with that number.
function S.entry(kind, number, a, b)
  sethook(hook, "", EVERY)
  tops[running()] = true
  local attempt = attempts[number] or {}
  attempts[number] = attempt
  S.current = { number = number, attempt = attempt, id = kind == "go" and a or S.new_id() }
  local ok, first, second, third = xpcall(S.kinds[kind], S.diagnose, a, b)
  local lost = kind ~= "go" and S.flush()
  if #queued > 0 then yield("drain", S.drain()) end
  local stopped = attempt.stopped
  if stopped then return "stop", stopped.file, stopped.line, stopped.why end
  if ok and lost and first ~= "failed" then return "failed", S.failure_bytes(S.failure(lost)) end
  if ok then return first, second, third end
  return "failed", S.failure_bytes(first)
end
