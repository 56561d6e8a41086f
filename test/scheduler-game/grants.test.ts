import t from 'tap'
import { type InstanceSpec, randomGame } from '../../bench/game/instances.ts'
import {
  type ChainState,
  type Choices,
  type Game,
  type GameAgent,
  type GrantEffect,
  GrantFollower,
  GrantLeader,
  type GrantMessage,
  solveExact,
} from '../../src/scheduler/index.ts'

const SPEC: InstanceSpec = {
  leaderChains: 15,
  followerChains: [12, 12, 12],
  budgetRatio: 0.5,
  followerWeight: 0.3,
  floorRatio: 0.9,
}
const PATIENCE_MS = 50

/** A leader and followers that hear each other through JSON, as over a wire; `lost` says which messages do not arrive. */
class Table {
  readonly leader: GrantLeader
  readonly followers: readonly GrantFollower[]
  readonly states = new Map<string, readonly ChainState[]>()
  readonly #game: Game
  readonly #lost: (message: GrantMessage) => boolean

  constructor(game: Game, lost: (message: GrantMessage) => boolean = () => false) {
    this.#game = game
    this.#lost = lost
    this.leader = new GrantLeader(
      game.followers.map(({ id }) => id),
      PATIENCE_MS,
    )
    this.followers = game.followers.map((follower) => new GrantFollower(follower))
  }

  play(nowMs: number, game: Game = this.#game): void {
    const { leader, followers, followerWeight, budgetBits, riskPriceBits } = game
    const floorsBits = followers.map(({ floorBits }) => floorBits)
    const round = { leader, floorsBits, followerWeight, budgetBits, riskPriceBits }
    this.#carry('tso', this.leader.handle({ kind: 'play', round }, nowMs), nowMs)
    const wakeAtMs = this.leader.wakeAtMs
    if (wakeAtMs !== undefined) this.#carry('tso', this.leader.handle({ kind: 'wake' }, wakeAtMs), wakeAtMs)
  }

  #carry(from: string, effects: readonly GrantEffect[], nowMs: number): void {
    for (const effect of effects) {
      if (effect.kind === 'states') this.states.set(from, effect.states)
      else if (!this.#lost(effect.message)) {
        const message = JSON.parse(JSON.stringify(effect.message)) as GrantMessage
        if (message.kind === 'offer') this.#carry('tso', this.leader.handle({ kind: 'message', message }, nowMs), nowMs)
        else {
          for (const [j, follower] of this.followers.entries()) {
            this.#carry(`dso${j + 1}`, follower.handle({ kind: 'message', message }), nowMs)
          }
        }
      }
    }
  }
}

function statesOf({ chains }: GameAgent, choices: Choices | undefined): readonly ChainState[] {
  return chains.map(({ options }, l) => options[choices?.[l] ?? 0]?.state ?? 0)
}

t.test('grants by messages lead where the exact solver leads', async (t) => {
  for (let seed = 0; seed < 10; seed++) {
    const game = randomGame(seed, { ...SPEC, followerWeight: seed % 2 === 0 ? 0.3 : 0 })
    const table = new Table(game)
    table.play(0)
    const { answer } = solveExact(game)
    t.same(table.states.get('tso'), statesOf(game.leader, answer.leader), `leader, seed ${seed}`)
    for (const [j, follower] of game.followers.entries()) {
      t.same(table.states.get(follower.id), statesOf(follower, answer.followers[j]), `${follower.id}, seed ${seed}`)
    }
  }
})

t.test('a follower that is not heard keeps its states, and what it was granted is set aside', async (t) => {
  const game = randomGame(1, SPEC)
  let deaf = false
  const table = new Table(game, (message) => deaf && message.kind === 'offer' && message.from === 'dso2')
  table.play(0)
  const before = table.states.get('dso2')
  deaf = true
  table.play(100, { ...game, budgetBits: game.budgetBits + 2000 })
  t.same(table.states.get('dso2'), before)
  const used = [game.leader, ...game.followers].map((agent) =>
    agent.chains.reduce((sum, { options }, l) => {
      const option = options.find(({ state }) => state === table.states.get(agent.id)?.[l])
      return sum + Math.ceil((option?.meanBits ?? 0) + game.riskPriceBits * (option?.varianceBits2 ?? 0))
    }, 0),
  )
  t.ok(used.reduce((sum, bits) => sum + bits, 0) <= game.budgetBits + 2000, 'all together stay within the budget')
})

t.test('a grant that is lost, late or for another leaves a follower as it is', async (t) => {
  const game = randomGame(2, SPEC)
  const [agent] = game.followers
  const follower = new GrantFollower(agent ?? game.leader)
  const tell = (message: GrantMessage) => follower.handle({ kind: 'message', message })
  t.equal(tell({ kind: 'call', round: 5, riskPriceBits: 0.002, capBits: 9_000 }).length, 1)
  t.same(tell({ kind: 'call', round: 5, riskPriceBits: 0.002, capBits: 9_000 }), [], 'a call that comes twice')
  t.same(tell({ kind: 'grant', round: 4, to: 'dso1', grantBits: 5_000 }), [], 'a grant of an earlier round')
  t.same(tell({ kind: 'grant', round: 5, to: 'dso2', grantBits: 5_000 }), [])
  t.equal(tell({ kind: 'grant', round: 5, to: 'dso1', grantBits: 5_000 })[0]?.kind, 'states')
})

t.test('offers that are no frontier, or nobody’s, are not believed', async (t) => {
  const game = randomGame(3, SPEC)
  const round = { ...game, floorsBits: [0, 0, 0] }
  const point = (keyBits: number, ownLoss: number) => ({ keyBits, ownLoss, leaderLoss: 0 })
  const wrong: readonly (readonly ReturnType<typeof point>[])[] = [
    [],
    [point(10, 5), point(10, 4)],
    [point(10, 5), point(20, 5)],
    [point(Number.NaN, 5)],
    [point(1.5, 5)],
    [point(0, Number.NaN)],
    [point(-4, 5)],
  ]
  for (const points of wrong) {
    const leader = new GrantLeader(['dso1'], PATIENCE_MS)
    leader.handle({ kind: 'play', round }, 0)
    t.same(leader.handle({ kind: 'message', message: { kind: 'offer', round: 1, from: 'dso1', points } }, 1), [])
    t.same(
      leader.handle({ kind: 'message', message: { kind: 'offer', round: 1, from: 'eve', points: [point(0, 1)] } }, 1),
      [],
    )
    const effects = leader.handle({ kind: 'wake' }, PATIENCE_MS)
    t.same(
      effects.map(({ kind }) => kind),
      ['states'],
      'the round is settled without it',
    )
  }
})
