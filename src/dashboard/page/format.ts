/** Numbers as people read them. */

/** `12.4 s`, `3 min 05 s`, `1 h 02 min`. */
export function time(ms: number): string {
  const s = Math.max(0, ms) / 1000
  if (s < 120) return `${s.toFixed(1)} s`
  const pad = (value: number): string => String(Math.floor(value)).padStart(2, '0')
  if (s < 3600) return `${Math.floor(s / 60)} min ${pad(s % 60)} s`
  return `${Math.floor(s / 3600)} h ${pad((s % 3600) / 60)} min`
}

/** Seconds with a millisecond, as the record has them: `12.345`. */
export function stamp(ms: number): string {
  return (ms / 1000).toFixed(2)
}

/** `14.2 kbit`. */
export function bits(value: number): string {
  if (Math.abs(value) < 1_000) return `${value.toFixed(0)} bit`
  if (Math.abs(value) < 1e6) return `${(value / 1e3).toFixed(1)} kbit`
  return `${(value / 1e6).toFixed(2)} Mbit`
}

/** `298 bit/s`. */
export function rate(bps: number): string {
  if (bps < 1_000) return `${bps.toFixed(0)} bit/s`
  return bps < 1e6 ? `${(bps / 1e3).toFixed(1)} kbit/s` : `${(bps / 1e6).toFixed(2)} Mbit/s`
}

export function milliseconds(ms: number): string {
  if (ms < 0.005) return '0'
  if (ms < 10) return ms.toFixed(2)
  return ms < 100 ? ms.toFixed(1) : thousands(ms)
}

export function signed(value: number, digits: number): string {
  const text = Math.abs(value).toFixed(digits)
  return Number(text) === 0 ? text : `${value < 0 ? '\u2212' : '+'}${text}`
}

/** `1,234`. */
export function thousands(value: number): string {
  return Math.round(value).toLocaleString('en')
}

export function percent(part: number, whole: number): string {
  if (whole === 0) return '\u2013'
  const value = (100 * part) / whole
  return value === 100 ? '100 %' : `${value.toFixed(1)} %`
}
