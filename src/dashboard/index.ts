/** What the page shows of a lab: the state, and its fold over the record of a run. */
export { History, type HistoryColumns, SERIES } from './history.ts'
export { LabView } from './lab-view.ts'
export { recordingOf } from './recording.ts'
export type {
  ChainHead,
  ChainView,
  ForecastView,
  LabHead,
  LabRecord,
  LabState,
  LinkView,
  TaskSplit,
  TimelineEntry,
} from './state.ts'
