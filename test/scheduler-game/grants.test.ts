import t from 'tap'
import { type InstanceSpec, randomGame } from '../../bench/game/instances.ts'
import {
  type ChainState,
  type Choices,
  encodeGrantMessage,
  type FollowerEffect,
  type Game,
  type GameAgent,
  type GameSpec,
  GrantAssembler,
  GrantFollower,
  GrantLeader,
  type GrantMessage,
  type LeaderEffect,
  type OfferAnswers,
  type OfferPoint,
  peekGrantPart,
  planAlone,
  roundSolverOf,
  sharedRow,
  solveExact,
  solveLdCp,
  solveSocial,
  spreadOf,
} from '../../src/scheduler/index.ts'

const SPEC: InstanceSpec = {
  leaderChains: 15,
  followerChains: [12, 12, 12],
  budgetRatio: 0.5,
  followerWeight: 0.3,
  floorRatio: 0,
}
const GAME: GameSpec = { solver: 'exact', agents: [], followerWeight: 0.3, floorRatio: 0.9, riskRatio: 0.05 }
const PATIENCE_MS = 50
const KEEP_ROUNDS = 2
const STOCK = {
  stockBits: 40_000,
  supplyBits: Array.from({ length: 10 }, () => 1_000),
  supplyStdBits: Array.from({ length: 10 }, (_, s) => 100 * Math.sqrt(s + 1)),
  bufferBits: 0,
  reserveBits: 4_000,
  riskRatio: 0.05,
}

function demandBpsOf({ chains }: GameAgent): number {
  return chains.reduce((sum, { options }) => sum + Math.max(...options.map(({ meanBits }) => meanBits)) / 10, 0)
}

function mostOf({ chains }: GameAgent, riskPriceBits: number): number {
  return chains.reduce((sum, { options }) => {
    const heaviest = options.reduce((best, option) => (option.meanBits > best.meanBits ? option : best))
    return sum + Math.ceil(heaviest.meanBits + riskPriceBits * heaviest.varianceBits2 - 1e-9)
  }, 0)
}

/** The game with the floors that the leader of a table sets. */
function withFloors(game: Game, floorRatio: number): Game {
  const agents = [game.leader, ...game.followers]
  const all = agents.reduce((sum, agent) => sum + demandBpsOf(agent), 0)
  const followers = game.followers.map((agent) => {
    const share = demandBpsOf(agent) / all
    const floorBits = Math.min(mostOf(agent, game.riskPriceBits), Math.floor(floorRatio * share * game.budgetBits))
    return { ...agent, floorBits }
  })
  return { ...game, followers }
}

/** A leader and followers that hear each other by octets, as over a wire; `isLost` says which messages do not arrive. */
class Table {
  readonly leader: GrantLeader
  readonly followers: ReadonlyMap<string, GrantFollower>
  readonly states = new Map<string, readonly ChainState[]>()
  readonly told: (LeaderEffect | FollowerEffect)[] = []
  readonly messages: GrantMessage[] = []
  readonly game: Game
  isLost: (message: GrantMessage) => boolean = () => false

  constructor(game: Game, spec: Partial<GameSpec> = {}) {
    this.game = game
    this.leader = new GrantLeader({
      followers: game.followers.map((agent) => ({ id: agent.id, demandBps: demandBpsOf(agent) })),
      patienceMs: PATIENCE_MS,
      keepRounds: KEEP_ROUNDS,
      solver: roundSolverOf({ ...GAME, ...spec }),
    })
    this.followers = new Map(
      game.followers.map((agent) => {
        const options = { id: agent.id, freshMs: 1_250, holdMs: 5_000 }
        return [agent.id, new GrantFollower(options, nowOf(agent, game.riskPriceBits))] as const
      }),
    )
  }

  play(nowMs: number, budgetBits = this.game.budgetBits): void {
    const { leader, riskPriceBits } = this.game
    const round = { leader, demandBps: demandBpsOf(leader), stock: STOCK, budgetBits, riskPriceBits }
    this.#fromLeader(this.leader.handle({ kind: 'play', round }, nowMs), nowMs)
    const { wakeAtMs } = this.leader
    if (wakeAtMs !== undefined) this.#fromLeader(this.leader.handle({ kind: 'wake' }, wakeAtMs), wakeAtMs)
  }

  /** A tick of the followers' schedulers. */
  tick(nowMs: number): void {
    for (const agent of this.game.followers) {
      const now = nowOf(agent, this.game.riskPriceBits)
      this.#fromFollower(agent.id, this.followers.get(agent.id)?.handle({ kind: 'now', now }, nowMs) ?? [], nowMs)
    }
  }

  bases(who: string): readonly string[] {
    return this.told.flatMap((effect) =>
      effect.kind === 'basis' && ('follower' in effect ? effect.follower : 'self') === who ? [effect.basis] : [],
    )
  }

