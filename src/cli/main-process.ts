// Entry of a lab's processes, apart from the command line so that they load none of it.
import { runProcess } from './process/process-main.ts'

process.exitCode = await runProcess()
