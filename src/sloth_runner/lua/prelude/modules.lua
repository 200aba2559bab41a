-- The modules: those that the engine carries out, and the pure ones.

local S = ...
local raw = S.raw
local globals, type, format, concat, next = raw.globals, raw.type, raw.format, raw.concat, raw.next
local tostring, select, error, min = raw.tostring, raw.select, raw.error, raw.min
local setmetatable, rawget, rawset = raw.setmetatable, raw.rawget, raw.rawset
local match, byte, sort = raw.match, raw.byte, raw.sort
local operate, complain, where = S.operate, S.complain, S.where

local modules = {} -- name of a module -> its table
S.modules = modules

-- Did you mean.

-- Returns how many letters must be changed, added, taken away or swapped.
local function distance(left, right)
  local before, row = nil, {}
  for column = 0, #right do row[column] = column end
  for line = 1, #left do
    local following = { [0] = line }
    for column = 1, #right do
      local cost = byte(left, line) == byte(right, column) and 0 or 1
      following[column] = min(row[column] + 1, following[column - 1] + 1, row[column - 1] + cost)
      if before and line > 1 and column > 1 and byte(left, line) == byte(right, column - 1)
        and byte(left, line - 1) == byte(right, column) then
        following[column] = min(following[column], before[column - 2] + 1)
      end
    end
    before, row = row, following
  end
  return row[#right]
end

-- Returns the nearest of the names that are keys of `known`, or nil.
local function nearest(name, known)
  local best, least
  for other in next, known do
    if type(other) == "string" then
      local far = distance(name, other)
      if far <= (#name < 4 and 1 or #name // 3) and (not least or far < least
        or far == least and other < best) then
        best, least = other, far
      end
    end
  end
  return best
end

-- Returns advice for an error about a global that does not exist, or nil.
function S.near_global(text)
  local name = type(text) == "string" and match(text, "%(global '([%w_]+)'%)")
  local near = name and #name < 64 and rawget(globals, name) == nil and nearest(name, globals)
  return near and format("did you mean '%s'?", near) or nil
end

-- Returns the table of a module; reading a name that it has not is an error with advice.
local function module(name)
  local found = modules[name]
  if found then return found end
  found = setmetatable({}, {
    __index = function(self, key)
      if type(key) ~= "string" then return nil end
      local near = #key < 64 and nearest(key, self)
      local names = {}
      for other in next, self do names[#names + 1] = tostring(other) end
      sort(names)
      complain(format("%s has no function '%s'%s", name, key, near
        and format("; did you mean '%s.%s'?", name, near) or "; it has: " .. concat(names, ", ")))
    end,
    __metatable = false,
  })
  modules[name] = found
  local outer, key = match(name, "^(.+)%.([^.]+)$")
  rawset(outer and module(outer) or globals, key or name, found)
  return found
end

-- Calls of the engine.

-- Takes note that something is other than before, and gives the answer on.
local function noticed(answer, ...)
  if type(answer) == "table" and (S.unknown[answer] or rawget(answer, "changed")) then
    S.changes = true
  end
  return answer, ...
end

local function call(name, functions, ...)
  local file, line = where(2)
  local ok, bytes = S.encoded(S.encode_arguments, functions, select("#", ...), ...)
  if not ok then
    if type(bytes) == "table" and bytes.not_data then
      local root = match(bytes.not_data, "^it (.*)")
      complain(format("%s: %s", name,
        root and "a parameter " .. root or "parameter " .. bytes.not_data))
    end
    error(bytes, 0)
  end
  return noticed(operate(name, "call", name, bytes, file, line))
end
S.call = call

local function define(name)
  local outer, key = match(name, "^(.+)%.([^.]+)$")
  rawset(outer and module(outer) or globals, key or name, function(...)
    return call(name, nil, ...)
  end)
end

-- Defines a type whose functions stay in Lua; returns the function that makes one of it.
local function define_type(...)
  local kind = call("resource.define", true, ...)
  return function(...) return call("resource.ensure", nil, kind, ...) end
end

-- Facts are gathered when they are read first, once in an attempt of a task.
local facts = {}
local function gathered()
  local attempt = S.current.attempt
  attempt.facts = attempt.facts or call("facts", nil)
  return attempt.facts
end
S.lazy[facts] = { known = function() return S.current.attempt.facts end, gather = gathered }
setmetatable(facts, {
  __index = function(_, key) return gathered()[key] end,
  __pairs = function() return next, gathered(), nil end,
  __newindex = function() complain("facts cannot be changed") end,
  __metatable = false,
})

-- Makes what the engine offers visible, once its names are known.
function S.install(info)
  for _, name in raw.ipairs(info.functions) do
    if name == "facts" then
      globals.facts = facts
    elseif name == "resource.define" then
      rawset(module("resource"), "define", define_type)
    elseif name ~= "os.execute" and name ~= "io.popen" and name ~= "resource.ensure" then
      define(name)
    end
  end
  globals.values = S.readonly(info.values, "values")
  if S.plan then S.watch() end
end

-- Pure modules: Python does the work, with nothing but the values that it is given.

local function pure(name)
  return function(...)
    local ok, bytes = S.encoded(S.encode_arguments, nil, select("#", ...), ...)
    if not ok then
      if type(bytes) == "table" and bytes.not_data then
        local root = match(bytes.not_data, "^it (.*)")
        complain(format("%s: %s", name, root and "the value " .. root or bytes.not_data))
      end
      error(bytes, 0)
    end
    return operate(name, "pure", name, bytes)
  end
end

for _, name in raw.ipairs({ "json.encode", "json.decode", "json.pretty", "yaml.encode",
  "yaml.decode", "template.render" }) do
  local outer, key = match(name, "^(.+)%.([^.]+)$")
  rawset(module(outer), key, pure(name))
end
globals.sha256 = pure("sha256")
rawset(modules.json, "null", S.null)
rawset(modules.json, "array", function(list)
  if list == nil then list = {} end
  if type(list) ~= "table" then complain("json.array: a list is needed, not " .. type(list)) end
  S.arrays[list] = true
  return list
end)

-- Saying.

local function joined(...)
  local parts = {}
  for index = 1, select("#", ...) do parts[index] = tostring((select(index, ...))) end
  return concat(parts, "\t")
end

globals.print = function(...) S.say("info", S.take_pending() .. joined(...)) end
globals.warn = function(...) S.say("warn", concat({ ... })) end
for _, level in raw.ipairs({ "debug", "info", "warn", "error" }) do
  rawset(module("log"), level, function(...) S.say(level, joined(...)) end)
end
