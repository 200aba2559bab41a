-- What a workflow may use of Lua's own library. `os` and `io` mean the controller.

local S = ...
local raw = S.raw
local globals, type, format, find, match = raw.globals, raw.type, raw.format, raw.find, raw.match
local gsub, sub, error, tostring = raw.gsub, raw.sub, raw.error, raw.tostring
local setmetatable, getmetatable, rawget = raw.setmetatable, raw.getmetatable, raw.rawget
local complain = S.complain

-- Metatables that all values of a type share.
getmetatable("").__metatable = false
getmetatable(raw.io.stdout).__metatable = false

globals.getmetatable = function(...)
  local value = ...
  if type(value) == "table" then S.whole(value) end
  return getmetatable(...)
end

-- A finaliser runs with hooks off, so an endless one could not be stopped.
globals.setmetatable = function(value, meta)
  if type(value) ~= "table" or meta ~= nil and type(meta) ~= "table" then
    complain("setmetatable: a table is needed, and then its metatable or nil")
  end
  local before = getmetatable(S.whole(value))
  if before ~= nil and (type(before) ~= "table" or rawget(before, "__metatable") ~= nil) then
    complain("cannot change a protected metatable")
  end
  if type(meta) == "table" and rawget(meta, "__gc") ~= nil then
    complain("setmetatable: __gc is not supported; use a <close> variable, or close it yourself")
  end
  return setmetatable(value, meta)
end

globals.collectgarbage = function(what, ...)
  what = what or "collect"
  if what == "count" or what == "collect" or what == "step" then
    return raw.collectgarbage(what == "step" and "collect" or what)
  end
  complain(format("collectgarbage: %q is not supported; use \"count\" or \"collect\"", tostring(what)))
end

globals.string.dump = nil
globals.python = nil
globals.debug = { traceback = S.traceback }

-- Chunks: text only.

local function checked_mode(mode)
  if mode ~= nil and not find(tostring(mode), "t", 1, true) then
    complain("load: only text is loaded, not binary chunks")
  end
end

globals.load = function(chunk, name, mode, ...)
  checked_mode(mode)
  local env = globals
  if raw.select("#", ...) > 0 then env = ... end
  local loaded, why = raw.load(chunk, name, "t", env)
  if loaded then return loaded end
  return nil, S.raised(why)
end

-- Returns the text of a program without what only a shell or an editor reads.
local function source(text)
  if sub(text, 1, 3) == "\xef\xbb\xbf" then text = sub(text, 4) end
  if sub(text, 1, 1) == "#" then text = "--" .. text end
  return text
end

function S.compile(text, name)
  local chunk, why = raw.load(source(text), "@" .. name, "t", globals)
  S.body = chunk or S.body
  return why
end

-- Returns the text of a Lua file, or nil and why not.
local function text_of(path)
  if S.plan then
    local text = S.program_text(path)
    if text then return text end
  end
  local file, why = raw.open(path, "rb")
  if not file then return nil, why end
  local text = not S.plan and file:read("a")
  file:close()
  if not text then return nil, path .. ": cannot be read" end
  return text
end

