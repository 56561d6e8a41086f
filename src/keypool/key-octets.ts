/** A plain array of our own: the source may give a Buffer, whose `slice` shares memory and would share its overwriting. */
export function owned(drawn: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(drawn)
  drawn.fill(0)
  return bytes
}

/** One run of bytes of several, which are overwritten. */
export function joined(parts: readonly Uint8Array[]): Uint8Array {
  const [first] = parts
  if (first !== undefined && parts.length === 1) return first
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0))
  let at = 0
  for (const part of parts) {
    whole.set(part, at)
    at += part.length
    part.fill(0)
  }
  return whole
}
