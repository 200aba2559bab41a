-- Where something happened, and what an error looks like: in Lua, and on its way to Python.

local S = ...
local raw = S.raw
local getinfo, sub, format, match, find = raw.getinfo, raw.sub, raw.format, raw.match, raw.find
local type, tostring, tonumber, pcall, error = raw.type, raw.tostring, raw.tonumber, raw.pcall, raw.error
local concat, sort, next, rawget = raw.concat, raw.sort, raw.next, raw.rawget
local setmetatable, getmetatable = raw.setmetatable, raw.getmetatable
local OURS = S.OURS

-- error value -> number of the Python error that it stands for
local origin = setmetatable({}, { __mode = "k" })
S.origin = origin

local function file_of(info)
  return sub(info.source, 1, 1) == "@" and sub(info.source, 2) or info.short_src
end

-- Returns file and line of the nearest frame of the workflow, from `level` of the caller on.
local function where(level)
  level = (level or 1) + 1
  while true do
    local info = getinfo(level, "Sl")
    if not info then return nil, nil end
    if info.currentline > 0 and info.source ~= OURS then return file_of(info), info.currentline end
    level = level + 1
  end
end
S.where = where

-- Raises text with the position of the workflow's line that called us.
function S.complain(text)
  local file, line = where(2)
  error(file and format("%s:%d: %s", file, line, text) or text, 0)
end

local function described(info)
  if info.what == "main" then return "in the body of the file" end
  if info.name and info.namewhat ~= "" then
    return format("in %s '%s'", info.namewhat == "" and "function" or info.namewhat, info.name)
  end
  return format("in the function defined at line %d", info.linedefined)
end

local FRAMES = 24

-- Returns the innermost frames of the workflow as text; our own are left out.
local function frames(thread, level)
  local lines = {}
  while true do
    local info
    if thread then info = getinfo(thread, level, "Slnt") else info = getinfo(level, "Slnt") end
    if not info then break end
    if info.currentline > 0 and info.source ~= OURS then
      if #lines == FRAMES then
        lines[FRAMES + 1] = "(and more)"
        break
      end
      lines[#lines + 1] = format("%s:%d: %s%s", file_of(info), info.currentline, described(info),
        info.istailcall and " (after tail calls)" or "")
    end
    level = level + 1
  end
  return concat(lines, "\n")
end

function S.traceback(...)
  local thread, message, level = nil, ...
  if type(message) == "thread" then thread, message, level = ... end
  if message ~= nil and type(message) ~= "string" and type(message) ~= "number" then
    return message
  end
  local text = frames(thread, (tonumber(level) or 1) + (thread and -1 or 1))
  return (message and message .. "\n" or "") .. "stack traceback:\n" .. text
end

local ERROR = { __name = "error", __metatable = false }

function ERROR.__tostring(self)
  local text = rawget(self, "message")
  text = type(text) == "string" and text or "an error"
  local file, line = rawget(self, "file"), rawget(self, "line")
  return file and format("%s:%s: %s", tostring(file), tostring(line), text) or text
end

function ERROR.__concat(left, right)
  return tostring(left) .. tostring(right)
end

-- Returns `fields` as an error value; `number` is the Python error that it stands for.
function S.new_error(fields, number)
  local value = setmetatable(fields, ERROR)
  if number then origin[value] = number end
  return value
end

local function table_text(value)
  for _, key in raw.ipairs({ "message", "msg", "error", "reason", 1 }) do
    local text = rawget(value, key)
    if type(text) == "string" and text ~= "" then return text end
  end
  local parts = {}
  for key, item in next, value do
    local kind = type(item)
    if kind == "string" or kind == "number" or kind == "boolean" then
      parts[#parts + 1] = format("%s = %s", tostring(key), tostring(item))
    end
  end
  sort(parts)
  return #parts > 0 and "{" .. concat(parts, ", ") .. "}" or "a table was raised"
end

-- Returns what an error value says, whatever it is.
local function text_of(value)
  if type(value) == "string" then return value end
  if value == nil then return "an error without a value was raised: error(nil)" end
  if type(value) == "table" then
    local meta = getmetatable(value)
    if meta ~= false and not (type(meta) == "table" and rawget(meta, "__tostring")) then
      return table_text(value)
    end
  end
  local ok, text = pcall(tostring, value)
  return ok and text or "a " .. type(value) .. " was raised"
end
S.text_of = text_of

local function same_file(shown, file)
  if shown == file then return true end
  local tail = match(shown, "^%.%.%.(.+)$")
  return tail ~= nil and sub(file, -#tail) == tail
end

-- Returns the text without the position in front of it, and that position.
local function split(text, file, line)
  local shown, number, rest = match(text, "^([^\n]-):(%d+): (.*)$")
  if not shown then return text, file, line end
  -- What a C function says of an argument that one of ours handed on.
  if shown == sub(OURS, 2) then return rest, file, line end
  if file and same_file(shown, file) then return rest, file, tonumber(number) end
  if find(shown, "%.lua$") or find(shown, "%.sloth$") then return rest, shown, tonumber(number) end
  return text, file, line
end

-- What the message handler below made; `load` hands it on as if it were the error.
local records = setmetatable({}, { __mode = "k" })

function S.raised(value)
  if records[value] then return value.value end
  return value
end

-- The message handler of everything that runs: keeps the value, and what can only be seen now.
function S.diagnose(value)
  local file, line = where(2)
  local record = { value = value, id = origin[value], trace = frames(nil, 2) }
  records[record] = true
  if record.id then
    record.text, record.file, record.line = text_of(value), value.file or file, value.line or line
  else
    record.text, record.file, record.line = split(text_of(value), file, line)
  end
  return record
end

-- Returns a record of a failure that was not raised, such as `return false, "why"`.
function S.failure(value)
  return { value = value, id = origin[value], text = text_of(value), trace = "" }
end

-- Returns a record as bytes; after a failure in the handler itself it may be only text.
function S.failure_bytes(record)
  if type(record) ~= "table" then record = { text = text_of(record), trace = "" } end
  return (S.encode({
    text = record.text, file = record.file, line = record.line, trace = record.trace,
    id = record.id, near = S.near_global(record.text), parts = S.error_parts(record.value),
  }))
end
