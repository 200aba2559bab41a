-- io and os on the controller: natively in a run; in a preview, writes stay in memory and are
-- read back from there.

local S = ...
local raw = S.raw
local type, format, match, error = raw.type, raw.format, raw.match, raw.error
local setmetatable, select, table_unpack, pcall = raw.setmetatable, raw.select, raw.table_unpack, raw.pcall
local io, os, complain = raw.io, raw.os, S.complain
local handle, announce, absolute = S.handle, S.announce, S.absolute

local writing = setmetatable({}, { __mode = "k" }) -- file that is open in a run -> its path

local function kept(path, file, ...)
  if file then writing[file] = path end
  return file, ...
end

local function open(path, mode)
  mode = mode or "r"
  if type(mode) ~= "string" or not match(mode, "^[rwa]%+?b?$") then
    complain("bad argument #2 to 'open' (invalid mode)")
  end
  if S.plan then return S.open_in_memory(path, mode) end
  if match(mode, "^rb?$") then return io.open(path, mode) end
  announce("io.open", absolute(path), mode)
  return kept(path, io.open(path, mode))
end

local stdout = handle({ level = "info", pending = "", writable = true })
local stderr = handle({ level = "warn", pending = "", writable = true })
local default_in, default_out = io.stdin, stdout

-- Returns what was written to stdout and is not a whole line yet; `print` goes on with it.
function S.take_pending()
  local state = S.handle_state(stdout)
  local text = state.pending
  state.pending = ""
  return text
end

-- Lets what was written and not closed reach its file; returns what could not be written.
function S.flush_files()
  local lost
  for file, path in raw.next, writing do
    if io.type(file) == "file" then
      local done, why = file:flush()
      if not done then lost = format("%s cannot be written: %s", path, why) end
    end
  end
  return lost
end

-- Says what is left of the standard streams, and does the same for files.
function S.flush()
  stdout:flush()
  stderr:flush()
  return S.flush_files()
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
  globals.os.remove, globals.os.rename = S.remove_in_memory, S.rename_in_memory
  globals.os.tmpname = S.name_in_memory
else
  local native = { remove = os.remove, rename = os.rename } -- a wrong argument names its function
  globals.os.remove = function(...)
    local path = ...
    if type(path) == "string" then announce("os.remove", absolute(path)) end
    return native.remove(...)
  end
  globals.os.rename = function(...)
    local from, to = ...
    if type(from) == "string" and type(to) == "string" then
      S.announce_rename(absolute(from), absolute(to))
    end
    return native.rename(...)
  end
  globals.os.tmpname = S.name_natively
end

globals.io = {
  stdin = io.stdin, stdout = stdout, stderr = stderr,
  open = open,
  popen = popen,
  tmpfile = function() return handle({ body = { data = "" }, readable = true, writable = true }) end,
  type = function(file)
    local state = S.handle_state(file)
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
S.loaded.io = globals.io
