/** The part of a scenario that says who plays the game for key, and how: `scheduler.game`. */
import { z } from 'zod'

const MAX_AGENTS = 32
const MAX_NODES = 2_000
const name = () => z.string().min(1).max(32)

export const GameSchema = z.strictObject({
  solver: z
    .enum(['equal', 'demand', 'ldCp', 'exact', 'social'])
    .default('exact')
    .describe(
      'equal, demand: each agent alone in a fixed part; ldCp, exact: leader and followers; social: one planner',
    ),
  agents: z
    .array(
      z.strictObject({
        id: name(),
        nodes: z
          .array(name())
          .max(MAX_NODES)
          .default([])
          .describe('Its chains: those whose path goes through one of these'),
        taskTypes: z
          .array(z.enum(['shedding', 'agc', 'setpoint']))
          .default([])
          .describe('and those of these task types'),
      }),
    )
    .min(1)
    .max(MAX_AGENTS)
    .describe('The first leads; a chain belongs to the first that claims it, else to the leader'),
  ldCpForm: z
    .enum(['improved', 'printed'])
    .default('improved')
    .describe('For ldCp: as improved here, or as the paper prints it'),
  terms: z
    .strictObject({
      lossPerHz: z
        .number()
        .min(0)
        .max(1e9)
        .optional()
        .describe(
          "w_f: the leader's loss a second for each Hz that a chain which sheds, and is off, would have lifted the frequency by; without it that chain's lossWeight",
        ),
      lossPerPu: z
        .number()
        .min(0)
        .max(1e9)
        .default(0)
        .describe("w_v: a follower's loss a second for each pu that a chain which is off would move at its station"),
      lossPerMw: z
        .number()
        .min(0)
        .max(1e9)
        .default(0)
        .describe("a follower's loss a second for each MW that a chain which is off steers"),
    })
    .optional()
    .describe('What the grid adds to the losses of chains that are off; figures come from the grid model'),
  roundS: z.number().min(0.05).max(60).default(0.5).describe('Between control centres: time from round to round'),
  patienceS: z
    .number()
    .min(0.01)
    .max(60)
    .default(0.2)
    .describe('How long a round waits for the offers of all followers'),
  holdS: z.number().min(0.1).max(3600).default(5).describe('Age from which an offer or a grant counts no longer'),
  followerWeight: z.number().min(0).max(1000).default(0.3).describe("omega: weight of the followers' losses"),
  floorRatio: z.number().min(0).max(1).default(0.95).describe('phi: least grant, of a share by demand'),
  riskRatio: z.number().positive().max(0.5).default(0.05).describe('eps of the chance constraint'),
})
