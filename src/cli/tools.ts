import { accessSync, constants } from 'node:fs'
import { delimiter, join } from 'node:path'

/** The path of a command on PATH, or undefined. */
export function findTool(command: string): string | undefined {
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin', '/sbin']
  return folders
    .map((folder) => join(folder, command))
    .find((path) => {
      try {
        accessSync(path, constants.X_OK)
        return true
      } catch {
        return false
      }
    })
}
