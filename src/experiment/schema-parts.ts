/** What the parts of the scenario's schema share. */
import { z } from 'zod'

// Our own limits: they keep a mistyped number from becoming an hour of start-up or a full disk.
export const MAX_NODES = 2_000
/** A channel number is 2 x link + direction in 16 bits. */
export const MAX_LINKS = 4_000

export const positive = () => z.number().positive()
export const ratio = () => z.number().min(0).max(1)

/** Names of nodes, links and chains: also used in file, namespace and certificate names. */
export const id = () =>
  z.string().regex(/^[A-Za-z][A-Za-z0-9_-]{0,31}$/, 'a letter, then at most 31 letters, digits, "_" or "-"')
/** An object that may be left out: all its defaults apply. */
export const section = <T extends z.ZodRawShape>(shape: T) => z.strictObject(shape).prefault({} as never)