local function load_file(path, env)
  local text, failure = text_of(path)
  if not text then return nil, failure end
  local name = path
  if sub(path, 1, #S.folder + 1) == S.folder .. "/" then name = sub(path, #S.folder + 2) end
  return raw.load(source(text), "@" .. name, "t", env)
end

local function beside(path)
  return sub(path, 1, 1) == "/" and path or S.folder .. "/" .. path
end

globals.loadfile = function(path, mode, ...)
  checked_mode(mode)
  if type(path) ~= "string" then complain("loadfile: the path of a file is needed") end
  if raw.select("#", ...) > 0 then return load_file(beside(path), (...)) end
  return load_file(beside(path), globals)
end

globals.dofile = function(path)
  local chunk, why = globals.loadfile(path)
  if not chunk then complain("dofile: " .. why) end
  return chunk()
end

-- require: Lua modules beside the workflow, each loaded once. In Lua, so that calls work inside.

local loaded, loading = {}, {}
S.loaded = loaded
for name, library in raw.pairs(globals) do
  if type(library) == "table" and name ~= "package" and name ~= "_G" then loaded[name] = library end
end
loaded._G = globals

local function find_module(name)
  if type(name) ~= "string" or not match(name, "^[%w_%-]+[%w_%-%.]*$") or find(name, "..", 1, true) then
    complain(format("require: %q is not the name of a module; a name is made of words with dots "
      .. "between them, for folders below the workflow's", tostring(name)))
  end
  local relative, tried = gsub(name, "%.", "/"), {}
  for _, ending in raw.ipairs({ ".lua", ".sloth", "/init.lua" }) do
    local path = S.folder .. "/" .. relative .. ending
    if text_of(path) then return path end
    tried[#tried + 1] = relative .. ending
  end
  complain(format("module '%s' not found beside the workflow; looked for %s", name,
    raw.concat(tried, ", ")))
end

-- Forgets that a module is being loaded when that ends, however it ends.
local LOADING = {
  __close = function(guard)
    loading[guard.name] = nil
    S.wake_all(guard.waiting)
  end,
}

globals.require = function(name)
  if loaded[name] ~= nil then return loaded[name] end
  if S.modules[name] then return S.modules[name] end
  local path = find_module(name)
  local under_way = loading[name]
  if under_way then
    if under_way.by == S.whoami() then
      complain(format("module '%s' requires itself, by way of: %s", name, under_way.chain()))
    end
    S.wait_in(under_way.waiting, "the module " .. name)
    return globals.require(name)
  end
  local chunk, why = load_file(path, globals)
  if not chunk then complain(format("module '%s': %s", name, why)) end
  local guard <close> = setmetatable({ name = name, waiting = {}, by = S.whoami() }, LOADING)
  function guard.chain()
    local names = {}
    for other in raw.next, loading do names[#names + 1] = other end
    raw.sort(names)
    return raw.concat(names, ", ")
  end
  loading[name] = guard
  local value = chunk(name, path)
  if value ~= nil then
    loaded[name] = value
  elseif loaded[name] == nil then
    loaded[name] = true
  end
  return loaded[name]
end

globals.package = setmetatable({}, {
  __index = { loaded = loaded, config = "/\n;\n?\n!\n-\n" },
  __newindex = function(_, key)
    complain(format("package.%s has no effect here: require loads modules from the folder of "
      .. "the workflow and below", tostring(key)))
  end,
  __metatable = false,
})

-- Names that workflows in the wild use.
globals.unpack = globals.table.unpack
globals.loadstring = globals.load
globals.table.getn = function(list) return #list end
globals.math.pow = function(base, exponent) return base ^ exponent end

-- Random numbers are the program's own: the same seed gives the same run.
local randomseed = globals.math.randomseed
randomseed(S.seed)
globals.math.randomseed = function(first, ...)
  if first == nil then return randomseed(S.seed) end
  return randomseed(first, ...)
end

-- os: time by the program's clock, where it has one.
local os, now = raw.os, S.clock
local date, time = os.date, os.time
globals.os = {
  clock = os.clock, difftime = os.difftime, getenv = os.getenv,
  remove = os.remove, rename = os.rename, tmpname = os.tmpname,
  time = function(parts)
    if parts ~= nil or not now then return time(parts) end
    return raw.tointeger(now // 1)
  end,
  date = function(layout, at)
    return date(layout, at or (now and raw.tointeger(now // 1)) or nil)
  end,
  exit = function()
    complain("os.exit is not available in a workflow: return to end a task, or call error()")
  end,
  setlocale = function()
    complain("os.setlocale is not available in a workflow")
  end,
}
loaded.os, loaded.debug = globals.os, globals.debug
