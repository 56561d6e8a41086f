/** The 118-bus zones are the experiment's; see src/experiment/fairness/zones.ts. */
export { ieee118Agents, TERMS, TrunkSupply } from '../../src/experiment/index.ts'
