import t from 'tap'
import { LabUnderTest } from './lab-under-test.ts'

const TINY = 'scenarios/tiny.yaml'
const isRoot = process.getuid?.() === 0

t.test('Ctrl-C at any moment ends the run in order and leaves nothing behind', async (t) => {
  const moments = [/isolation/, /starting/, /processes up/, /t {3}1\//]
  await Promise.all(
    moments.map(async (moment, index) => {
      const lab = new LabUnderTest(`t-int-${index}`, TINY)
      await lab.printed(moment)
      lab.child.kill('SIGINT')
      const { code } = await lab.finished
      t.equal(code, 130, `interrupted at ${moment}`)
      t.same(await lab.leftovers(), [])
    }),
  )
})

t.test('a killed process ends the run with a report that names it', { skip: !isRoot && 'needs root' }, async (t) => {
  const dies = async (victim: string): Promise<void> => {
    const lab = new LabUnderTest(`t-kill-${victim.toLowerCase()}`, TINY)
    await lab.printed(/t {3}1\//)
    for (const pid of lab.pidsOf(victim)) process.kill(pid, 'SIGKILL')
    const { code, stdout, stderr } = await lab.finished
    t.equal(code, 1, `${victim}: ${stderr}`)
    t.match(stdout, new RegExp(`process ${victim} was ended by SIGKILL`))
    t.same(await lab.leftovers(), [])
  }
  await Promise.all(['cc', 'gwA', 'rtu1', 'load3'].map(dies))
  await Promise.all(['keyserver', 'grid', 'redis'].map(dies))
})

t.test('a run whose capture was killed says so and is not valid', { skip: !isRoot && 'needs root' }, async (t) => {
  const lab = new LabUnderTest('t-capture', TINY, '--duration', '6s')
  await lab.printed(/t {3}1\//)
  for (const pid of lab.pidsRunning('tcpdump')) process.kill(pid, 'SIGKILL')
  const { code, stdout } = await lab.finished
  t.equal(code, 1)
  t.match(stdout, /tcpdump in q104-t-capture-\w+: ended \(SIGKILL\)/)
  t.same(await lab.leftovers(), [])
})

t.test('a run that is killed itself leaves no process, namespace or lock', async (t) => {
  const lab = new LabUnderTest('t-self', TINY)
  await lab.printed(/t {3}1\//)
  lab.child.kill('SIGKILL')
  await lab.finished
  t.same(await lab.leftovers(), [])
})
