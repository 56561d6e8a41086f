import { prepare } from './setup.mjs'

prepare()
await import('../build/src/cli/bin.js')
