import { Resvg } from '@resvg/resvg-js'
import * as vega from 'vega'
import { compile, type TopLevelSpec } from 'vega-lite'
import type { VegaLiteSpec } from '../../experiment/index.ts'

/** Pixels of a PNG for each unit of its SVG. */
const ZOOM = 2

/** Draws a Vega-Lite specification. */
export async function svgOf(spec: VegaLiteSpec): Promise<string> {
  const view = new vega.View(vega.parse(compile(spec as unknown as TopLevelSpec).spec), { renderer: 'none' })
  const svg = await view.toSVG()
  view.finalize()
  return svg
}

/** The same as pixels. Text needs a font on this machine; without one the PNG shows none. */
export function pngOf(svg: string): Uint8Array {
  return new Resvg(svg, { fitTo: { mode: 'zoom', value: ZOOM }, background: 'white' }).render().asPng()
}
