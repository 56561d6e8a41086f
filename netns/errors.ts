/** The kernel or a tool refused a step of building the network. */
export class LabError extends Error {
  override readonly name = 'LabError'
}

/** The folder of the labs' locks cannot be used. */
export class StateDirError extends Error {
  override readonly name = 'StateDirError'
}
