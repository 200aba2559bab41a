-- The first thing that runs in a fresh interpreter: keeps the raw functions in locals of its own,
-- builds what workflows see from the other parts, takes away what they must not have, and
-- returns the few functions that Python calls. `flag` answers whether Lua is to stop; it is the
-- only thing of Python that Lua ever holds, and only the hook has it.

local flag, plan, folder, here, seed, clock, large, part_count = ...
local parts = { select(9, ...) }

local raw = {
  -- the language
  assert = assert, error = error, type = type, next = next, pairs = pairs, ipairs = ipairs,
  rawget = rawget, rawset = rawset, rawlen = rawlen, rawequal = rawequal, select = select,
  tostring = tostring, tonumber = tonumber, pcall = pcall, xpcall = xpcall, load = load,
  setmetatable = setmetatable, getmetatable = getmetatable, collectgarbage = collectgarbage,
  globals = _G,
  -- strings
  byte = string.byte, char = string.char, sub = string.sub, rep = string.rep, find = string.find,
  match = string.match, gmatch = string.gmatch, gsub = string.gsub, format = string.format,
  pack = string.pack, unpack = string.unpack, lower = string.lower, utf8_len = utf8.len,
  -- tables and numbers
  concat = table.concat, table_pack = table.pack, table_unpack = table.unpack, sort = table.sort,
  remove = table.remove, math_type = math.type, tointeger = math.tointeger, huge = math.huge,
  min = math.min,
  -- coroutines and what is around them
  create = coroutine.create, resume = coroutine.resume, yield = coroutine.yield,
  status = coroutine.status, running = coroutine.running, close = coroutine.close,
  isyieldable = coroutine.isyieldable,
  getinfo = debug.getinfo, sethook = debug.sethook, gethook = debug.gethook,
  open = io.open, io = io, os = os,
}

-- What the parts share; no workflow can reach it.
local S = {
  raw = raw,
  OURS = "=(sloth-runner)",
  flag = flag, plan = plan, folder = folder, here = here, seed = seed, clock = clock,
  large = large,
  unknown = setmetatable({}, { __mode = "k" }), -- table -> what cannot be known of it
  proxied = setmetatable({}, { __mode = "k" }), -- read-only table -> its content
  lazy = setmetatable({}, { __mode = "k" }),    -- table that is filled when it is read -> how
  late = {},                                    -- the key of what an answer has yet to decode
  functions = {},                               -- number -> function that Python may ask for
  attempts = setmetatable({}, { __mode = "v" }), -- number -> facts of an attempt of a task
  current = nil,                                -- those of the attempt that is running
}

function S.keep(value)
  local number = #S.functions + 1
  S.functions[number] = value
  return number
end

for index = 1, part_count do
  raw.assert(raw.load(parts[index], S.OURS, "t", raw.globals))(S)
end

return S.entry, S.compile, S.close_thread, S.stopped, S.unclaimed, S.written, S.flush_files