  get settled() {
    return this.told.findLast((effect) => effect.kind === 'settled')
  }

  #fromLeader(effects: readonly LeaderEffect[], nowMs: number): void {
    for (const effect of effects) {
      if (effect.kind === 'settled') this.states.set(this.game.leader.id, effect.states)
      if (effect.kind !== 'send') this.told.push(effect)
      else {
        const message = this.#carried(effect.message, this.game.leader.id, effect.to)
        const follower = this.followers.get(effect.to)
        if (message !== undefined && follower !== undefined) {
          this.#fromFollower(effect.to, follower.handle({ kind: 'message', message }, nowMs), nowMs)
        }
      }
    }
  }

  #fromFollower(id: string, effects: readonly FollowerEffect[], nowMs: number): void {
    for (const effect of effects) {
      if (effect.kind === 'states') this.states.set(id, effect.states)
      if (effect.kind !== 'send') this.told.push(effect)
      else {
        const message = this.#carried(effect.message, id, this.game.leader.id)
        if (message !== undefined) this.#fromLeader(this.leader.handle({ kind: 'message', message }, nowMs), nowMs)
      }
    }
  }

  #carried(message: GrantMessage, from: string, to: string): GrantMessage | undefined {
    this.messages.push(message)
    return this.isLost(message) ? undefined : overOctets(message, from, to)
  }
}

function nowOf(agent: GameAgent, riskPriceBits: number) {
  return { agent, demandBps: demandBpsOf(agent), floor: { budgetBits: 0, riskPriceBits } }
}

function overOctets(message: GrantMessage, from: string, to: string): GrantMessage | undefined {
  const assembler = new GrantAssembler(from, to)
  const [last] = encodeGrantMessage(message)
    .map((part) => assembler.take(part))
    .slice(-1)
  return last
}

function statesOf({ chains }: GameAgent, choices: Choices | undefined): readonly ChainState[] {
  return chains.map(({ options }, l) => options[choices?.[l] ?? 0]?.state ?? 0)
}

function keyBitsOf(table: Table, agent: GameAgent): number {
  const { riskPriceBits } = table.game
  return agent.chains.reduce((sum, { options }, l) => {
    const option = options.find(({ state }) => state === table.states.get(agent.id)?.[l])
    return sum + Math.ceil((option?.meanBits ?? 0) + riskPriceBits * (option?.varianceBits2 ?? 0) - 1e-9)
  }, 0)
}

t.test('grants by messages lead where the exact solver leads', async (t) => {
  for (let seed = 0; seed < 10; seed++) {
    const followerWeight = seed % 2 === 0 ? 0.3 : 0
    const floorRatio = seed % 3 === 0 ? 0 : 0.9
    const game = withFloors(randomGame(seed, { ...SPEC, followerWeight }), floorRatio)
    const table = new Table(game, { followerWeight, floorRatio })
    table.play(0)
    const { answer } = solveExact(game)
    t.same(table.states.get(game.leader.id), statesOf(game.leader, answer.leader), `leader, seed ${seed}`)
    for (const [j, follower] of game.followers.entries()) {
      t.same(table.states.get(follower.id), statesOf(follower, answer.followers[j]), `${follower.id}, seed ${seed}`)
    }
  }
})

t.test('LD-CP and the social optimum by messages are those of one place', async (t) => {
  for (const form of ['improved', 'printed'] as const) {
    const game = withFloors(randomGame(4, SPEC), 0.9)
    const table = new Table(game, { solver: 'ldCp', ldCpForm: form })
    table.play(0)
    const { answer } = solveLdCp(game, { form, measureDistance: false })
    t.same(table.states.get(game.leader.id), statesOf(game.leader, answer.leader), form)
    t.same(
      game.followers.map(({ id }) => table.settled?.grants.get(id)),
      answer.grantsBits.map(Math.floor),
    )
  }
  const game = withFloors(randomGame(5, SPEC), 0)
  const table = new Table(game, { solver: 'social' })
  table.play(0)
  const found = solveSocial({ ...game, followerWeight: 1 })
  for (const [j, follower] of game.followers.entries()) {
    t.same(table.states.get(follower.id), statesOf(follower, found.followers[j]), 'the states that the planner tells')
  }
})

