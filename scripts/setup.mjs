// Set-up of a fresh clone: npm dependencies, the build, and the Debian tools that a lab needs. Plain JavaScript on Node's
// own modules, because nothing else is there yet. Says on stderr what it does; does nothing when nothing is missing.
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  accessSync,
  constants,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { delimiter, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
/** Debian packages unpacked here when they cannot be installed (no root). */
const toolsDir = join(root, '.q104', 'tools')

/** Command -> the Debian package that has it. */
export const LAB_TOOLS = {
  'redis-server': 'redis-server',
  tcpdump: 'tcpdump',
  ip: 'iproute2',
  tc: 'iproute2',
  setpriv: 'util-linux',
}
export const TEST_TOOLS = {
  ...LAB_TOOLS,
  tshark: 'tshark',
  ping: 'iputils-ping',
  'python3-scapy': 'python3-scapy',
  chromium: 'chromium',
  prometheus: 'prometheus',
  influxd: 'influxdb',
  'linux.uml': 'user-mode-linux',
}
/** What is no command on PATH: how to see whether it is there. */
const PROBES = { 'python3-scapy': ['/usr/bin/python3', ['-c', 'import scapy']] }

function say(text) {
  process.stderr.write(`q104 set-up: ${text}\n`)
}

function fail(text) {
  process.stderr.write(`q104 set-up failed: ${text}\n`)
  process.exit(1)
}

/** Runs a command in the project's root; its output goes to stderr so that stdout stays the command's own. */
function run(command, args, options = {}) {
  return spawnSync(command, args, { cwd: root, stdio: ['ignore', 2, 2], ...options })
}

function ensureNode() {
  const major = Number(process.versions.node.split('.')[0])
  if (major < 20) fail(`Node.js 20 or newer is needed, this is ${process.version}`)
}

function ensureDependencies() {
  const lock = createHash('sha256')
    .update(readFileSync(join(root, 'package-lock.json')))
    .digest('hex')
  const stamp = join(root, 'node_modules', '.q104-lock')
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === lock) return
  say('installing npm dependencies (npm ci)')
  if (run('npm', ['ci', '--no-audit', '--no-fund', '--loglevel=error']).status !== 0) fail('npm ci did not succeed')
  writeFileSync(stamp, lock)
}

function newestMs(path) {
  const stat = statSync(path)
  if (!stat.isDirectory()) return stat.mtimeMs
  return readdirSync(path).reduce((newest, name) => Math.max(newest, newestMs(join(path, name))), stat.mtimeMs)
}

function ensureBuild() {
  const stamp = join(root, 'build', '.stamp')
  const sources = ['src', 'netns', 'grafana', 'test', 'bench', 'tsconfig.json', 'package-lock.json'].map((name) =>
    join(root, name),
  )
  const newest = Math.max(...sources.filter((path) => existsSync(path)).map(newestMs))
  if (existsSync(stamp) && Number(readFileSync(stamp, 'utf8')) >= newest) return
  say('building (tsc)')
  rmSync(join(root, 'build'), { recursive: true, force: true })
  // The page runs in a browser and is built apart, with the browser's types.
  for (const project of ['.', join('src', 'dashboard', 'page')]) {
    if (run(process.execPath, [join('node_modules', 'typescript', 'bin', 'tsc'), '-p', project]).status !== 0)
      fail('the build has errors')
  }
  writeFileSync(stamp, String(newest))
}

function isThere(command) {
  const probe = PROBES[command]
  return probe === undefined ? onPath(command) : spawnSync(probe[0], probe[1], { stdio: 'ignore' }).status === 0
}

function onPath(command) {
  return process.env.PATH.split(delimiter).some((dir) => {
    try {
      accessSync(join(dir, command), constants.X_OK)
      return true
    } catch {
      return false
    }
  })
}

