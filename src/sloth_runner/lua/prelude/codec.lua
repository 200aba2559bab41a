-- The two directions of the border: a Lua value as MessagePack bytes, and back.
--
-- Only byte strings and small numbers cross between Lua and Python, never a table: a string is
-- the one value that can be taken out of Lua without allocating in it, so that a program which
-- has filled its memory cannot bring the process down by making a call.

local S = ...
local raw = S.raw
local byte, char, sub, pack, unpack, format =
  raw.byte, raw.char, raw.sub, raw.pack, raw.unpack, raw.format
local concat, type, next, rawget, rawlen = raw.concat, raw.type, raw.next, raw.rawget, raw.rawlen
local math_type, tointeger, utf8_len, error = raw.math_type, raw.tointeger, raw.utf8_len, raw.error
local tostring, setmetatable, huge, rawequal = raw.tostring, raw.setmetatable, raw.huge, raw.rawequal
local pcall = raw.pcall

local DEPTH = 100

local null = setmetatable({}, {
  __tostring = function() return "null" end,
  __newindex = function() error("json.null cannot be changed", 2) end,
  __metatable = false,
})
local arrays = setmetatable({}, { __mode = "k" })
local unknown, proxied, lazy = S.unknown, S.proxied, S.lazy

local FIXED, SHORT, SMALL = {}, {}, {}
for size = 0, 255 do
  SHORT[size] = char(0xd9, size)
  if size < 32 then FIXED[size] = char(0xa0 + size) end
  if size < 128 then SMALL[size] = char(size) end
end

