/**
 * Files that a node with secure links keeps: its ledger and the key log. Apart from `index.ts`, because they bring the crypto
 * library, and processes without such links (key server, grid) need not carry it in memory.
 */
export { KeyLogFile, keyLogWarning } from './key-log.ts'
export { LedgerFile, LedgerFileError, type LedgerOptions } from './ledger.ts'
