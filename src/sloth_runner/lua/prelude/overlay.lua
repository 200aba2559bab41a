-- What a preview has written to files, and what the engine hears of writes.
--
-- The engine hears of each write before it is made, in a run as in a preview, which is told what
-- resources would have left there.

local S = ...
local raw = S.raw
local type, format, sub, find, match = raw.type, raw.format, raw.sub, raw.find, raw.match
local concat, isyieldable, io = raw.concat, raw.isyieldable, raw.io
local complain, handle = S.complain, S.handle

local overlay = {}   -- absolute path -> { data = text }, or false: gone
local temporary = {} -- names that os.tmpname gave: nobody is told of them

-- Returns the path from the root, as it is written.
local function absolute(path)
  if type(path) ~= "string" then complain("the path of a file is text, not " .. type(path)) end
  if sub(path, 1, 1) ~= "/" then path = S.here .. "/" .. path end
  local parts = {}
  for part in raw.gmatch(path, "[^/]+") do
    if part == ".." then parts[#parts] = nil elseif part ~= "." then parts[#parts + 1] = part end
  end
  return "/" .. concat(parts, "/")
end
S.absolute = absolute

-- Says what is about to be done to a file; returns what a preview is told of it, or nil. Where
-- no call can be made, as while a stopped task is closed, the engine hears of it afterwards.
local function announce(name, place, other)
  if temporary[place] and not S.plan then return nil end
  if isyieldable() then
    local answer = S.call(name, nil, place, other, temporary[place])
    return type(answer) == "table" and answer or nil
  end
  if temporary[place] then return nil end
  if S.plan and S.changes and overlay[place] == nil then
    S.stop({ why = name .. " of " .. place .. " where it cannot be asked what is there then" })
  end
  if name == "io.open" and match(other, "^r[bl]?$") then return nil end
  S.later("wrote", place)
  if name == "os.rename" then S.later("wrote", other) end
  return nil
end
S.announce = announce

-- Does the same for a file that is to be moved, from or to a temporary name as well.
local function announce_rename(old, new)
  if temporary[old] then return announce("io.open", new, "wb") end
  if temporary[new] then return announce("os.remove", old) end
  return announce("os.rename", old, new)
end
S.announce_rename = announce_rename

-- Takes over what a resource would have made of a file.
local function learn(place, known)
  if known and known.found == false then overlay[place] = false end
  if known and known.data then overlay[place] = { data = known.data } end
end

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
  if known and known.doubt then S.stop(known) end
  if known ~= nil then return known and known.data .. concat(known.parts or {}) or nil end
  local file = io.open(path, "rb")
  if not file then return nil end
  local data = file:read("a")
  file:close()
  return data
end

-- Returns a body whose text is read only when somebody wants it, for a large file; else nil.
local function unread(place)
  local file = io.open(place, "rb")
  local size = file and file:seek("end")
  if file then file:close() end
  if not size or size < S.large then return nil end
  return raw.setmetatable({ from = place }, { __index = function(body, key)
    if key ~= "data" then return nil end
    local source = io.open(place, "rb")
    local data = source:read("a") or ""
    source:close()
    raw.rawset(body, "data", data)
    return data
  end })
end

local function missing(path) return nil, path .. ": No such file or directory", 2 end

-- Returns what can be seen of a place without the engine.
local function looked_at(place)
  local folder = io.open(place .. "/.")
  if folder then folder:close() end
  return { kind = folder and "directory", parent = exists(match(place, "^(.*)/[^/]*$") .. "/.") }
end

-- Returns what a file that is to be written begins with.
local function begun(place, kind, doubt)
  if kind == "w" then return { data = "" } end
  local body = overlay[place] or overlay[place] == nil and unread(place)
    or { data = content(place) or "" }
  if doubt then body.doubt, body.why = true, doubt end
  return body
end

function S.open_in_memory(path, mode)
  local place, kind = absolute(path), sub(mode, 1, 1)
  local plus = find(mode, "+", 1, true) ~= nil
  local known = announce("io.open", place, mode)
  learn(place, known)
  if kind == "r" and not plus and overlay[place] == nil then return io.open(place, mode) end
  if kind == "r" and not exists(place) then return missing(path) end
  local how = { append = kind == "a", readable = kind == "r" or plus,
    writable = kind ~= "r" or plus }
  if not how.writable then
    how.body = overlay[place]
    return handle(how)
  end
  known = known or looked_at(place)
  if known.kind == "directory" then return nil, path .. ": Is a directory", 21 end
  if known.parent == false then return missing(path) end
  if known.kind then -- a device: what is written there is gone
    how.body = { data = "" }
  else
    how.body = begun(place, kind, known.doubt)
    overlay[place] = how.body
  end
  return handle(how)
end

-- Returns the text of a Lua file as this preview sees it; nil if there is none.
function S.program_text(path)
  local place = absolute(path)
  learn(place, announce("io.open", place, "rl"))
  return content(place)
end

function S.remove_in_memory(path)
  local place = absolute(path)
  local known = announce("os.remove", place)
  learn(place, known)
  if not (known and known.found or exists(place)) then return missing(path) end
  overlay[place] = false
  return true
end

function S.rename_in_memory(from, to)
  local old, new = absolute(from), absolute(to)
  local known = announce_rename(old, new)
  if not temporary[old] then learn(old, known) end
  if known and known.parent == false then return missing(from) end
  local body = overlay[old] == nil and unread(old)
  if not body then
    local data = content(old)
    if not data then return missing(from) end
    body = { data = data }
  end
  overlay[new], overlay[old] = body, false
  return true
end

-- Names come from the seed, so that a plan and its run agree on them; nobody else can guess them.
local unnamed = 0

local function new_name()
  unnamed = unnamed + 1
  local number = S.seed
  for _ = 1, 3 do -- splitmix64 (Steele, Lea, Flood 2014)
    number = number + unnamed * 0x9E3779B97F4A7C15
    number = (number ~ number >> 30) * 0xBF58476D1CE4E5B9
    number = (number ~ number >> 27) * 0x94D049BB133111EB
    number = number ~ number >> 31
  end
  local path = format("/tmp/lua_%016x", number)
  temporary[path] = true
  return path
end

function S.name_in_memory()
  local path = new_name()
  overlay[path] = { data = "" }
  return path
end

-- Makes a new empty file that is ours alone, under a name of the plan.
function S.name_natively()
  local path = new_name()
  S.call("os.tmpname", nil, path)
  return path
end

-- Returns for Python what this preview wrote to a path: nil for nothing, false for removed, true
-- where it went on with what cannot be known.
function S.written(path)
  local known = overlay[path]
  if not known then return known end
  if raw.rawget(known, "data") == nil then
    if known.from == path and not known.parts then return nil end
    return true
  end
  return known.doubt or known.data .. concat(known.parts or {})
end
