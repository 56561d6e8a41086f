/** Bad input from the user: printed as it is, exit code 2. */
export class CliError extends Error {
  override readonly name = 'CliError'
}
