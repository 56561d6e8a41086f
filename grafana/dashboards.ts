import type { Builder, Dataquery } from '@grafana/grafana-foundation-sdk/cog'
import {
  DashboardBuilder,
  type DashboardCursorSync,
  DatasourceVariableBuilder,
  QueryVariableBuilder,
} from '@grafana/grafana-foundation-sdk/dashboard'
import { DataqueryBuilder } from '@grafana/grafana-foundation-sdk/prometheus'
import { PanelBuilder } from '@grafana/grafana-foundation-sdk/timeseries'
import { BOARDS, type Board, type InfluxSeries, type Panel } from './panels.ts'

export type Source = 'prometheus' | 'influxdb'
export const SOURCES: readonly Source[] = ['prometheus', 'influxdb']

/** Grafana's grid has 24 columns; two panels a row. */
const PANEL = { h: 8, w: 12 }
const SHARED_CROSSHAIR: DashboardCursorSync = 1

/** InfluxQL as Grafana's data source takes it; the SDK has no builder for it. */
function influxQuery({ query, alias }: InfluxSeries, refId: string): Builder<Dataquery> {
  const target = {
    refId,
    query,
    alias,
    rawQuery: true,
    resultFormat: 'time_series',
    _implementsDataqueryVariant: () => {},
  }
  return { build: () => target }
}

function targetsOf({ prometheus, influx }: Panel, source: Source): Builder<Dataquery>[] {
  const refIdOf = (index: number): string => String.fromCharCode(65 + index)
  if (source === 'influxdb') return influx.map((series, index) => influxQuery(series, refIdOf(index)))
  return prometheus.map(({ expr, legend }, index) =>
    new DataqueryBuilder().refId(refIdOf(index)).expr(expr).legendFormat(legend).range(),
  )
}

/** The dashboard of a board on one kind of data source, as the JSON that Grafana provisions. */
function dashboardOf({ uid, title, description, panels }: Board, source: Source): unknown {
  const datasource = { type: source, uid: '$datasource' }
  const labs =
    source === 'prometheus'
      ? 'label_values(q104_events_total, lab)'
      : 'SHOW TAG VALUES FROM "q104_events_total" WITH KEY = "lab"'
  const builder = new DashboardBuilder(title)
    .uid(`${uid}-${source}`)
    .description(description)
    .tags(['q104'])
    .time({ from: 'now-5m', to: 'now' })
    .refresh('5s')
    .tooltip(SHARED_CROSSHAIR)
    .withVariable(new DatasourceVariableBuilder('datasource').label('Data source').type(source))
    .withVariable(
      new QueryVariableBuilder('lab')
        .label('Lab')
        .datasource(datasource)
        .query(labs)
        .refresh(2)
        .includeAll(true)
        .allValue('.*'),
    )
  for (const panel of panels) {
    builder.withPanel(
      new PanelBuilder()
        .title(panel.title)
        .description(panel.description)
        .unit(panel.unit)
        .datasource(datasource)
        .height(PANEL.h)
        .span(PANEL.w)
        .targets(targetsOf(panel, source)),
    )
  }
  return builder.build()
}

/** Every dashboard by the path of its file below `grafana/dashboards/`. */
export function dashboardFiles(): ReadonlyMap<string, string> {
  const files = SOURCES.flatMap((source) =>
    BOARDS.map((board): [string, string] => {
      const name = board.uid.replace(/^q104-/, '')
      return [`${source}/${name}.json`, `${JSON.stringify(dashboardOf(board, source), null, 2)}\n`]
    }),
  )
  return new Map(files)
}