-- Where in a value the encoder is, for its messages: keys from the outside in.
local function spelled(path, depth)
  local parts = {}
  for level = 1, depth do
    local key = path[level]
    if type(key) == "string" then
      parts[#parts + 1] = (#parts > 0 and "." or "") .. key
    else
      parts[#parts + 1] = format("[%s]", tostring(key))
    end
  end
  return concat(parts)
end

-- What is being encoded: the pieces, the keys and the tables on the way to where we are. All of
-- it is used again by the next value, since nothing can come between: encoding never yields, but
-- to end the task.
local out, path, around = { "" }, {}, {}
local rough, partial, functions, lenient

local function refuse(depth, what)
  local place = spelled(path, depth)
  error({ not_data = (place == "" and "it" or place) .. " " .. what }, 0)
end

local function header(count, small, limit, wide16, wide32)
  if count < limit then return char(small + count) end
  if count < 65536 then return pack(">BI2", wide16, count) end
  return pack(">BI4", wide32, count)
end

local function put_string(n, value)
  local size = #value
  if utf8_len(value) then
    out[n + 1] = FIXED[size] or SHORT[size]
      or (size < 65536 and pack(">BI2", 0xda, size) or pack(">BI4", 0xdb, size))
  else
    rough = true
    out[n + 1] = pack(">BI4", 0xc6, size)
  end
  out[n + 2] = value
  return n + 2
end

local function put_number(n, value, depth)
  local whole = tointeger(value)
  if whole then
    out[n + 1] = SMALL[whole] or pack(">Bi8", 0xd3, whole)
  elseif value ~= value or value == huge or value == -huge then
    refuse(depth, "is not a finite number")
  else
    -- A whole number beyond 64 bits becomes an integer on the other side.
    rough = rough or value % 1 == 0
    out[n + 1] = pack(">Bd", 0xcb, value)
  end
  return n + 1
end

local put

local function put_list(n, list, count, depth)
  local seen = 0
  for key in next, list do
    seen = seen + 1
    if math_type(key) ~= "integer" or key < 1 or key > count then
      refuse(depth, format(
        "has the key %s beside a list of %d: a table is either a list or has names",
        type(key) == "string" and format("%q", key) or tostring(key), count))
    end
  end
  if seen ~= count then refuse(depth, "is a list with holes") end
  n = n + 1
  out[n] = header(count, 0x90, 16, 0xdc, 0xdd)
  for index = 1, count do
    path[depth + 1] = index
    n = put(n, rawget(list, index), depth + 1)
  end
  return n
end

local function put_map(n, map, depth)
  local place, count = n + 1, 0
  n = place
  for key, value in next, map do
    if type(key) ~= "string" then
      refuse(depth, format("has the key %s (a %s): a table is either a list from 1 on, "
        .. "or has names", tostring(key), type(key)))
    end
    path[depth + 1] = key
    n = put(put_string(n, key), value, depth + 1)
    count = count + 1
  end
  out[place] = header(count, 0x80, 16, 0xde, 0xdf)
  return n
end

local function put_table(n, value, depth)
  if rawequal(value, null) then
    out[n + 1] = "\xc0"
    return n + 1
  end
  local blank = unknown[value]
  if blank then
    if not lenient then S.stop(blank) end
    partial = true
  end
  for level = 0, depth - 1 do
    if rawequal(around[level], value) then refuse(depth, "contains itself") end
  end
  if depth >= DEPTH then refuse(DEPTH, format("is nested deeper than %d", DEPTH)) end
  around[depth] = value
  local content = proxied[value] or S.whole(value)
  if lazy[value] then
    content = lazy[value].known()
    if not content then error({ gather = lazy[value].gather }, 0) end
  end
  local count = rawlen(content)
  if count > 0 then return put_list(n, content, count, depth) end
  if next(content) ~= nil then return put_map(n, content, depth) end
  out[n + 1] = (arrays[value] or arrays[content]) and "\x90" or "\x80"
  return n + 1
end

function put(n, value, depth)
  local kind = type(value)
  if kind == "string" then return put_string(n, value) end
  if kind == "table" then return put_table(n, value, depth) end
  if kind == "number" then return put_number(n, value, depth) end
  if kind == "boolean" then
    out[n + 1] = value and "\xc3" or "\xc2"
  elseif kind == "nil" then
    out[n + 1] = "\xc0"
  elseif kind == "function" and functions then
    return put_map(n, { ["$function"] = S.keep(value) }, depth)
  else
    refuse(depth, format("is a %s, which is not data", kind))
  end
  return n + 1
end

local function begin(with_functions, with_unknown)
  out[1], rough, partial = "\0", false, false
  functions, lenient = with_functions, with_unknown
end

local function finish(n)
  if rough then out[1] = "\1" end
  local bytes = concat(out, "", 1, n)
  if n > 256 then out = {} end
  around[0], around[1] = nil, nil
  return bytes, partial
end

-- Returns the bytes of one value; the first byte is 1 where the text in it is not all UTF-8.
-- Raises a table { not_data = why } for what is not data.
local function encode(value, with_functions, with_unknown)
  begin(with_functions, with_unknown)
  return finish(put(1, value, 0))
end

-- Returns the bytes of the arguments of a call, as a list; nils at its end are left out.
local function encode_arguments(with_functions, count, ...)
  begin(with_functions, false)
  local given = { ... }
  while count > 0 and given[count] == nil do count = count - 1 end
  out[2] = header(count, 0x90, 16, 0xdc, 0xdd)
  local n = 2
  for index = 1, count do
    n = put(n, given[index], 0)
  end
  return (finish(n))
end

-- Calls one of the two; what is only filled when it is read is filled, since that cannot be done
-- while it is encoded. Returns true and their results, or false and what they raised.
local function encoded(with, ...)
  local ok, bytes, more = pcall(with, ...)
  while not ok and type(bytes) == "table" and bytes.gather do
    bytes.gather()
    ok, bytes, more = pcall(with, ...)
  end
  return ok, bytes, more
end

local get

local function get_list(data, at, count)
  local list = {}
  if count == 0 then arrays[list] = true end
  for index = 1, count do
    local value
    value, at = get(data, at)
    if value == nil then value = null end
    list[index] = value
  end
  return list, at
end

-- Short keys are read here and not by `get`: tables are most of what calls answer.
local function get_map(data, at, count)
  local map = {}
  for _ = 1, count do
    local mark = byte(data, at)
    local key, value
    if mark >= 0xa0 and mark < 0xc0 then
      local last = at + mark - 0xa0
      key, at = sub(data, at + 1, last), last + 1
    else
      key, at = get(data, at)
    end
    value, at = get(data, at)
    map[key] = value
  end
  return map, at
end

local function get_text(layout)
  return function(data, at) return unpack(layout, data, at) end
end

local function get_counted(layout, read)
  return function(data, at)
    local count, after = unpack(layout, data, at)
    return read(data, after, count)
  end
end

local READ = {
  [0xc0] = function(_, at) return nil, at end,
  [0xc2] = function(_, at) return false, at end,
  [0xc3] = function(_, at) return true, at end,
  [0xc4] = get_text("s1"), [0xc5] = get_text(">s2"), [0xc6] = get_text(">s4"),
  [0xca] = get_text(">f"), [0xcb] = get_text(">d"),
  [0xcc] = get_text("B"), [0xcd] = get_text(">I2"), [0xce] = get_text(">I4"),
  [0xcf] = function(data, at)
    local value, after = unpack(">i8", data, at)
    -- Halved with its last bit kept in sight, so that it is rounded once and not twice.
    return value < 0 and (value >> 1 | value & 1) * 2.0 or value, after
  end,
  [0xd0] = get_text("b"), [0xd1] = get_text(">i2"), [0xd2] = get_text(">i4"),
  [0xd3] = get_text(">i8"),
  [0xd9] = get_text("s1"), [0xda] = get_text(">s2"), [0xdb] = get_text(">s4"),
  [0xdc] = get_counted(">I2", get_list), [0xdd] = get_counted(">I4", get_list),
  [0xde] = get_counted(">I2", get_map), [0xdf] = get_counted(">I4", get_map),
}

function get(data, at)
  local mark = byte(data, at)
  at = at + 1
  if mark >= 0xa0 and mark < 0xc0 then
    local last = at + mark - 0xa1
    return sub(data, at, last), last + 1
  end
  if mark == 0xc2 then return false, at end
  if mark < 0x80 then return mark, at end
  if mark >= 0xe0 then return mark - 256, at end
  if mark >= 0xc0 then return READ[mark](data, at) end
  if mark >= 0x90 then return get_list(data, at, mark - 0x90) end
  return get_map(data, at, mark - 0x80)
end

S.null, S.arrays = null, arrays
S.encode, S.encode_arguments, S.encoded = encode, encode_arguments, encoded
-- The first byte is as in what `encode` returns; it is not needed in this direction.
S.decode = function(data)
  if data == nil then return nil end
  return (get(data, 2))
end