t.test('S-4 by messages: everybody alone in a fixed part of the stock', async (t) => {
  const game = randomGame(6, SPEC)
  const all = [game.leader, ...game.followers].reduce((sum, agent) => sum + demandBpsOf(agent), 0)
  for (const solver of ['equal', 'demand'] as const) {
    const table = new Table(game, { solver })
    table.tick(0)
    table.play(0)
    const part = (agent: GameAgent) => (solver === 'equal' ? 1 / 4 : demandBpsOf(agent) / all)
    for (const agent of game.followers) {
      const scale = (values: readonly number[]) => values.map((value) => value * part(agent))
      const input = {
        ...STOCK,
        stockBits: STOCK.stockBits * part(agent),
        reserveBits: STOCK.reserveBits * part(agent),
        supplyBits: scale(STOCK.supplyBits),
        supplyStdBits: scale(STOCK.supplyStdBits),
      }
      // Before the first grant nothing runs, so the spread is that of the supply.
      const { budgetBits, riskPriceBits } = sharedRow(input, spreadOf(input, 0))
      const alone = planAlone(agent, budgetBits, riskPriceBits)
      const lossOf = (states: readonly ChainState[] | undefined) =>
        agent.chains.reduce((sum, { options }, l) => {
          return sum + (options.find(({ state }) => state === states?.[l])?.ownLoss ?? 0)
        }, 0)
      t.ok(
        Math.abs(lossOf(table.states.get(agent.id)) - lossOf(statesOf(agent, alone))) < 1e-4,
        `${solver} ${agent.id}`,
      )
    }
  }
})

t.test('of a follower that is silent the last offer stands, then its share by demand is set aside', async (t) => {
  const game = withFloors(randomGame(1, SPEC), 0.9)
  const table = new Table(game)
  table.play(0)
  const before = table.settled?.grants.get('dso2')
  table.isLost = (message) => message.kind === 'offer' && message.from === 'dso2'
  for (let round = 1; round <= KEEP_ROUNDS + 1; round++) {
    table.play(500 * round)
    const used = [game.leader, ...game.followers].reduce((sum, agent) => sum + keyBitsOf(table, agent), 0)
    t.ok(used <= game.budgetBits, `all together stay within the budget, round ${round}`)
  }
  t.same(table.bases('dso2'), ['offer', 'lastOffer', 'share'])
  const [leaderBps, ...bps] = [game.leader, ...game.followers].map(demandBpsOf)
  const share = (bps[1] ?? 0) / bps.reduce((sum, each) => sum + each, leaderBps ?? 0)
  t.equal(table.settled?.grants.get('dso2'), Math.floor(share * game.budgetBits))
  t.not(table.settled?.grants.get('dso2'), before)
  table.isLost = () => false
  table.play(5_000)
  t.equal(table.bases('dso2').at(-1), 'offer', 'it is heard again')
})

t.test('a follower without a fresh grant keeps within the last one, then within its floor', async (t) => {
  const game = withFloors(randomGame(2, SPEC), 0.9)
  const table = new Table(game)
  table.play(0)
  const granted = game.followers.map(({ id }) => table.settled?.grants.get(id) ?? 0)
  table.isLost = () => true
  for (const nowMs of [600, 1_200, 1_300, 4_900]) {
    table.tick(nowMs)
    for (const [j, agent] of game.followers.entries()) t.ok(keyBitsOf(table, agent) <= (granted[j] ?? 0))
  }
  table.tick(5_100)
  for (const agent of game.followers) t.equal(keyBitsOf(table, agent), 0, 'its floor here is nothing')
  t.same(
    table.bases('self').filter((_, i) => i % 3 === 0),
    ['grant', 'lastGrant', 'floor'],
  )
})

t.test('a grant that is lost, late, of another round or for another leaves a follower as it is', async (t) => {
  const game = randomGame(2, SPEC)
  const [agent] = game.followers
  if (agent === undefined) throw new Error('no follower')
  const follower = new GrantFollower({ id: 'dso1', freshMs: 1_000, holdMs: 5_000 }, nowOf(agent, 0.002))
  const tell = (message: GrantMessage) => follower.handle({ kind: 'message', message }, 0)
  const call = { kind: 'call', round: 5, asks: 'points', riskPriceBits: 0.002, capBits: 9_000 } as const
  const grant = { kind: 'grant', round: 5, to: 'dso1', grantBits: 5_000, riskPriceBits: 0.002 } as const
  t.same(tell(grant), [], 'before any call')
  t.match(tell(call), [{ kind: 'send', message: { kind: 'offer', round: 5 } }])
  t.same(tell(call), [], 'a call that comes twice')
  t.same(tell({ ...grant, round: 4 }), [], 'a grant of an earlier round')
  t.same(tell({ ...grant, to: 'dso2' }), [])
  t.match(
    tell(grant).map(({ kind }) => kind),
    ['granted', 'basis', 'states', 'send'],
  )
  t.same(tell(grant), [], 'a grant that comes twice')
})

