-- io and os on the controller: natively in a run; in a preview, writes stay in memory and are
-- read back from there. What is written to stdout and stderr is said, line by line.

local S = ...
local raw = S.raw
local type, format, sub, find, match, gsub = raw.type, raw.format, raw.sub, raw.find, raw.match, raw.gsub
local rep, concat, tostring, tonumber, error = raw.rep, raw.concat, raw.tostring, raw.tonumber, raw.error
local setmetatable, select, table_unpack, pcall = raw.setmetatable, raw.select, raw.table_unpack, raw.pcall
local io, os, complain = raw.io, raw.os, S.complain

local states = setmetatable({}, { __mode = "k" }) -- handle -> what it is
local overlay = {}                                -- absolute path -> { data = text }, or false: gone
local methods = {}
local HANDLE = { __index = methods, __name = "FILE*", __metatable = false }

local function handle(state)
  local file = setmetatable({}, HANDLE)
  state.at = state.at or 0
  states[file] = state
  return file
end

local function state_of(file)
  local state = states[file]
  if not state then complain("a file is needed; call it with a colon, file:read()") end
  if state.closed then complain("attempt to use a closed file") end
  return state
end

local function absolute(path)
  if type(path) ~= "string" then complain("the path of a file is text, not " .. type(path)) end
  if sub(path, 1, 1) ~= "/" then path = S.here .. "/" .. path end
  local parts = {}
  for part in raw.gmatch(path, "[^/]+") do
    if part == ".." then parts[#parts] = nil elseif part ~= "." then parts[#parts + 1] = part end
  end
  return "/" .. concat(parts, "/")
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
end

function methods.read(file, ...)
  local state = state_of(file)
  if not state.readable then return nil, "Bad file descriptor", 9 end
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
  if state.append or state.at == #body.data + (body.extra or 0) then
    body.parts = body.parts or {}
    body.parts[#body.parts + 1] = text
    body.extra = (body.extra or 0) + #text
    state.at = #body.data + body.extra
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
  flushed(state)
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

-- The overlay of a preview.

local function exists(path)
  local known = overlay[path]
  if known ~= nil then return known ~= false end
  local file = io.open(path, "rb")
  if file then file:close() end
  return file ~= nil
end

-- Returns the text of a file as this preview sees it; nil if there is none.
local function content(path)
  local known = overlay[path]
  if known ~= nil then return known and known.data .. concat(known.parts or {}) or nil end
  local file = io.open(path, "rb")
  if not file then return nil end
  local data = file:read("a")
  file:close()
  return data
end

local function missing(path) return nil, path .. ": No such file or directory", 2 end

local function open_in_memory(path, mode)
  local place, kind = absolute(path), sub(mode, 1, 1)
  local plus = find(mode, "+", 1, true) ~= nil
  if kind == "r" and not plus and overlay[place] == nil then return io.open(place, mode) end
  if kind == "r" and not exists(place) then return missing(path) end
  if kind ~= "r" then
    if io.open(place .. "/.") then return nil, path .. ": Is a directory", 21 end
    if not exists(match(place, "^(.*)/[^/]*$") .. "/.") then return missing(path) end
  end
  local body = overlay[place]
  if kind == "w" then
    body = { data = "" }
  elseif not body then
    body = { data = content(place) or "" }
  end
  if kind ~= "r" or plus then overlay[place] = body end
  return handle({ body = body, append = kind == "a", readable = kind == "r" or plus,
    writable = kind ~= "r" or plus })
end

local function remove_in_memory(path)
  local place = absolute(path)
  if not exists(place) then return missing(path) end
  overlay[place] = false
  return true
end

local function rename_in_memory(from, to)
  local data = content(absolute(from))
  if not data then return missing(from) end
  overlay[absolute(to)] = { data = data }
  overlay[absolute(from)] = false
  return true
end

local unnamed = 0

local function name_in_memory()
  unnamed = unnamed + 1
  local path = format("/tmp/lua_preview_%d", unnamed)
  overlay[path] = { data = "" }
  return path
end

-- The libraries.

-- Takes note of what was written, where it was; gives on what `io` or `os` answered.
local function noted(writing, done, ...)
  S.wrote = S.wrote or (writing and done ~= nil)
  return done, ...
end

local function open(path, mode)
  mode = mode or "r"
  if type(mode) ~= "string" or not match(mode, "^[rwa]%+?b?$") then
    complain("bad argument #2 to 'open' (invalid mode)")
  end
  if S.plan then return open_in_memory(path, mode) end
  return noted(mode ~= "r" and mode ~= "rb", io.open(path, mode))
end

local stdout = handle({ level = "info", pending = "", writable = true })
local stderr = handle({ level = "warn", pending = "", writable = true })
local default_in, default_out = io.stdin, stdout

-- Returns what was written to stdout and is not a whole line yet; `print` goes on with it.
function S.take_pending()
  local state = states[stdout]
  local text = state.pending
  state.pending = ""
  return text
end

-- Says what is left of the standard streams.
function S.flush()
  stdout:flush()
  stderr:flush()
end

local function checked(file, why)
  if not file then error(why, 0) end
  return file
end

-- Runs a command as the action that it is; answers in the way of Lua: ok, "exit", code.
local function performed(name, command, options)
  if type(command) ~= "string" then complain(name .. ": a command is needed") end
  local ok, answer = pcall(S.call, name, nil, command, options)
  if ok then return answer, 0 end
  local code = S.origin[answer] and type(answer.exit_code) == "number" and answer.exit_code
  if not code then error(answer, 0) end
  return answer, code
end

-- Returns the exit code; an action of a preview is taken to succeed.
local function code_of(answer, code)
  if code ~= 0 or S.unknown[answer] then return code end
  return answer.exit_code or 0
end

local function outcome(code)
  if code == 0 then return true, "exit", 0 end
  if code > 128 then return nil, "signal", code - 128 end
  return nil, "exit", code
end

local globals = raw.globals
globals.os.execute = function(command)
  if command == nil then return true end
  local answer, code = performed("os.execute", command)
  return outcome(code_of(answer, code))
end

local function popen(command, mode)
  if mode == "w" then
    return handle({ body = { data = "" }, writable = true, on_close = function(state)
      local answer, code = performed("io.popen", command, { stdin = state.body.data })
      return outcome(code_of(answer, code))
    end })
  end
  if mode ~= nil and mode ~= "r" then complain("io.popen: the mode is \"r\" or \"w\"") end
  local answer, code = performed("io.popen", command)
  local body = setmetatable({}, { __index = function(self, key)
    if key ~= "data" then return nil end
    local data = answer.stdout or ""
    raw.rawset(self, "data", data)
    return data
  end })
  return handle({ body = body, readable = true, on_close = function()
    return outcome(code_of(answer, code))
  end })
end

if S.plan then
  globals.os.remove, globals.os.rename = remove_in_memory, rename_in_memory
  globals.os.tmpname = name_in_memory
else
  local native = { remove = os.remove, rename = os.rename } -- a wrong argument names its function
  globals.os.remove = function(...) return noted(true, native.remove(...)) end
  globals.os.rename = function(...) return noted(true, native.rename(...)) end
end

globals.io = {
  stdin = io.stdin, stdout = stdout, stderr = stderr,
  open = open,
  popen = popen,
  tmpfile = function() return handle({ body = { data = "" }, readable = true, writable = true }) end,
  type = function(file)
    local state = states[file]
    if state then return state.closed and "closed file" or "file" end
    return io.type(file)
  end,
  close = function(file) return (file or default_out):close() end,
  read = function(...) return default_in:read(...) end,
  write = function(...) return default_out:write(...) end,
  lines = function(path, ...)
    if path == nil then return default_in:lines(...) end
    local file = checked(open(path, "r"))
    local formats, count = { ... }, select("#", ...)
    return function()
      if not file then return nil end
      local results = raw.table_pack(file:read(table_unpack(formats, 1, count)))
      if results[1] == nil then
        file:close()
        file = nil
      end
      return table_unpack(results, 1, results.n)
    end
  end,
  input = function(file)
    if type(file) == "string" then file = checked(open(file, "r")) end
    default_in = file or default_in
    return default_in
  end,
  output = function(file)
    if type(file) == "string" then file = checked(open(file, "w")) end
    default_out = file or default_out
    return default_out
  end,
}