/** Puts the system's sbin folders and our unpacked tools on PATH, for this process and its children. */
function extendPath() {
  const have = process.env.PATH.split(delimiter)
  const more = ['/usr/sbin', '/sbin', ...['usr/bin', 'usr/sbin', 'bin', 'sbin'].map((dir) => join(toolsDir, dir))]
  process.env.PATH = [...have, ...more.filter((dir) => !have.includes(dir))].join(delimiter)
  const python = join(toolsDir, 'usr/lib/python3/dist-packages')
  if (existsSync(python)) process.env.PYTHONPATH = [python, process.env.PYTHONPATH].filter(Boolean).join(delimiter)
  const libs = ['usr/lib', 'lib']
    .flatMap((dir) => [join(toolsDir, dir), join(toolsDir, dir, debianTriplet())])
    .filter((dir) => existsSync(dir))
  if (libs.length > 0)
    process.env.LD_LIBRARY_PATH = [...libs, process.env.LD_LIBRARY_PATH].filter(Boolean).join(delimiter)
}

function debianTriplet() {
  return { x64: 'x86_64-linux-gnu', arm64: 'aarch64-linux-gnu' }[process.arch] ?? `${process.arch}-linux-gnu`
}

/** Installs packages as root, without letting them start services. */
function aptInstall(packages) {
  const policy = '/usr/sbin/policy-rc.d'
  const holdServices = !existsSync(policy)
  if (holdServices) writeFileSync(policy, '#!/bin/sh\nexit 101\n', { mode: 0o755 })
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
  const args = ['install', '-y', '-q', '--no-install-recommends', ...packages]
  try {
    if (run('apt-get', args, { env }).status === 0) return true
    return run('apt-get', ['update', '-q'], { env }).status === 0 && run('apt-get', args, { env }).status === 0
  } finally {
    if (holdServices) rmSync(policy, { force: true })
  }
}

/** Unpacks packages, with what they depend on and the system lacks, into the project's own folder: needs no root. */
function aptUnpack(packages) {
  const simulated = spawnSync('apt-get', ['install', '-s', '--no-install-recommends', ...packages], {
    encoding: 'utf8',
  })
  if (simulated.status !== 0) return false
  const names = [...simulated.stdout.matchAll(/^Inst (\S+)/gm)].map(([, name]) => name)
  const debs = join(toolsDir, 'debs')
  mkdirSync(debs, { recursive: true })
  if (run('apt-get', ['download', '-q', ...names], { cwd: debs }).status !== 0) return false
  const unpacked = readdirSync(debs).every((deb) => run('dpkg-deb', ['-x', join(debs, deb), toolsDir]).status === 0)
  rmSync(debs, { recursive: true, force: true })
  return unpacked
}

/** Sees to it that the commands are there. A lab runs without some of them and says so; so this warns, it does not end. */
function ensureTools(tools) {
  extendPath()
  const missing = Object.keys(tools).filter((command) => !isThere(command))
  if (missing.length === 0) return
  const packages = [...new Set(missing.map((command) => tools[command]))]
  if (!onPath('apt-get'))
    return say(`missing: ${missing.join(', ')}; no apt-get here, please install ${packages.join(', ')}`)
  const isRoot = process.getuid?.() === 0
  say(
    `installing Debian packages ${packages.join(', ')} ${isRoot ? '(apt-get install)' : `(no root: unpacked into ${toolsDir})`}`,
  )
  const done = isRoot ? aptInstall(packages) : aptUnpack(packages)
  extendPath()
  const still = missing.filter((command) => !isThere(command))
  if (!done || still.length > 0)
    say(
      `could not get ${still.join(', ') || packages.join(', ')}; install by hand: apt-get install ${packages.join(' ')}`,
    )
}

/** Makes the project ready to run; `tools` maps commands to Debian packages. */
export function prepare(tools = LAB_TOOLS) {
  ensureNode()
  ensureDependencies()
  ensureBuild()
  ensureTools(tools)
}