t.test('offers that are no frontier, nobody’s or without a solution are not believed', async (t) => {
  const game = randomGame(3, SPEC)
  const point = (keyBits: number, ownLoss: number): OfferPoint => ({ keyBits, ownLoss, leaderLoss: 0 })
  const wrong: readonly (readonly OfferPoint[])[] = [
    [],
    [point(10, 5), point(10, 4)],
    [point(10, 5), point(20, 5)],
    [point(Number.NaN, 5)],
    [point(1.5, 5)],
    [point(0, Number.NaN)],
    [point(0, 1e300)],
    [point(-4, 5)],
  ]
  const options = { followers: [{ id: 'dso1', demandBps: 100 }], patienceMs: PATIENCE_MS, keepRounds: 2 }
  const round = { leader: game.leader, demandBps: 300, stock: STOCK, budgetBits: 9_000, riskPriceBits: 0.002 }
  const offerOf = (answers: OfferAnswers, from = 'dso1', demandBps = 100): GrantMessage => {
    return { kind: 'offer', round: 1, from, offer: { demandBps, mostBits: 5_000, varianceBits2: 0, answers } }
  }
  const play = (messages: readonly GrantMessage[], solver = roundSolverOf(GAME)) => {
    const leader = new GrantLeader({ ...options, solver })
    leader.handle({ kind: 'play', round }, 0)
    const early = messages.flatMap((message) => leader.handle({ kind: 'message', message }, 1))
    return { early, late: leader.handle({ kind: 'wake' }, PATIENCE_MS) }
  }
  for (const points of wrong) {
    const answers = { form: 'points', points } as const
    const { early, late } = play([offerOf(answers), offerOf({ ...answers, points: [point(0, 1)] }, 'eve')])
    t.same(early, [], 'none of them settles the round')
    t.match(late.at(-1), { kind: 'settled', bases: new Map([['dso1', 'share']]), grants: new Map([['dso1', 2_250]]) })
  }
  t.same(play([offerOf({ form: 'points', points: [point(0, 1)] }, 'dso1', Number.NaN)]).early, [])
  t.same(play([offerOf({ form: 'demand' })]).early, [], 'another form than was asked for')
  const greedy = play([offerOf({ form: 'points', points: [point(2 ** 30, 1)] })])
  t.match(
    greedy.early.at(-1),
    { kind: 'settled', grants: new Map([['dso1', 2_250]]) },
    'more than all there is: its share',
  )
  const heavy = { state: 2, path: 0, meanBits: 1, varianceBits2: 1e15, ownLoss: 0, leaderLoss: 0 } as const
  t.same(play([offerOf({ form: 'chains', chains: [[heavy]] })], roundSolverOf({ ...GAME, solver: 'ldCp' })).early, [])
})

t.test('octets of messages: what goes in comes out, and nothing that is bent does harm', async (t) => {
  const game = withFloors(randomGame(7, SPEC), 0.9)
  for (const solver of ['exact', 'social', 'demand'] as const) {
    const table = new Table(game, { solver })
    table.play(0)
    for (const message of table.messages) {
      const [from, to] = 'to' in message ? ['tso', message.to] : ['from' in message ? message.from : 'tso', 'tso']
      t.same(overOctets(message, from, to), message, `${solver} ${message.kind}`)
      const parts = encodeGrantMessage(message)
      t.ok(parts.every((part) => part.length <= 240 && peekGrantPart(part)?.parts === parts.length))
      let state = 12_345
      const random = (limit: number) => {
        state = (state * 1_103_515_245 + 12_345) % 2 ** 31
        return state % limit
      }
      for (let n = 0; n < 200; n++) {
        const assembler = new GrantAssembler(from, to)
        for (const part of parts) {
          const bent = part.slice(0, n % 3 === 0 ? random(part.length + 1) : part.length)
          if (bent.length > 0) bent[random(bent.length)] = random(256)
          const found = assembler.take(bent)
          if (found?.kind === 'offer' && table.followers.has(from))
            table.leader.handle({ kind: 'message', message: found }, 1)
          else if (found !== undefined) table.followers.get(to)?.handle({ kind: 'message', message: found }, 1)
        }
      }
    }
  }
  const assembler = new GrantAssembler('a', 'b')
  const [first, second] = encodeGrantMessage({
    kind: 'grant',
    round: 1,
    to: 'b',
    grantBits: 1,
    riskPriceBits: 0,
    states: Array.from({ length: 300 }, () => 2 as const),
  })
  if (first === undefined || second === undefined) throw new Error('a message of one part')
  t.equal(assembler.take(second), undefined, 'a part without its first')
  t.equal(assembler.take(first), undefined)
  t.equal(assembler.take(second)?.kind, 'grant')
})

t.test('a leader that was started again goes on with later rounds', async (t) => {
  const game = withFloors(randomGame(8, SPEC), 0.9)
  const first = new Table(game)
  for (let n = 0; n < 20; n++) first.play(500 * n)
  const second = new Table(game)
  second.play(10_000)
  t.ok((second.settled?.round ?? 0) > (first.settled?.round ?? 0))
})
