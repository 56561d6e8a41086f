import { prepare } from './setup.mjs'

prepare()
const { main } = await import('../build/src/cli/main.js')
process.exitCode = await main(process.argv.slice(2))
