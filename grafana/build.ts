import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { dashboardFiles } from './dashboards.ts'

// Writes grafana/dashboards anew from panels.ts: `npm run grafana`.
const folder = 'grafana/dashboards'
rmSync(folder, { recursive: true, force: true })
for (const [path, text] of dashboardFiles()) {
  const file = join(folder, path)
  mkdirSync(dirname(file), { recursive: true })
  writeFileSync(file, text)
}
