-- Wireshark dissector for Q3P, the Quantum Point-to-Point Protocol, version 2, over UDP, with IEC 60870-5-104 inside.
--
--   tshark -X lua_script:q3p.lua -o q3p.keylog_file:keys.log -r capture.pcapng
--
-- It shows every field of the header, says what is wrong with a frame (expert information), and with a key log checks the
-- tag and decrypts: one-time pad with Poly1305, and AES-128-GCM. The APDU inside goes to Wireshark's own IEC 104
-- dissector; types that it does not know are decoded here. Runs on Lua 5.2 (Wireshark up to 4.2) to 5.4.
--
-- Datagram, big-endian:
--
--   0        4       8      9        10       12       16       20        20+n
--   Length   Msg-Id  Flags  Command  Channel  E-KeyId  A-KeyId  payload   A-Tag (16)
--
-- Key log, one record a line:
--
--   R <channel> <64-bit Msg-Id the epoch starts at> <r, 32 hex digits>
--   K <channel> <64-bit slot> <key stream octets from that slot on, hex>

local bit = bit -- BitOp: Wireshark has it for every Lua
local band, bxor, bor = bit.band, bit.bxor, bit.bor
local lshift, rshift = bit.lshift, bit.rshift
local byte, char, sub, format = string.byte, string.char, string.sub, string.format
local floor, ceil, concat = math.floor, math.ceil, table.concat

local HEADER, TAG, MAX_PAYLOAD = 20, 16, 255
local SLOT = 4
local MAC_SLOTS, AES_SLOTS, HANDSHAKE_SLOTS = 4, 4, 8
local WINDOW = 1024 -- messages of the receiver's replay window
local LATEST_REPEAT_S = 15 -- t1: no sender repeats a frame later than this
local MAX_JUMP = 65536 -- a Msg-Id further ahead is not believed unless its tag is good
local TWO32 = 4294967296

---------------------------------------------------------------------------------------------------------------------
-- Octets

local function u16(s, at)
  local a, b = byte(s, at + 1, at + 2)
  return a * 256 + b
end

local function u32(s, at)
  local a, b, c, d = byte(s, at + 1, at + 4)
  return ((a * 256 + b) * 256 + c) * 256 + d
end

local function u32le(s, at)
  local a, b, c, d = byte(s, at + 1, at + 4)
  return ((d * 256 + c) * 256 + b) * 256 + a
end

-- Signed, as BitOp has its numbers.
local function word(s, at)
  local a, b, c, d = byte(s, at + 1, at + 4)
  return bor(lshift(a, 24), lshift(b, 16), lshift(c, 8), d)
end

local function wordoctets(w)
  return char(band(rshift(w, 24), 255), band(rshift(w, 16), 255), band(rshift(w, 8), 255), band(w, 255))
end

local function u32octets(value)
  return char(floor(value / 16777216) % 256, floor(value / 65536) % 256, floor(value / 256) % 256, value % 256)
end

local function xor(a, b)
  local out = {}
  for i = 1, #a do out[i] = char(bxor(byte(a, i), byte(b, i))) end
  return concat(out)
end

-- Of the numbers that end in these low 32 bits, the one nearest to `reference`.
local function rebuild(low, reference)
  local candidate = reference - reference % TWO32 + low
  if candidate > reference + TWO32 / 2 and candidate >= TWO32 then return candidate - TWO32 end
  if candidate <= reference - TWO32 / 2 then return candidate + TWO32 end
  return candidate
end

local function uint64(value)
  return UInt64(value % TWO32, floor(value / TWO32))
end

---------------------------------------------------------------------------------------------------------------------
-- Poly1305 (RFC 8439), in limbs of 22 bits: products and their sums stay exact below 2^53.

local L22, L20, L18, L14, L12, L10, L8 = 2 ^ 22, 2 ^ 20, 2 ^ 18, 2 ^ 14, 2 ^ 12, 2 ^ 10, 2 ^ 8

local function limbs(w0, w1, w2, w3, top)
  return w0 % L22,
    floor(w0 / L22) + (w1 % L12) * L10,
    floor(w1 / L12) + (w2 % 4) * L20,
    floor(w2 / 4) % L22,
    floor(w2 / 16777216) + (w3 % L14) * L8,
    floor(w3 / L14) + top * L18
end

local function clamped(s, at, mask)
  local w = band(word(s, at), mask)
  return u32le(wordoctets(w), 0)
end

