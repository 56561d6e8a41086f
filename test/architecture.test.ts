import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import t from 'tap'

/** Who may import whom: the table of docs/architecture.md. `*` is every folder but cli. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  protocol: [],
  grid: [],
  forecast: [],
  scheduler: ['forecast', 'protocol'],
  sim: ['protocol', 'grid', 'scheduler', 'forecast', 'keypool', 'master', 'gateway', 'rtu', 'ied'],
  keypool: ['protocol', 'runtime'],
  master: ['protocol', 'scheduler', 'forecast'],
  gateway: ['protocol', 'scheduler', 'forecast'],
  rtu: ['protocol', 'scheduler', 'forecast'],
  ied: ['protocol', 'scheduler', 'forecast'],
  runtime: ['protocol'],
  dashboard: [],
  observe: ['runtime'],
  experiment: [
    'protocol',
    'grid',
    'forecast',
    'scheduler',
    'sim',
    'keypool',
    'master',
    'gateway',
    'rtu',
    'ied',
    'runtime',
    'netns',
  ],
  cli: ['*'],
  netns: ['*'],
}

/** Files of another folder that may be imported besides its index.ts. */
const PUBLIC_FILES = [
  'runtime/contract.ts',
  'runtime/link-ports.ts',
  'runtime/node-files.ts',
  'keypool/pure.ts',
  'keypool/etsi014-index.ts',
  'gateway/bump/index.ts',
]
/** Of runtime, pure folders may take these alone: the contract (types) and the links of a node (pure). */
const PURE_RUNTIME = ['runtime/contract.ts', 'runtime/link-ports.ts']
const PURE = ['protocol', 'grid', 'forecast', 'scheduler', 'sim', 'master', 'gateway', 'rtu', 'ied', 'dashboard']
/** Files of keypool that do input and output; all others there are pure. */
const KEYPOOL_IO = [
  'ask-stream.ts',
  'get-key.ts',
  'get-keys-stream.ts',
  'grpc-server.ts',
  'grpc-client.ts',
  'ca.ts',
  'redis.ts',
  'journal-file.ts',
  'etsi014-server.ts',
  'etsi014-client.ts',
  'etsi014-source.ts',
  'etsi014-index.ts',
]
/** Files of observe that talk to servers, with retries; its rules and metrics take time from their caller. */
const OBSERVE_IO = ['influx.ts', 'notifier.ts', 'receivers.ts']
const CLOCKS = /\b(Date\.now|new Date\(\)|performance\.now|hrtime|Math\.random|setTimeout|setInterval|setImmediate)\b/

type Import = { readonly file: string; readonly folder: string; readonly target: string; readonly typeOnly: boolean }

const root = process.cwd()
const sources = [...filesOf('src'), ...filesOf('netns')]

function filesOf(folder: string): string[] {
  return readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .map((name) => join(folder, name))
}

function folderOf(file: string): string {
  const [first = '', second = ''] = file.split('/')
  return first === 'src' ? second : first
}

/** Target of an import without `src/`, or the module's name. */
function importsOf(file: string): Import[] {
  const text = readFileSync(join(root, file), 'utf8')
  const statements = [...text.matchAll(/^(?:import|export)\s+(type\s+)?[^'"]*?from\s+'([^']+)'/gm)]
  const dynamic = [...text.matchAll(/import\('([^']+)'\)/g)].map(([, module]) => [undefined, undefined, module])
  return [...statements, ...dynamic].map(([, type, module = '']) => {
    const target = module.startsWith('.')
      ? relative(root, join(root, dirname(file), module)).replace(/^src\//, '')
      : module
    return { file, folder: folderOf(file), target, typeOnly: type !== undefined }
  })
}

const imports = sources.flatMap(importsOf)
const crossing = imports.filter(({ target, folder }) => target.includes('.ts') && target.split('/')[0] !== folder)

t.test('a folder imports only the folders it may', async (t) => {
  const wrong = crossing.filter(({ folder, target }) => {
    const allowed = MAY_IMPORT[folder] ?? []
    const [to = ''] = target.split('/')
    return !allowed.includes('*') && !allowed.includes(to) && !PURE_RUNTIME.includes(target)
  })
  t.same(wrong, [])
  t.ok(crossing.length > 50, 'and there are imports to check')
})

t.test('a folder is imported by its index.ts or a file named as public', async (t) => {
  const wrong = crossing.filter(({ target }) => !/^[a-z]+\/index\.ts$/.test(target) && !PUBLIC_FILES.includes(target))
  t.same(wrong, [])
})

t.test('the contract is imported for its types only', async (t) => {
  t.same(
    crossing.filter(({ target, typeOnly }) => target === 'runtime/contract.ts' && !typeOnly),
    [],
  )
})

t.test('nobody imports the command line, and nodes do not import each other', async (t) => {
  t.same(
    crossing.filter(({ target }) => target.startsWith('cli/')),
    [],
  )
})

t.test('pure folders touch nothing of Node, but protocol its crypto', async (t) => {
  const wrong = imports.filter(({ folder, target }) => {
    if (!PURE.includes(folder) || !target.startsWith('node:')) return false
    return !(folder === 'protocol' && target === 'node:crypto')
  })
  t.same(wrong, [])
})

t.test('the pure part of keypool imports neither Node nor the files that do input and output', async (t) => {
  const wrong = imports.filter(({ file, folder, target }) => {
    if (folder !== 'keypool' || [...KEYPOOL_IO, 'index.ts', 'messages.ts'].some((name) => file.endsWith(`/${name}`))) {
      return false
    }
    return target.startsWith('node:') || KEYPOOL_IO.includes(target.replace('keypool/', ''))
  })
  t.same(wrong, [])
})

t.test(
  'clocks, timers and random sources are touched only in runtime, cli, netns and the clients and servers of keypool and observe',
  async (t) => {
    const free = (file: string): boolean =>
      ['runtime', 'cli', 'netns'].includes(folderOf(file)) ||
      // What runs in the browser.
      file.startsWith(join('src', 'dashboard', 'page')) ||
      KEYPOOL_IO.some((name) => file === join('src', 'keypool', name)) ||
      OBSERVE_IO.some((name) => file === join('src', 'observe', name))
    const wrong = sources.filter((file) => !free(file) && CLOCKS.test(readFileSync(join(root, file), 'utf8')))
    t.same(wrong, [])
  },
)

t.test('no source file is longer than 400 lines', async (t) => {
  const long = sources.filter((file) => readFileSync(join(root, file), 'utf8').split('\n').length > 401)
  t.same(long, [])
})
