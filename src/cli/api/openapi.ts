import { z } from 'zod'
import { ChainEntry, ChainList, ControlBody, ControlDone, Problems } from './bodies.ts'

type Json = Readonly<Record<string, unknown>>

/** The OpenAPI 3.1 description of the REST interface, its schemas made from those that check the requests. */
export function openApiOf(version: string): Json {
  return {
    openapi: '3.1.0',
    info: {
      title: 'Q104',
      version,
      description: 'State and controls of a running lab. Reading needs no token; writing needs the run’s.',
    },
    servers: [{ url: '/' }],
    paths: {
      '/api/v1/state': { get: read('Everything the page shows', 'State') },
      '/api/v1/head': { get: read('What does not change while the lab runs, and its chains', 'State') },
      '/api/v1/history': { get: read('Series over the whole run, at most 2,400 samples', 'State') },
      '/api/v1/stream': {
        get: {
          summary: 'The same as it changes, as server-sent events: at most ten a second, changed parts only',
          responses: {
            200: { description: 'Events of type `state`', content: { 'text/event-stream': {} } },
            503: refusal('Too many readers'),
          },
        },
      },
      '/api/v1/chains': {
        get: read('All chains', 'Chains'),
        put: write('Replaces all chains', 'Chains', 'Chains'),
      },
      '/api/v1/chains/{id}': {
        parameters: [{ name: 'id', in: 'path', required: true, schema: { type: 'string', maxLength: 32 } }],
        get: {
          ...read('One chain', 'Chain'),
          responses: { 200: body('The chain', 'Chain'), 404: refusal('No such chain') },
        },
        put: write('Adds or replaces a chain', 'Chain', 'Chain'),
        delete: {
          summary: 'Takes a chain away',
          security: [{ token: [] }],
          responses: { 204: { description: 'Gone' }, ...refusals(), 404: refusal('No such chain') },
        },
      },
      '/api/v1/controls': { post: write('Does something to the lab', 'Control', 'Done') },
    },
    components: {
      securitySchemes: { token: { type: 'http', scheme: 'bearer' } },
      schemas: {
        State: { type: 'object' },
        Chain: schemaOf(ChainEntry),
        Chains: schemaOf(ChainList),
        Control: schemaOf(ControlBody),
        Done: schemaOf(ControlDone),
        Problems: schemaOf(Problems),
      },
    },
  }
}

function schemaOf(schema: z.ZodType): Json {
  const { $schema: _, ...json } = z.toJSONSchema(schema, { io: 'input' })
  return json
}

function body(description: string, schema: string): Json {
  return { description, content: { 'application/json': { schema: { $ref: `#/components/schemas/${schema}` } } } }
}

function refusal(description: string): Json {
  return body(description, 'Problems')
}

function read(summary: string, schema: string): Json {
  return { summary, responses: { 200: body(summary, schema) } }
}

function write(summary: string, takes: string, gives: string): Json {
  const content = { 'application/json': { schema: { $ref: `#/components/schemas/${takes}` } } }
  return {
    summary,
    security: [{ token: [] }],
    requestBody: { required: true, content },
    responses: { 200: body('It has taken effect', gives), ...refusals() },
  }
}

function refusals(): Json {
  return {
    400: refusal('The body is not valid; nothing was changed'),
    401: refusal('The token is missing or wrong'),
    403: refusal('From a foreign origin'),
    409: refusal('The lab refused; nothing was changed'),
    413: refusal('The body is too large'),
    415: refusal('Not application/json'),
  }
}
