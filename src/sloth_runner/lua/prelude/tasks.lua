-- workflow, task, and what runs at the top of a coroutine.

local S = ...
local raw = S.raw
local type, next, format, xpcall, error = raw.type, raw.next, raw.format, raw.xpcall, raw.error
local rawget, tostring = raw.rawget, raw.tostring
local setmetatable = raw.setmetatable
local complain, operate, kinds, globals = S.complain, S.operate, S.kinds, raw.globals

local HOOKS = { "run", "when", "on_success", "on_failure" }
local kept = {} -- task -> the value it returned, where a preview knows it only in part
local raised = {} -- task -> the error with which its last attempt ended, as it was raised

-- Returns bytes, or raises what is wrong as an error of the calling line.
local function as_data(what, value, functions)
  local ok, bytes = S.encoded(S.encode, value, functions)
  if ok then return bytes end
  if type(bytes) == "table" and bytes.not_data then complain(what .. ": " .. bytes.not_data) end
  error(bytes, 0)
end
S.as_data = as_data

local function declare(what, spec)
  if type(spec) ~= "table" then
    complain(format("%s: a table is needed, %s({ name = \"...\" }), not %s", what, what, type(spec)))
  end
  local plain, hooks = {}, {}
  for key, value in next, spec do plain[key] = value end
  if what == "task" then
    for _, hook in raw.ipairs(HOOKS) do
      local value = plain[hook]
      if value ~= nil then
        if type(value) == "function" then
          plain[hook] = nil
          hooks[hook] = S.keep(value)
        elseif hook == "when" then
          plain[hook] = value and true or false
        else
          complain(format("task: '%s' is a function, not %s", hook, type(value)))
        end
      end
    end
  end
  local file, line = S.where(2)
  operate(what, "declare", as_data(what, { what = what, spec = plain, hooks = hooks }), file, line)
end

globals.workflow = function(spec) declare("workflow", spec) end
globals.task = function(spec) declare("task", spec) end

-- Returns what `run` is given.
local function context(info)
  local fetched
  local function all()
    if not fetched then
      fetched = operate("ctx.results", "results")
      for name in next, fetched do
        if kept[name] ~= nil then fetched[name] = kept[name] end
      end
    end
    return fetched
  end
  local results = setmetatable({}, {
    __index = function(_, name) return all()[name] end,
    __pairs = function() return next, all(), nil end,
    __newindex = function() complain("ctx.results cannot be changed") end,
    __metatable = false,
  })
  S.lazy[results] = { known = function() return fetched end, gather = all }
  return { host = info.host, attempt = info.attempt, task = info.task, preview = info.preview,
    results = results }
end

-- Returns the bytes of what a task returned; what is not data is left out, with a warning.
local function result_bytes(task, value)
  local ok, bytes, partial = S.encoded(S.encode, value, nil, true)
  if ok then
    if partial then kept[task] = value end
    return bytes
  end
  if type(bytes) ~= "table" or not bytes.not_data then error(bytes, 0) end
  S.say("warn", format("what task %s returned is not kept: %s", task, bytes.not_data))
  return nil
end

-- Returns nil if the values that a function returned mean success, else the failure.
local function failure_of(first, second)
  if first == false then
    return S.failure(second == nil and "the task returned false" or second)
  end
  if type(first) == "table" and not S.unknown[first] and rawget(first, "success") == false then
    local why = rawget(first, "message") or rawget(first, "error")
    return S.failure(why == nil and "the task returned success = false" or why)
  end
  return nil
end

local function as_record(why)
  return type(why) == "table" and why or { text = S.text_of(why), value = why, trace = "" }
end

-- Does all that belongs to the success of a task; returns how it ended, and its value or failure.
local function attempt(info, body)
  local hooks, ctx = info.hooks, context(info)
  local when = info.when
  if hooks.when then when = S.functions[hooks.when](ctx) end
  if when ~= nil and not when or (hooks.when and not when) then return "skipped" end
  local ok, first, second = true, nil, nil
  if body then ok, first, second = xpcall(body, S.diagnose, ctx) end
  local failed = not ok and as_record(first) or failure_of(first, second)
  if failed then return "failed", failed end
  if hooks.on_success then S.functions[hooks.on_success](first) end
  return "done", first
end

local function run(info, body)
  raised[info.task] = nil
  local ok, ended, value = xpcall(attempt, S.diagnose, info, body)
  if not ok then ended, value = "failed", as_record(ended) end
  if ended == "failed" then
    if info.hooks.on_failure then raised[info.task] = value.value end
    return "failed", S.failure_bytes(value)
  end
  return ended, ended == "done" and result_bytes(info.task, value) or nil
end

function kinds.task(bytes)
  local info = S.decode(bytes)
  return run(info, S.functions[info.hooks.run])
end

-- What a task does once it has failed, also where Lua did not hear of it: its time was over.
function kinds.rescue(bytes)
  local info = S.decode(bytes)
  local why = raised[info.task]
  if why == nil then why = S.new_error(info.error) end
  local ok, broken = xpcall(S.functions[info.hooks.on_failure], S.diagnose, why)
  if not ok then
    S.say("error", "on_failure of task " .. tostring(info.task) .. " failed: "
      .. S.text_of(as_record(broken).value))
  end
  return "done"
end

function kinds.main(bytes)
  local info = S.decode(bytes)
  S.install(info)
  return run(info, S.body)
end

-- Calls a kept function with data, for Python.
function kinds.invoke(number, bytes)
  local arguments = S.decode(bytes)
  local count = raw.rawlen(arguments)
  for index = 1, count do
    if arguments[index] == S.null then arguments[index] = nil end
  end
  local first = S.functions[number](raw.table_unpack(arguments, 1, count))
  return "done", as_data("the function of a resource", first)
end
