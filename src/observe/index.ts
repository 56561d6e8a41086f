export { AlertBook, type AlertLimits, type AlertNote, type AlertView } from './alerts.ts'
export {
  InfluxAddressError,
  type InfluxCounts,
  type InfluxTarget,
  InfluxWriter,
  influxTarget,
  lineOf,
  type Point,
  pointsOf,
} from './influx.ts'
export { booksBalance, type DatagramCounts, type MetricFamily, ProcessMetrics } from './metrics.ts'
export { type Deliver, Notifier } from './notifier.ts'
export { metricsPathOf, prometheusConfig, type ScrapeLab } from './prometheus.ts'
export { AlertSetupError, type Receivers, receiversOf } from './receivers.ts'
