-- Files that are only in memory, with the methods that files of Lua have. What is written to
-- stdout and stderr is said, line by line.

local S = ...
local raw = S.raw
local type, format, sub, find, match = raw.type, raw.format, raw.sub, raw.find, raw.match
local rep, concat, tostring, tonumber = raw.rep, raw.concat, raw.tostring, raw.tonumber
local setmetatable, select, table_unpack = raw.setmetatable, raw.select, raw.table_unpack
local complain = S.complain

local states = setmetatable({}, { __mode = "k" }) -- handle -> what it is
local methods = {}
local HANDLE = { __index = methods, __name = "FILE*", __metatable = false }

-- Makes a handle. Its `body` holds the text; with a `level` instead, what is written is said.
function S.handle(state)
  local file = setmetatable({}, HANDLE)
  state.at = state.at or 0
  states[file] = state
  return file
end

-- Returns what is known of a handle, or nil for anything else.
function S.handle_state(file) return states[file] end

local function state_of(file)
  local state = states[file]
  if not state then complain("a file is needed; call it with a colon, file:read()") end
  if state.closed then complain("attempt to use a closed file") end
  return state
end

-- Reading, in the formats of Lua.

local function read_line(state, keep)
  local data, from = state.body.data, state.at + 1
  if from > #data then return nil end
  local stop = find(data, "\n", from, true)
  state.at = stop or #data
  return sub(data, from, stop and not keep and stop - 1 or stop or #data)
end

local function read_number(state)
  local data = state.body.data
  local _, blank = find(data, "^%s*", state.at + 1)
  state.at = blank
  for _, pattern in raw.ipairs({ "^[+-]?0[xX][%x.]+[pP]?[+-]?%d*", "^[+-]?[%d.]+[eE][+-]?%d+",
    "^[+-]?[%d.]+" }) do
    local text = match(data, pattern, blank + 1)
    local number = text and tonumber(text)
    if number then
      state.at = blank + #text
      return number
    end
  end
  return nil
end

local function read_one(state, what)
  local data = state.body.data
  if type(what) == "number" then
    if state.at >= #data then return nil end
    local from = state.at + 1
    state.at = raw.min(#data, state.at + what)
    return sub(data, from, state.at)
  end
  local letter = match(what, "^%*?(.)")
  if letter == "l" then return read_line(state, false) end
  if letter == "L" then return read_line(state, true) end
  if letter == "n" then return read_number(state) end
  if letter ~= "a" then complain("bad argument to 'read' (invalid format)") end
  local from = state.at + 1
  state.at = #data
  return sub(data, from)
end

local function flushed(state)
  local body = state.body
  if body and body.parts then
    body.data = body.data .. concat(body.parts)
    body.parts, body.extra = nil, nil
  end
  if state.at == "end" then state.at = #body.data end
end

function methods.read(file, ...)
  local state = state_of(file)
  if not state.readable then return nil, "Bad file descriptor", 9 end
  if state.body.doubt then S.stop(state.body) end
  flushed(state)
  local count = select("#", ...)
  if count == 0 then return (read_one(state, "l")) end
  local results = {}
  for index = 1, count do
    results[index] = read_one(state, (select(index, ...)))
    if results[index] == nil then return table_unpack(results, 1, index) end
  end
  return table_unpack(results, 1, count)
end

function methods.lines(file, ...)
  state_of(file)
  local formats, count = { ... }, select("#", ...)
  return function() return methods.read(file, table_unpack(formats, 1, count)) end
end

-- Says what is complete of what was written to a standard stream.
local function say_lines(state)
  local text, from = state.pending, 1
  while true do
    local stop = find(text, "\n", from, true)
    if not stop then break end
    S.say(state.level, sub(text, from, stop - 1))
    from = stop + 1
  end
  state.pending = sub(text, from)
end

local function write_one(state, text)
  if state.level then
    state.pending = state.pending .. text
    return
  end
  local body = state.body
  if state.append or state.at ~= "end" and state.at == #body.data + (body.extra or 0) then
    body.parts = body.parts or {}
    body.parts[#body.parts + 1] = text
    body.extra = (body.extra or 0) + #text
    state.at = state.append and "end" or #body.data + body.extra
    return
  end
  flushed(state)
  if state.at > #body.data then body.data = body.data .. rep("\0", state.at - #body.data) end
  body.data = sub(body.data, 1, state.at) .. text .. sub(body.data, state.at + #text + 1)
  state.at = state.at + #text
end

function methods.write(file, ...)
  local state = state_of(file)
  if not state.writable then return nil, "Bad file descriptor", 9 end
  for index = 1, select("#", ...) do
    local value = select(index, ...)
    if type(value) ~= "string" and type(value) ~= "number" then
      complain(format("bad argument #%d to 'write' (string expected, got %s)", index, type(value)))
    end
    write_one(state, tostring(value))
  end
  if state.level then say_lines(state) end
  return file
end

function methods.seek(file, whence, offset)
  local state = state_of(file)
  if not state.body then return nil, "Illegal seek", 29 end
  flushed(state)
  local from = ({ set = 0, cur = state.at, ["end"] = #state.body.data })[whence or "cur"]
  if not from then complain("bad argument #1 to 'seek' (invalid option)") end
  if from + (offset or 0) < 0 then return nil, "Invalid argument", 22 end
  state.at = from + (offset or 0)
  return state.at
end

function methods.flush(file)
  local state = state_of(file)
  if state.level and state.pending ~= "" then
    S.say(state.level, state.pending)
    state.pending = ""
  end
  return file
end

function methods.setvbuf(file)
  state_of(file)
  return true
end

function methods.close(file)
  local state = state_of(file)
  if state.level then return nil, "cannot close standard file" end
  -- What is appended to a file that nobody has read stays apart from it.
  if state.body and raw.rawget(state.body, "data") ~= nil then flushed(state) end
  state.closed = true
  if state.on_close then return state.on_close(state) end
  return true
end

HANDLE.__close = function(file)
  if not states[file].closed then methods.close(file) end
end
HANDLE.__tostring = function(file)
  return states[file].closed and "file (closed)" or "file (in memory)"
end