-- Tag of a message under the one-time key r || s, both strings of 16 octets.
local function poly1305(message, r, s)
  local r0, r1, r2, r3, r4, r5 = limbs(
    clamped(r, 0, 0xffffff0f), clamped(r, 4, 0xfcffff0f), clamped(r, 8, 0xfcffff0f), clamped(r, 12, 0xfcffff0f), 0)
  local h0, h1, h2, h3, h4, h5 = 0, 0, 0, 0, 0, 0
  for at = 0, #message - 1, 16 do
    local block, top = sub(message, at + 1, at + 16), 1
    if #block < 16 then
      block, top = block .. '\1' .. ('\0'):rep(15 - #block), 0
    end
    local m0, m1, m2, m3, m4, m5 = limbs(u32le(block, 0), u32le(block, 4), u32le(block, 8), u32le(block, 12), top)
    h0, h1, h2, h3, h4, h5 = h0 + m0, h1 + m1, h2 + m2, h3 + m3, h4 + m4, h5 + m5
    -- 2^132 is 20 modulo 2^130 - 5.
    local d0 = h0 * r0 + 20 * (h1 * r5 + h2 * r4 + h3 * r3 + h4 * r2 + h5 * r1)
    local d1 = h0 * r1 + h1 * r0 + 20 * (h2 * r5 + h3 * r4 + h4 * r3 + h5 * r2)
    local d2 = h0 * r2 + h1 * r1 + h2 * r0 + 20 * (h3 * r5 + h4 * r4 + h5 * r3)
    local d3 = h0 * r3 + h1 * r2 + h2 * r1 + h3 * r0 + 20 * (h4 * r5 + h5 * r4)
    local d4 = h0 * r4 + h1 * r3 + h2 * r2 + h3 * r1 + h4 * r0 + 20 * h5 * r5
    local d5 = h0 * r5 + h1 * r4 + h2 * r3 + h3 * r2 + h4 * r1 + h5 * r0
    d1 = d1 + floor(d0 / L22)
    d2 = d2 + floor(d1 / L22)
    d3 = d3 + floor(d2 / L22)
    d4 = d4 + floor(d3 / L22)
    d5 = d5 + floor(d4 / L22)
    h0 = d0 % L22 + 20 * floor(d5 / L22)
    h1, h2, h3, h4, h5 = d1 % L22 + floor(h0 / L22), d2 % L22, d3 % L22, d4 % L22, d5 % L22
    h0 = h0 % L22
  end
  -- Twice, for the first carry may bring the number just above 2^130 again; then once with 5 more, to compare with p.
  local function reduced(extra)
    h0 = h0 + extra
    for _ = 1, 2 do
      h1 = h1 + floor(h0 / L22); h0 = h0 % L22
      h2 = h2 + floor(h1 / L22); h1 = h1 % L22
      h3 = h3 + floor(h2 / L22); h2 = h2 % L22
      h4 = h4 + floor(h3 / L22); h3 = h3 % L22
      h5 = h5 + floor(h4 / L22); h4 = h4 % L22
      if extra == 0 then
        h0 = h0 + 5 * floor(h5 / L20)
        h5 = h5 % L20
      end
    end
  end
  reduced(0)
  local k0, k1, k2, k3, k4, k5 = h0, h1, h2, h3, h4, h5
  reduced(5)
  if h5 < L20 then h0, h1, h2, h3, h4, h5 = k0, k1, k2, k3, k4, k5 end
  local sum = {
    h0 + (h1 % L10) * L22,
    floor(h1 / L10) + (h2 % L20) * L12,
    floor(h2 / L20) + h3 * 4 + (h4 % L8) * 16777216,
    floor(h4 / L8) + (h5 % L18) * L14,
  }
  local carry, out = 0, {}
  for i = 1, 4 do
    local total = sum[i] + u32le(s, 4 * i - 4) + carry
    carry = floor(total / TWO32)
    out[i] = u32octets(total % TWO32):reverse()
  end
  return concat(out)
end

---------------------------------------------------------------------------------------------------------------------
-- AES-128 (FIPS 197), with tables of 32-bit words, and GCM (SP 800-38D), with tables of 4 bits.

local SBOX, T0, T1, T2, T3 = {}, {}, {}, {}, {}
do
  local p, q = 1, 1
  repeat
    p = band(bxor(p, lshift(p, 1), p >= 128 and 0x11b or 0), 255)
    q = bxor(q, lshift(q, 1))
    q = bxor(q, lshift(q, 2))
    q = band(bxor(q, lshift(q, 4)), 255)
    if q >= 128 then q = bxor(q, 9) end
    local rotated = q * 257
    local s = band(bxor(rotated, rshift(rotated, 4), rshift(rotated, 5), rshift(rotated, 6), rshift(rotated, 7)), 255)
    SBOX[p] = bxor(s, 0x63)
  until p == 1
  SBOX[0] = 0x63
  for x = 0, 255 do
    local s = SBOX[x]
    local s2 = band(bxor(lshift(s, 1), s >= 128 and 0x11b or 0), 255)
    local s3 = bxor(s2, s)
    T0[x] = bor(lshift(s2, 24), lshift(s, 16), lshift(s, 8), s3)
    T1[x] = bor(lshift(s3, 24), lshift(s2, 16), lshift(s, 8), s)
    T2[x] = bor(lshift(s, 24), lshift(s3, 16), lshift(s2, 8), s)
    T3[x] = bor(lshift(s, 24), lshift(s, 16), lshift(s3, 8), s2)
  end
end

local function expanded(key)
  local w = { word(key, 0), word(key, 4), word(key, 8), word(key, 12) }
  local rcon = 1
  for i = 5, 44 do
    local t = w[i - 1]
    if i % 4 == 1 then
      t = bor(
        lshift(bxor(SBOX[band(rshift(t, 16), 255)], rcon), 24),
        lshift(SBOX[band(rshift(t, 8), 255)], 16),
        lshift(SBOX[band(t, 255)], 8),
        SBOX[band(rshift(t, 24), 255)])
      rcon = band(bxor(lshift(rcon, 1), rcon >= 128 and 0x11b or 0), 255)
    end
    w[i] = bxor(w[i - 4], t)
  end
  return w
end

local function lastround(a, b, c, d, k)
  return bxor(bor(
    lshift(SBOX[band(rshift(a, 24), 255)], 24),
    lshift(SBOX[band(rshift(b, 16), 255)], 16),
    lshift(SBOX[band(rshift(c, 8), 255)], 8),
    SBOX[band(d, 255)]), k)
end

local function encrypt(w, a, b, c, d)
  a, b, c, d = bxor(a, w[1]), bxor(b, w[2]), bxor(c, w[3]), bxor(d, w[4])
  for i = 5, 37, 4 do
    local e = bxor(T0[band(rshift(a, 24), 255)], T1[band(rshift(b, 16), 255)], T2[band(rshift(c, 8), 255)], T3[band(d, 255)], w[i])
    local f = bxor(T0[band(rshift(b, 24), 255)], T1[band(rshift(c, 16), 255)], T2[band(rshift(d, 8), 255)], T3[band(a, 255)], w[i + 1])
    local g = bxor(T0[band(rshift(c, 24), 255)], T1[band(rshift(d, 16), 255)], T2[band(rshift(a, 8), 255)], T3[band(b, 255)], w[i + 2])
    local h = bxor(T0[band(rshift(d, 24), 255)], T1[band(rshift(a, 16), 255)], T2[band(rshift(b, 8), 255)], T3[band(c, 255)], w[i + 3])
    a, b, c, d = e, f, g, h
  end
  return lastround(a, b, c, d, w[41]), lastround(b, c, d, a, w[42]),
    lastround(c, d, a, b, w[43]), lastround(d, a, b, c, w[44])
end

local REDUCE = {}
for i, r in ipairs({
  0x0000, 0x1c20, 0x3840, 0x2460, 0x7080, 0x6ca0, 0x48c0, 0x54e0,
  0xe100, 0xfd20, 0xd940, 0xc560, 0x9180, 0x8da0, 0xa9c0, 0xb5e0,
}) do REDUCE[i - 1] = lshift(r, 16) end

-- Multiples of H by the polynomials of four bits.
local function hashtable(a, b, c, d)
  local A, B, C, D = { [0] = 0, [8] = a }, { [0] = 0, [8] = b }, { [0] = 0, [8] = c }, { [0] = 0, [8] = d }
  for _, i in ipairs({ 4, 2, 1 }) do
    local odd = band(d, 1) == 1
    d = bor(rshift(d, 1), lshift(c, 31))
    c = bor(rshift(c, 1), lshift(b, 31))
    b = bor(rshift(b, 1), lshift(a, 31))
    a = bxor(rshift(a, 1), odd and 0xe1000000 or 0)
    A[i], B[i], C[i], D[i] = a, b, c, d
  end
  for _, i in ipairs({ 2, 4, 8 }) do
    for j = 1, i - 1 do
      A[i + j], B[i + j], C[i + j], D[i + j] = bxor(A[i], A[j]), bxor(B[i], B[j]), bxor(C[i], C[j]), bxor(D[i], D[j])
    end
  end
  return { A, B, C, D }
end

-- (x0..x3) times H.
local function multiplied(tables, x0, x1, x2, x3)
  local A, B, C, D = tables[1], tables[2], tables[3], tables[4]
  local x = { x3, x2, x1, x0 }
  local a, b, c, d = 0, 0, 0, 0
  for i = 1, 4 do
    local w = x[i]
    for shift = 0, 28, 4 do
      local n = band(rshift(w, shift), 15)
      local rest = band(d, 15)
      d = bxor(bor(rshift(d, 4), lshift(c, 28)), D[n])
      c = bxor(bor(rshift(c, 4), lshift(b, 28)), C[n])
      b = bxor(bor(rshift(b, 4), lshift(a, 28)), B[n])
      a = bxor(rshift(a, 4), REDUCE[rest], A[n])
    end
  end
  return a, b, c, d
end

local function hashed(tables, text, a, b, c, d)
  text = text .. ('\0'):rep(-#text % 16)
  for at = 0, #text - 1, 16 do
    a, b, c, d = multiplied(tables,
      bxor(a, word(text, at)), bxor(b, word(text, at + 4)), bxor(c, word(text, at + 8)), bxor(d, word(text, at + 12)))
  end
  return a, b, c, d
end

local ciphers, cipherCount = {}, 0

local function cipherOf(key)
  local known = ciphers[key]
  if known then return known end
  if cipherCount >= 256 then ciphers, cipherCount = {}, 0 end
  local w = expanded(key)
  known = { w = w, tables = hashtable(encrypt(w, 0, 0, 0, 0)) }
  ciphers[key], cipherCount = known, cipherCount + 1
  return known
end

-- The plaintext, or nil when the tag is wrong. `nonce` has 12 octets.
local function gcmOpen(key, nonce, associated, text, tag)
  local cipher = cipherOf(key)
  local w, tables = cipher.w, cipher.tables
  local n0, n1, n2 = word(nonce, 0), word(nonce, 4), word(nonce, 8)
  local a, b, c, d = hashed(tables, associated, 0, 0, 0, 0)
  a, b, c, d = hashed(tables, text, a, b, c, d)
  a, b, c, d = multiplied(tables, a, bxor(b, 8 * #associated), c, bxor(d, 8 * #text))
  local k0, k1, k2, k3 = encrypt(w, n0, n1, n2, 1)
  if wordoctets(bxor(a, k0)) .. wordoctets(bxor(b, k1)) .. wordoctets(bxor(c, k2)) .. wordoctets(bxor(d, k3)) ~= tag then
    return nil
  end
  local out = {}
  for at = 0, #text - 1, 16 do
    k0, k1, k2, k3 = encrypt(w, n0, n1, n2, 2 + at / 16)
    local stream = wordoctets(k0) .. wordoctets(k1) .. wordoctets(k2) .. wordoctets(k3)
    out[#out + 1] = xor(sub(text, at + 1, at + 16), stream)
  end
  return concat(out)
end

---------------------------------------------------------------------------------------------------------------------
-- Key log

local MAX_SLOTS = 4194304 -- held at most: 16 MiB of key
local MAX_EPOCHS = 65536
local MAX_LINE = 131200
local MAX_SAFE = 9007199254740991

local KeyLog = {}
KeyLog.__index = KeyLog

local function newKeyLog(path)
  local log = setmetatable({ path = path, slots = {}, epochs = {}, count = 0, epochCount = 0, offset = 0 }, KeyLog)
  log:read()
  return log
end

-- Reads what was added to the file since the last time; it may grow while a capture is running.
function KeyLog:read()
  self.readAt = os.time()
  if self.path == '' then return end
  local file = io.open(self.path, 'rb')
  if not file then
    self.problem = 'cannot be read'
    return
  end
  self.problem = nil
  file:seek('set', self.offset)
  local rest = ''
  for block in function() return file:read(65536) end do
    rest = rest .. block
    local from = 1
    local newline = rest:find('\n', 1, true)
    while newline do
      self:take(sub(rest, from, newline - 1))
      from = newline + 1
      newline = rest:find('\n', from, true)
    end
    self.offset, rest = self.offset + from - 1, sub(rest, from)
    if #rest > MAX_LINE then
      self.problem = 'is no key log'
      break
    end
  end
  file:close()
end

-- A frame lacks key: the log may have grown. Looked at once a second at most.
function KeyLog:refresh()
  if os.time() == self.readAt then return false end
  local before = self.offset
  self:read()
  return self.offset ~= before
end

function KeyLog:take(line)
  line = line:gsub('\r$', '')
  if line == '' or sub(line, 1, 1) == '#' then return end
  local kind, channelText, atText, digits = line:match('^([RK]) (%d+) (%d+) ([0-9a-f]+)$')
  local channel, at = tonumber(channelText or ''), tonumber(atText or '')
  local isRightSize = digits and (kind == 'R' and #digits == 32 or kind == 'K' and #digits % 8 == 0)
  if #line > MAX_LINE or not isRightSize or channel > 65535 or #atText > 16 or at > MAX_SAFE then
    return
  end
  local octets = digits:gsub('%x%x', function(pair) return char(tonumber(pair, 16)) end)
  if kind == 'R' then self:takeEpoch(channel, at, octets) else self:takeKey(channel, at, octets) end
end

function KeyLog:takeEpoch(channel, at, r)
  local epochs = self.epochs[channel]
  if not epochs then
    epochs = {}
    self.epochs[channel] = epochs
  end
  local place = #epochs
  while place > 0 and epochs[place].at > at do place = place - 1 end
  local known = epochs[place]
  if known and known.at == at then
    if known.r ~= r then known.r = false end
  elseif self.epochCount < MAX_EPOCHS then
    table.insert(epochs, place + 1, { at = at, r = r })
    self.epochCount = self.epochCount + 1
  end
end

function KeyLog:takeKey(channel, at, octets)
  local slots = self.slots[channel]
  if not slots then
    slots = { first = at }
    self.slots[channel] = slots
  end
  for i = 0, #octets / SLOT - 1 do
    local key, known = sub(octets, SLOT * i + 1, SLOT * i + SLOT), slots[at + i]
    if known == nil then
      if self.count >= MAX_SLOTS then
        self.problem = format('has more than %d slots: the rest is ignored', MAX_SLOTS)
        return
      end
      slots[at + i] = key
      self.count = self.count + 1
    elseif known ~= key then
      slots[at + i] = false
    end
  end
end

-- Key octets of a run of slots; nil and 'missing' or 'contradiction' otherwise.
function KeyLog:key(channel, slot, count)
  local slots, parts = self.slots[channel], {}
  if not slots then return nil, 'missing' end
  local why
  for i = 0, count - 1 do
    local key = slots[slot + i]
    if key == nil then return nil, 'missing' end
    if key == false then why = 'contradiction' end
    parts[i + 1] = key
  end
  if why then return nil, why end
  return concat(parts)
end

-- The epoch that a message belongs to.
function KeyLog:epoch(channel, msgId)
  local epochs = self.epochs[channel] or {}
  for i = #epochs, 1, -1 do
    if epochs[i].at <= msgId then return epochs[i] end
  end
end

---------------------------------------------------------------------------------------------------------------------
-- Protocol, preferences, fields

local q3p = Proto('q3p', 'Quantum Point-to-Point Protocol (Q3P)')
q3p.prefs.keylog_file = Pref.string('Key log file', '',
  'keys.log of a run: with it tags are checked and payloads decrypted')
q3p.prefs.udp_port = Pref.uint('UDP port', 10104, 'UDP port of the operational plane')

local COMMANDS = { [0] = 'HANDSHAKE', 'LOAD', 'LOAD-REQUEST', 'STORE', 'DATA' }
local SUITES = { [0x42] = 'auth', [0x43] = 'otp', [0x4b] = 'aes' }
local FLAGS = {
  { name = 'reserved', mask = 0x10 }, { name = 's', mask = 0x08 }, { name = 'z', mask = 0x04 },
  { name = 'a', mask = 0x02 }, { name = 'e', mask = 0x01 },
}
local SUITE_NAMES = { auth = 'Auth', otp = 'OTP', aes = 'AES' }
local DIRECTIONS = { [0] = 'first-named end to second', 'second-named end to first' }

local f = {
  length = ProtoField.uint32('q3p.length', 'Length', base.DEC),
  msgid = ProtoField.uint64('q3p.msgid', 'Msg-Id', base.DEC, nil, nil, 'Message counter, all 64 bits; the header has the low 32'),
  flags = ProtoField.uint8('q3p.flags', 'Flags', base.HEX),
  version = ProtoField.uint8('q3p.flags.version', 'Version', base.DEC, nil, 0xe0),
  reserved = ProtoField.bool('q3p.flags.reserved', 'Reserved', 8, nil, 0x10),
  s = ProtoField.bool('q3p.flags.s', 'S: computational suite', 8, nil, 0x08),
  z = ProtoField.bool('q3p.flags.z', 'Z: compressed', 8, nil, 0x04),
  a = ProtoField.bool('q3p.flags.a', 'A: authenticated', 8, nil, 0x02),
  e = ProtoField.bool('q3p.flags.e', 'E: encrypted', 8, nil, 0x01),
  suite = ProtoField.string('q3p.suite', 'Suite', base.ASCII, 'otp, aes or auth (authenticated plaintext)'),
  command = ProtoField.uint8('q3p.command', 'Command', base.DEC, COMMANDS),
  channel = ProtoField.uint16('q3p.channel', 'Channel', base.DEC, nil, nil, '2 x link + direction'),
  link = ProtoField.uint16('q3p.link', 'Link', base.DEC, nil, 0xfffe),
  direction = ProtoField.uint16('q3p.direction', 'Direction', base.DEC, DIRECTIONS, 0x0001),
  ekeyid = ProtoField.uint32('q3p.ekeyid', 'E-KeyId', base.DEC, nil, nil, 'Slot of the encryption key, low 32 bits'),
  akeyid = ProtoField.uint32('q3p.akeyid', 'A-KeyId', base.DEC, nil, nil, 'Slot of the authentication key, low 32 bits'),
  eslot = ProtoField.uint64('q3p.eslot', 'Encryption key from slot', base.DEC),
  aslot = ProtoField.uint64('q3p.aslot', 'Authentication key from slot', base.DEC),
  slots = ProtoField.uint32('q3p.slots', 'Key slots of this message', base.DEC, nil, nil, 'Slots of 32 bits; 0 for a message under an AES key in use'),
  keygap = ProtoField.uint64('q3p.keygap', 'Key slots left out before', base.DEC),
  payload = ProtoField.bytes('q3p.payload', 'Payload'),
  tag = ProtoField.bytes('q3p.tag', 'A-Tag'),
  status = ProtoField.string('q3p.tag.status', 'Tag status', base.ASCII, 'good, bad or unverified'),
  epoch = ProtoField.uint64('q3p.epoch', 'Epoch from Msg-Id', base.DEC),
  sequence = ProtoField.string('q3p.sequence', 'Sequence', base.ASCII,
    'new, retransmission, replay, conflict, late or reflected'),
  repeats = ProtoField.framenum('q3p.repeats', 'Repeats frame', base.NONE, frametype.RETRANS_PREV),
  fault = ProtoField.string('q3p.fault', 'Refused for', base.ASCII, 'length, version, flags or command'),
  handshake = ProtoField.none('q3p.handshake', 'HANDSHAKE'),
  hsMagic = ProtoField.string('q3p.handshake.magic', 'Magic', base.ASCII),
  hsEpoch = ProtoField.uint64('q3p.handshake.epoch', 'Epoch', base.DEC),
  hsAnswers = ProtoField.uint64('q3p.handshake.answers', 'Answers epoch', base.DEC, nil, nil, '0: answers none'),
  hsMsgId = ProtoField.uint64('q3p.handshake.msgid', 'Msg-Id', base.DEC),
  hsAcceptsMsgId = ProtoField.uint64('q3p.handshake.accepts_msgid', 'Accepts from Msg-Id', base.DEC),
  hsAcceptsSlot = ProtoField.uint64('q3p.handshake.accepts_slot', 'Has key from slot', base.DEC),
  hsK = ProtoField.uint16('q3p.handshake.k', 'k', base.DEC),
  hsAesMax = ProtoField.uint16('q3p.handshake.aes_max', 'Messages under one AES key', base.DEC),
  hsNameSize = ProtoField.uint8('q3p.handshake.name_length', 'Length of name', base.DEC),
  hsName = ProtoField.string('q3p.handshake.name', 'Name', base.UNICODE),
}

local x = {
  length = ProtoExpert.new('q3p.bad_length', 'Length is not that of the datagram', expert.group.MALFORMED, expert.severity.ERROR),
  version = ProtoExpert.new('q3p.bad_version', 'Version is not 2', expert.group.MALFORMED, expert.severity.ERROR),
  flags = ProtoExpert.new('q3p.bad_flags', 'Flags that no suite has', expert.group.MALFORMED, expert.severity.ERROR),
  command = ProtoExpert.new('q3p.bad_command', 'Command that is not defined', expert.group.MALFORMED, expert.severity.ERROR),
  handshake = ProtoExpert.new('q3p.bad_handshake', 'HANDSHAKE payload is malformed', expert.group.MALFORMED, expert.severity.ERROR),
  apdu = ProtoExpert.new('q3p.bad_apdu', 'Payload is not an APDU', expert.group.MALFORMED, expert.severity.ERROR),
  tag = ProtoExpert.new('q3p.bad_tag', 'Tag is wrong: forged, damaged, or the key log is', expert.group.CHECKSUM, expert.severity.ERROR),
  contradiction = ProtoExpert.new('q3p.keylog_contradiction', 'Key log has two keys for a slot', expert.group.DECRYPTION, expert.severity.ERROR),
  keylog = ProtoExpert.new('q3p.keylog_problem', 'Key log', expert.group.DECRYPTION, expert.severity.WARN),
  nokey = ProtoExpert.new('q3p.no_key', 'Key is not in the key log', expert.group.DECRYPTION, expert.severity.NOTE),
  cut = ProtoExpert.new('q3p.cut', 'Captured in part only', expert.group.UNDECODED, expert.severity.NOTE),
  replay = ProtoExpert.new('q3p.replay', 'Repeated as no sender does: replay, or doubled on the way', expert.group.SECURITY, expert.severity.WARN),
  conflict = ProtoExpert.new('q3p.conflict', 'Other octets under a Msg-Id that was used', expert.group.SECURITY, expert.severity.WARN),
  reflected = ProtoExpert.new('q3p.reflected', 'From an address that does not send on this channel: reflected or spoofed', expert.group.SECURITY, expert.severity.WARN),
  late = ProtoExpert.new('q3p.late', 'More than 1024 messages behind: the receiver refuses it', expert.group.SEQUENCE, expert.severity.WARN),
  retransmission = ProtoExpert.new('q3p.retransmission', 'Retransmission', expert.group.SEQUENCE, expert.severity.NOTE),
  keygap = ProtoExpert.new('q3p.key_gap', 'Key slots left out: frames not captured or still to come, or key discarded', expert.group.SEQUENCE, expert.severity.NOTE),
  keyreuse = ProtoExpert.new('q3p.key_reuse', 'Key slots used before', expert.group.SECURITY, expert.severity.ERROR),
}

---------------------------------------------------------------------------------------------------------------------
-- Types of IEC 60870-5-101, 7.3, that Wireshark's dissector does not decode. Names and layouts as in the standard.

local types = {}
do
  local function field(kind, abbrev, name, ...)
    local made = ProtoField[kind]('q3p.asdu.' .. abbrev, name, ...)
    f['asdu.' .. abbrev] = made
    return made
  end
  local function number(abbrev, name, octets, display, unit)
    local kind = ({ 'uint8', 'uint16', 'uint24', 'uint32' })[octets]
    local made = field(kind, abbrev, name, display or base.DEC)
    return { size = octets, add = function(tree, range)
      local item = tree:add_le(made, range)
      if unit then item:append_text(unit) end
    end }
  end
  -- One octet of bit fields: { abbreviation, name, mask, values }.
  local function octet(abbrev, name, parts)
    local whole, bits = field('uint8', abbrev, name, base.HEX), {}
    for i, part in ipairs(parts) do
      local path = abbrev .. '.' .. part[1]
      if part[4] or part[5] then
        bits[i] = field('uint8', path, part[2], base.DEC, part[4], part[3])
      else
        bits[i] = field('bool', path, part[2], 8, nil, part[3])
      end
    end
    return { size = 1, add = function(tree, range)
      local item = tree:add(whole, range)
      for _, made in ipairs(bits) do item:add(made, range) end
    end }
  end
  local QUALITY = {
    { 'bl', 'Blocked', 0x10 }, { 'sb', 'Substituted', 0x20 }, { 'nt', 'Not topical', 0x40 }, { 'iv', 'Invalid', 0x80 },
  }
  local function withQuality(parts)
    for _, part in ipairs(QUALITY) do parts[#parts + 1] = part end
    return parts
  end
  local time24 = field('string', 'cp24', 'CP24Time2a', base.ASCII)
  local time56 = field('string', 'cp56', 'CP56Time2a', base.ASCII)
  local CP24 = { size = 3, add = function(tree, range)
    local ms, minutes = range(0, 2):le_uint(), range(2, 1):uint()
    tree:add(time24, range, format('%02d:%06.3f%s', minutes % 64, ms / 1000, minutes >= 128 and ' invalid' or ''))
  end }
  local CP56 = { size = 7, add = function(tree, range)
    local ms, minutes, hours = range(0, 2):le_uint(), range(2, 1):uint(), range(3, 1):uint()
    local day, month, year = range(4, 1):uint() % 32, range(5, 1):uint() % 16, range(6, 1):uint() % 128
    tree:add(time56, range, format('20%02d-%02d-%02d %02d:%02d:%06.3f%s%s', year, month, day, hours % 32, minutes % 64,
      ms / 1000, minutes >= 128 and ' invalid' or '', hours >= 128 and ' summer time' or ''))
  end }
  local SEP = octet('sep', 'SEP, single event of protection equipment', withQuality({
    { 'es', 'State', 0x03, { [0] = 'intermediate', 'off', 'on', 'indeterminate' } }, { 'ei', 'Elapsed time invalid', 0x08 } }))
  local SPE = octet('spe', 'SPE, start events of protection equipment', {
    { 'gs', 'General start', 0x01 }, { 'sl1', 'Phase L1', 0x02 }, { 'sl2', 'Phase L2', 0x04 }, { 'sl3', 'Phase L3', 0x08 },
    { 'sie', 'Earth current', 0x10 }, { 'srd', 'Reverse direction', 0x20 } })
  local OCI = octet('oci', 'OCI, output circuit information', {
    { 'gc', 'General command', 0x01 }, { 'cl1', 'Phase L1', 0x02 }, { 'cl2', 'Phase L2', 0x04 }, { 'cl3', 'Phase L3', 0x08 } })
  local QDP = octet('qdp', 'QDP, quality of protection event', withQuality({ { 'ei', 'Elapsed time invalid', 0x08 } }))
  local QDS = octet('qds', 'QDS, quality', withQuality({ { 'ov', 'Overflow', 0x01 } }))
  local NOTATION = octet('bcr', 'Counter notation', {
    { 'sq', 'Sequence', 0x1f, nil, true }, { 'cy', 'Carry', 0x20 }, { 'ca', 'Adjusted', 0x40 }, { 'iv', 'Invalid', 0x80 } })
  local counter = field('int32', 'count', 'Counter reading', base.DEC)
  local COUNT = { size = 4, add = function(tree, range) tree:add_le(counter, range) end }
  local ELAPSED = number('elapsed', 'CP16Time2a, elapsed time', 2, nil, ' ms')
  local DURATION = number('duration', 'CP16Time2a, relay duration', 2, nil, ' ms')
  local OPERATING = number('operating', 'CP16Time2a, relay operating time', 2, nil, ' ms')
  local DELAY = number('delay', 'CP16Time2a, delay', 2, nil, ' ms')
  local ST, CD = number('st', 'ST, status', 2, base.HEX), number('cd', 'CD, status changes', 2, base.HEX)
  local AID = number('aid', 'AID, association', 2)
  local FBP = number('fbp', 'FBP, fixed test bit pattern', 2, base.HEX)
  local TSC = number('tsc', 'TSC, test sequence counter', 2)
  local QPA = number('qpa', 'QPA, qualifier of parameter activation', 1)
  local NOF, NOS = number('nof', 'NOF, name of file', 2), number('nos', 'NOS, name of section', 1)
  local LOF = number('lof', 'LOF, length of file or section', 3, nil, ' octets')
  local FRQ = octet('frq', 'FRQ, file ready qualifier', { { 'q', 'Qualifier', 0x7f, nil, true }, { 'pn', 'Negative', 0x80 } })
  local SRQ = octet('srq', 'SRQ, section ready qualifier', { { 'q', 'Qualifier', 0x7f, nil, true }, { 'nr', 'Not ready', 0x80 } })
  local SCQ = octet('scq', 'SCQ, select and call qualifier', {
    { 'q', 'Request', 0x0f, { [0] = 'default', 'select file', 'request file', 'deactivate file', 'delete file',
      'select section', 'request section', 'deactivate section' } }, { 'fault', 'Fault', 0xf0, nil, true } })
  local LSQ, CHS = number('lsq', 'LSQ, last section or segment', 1), number('chs', 'CHS, checksum', 1, base.HEX)
  local AFQ = octet('afq', 'AFQ, acknowledge qualifier', {
    { 'q', 'Acknowledge', 0x0f, { [0] = 'default', 'file', 'file negative', 'section', 'section negative' } },
    { 'fault', 'Fault', 0xf0, nil, true } })
  local SOF = octet('sof', 'SOF, status of file', {
    { 'status', 'Status', 0x1f, nil, true }, { 'lfd', 'Last file of directory', 0x20 },
    { 'for', 'Name of a subdirectory', 0x40 }, { 'fa', 'Transfer is active', 0x80 } })
  local segmentSize, segmentOctets = field('uint8', 'los', 'LOS, length of segment', base.DEC), field('bytes', 'segment', 'Segment')
  local SEGMENT = { size = 1, add = function(tree, range)
    local size = range(0, 1):uint()
    tree:add(segmentSize, range(0, 1))
    if size > 0 then tree:add(segmentOctets, range(1, size)) end
  end, extra = function(range) return range:uint() end }

  types = {
    [17] = { 'M_EP_TA_1', SEP, ELAPSED, CP24 },
    [18] = { 'M_EP_TB_1', SPE, QDP, DURATION, CP24 },
    [19] = { 'M_EP_TC_1', OCI, QDP, OPERATING, CP24 },
    [20] = { 'M_PS_NA_1', ST, CD, QDS },
    [38] = { 'M_EP_TD_1', SEP, ELAPSED, CP56 },
    [39] = { 'M_EP_TE_1', SPE, QDP, DURATION, CP56 },
    [40] = { 'M_EP_TF_1', OCI, QDP, OPERATING, CP56 },
    [41] = { 'S_IT_TC_1', AID, COUNT, NOTATION, CP56 },
    [102] = { 'C_RD_NA_1' },
    [104] = { 'C_TS_NA_1', FBP },
    [106] = { 'C_CD_NA_1', DELAY },
    [107] = { 'C_TS_TA_1', TSC, CP56 },
    [113] = { 'P_AC_NA_1', QPA },
    [120] = { 'F_FR_NA_1', NOF, LOF, FRQ },
    [121] = { 'F_SR_NA_1', NOF, NOS, LOF, SRQ },
    [122] = { 'F_SC_NA_1', NOF, NOS, SCQ },
    [123] = { 'F_LS_NA_1', NOF, NOS, LSQ, CHS },
    [124] = { 'F_AF_NA_1', NOF, NOS, AFQ },
    [125] = { 'F_SG_NA_1', NOF, NOS, SEGMENT },
    [126] = { 'F_DR_TA_1', NOF, LOF, SOF, CP56 },
    [127] = { 'F_SC_NB_1', NOF, CP56, CP56 },
  }
  -- Type 136: messages between control centres that play for key (docs/game.md), in parts.
  local KINDS, FORMS = { 'call', 'offer', 'grant', 'taken' }, { [0] = 'demand', 'points', 'chains' }
  local function game(kind, abbrev, name, ...)
    return field(kind, 'game.' .. abbrev, name, ...)
  end
  local kind = game('uint8', 'kind', 'Message', base.DEC, KINDS)
  local partAt = game('uint8', 'part', 'Part, from 0', base.DEC)
  local parts = game('uint8', 'parts', 'Parts', base.DEC)
  local round = game('uint32', 'round', 'Round', base.DEC)
  local form = game('uint8', 'form', 'Form of the offer', base.DEC, FORMS)
  local entries = game('uint16', 'entries', 'Points or chains', base.DEC)
  local body = game('bytes', 'body', 'Body')
  local states = game('bytes', 'states', 'States of the chains')
  local function amount(abbrev, name)
    return game('double', abbrev, name)
  end
  local cap, price = amount('cap', 'No grant above, bits'), amount('price', 'Risk price, bits per bit squared')
  local demand, most = amount('demand', 'Demand with the one-time pad, bit/s'), amount('most', 'Most key, bits')
  local variance, granted, taken = amount('variance', 'Variance, bits squared'), amount('grant', 'Grant, bits'), amount('taken', 'Key of the answer, bits')
  -- What the first part of a message begins with: field and size of each.
  local BODIES = {
    { { form, 1 }, { price, 8 }, { cap, 8 } },
    { { demand, 8 }, { most, 8 }, { variance, 8 }, { form, 1 }, { entries, 2 } },
    { { granted, 8 }, { price, 8 }, { entries, 2 } },
    { { taken, 8 }, { variance, 8 } },
  }
  types[136] = { 'message between control centres', { size = 7, add = function(tree, range)
    tree:add(kind, range(0, 1))
    tree:add(partAt, range(1, 1))
    tree:add(parts, range(2, 1))
    tree:add_le(round, range(3, 4))
    local number, size, at = range(0, 1):uint(), range:len(), 7
    if range(1, 1):uint() == 0 then
      for _, entry in ipairs(BODIES[number] or {}) do
        if at + entry[2] > size then break end
        tree:add_le(entry[1], range(at, entry[2]))
        at = at + entry[2]
      end
    end
    if at < size then tree:add(number == 3 and states or body, range(at, size - at)) end
  end, extra = function(_, left) return left - 7 end } }
  f.asdu = ProtoField.none('q3p.asdu', 'Information objects')
  f['asdu.ioa'] = ProtoField.uint24('q3p.asdu.ioa', 'Information object address', base.DEC)
end

-- The objects of an ASDU of one of the types above, `range` from its type identification on.
local function addObjects(range, tree)
  local row = types[range(0, 1):uint()]
  if not row or range:len() < 9 then return end
  local vsq = range(1, 1):uint()
  local count, isSequence = vsq % 128, vsq >= 128
  local part = tree:add(f.asdu, range)
  part:append_text(format(' of %s (%d)', row[1], count))
  local at, ioa = 6, 0
  for i = 1, count do
    local object
    if i == 1 or not isSequence then
      if at + 3 > range:len() then return part:add_proto_expert_info(x.apdu, 'Octets are missing') end
      object, ioa = part:add_le(f['asdu.ioa'], range(at, 3)), range(at, 3):le_uint()
      at = at + 3
    else
      ioa = (ioa + 1) % 16777216
      object = part:add(f['asdu.ioa'], ioa):set_generated()
    end
    for j = 2, #row do
      local element = row[j]
      if at + element.size > range:len() then return part:add_proto_expert_info(x.apdu, 'Octets are missing') end
      local size = element.size + (element.extra and element.extra(range(at, 1), range:len() - at) or 0)
      if at + size > range:len() then return part:add_proto_expert_info(x.apdu, 'Octets are missing') end
      element.add(object, range(at, size))
      at = at + size
    end
  end
  if at < range:len() then part:add_proto_expert_info(x.apdu, 'Octets are left over') end
end

-- Field lists are registered once, so the numbered names go with the rest.
do
  local list = {}
  for _, made in pairs(f) do list[#list + 1] = made end
  q3p.fields = list
  list = {}
  for _, made in pairs(x) do list[#list + 1] = made end
  q3p.experts = list
end

---------------------------------------------------------------------------------------------------------------------
-- What is known of the channels while frames are seen for the first time, in order

local keyLog, channels, channelCount, remembered

local DEFAULT = { high = 0, eHigh = 0, aHigh = 0, sequence = 'new' }
local MAX_CHANNELS = 4096

local function newChannel()
  return { highest = -1, epochAt = 0, seen = {}, prunedAt = 0 }
end

local function channelOf(number)
  local channel = channels[number]
  if not channel then
    channel = newChannel()
    if channelCount >= MAX_CHANNELS then return channel end
    channels[number], channelCount = channel, channelCount + 1
  end
  return channel
end

-- Rebuilds the 64-bit numbers of a frame from what came before it, or from the key log.
local function numbersOf(frame, channel)
  local slots, epochs = keyLog.slots[frame.channel], keyLog.epochs[frame.channel]
  local idAt = channel.highest
  if idAt < 0 then idAt = epochs and epochs[1] and epochs[1].at or 0 end
  local slotAt = channel.nextSlot or channel.aesSlot or slots and slots.first or 0
  frame.msgId = frame.toldMsgId or rebuild(frame.lowMsgId, idAt)
  frame.eSlot = rebuild(frame.eKeyId, slotAt)
  frame.aSlot = rebuild(frame.aKeyId, slotAt)
end

-- How a frame stands to those before it: sequence, and which frame it repeats.
local function sequenceOf(frame, channel)
  local before = channel.seen[frame.msgId]
  if channel.source and channel.source ~= frame.source then
    return 'reflected', before and before.octets == frame.octets and before.number or nil
  end
  if before then
    if before.octets ~= frame.octets then return 'conflict', before.number end
    -- S- and U-frames (payloads of 6 octets) and HANDSHAKEs are never repeated, but sealed afresh.
    local isRepeatable = frame.command == 4 and #frame.payload > 6 and frame.msgId >= channel.epochAt
      and frame.time - before.time <= LATEST_REPEAT_S
    return isRepeatable and 'retransmission' or 'replay', before.number
  end
  if frame.msgId <= channel.highest - WINDOW then return 'late' end
  return 'new'
end

-- Key slots that a frame takes from the stream: the first and how many. With AES, if it is the first under its key.
local function slotsOf(frame)
  if frame.command == 0 then return frame.aSlot, HANDSHAKE_SLOTS end
  if frame.suite == 'otp' then return frame.eSlot, ceil(#frame.payload / SLOT) + MAC_SLOTS end
  if frame.suite == 'auth' then return frame.aSlot, MAC_SLOTS end
  return frame.eSlot, AES_SLOTS
end

-- Follows the key stream by a message that is newer than all before: what was left out, what was used before.
local function follow(frame, channel)
  local first, count = slotsOf(frame)
  local expected, aesSlot = channel.nextSlot, channel.aesSlot
  if frame.suite == 'aes' then
    if first == aesSlot then return end
    channel.aesSlot = first
    -- The first AES key that is seen may have been in use for long.
    if not aesSlot and not (expected and first >= expected) then return end
    frame.rekeys = true
  end
  if expected and first > expected then frame.keygap = first - expected end
  if expected and first < expected then frame.keyreuse = true end
  channel.nextSlot = math.max(expected or 0, first + count)
end

-- Forgets the frames that lie behind the replay window.
local function prune(channel)
  if channel.highest - channel.prunedAt <= WINDOW then return end
  local kept = {}
  for id, before in pairs(channel.seen) do
    if id > channel.highest - WINDOW then kept[id] = before end
  end
  channel.seen, channel.prunedAt = kept, channel.highest
end

-- Takes note of a frame that was accepted, as far as one can tell.
local function note(frame, channel)
  if frame.msgId > channel.highest then
    local jumps = channel.highest >= 0 and frame.msgId > channel.highest + MAX_JUMP
    if jumps and frame.status ~= 'good' and not frame.toldMsgId then return end
    follow(frame, channel)
    if frame.command == 0 then channel.epochAt = frame.msgId end
    channel.highest = frame.msgId
    prune(channel)
  end
  channel.source = channel.source or frame.source
  channel.seen[frame.msgId] = { number = frame.number, octets = frame.octets, time = frame.time }
end

---------------------------------------------------------------------------------------------------------------------
-- Opening a frame with the key log

-- Status of the tag, the plaintext if there is one, and why not.
local function opened(frame)
  local channel, head = frame.channel, sub(frame.octets, 1, -TAG - 1)
  if frame.suite == 'aes' then
    local key, why = keyLog:key(channel, frame.eSlot, AES_SLOTS)
    if not key then return nil, why end
    local nonce = u32octets(channel * 65536) .. u32octets(floor(frame.msgId / TWO32)) .. u32octets(frame.msgId % TWO32)
    local text = gcmOpen(key, nonce, sub(frame.octets, 1, HEADER), frame.payload, frame.tag)
    return text and 'good' or 'bad', text
  end
  local r, s, why
  if frame.command == 0 then
    local both
    both, why = keyLog:key(channel, frame.aSlot, HANDSHAKE_SLOTS)
    if not both then return nil, why end
    r, s = sub(both, 1, 16), sub(both, 17, 32)
  else
    local epoch = keyLog:epoch(channel, frame.msgId)
    if not epoch then return nil, 'epoch' end
    if not epoch.r then return nil, 'contradiction' end
    s, why = keyLog:key(channel, frame.aSlot, MAC_SLOTS)
    if not s then return nil, why end
    frame.epochAt, r = epoch.at, epoch.r
  end
  if poly1305(head, r, s) ~= frame.tag then return 'bad' end
  if frame.suite == 'auth' then return 'good', frame.payload end
  local pad
  pad, why = keyLog:key(channel, frame.eSlot, ceil(#frame.payload / SLOT))
  if not pad then return why == 'contradiction' and 'bad' or 'good', nil, why end
  return 'good', xor(frame.payload, pad)
end

-- Sets status, text (the plaintext) and why (what is wrong with the key log).
local function open(frame)
  local status, text, why = opened(frame)
  if status == nil then
    status, text, why = text == 'contradiction' and 'bad' or 'unverified', nil, text
  end
  if frame.suite == 'auth' then text = frame.payload end
  frame.status, frame.text, frame.why = status, text, why
end

---------------------------------------------------------------------------------------------------------------------
-- Dissection

-- First check that a receiver would refuse the frame for.
local function faultOf(size, frame)
  if frame.length ~= size or size < HEADER + TAG or size > HEADER + MAX_PAYLOAD + TAG then return 'length' end
  if floor(frame.flags / 32) ~= 2 then return 'version' end
  if not frame.suite then return 'flags' end
  if not COMMANDS[frame.command] then return 'command' end
  if frame.command == 0 and frame.suite ~= 'auth' then return 'flags' end
end

-- The layout of a HANDSHAKE's payload: field, offset, octets.
local HANDSHAKE_FIELDS = {
  { 'hsMagic', 0, 4 }, { 'hsEpoch', 4, 8 }, { 'hsAnswers', 12, 8 }, { 'hsMsgId', 20, 8 }, { 'hsAcceptsMsgId', 28, 8 },
  { 'hsAcceptsSlot', 36, 8 }, { 'hsK', 44, 2 }, { 'hsAesMax', 46, 2 }, { 'hsNameSize', 48, 1 },
}
local HANDSHAKE_SIZE = 49
local MAX_NAME = 64

-- As the receiver checks it: the layout, numbers below 2^53, and those that must not be 0.
local function isHandshake(payload)
  if #payload < HANDSHAKE_SIZE or sub(payload, 1, 4) ~= 'Q3H1' then return false end
  for at = 4, 36, 8 do
    if u32(payload, at) >= 2097152 then return false end
  end
  local k, nameSize = u16(payload, 44), byte(payload, 49)
  return u32(payload, 4) + u32(payload, 8) > 0 and k >= 1 and k <= 32767 and u16(payload, 46) >= 1
    and nameSize <= MAX_NAME and #payload == HANDSHAKE_SIZE + nameSize
end

local function headerOf(octets, size)
  local flags, number = byte(octets, 9), u16(octets, 10)
  local frame = {
    size = size, octets = octets, length = u32(octets, 0), lowMsgId = u32(octets, 4), flags = flags, suite = SUITES[flags],
    command = byte(octets, 10), channel = number, eKeyId = u32(octets, 12), aKeyId = u32(octets, 16),
  }
  frame.fault = faultOf(size, frame)
  if size >= HEADER + TAG then
    frame.payload, frame.tag = sub(octets, HEADER + 1, size - TAG), sub(octets, size - TAG + 1, size)
  end
  if not frame.fault and frame.command == 0 and isHandshake(frame.payload) then
    -- It says its Msg-Id whole.
    local told = u32(frame.payload, 20) * TWO32 + u32(frame.payload, 24)
    if told % TWO32 == frame.lowMsgId then frame.toldMsgId = told end
  end
  return frame
end

-- Judges a frame: in the first pass by what came before, later by what the first pass has found.
local function judge(frame, pinfo)
  local number = pinfo.number
  if pinfo.visited then
    local known = remembered[number] or DEFAULT
    frame.msgId = known.high * TWO32 + frame.lowMsgId
    frame.eSlot, frame.aSlot = known.eHigh * TWO32 + frame.eKeyId, known.aHigh * TWO32 + frame.aKeyId
    frame.sequence, frame.repeats, frame.rekeys = known.sequence, known.repeats, known.rekeys
    frame.keygap, frame.keyreuse = known.keygap, known.keyreuse
    return open(frame)
  end
  frame.number, frame.time, frame.source = number, pinfo.abs_ts, tostring(pinfo.src)
  local channel = channelOf(frame.channel)
  numbersOf(frame, channel)
  open(frame)
  if (frame.why == 'missing' or frame.why == 'epoch') and keyLog:refresh() then
    numbersOf(frame, channel)
    open(frame)
  end
  frame.sequence, frame.repeats = sequenceOf(frame, channel)
  if frame.sequence == 'new' and frame.status ~= 'bad' then note(frame, channel) end
  local high, eHigh, aHigh = floor(frame.msgId / TWO32), floor(frame.eSlot / TWO32), floor(frame.aSlot / TWO32)
  local isUsual = frame.sequence == 'new' and high + eHigh + aHigh == 0
  -- What is not kept here is as in DEFAULT, so that a long capture takes little memory.
  if isUsual and not (frame.rekeys or frame.keygap or frame.keyreuse) then return end
  remembered[number] = {
    high = high, eHigh = eHigh, aHigh = aHigh, sequence = frame.sequence, repeats = frame.repeats,
    rekeys = frame.rekeys, keygap = frame.keygap, keyreuse = frame.keyreuse,
  }
end

local function generated(tree, field, value)
  return tree:add(field, value):set_generated()
end

local function addHeader(frame, tvb, tree)
  tree:add(f.length, tvb(0, 4))
  tree:add(f.msgid, tvb(4, 4), uint64(frame.msgId or frame.lowMsgId))
  local flags = tree:add(f.flags, tvb(8, 1))
  flags:add(f.version, tvb(8, 1))
  -- Only flags that are set are there, so that `q3p.flags.s` in a filter says what it seems to say.
  local letters = ''
  for _, flag in ipairs(FLAGS) do
    if band(frame.flags, flag.mask) ~= 0 then
      flags:add(f[flag.name], tvb(8, 1))
      letters = letters .. ' ' .. flag.name:upper()
    end
  end
  flags:append_text(letters)
  if not frame.fault then generated(flags, f.suite, frame.suite) end
  tree:add(f.command, tvb(9, 1))
  local channel = tree:add(f.channel, tvb(10, 2))
  channel:add(f.link, tvb(10, 2))
  channel:add(f.direction, tvb(10, 2))
  local eKey = tree:add(f.ekeyid, tvb(12, 4))
  local aKey = tree:add(f.akeyid, tvb(16, 4))
  return eKey, aKey
end

local function addKeys(frame, tree, eKey, aKey)
  if frame.suite ~= 'auth' then generated(eKey, f.eslot, uint64(frame.eSlot)) end
  if frame.suite ~= 'aes' then generated(aKey, f.aslot, uint64(frame.aSlot)) end
  local _, count = slotsOf(frame)
  if frame.suite == 'aes' and not frame.rekeys then count = 0 end
  local item = generated(tree, f.slots, count)
  if frame.keygap then generated(tree, f.keygap, uint64(frame.keygap)):add_proto_expert_info(x.keygap) end
  if frame.keyreuse then item:add_proto_expert_info(x.keyreuse) end
end

local function addSequence(frame, tree)
  local item = generated(tree, f.sequence, frame.sequence)
  if frame.repeats then generated(tree, f.repeats, frame.repeats) end
  if frame.sequence ~= 'new' then item:add_proto_expert_info(x[frame.sequence]) end
end

local function addTag(frame, tvb, tree)
  local tag = tree:add(f.tag, tvb(frame.size - TAG, TAG))
  if frame.fault then return end
  tag:append_text(' [' .. frame.status .. ']')
  local item = generated(tag, f.status, frame.status)
  if frame.epochAt then generated(tag, f.epoch, uint64(frame.epochAt)) end
  if frame.why == 'contradiction' then
    item:add_proto_expert_info(x.contradiction)
  elseif frame.status == 'bad' then
    item:add_proto_expert_info(x.tag)
  end
  if keyLog.path == '' then return end
  if frame.why == 'missing' or frame.why == 'epoch' then item:add_proto_expert_info(x.nokey) end
  if keyLog.problem then item:add_proto_expert_info(x.keylog, format('Key log %s %s', keyLog.path, keyLog.problem)) end
end

local function addHandshake(frame, tvb, tree)
  local size = #frame.payload
  local part = tree:add(f.handshake, tvb(HEADER, size))
  if not isHandshake(frame.payload) then
    part:add_proto_expert_info(x.handshake)
    return
  end
  for _, field in ipairs(HANDSHAKE_FIELDS) do part:add(f[field[1]], tvb(HEADER + field[2], field[3])) end
  if size > HANDSHAKE_SIZE then part:add(f.hsName, tvb(HEADER + HANDSHAKE_SIZE, size - HANDSHAKE_SIZE)) end
end

local iec104

-- `tvb` is the APDU, `info` what the line of the frame begins with.
local function dissectApdu(tvb, frame, pinfo, tree, item, info)
  local text = frame.text
  if #text < 6 or byte(text, 1) ~= 0x68 or byte(text, 2) ~= #text - 2 then
    item:add_proto_expert_info(x.apdu)
    return
  end
  iec104 = iec104 or DissectorTable.get('tcp.port'):get_dissector(2404)
  if not iec104 then return end
  pinfo.cols.info = ''
  -- It tells the two directions apart by the port of the controlled station.
  local port = pinfo.src_port
  if frame.channel % 2 == 1 then pinfo.src_port = 2404 end
  local isDissected = pcall(function() iec104:call(tvb, pinfo, tree) end)
  pinfo.src_port = port
  if not isDissected then item:add_proto_expert_info(x.apdu, 'The APDU is malformed') end
  if byte(text, 3) % 2 == 0 and #text > 6 then addObjects(tvb(6), tree) end
  pinfo.cols.protocol = 'Q3P/104'
  pinfo.cols.info:prepend(info .. '  ')
end

local function describe(frame)
  if frame.fault then return 'Refused: bad ' .. frame.fault end
  local name = frame.command == 4 and SUITE_NAMES[frame.suite] or COMMANDS[frame.command]
  local parts = { format('%s %.0f', name, frame.msgId) }
  if frame.status == 'bad' then parts[#parts + 1] = '[bad tag]' end
  if frame.sequence ~= 'new' then
    parts[#parts + 1] = '[' .. frame.sequence .. (frame.repeats and format(' of %d', frame.repeats) or '') .. ']'
  end
  return concat(parts, ' ')
end

function q3p.dissector(tvb, pinfo, tree)
  pinfo.cols.protocol = 'Q3P'
  local size, captured = tvb:reported_len(), tvb:len()
  local part = tree:add(q3p, tvb())
  if captured < HEADER then
    pinfo.cols.info = 'Too short'
    if captured == size then generated(part, f.fault, 'length'):add_proto_expert_info(x.length) end
    if captured < size then part:add_proto_expert_info(x.cut) end
    return captured
  end
  local frame = headerOf(tvb:raw(0, captured), size)
  if captured < size then
    pinfo.cols.info = 'Captured in part only'
    frame.fault = 'cut'
    addHeader(frame, tvb, part)
    part:add_proto_expert_info(x.cut)
    return captured
  end
  if not frame.fault then judge(frame, pinfo) end
  local info = describe(frame)
  pinfo.cols.info = info
  part:append_text(format(': %s, link %d, direction %d', info, floor(frame.channel / 2), frame.channel % 2))
  local eKey, aKey = addHeader(frame, tvb, part)
  if frame.fault then
    generated(part, f.fault, frame.fault):add_proto_expert_info(x[frame.fault])
    if frame.tag then
      if #frame.payload > 0 then part:add(f.payload, tvb(HEADER, #frame.payload)) end
      addTag(frame, tvb, part)
    end
    return size
  end
  addKeys(frame, part, eKey, aKey)
  addSequence(frame, part)
  local payload = #frame.payload > 0 and part:add(f.payload, tvb(HEADER, #frame.payload)) or part
  addTag(frame, tvb, part)
  if frame.command == 0 then
    addHandshake(frame, tvb, part)
  elseif frame.text and frame.command == 4 then
    local apdu = tvb(HEADER, #frame.payload)
    if frame.suite == 'auth' then
      apdu = #frame.payload > 0 and apdu:tvb() or nil
    else
      apdu = #frame.text > 0 and ByteArray.new(frame.text, true):tvb('Decrypted Q3P') or nil
    end
    dissectApdu(apdu, frame, pinfo, tree, payload, info)
  end
  return size
end

local port

local function listen()
  local table = DissectorTable.get('udp.port')
  if port then table:remove(port, q3p) end
  port = q3p.prefs.udp_port
  table:add(port, q3p)
end

q3p.prefs_changed = listen

-- Called for each capture file, and when a preference has changed.
function q3p.init()
  keyLog = newKeyLog(q3p.prefs.keylog_file)
  channels, channelCount, remembered = {}, 0, {}
  ciphers, cipherCount = {}, 0
end

listen()
