/** The part of a scenario that says who sets the chains' states, and how: `scheduler`. */
import { z } from 'zod'
import { GameSchema } from './game-schema.ts'
import { positive, section } from './schema-parts.ts'

export const SchedulerSchema = section({
  policy: z.enum(['greedy', 'static', 'rolling', 'game']).default('greedy'),
  tickMs: positive().min(10).max(60_000).default(100),
  requeueMs: positive()
    .max(60_000)
    .default(500)
    .describe('Age in a queue at which a command is planned anew (not with static)'),
  horizonS: positive().max(3600).default(10).describe('Time over which the stock above the reserve may be spent'),
  dwellS: z.number().min(0).max(3600).default(2).describe('Time after a chain was lowered in which none is raised'),
  protectedPriority: z.int().min(0).max(255).default(0).describe('Chains this urgent keep their suite below safeBits'),
  game: GameSchema.optional().describe('For the policy game: who plays, and how'),
  solver: z
    .enum(['own', 'highs'])
    .default('own')
    .describe('For rolling; highs blocks for seconds, so it is for virtual time'),
  rolling: section({
    steps: z.int().min(2).max(100).default(10).describe('Steps into which horizonS is divided'),
    risk: positive().max(0.5).default(0.05).describe('Probability with which key may run short within a horizon'),
    riskBound: z
      .enum(['allocated', 'bonferroni', 'gaussian', 'cantelli', 'empirical'])
      .default('allocated')
      .describe('How the risk is divided among the rows of a horizon, and what law it is taken from'),
    gap: positive().max(0.5).default(1e-3).describe('Gap at which a plan is good enough'),
    limitMs: positive().max(1_000).default(30).describe('Time a solve may take on a live lab'),
    workUnits: z.int().min(1_000).max(1e12).default(1_000_000).describe('Work it may do in virtual time'),
    frequencyWeight: z.number().min(0).max(1e9).default(0).describe('Cost of 1 Hz^2 in a step'),
    voltageWeight: z
      .number()
      .min(0)
      .max(1e9)
      .default(0)
      .describe('Cost of 1 pu^2 outside the band, at each bus in a step'),
    voltageBandPu: z
      .number()
      .min(0)
      .max(0.5)
      .default(0.005)
      .describe('How far a voltage may be off that of the power flow'),
    forecast: z
      .enum(['kalman+lstm', 'kalman', 'kalman constant-rate', 'lstm', 'ar', 'persistence'])
      .default('kalman+lstm'),
  }).describe('For rolling'),
})
