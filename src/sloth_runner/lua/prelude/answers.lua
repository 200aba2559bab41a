-- What calls give back: tables that show as text, and what a preview cannot know.
--
-- Reading an unknown ends the task there. A table's fields are trapped by metamethods; what
-- reads without metamethods (next, rawget, rawlen, table.unpack ...) is replaced.

local S = ...
local raw = S.raw
local type, tostring, next, rawget, rawlen = raw.type, raw.tostring, raw.next, raw.rawget, raw.rawlen
local rawset = raw.rawset
local setmetatable, pairs = raw.setmetatable, raw.pairs
local table_unpack, error, format, match = raw.table_unpack, raw.error, raw.format, raw.match
local gsub, pcall = raw.gsub, raw.pcall
local unknown, proxied, globals, stop = S.unknown, S.proxied, raw.globals, S.stop

-- Tables that show as text.

local texts = setmetatable({}, { __mode = "k" })
local as_text = {}
for name, method in pairs(globals.string) do
  if name ~= "dump" then
    as_text[name] = function(self, ...) return method(tostring(self), ...) end
  end
end

local TEXT = {
  __index = as_text,
  __tostring = function(self) return texts[self] end,
  __concat = function(left, right) return tostring(left) .. tostring(right) end,
  __name = "answer",
  __metatable = false,
}

-- Answers of which a part is decoded when it is read: most workflows only ask what has changed.

local late = S.late
local PARTLY = {} -- no workflow ever sees it

-- Returns an answer of which nothing is left to decode; it is an ordinary table from then on.
local function whole(answer)
  local bytes = rawget(answer, late)
  if bytes then
    for key, value in next, S.decode(bytes) do rawset(answer, key, value) end
    rawset(answer, late, nil)
    setmetatable(answer, nil)
  end
  return answer
end
S.whole = whole

function PARTLY.__index(self, key) return rawget(whole(self), key) end
function PARTLY.__newindex(self, key, value) rawset(whole(self), key, value) end
function PARTLY.__pairs(self) return next, whole(self), nil end

function S.partly(answer, bytes)
  answer[late] = bytes
  return setmetatable(answer, PARTLY)
end

-- Unknowns.

local function stop_at(blank)
  return function(left, right) stop(unknown[left] or unknown[right] or blank) end
end

local TRAP = { __name = "unknown", __metatable = false }
for _, event in raw.ipairs({
  "__pairs", "__len", "__tostring", "__concat", "__call", "__eq", "__lt", "__le", "__unm",
  "__add", "__sub", "__mul", "__div", "__mod", "__pow", "__idiv", "__band", "__bor", "__bxor",
  "__shl", "__shr", "__bnot", "__close",
}) do
  TRAP[event] = stop_at()
end

function TRAP.__index(self, key)
  local blank = unknown[self]
  if blank.all or blank.open or blank.fields[key] or as_text[key] then stop(blank) end
end

function TRAP.__newindex(self, key, value)
  local blank = unknown[self]
  if blank.all then stop(blank) end
  raw.rawset(self, key, value)
end

-- Marks a table in which what is not there may yet be.
local function leave_open(content, why)
  unknown[content] = { fields = {}, open = true, why = why }
  setmetatable(content, TRAP)
end

-- Returns the value of an answer of Python: { value, text, unknown, why, spread, open }.
function S.answer(answer)
  local value = answer.value
  if answer.open then leave_open(value[answer.open], answer.why) end
  if answer.spread then
    local count = rawlen(value)
    for index = 1, count do
      if value[index] == S.null then value[index] = nil end
    end
    return table_unpack(value, 1, count)
  end
  if answer.unknown then
    local fields, all = {}, false
    for _, field in raw.ipairs(answer.unknown) do
      fields[field], all = true, all or field == "*"
    end
    if all or type(value) ~= "table" then value, all = {}, true end
    for field in next, fields do value[field] = nil end
    unknown[value] = { fields = fields, all = all, why = answer.why }
    return setmetatable(value, TRAP)
  end
  if answer.text then
    texts[value] = answer.text
    return setmetatable(value, TEXT)
  end
  return value
end

-- Returns a table that shows `content` and cannot be changed; tables in it likewise.
local function readonly(content, what)
  for key, value in next, content do
    if type(value) == "table" and value ~= S.null then content[key] = readonly(value, what) end
  end
  local proxy = setmetatable({}, {
    __index = content,
    __len = function() return rawlen(content) end,
    __pairs = function() return next, content, nil end,
    __newindex = function() S.complain(what .. " cannot be changed") end,
    __metatable = false,
  })
  proxied[proxy] = content
  return proxy
end
S.readonly = readonly

-- Replaced: what looks into a table without asking its metatable.

local function table_needed(value, what)
  if type(value) ~= "table" then
    S.complain(format("bad argument #1 to '%s' (table expected, got %s)", what,
      value == nil and "no value" or type(value)))
  end
end

local function looked(value, what)
  table_needed(value, what)
  local blank = unknown[value]
  if blank then stop(blank) end
  local lazy = S.lazy[value]
  return lazy and lazy.gather() or proxied[value] or whole(value)
end

globals.next = function(value, key) return next(looked(value, "next"), key) end
globals.rawlen = function(value)
  if type(value) == "string" then return #value end
  return rawlen(looked(value, "rawlen"))
end
globals.rawget = function(value, key)
  table_needed(value, "rawget")
  local blank = unknown[value]
  if blank and (blank.all or blank.fields[key]) then stop(blank) end
  local lazy = S.lazy[value]
  return rawget(lazy and lazy.gather() or proxied[value] or whole(value), key)
end
globals.rawequal = function(left, right)
  for _, value in raw.ipairs({ left, right }) do
    local blank = unknown[value]
    if blank and blank.all then stop(blank) end
  end
  return raw.rawequal(left, right)
end
globals.rawset = function(value, key, item)
  table_needed(value, "rawset")
  if proxied[value] then S.complain("this table cannot be changed") end
  return rawset(whole(value), key, item)
end
globals.table.unpack = function(value, from, to)
  if unknown[value] or proxied[value] or S.lazy[value] then value = looked(value, "unpack") end
  return table_unpack(value, from, to)
end

-- In a preview a wholly unknown value may stand where text or a number is expected; the C
-- functions would call that a wrong type, so they are asked first.

-- Returns results, or raises the error as if the workflow had called `name` itself.
local function relayed(name, ok, why, ...)
  if ok then return why, ... end
  local text = type(why) == "string" and match(why, "^%(sloth%-runner%):%d+: (.*)$")
  if text then S.complain((gsub(text, "'method'", "'" .. name .. "'", 1))) end
  error(why, 0)
end

local function watched(method, name)
  return function(...)
    for index = 1, raw.select("#", ...) do
      local value = raw.select(index, ...)
      local blank = value ~= nil and unknown[value]
      if blank and blank.all then stop(blank) end
    end
    return relayed(name, pcall(method, ...))
  end
end

function S.watch()
  for _, name in raw.ipairs({ "string", "table", "math", "utf8", "os", "io" }) do
    local library = globals[name]
    for key, method in pairs(library) do
      if type(method) == "function" then library[key] = watched(method, key) end
    end
  end
  for _, name in raw.ipairs({ "tonumber", "type", "ipairs", "load" }) do
    globals[name] = watched(globals[name], name)
  end
end
