import { NETNS_DIR } from './processes.ts'

/** How to get from here to where a lab's namespaces are. */
export type LabAccess = {
  /** What to put before a command so that it runs there; nothing for this very place. */
  readonly prefix: readonly string[]
  /** Folder, as seen from here, of the network namespaces that `ip netns` knows there. */
  readonly netnsDir: string
}

/** Here. */
export const HOST: LabAccess = { prefix: [], netnsDir: NETNS_DIR }

/** Inside the user namespace that a process holds. */
export function insideHolder(pid: number): LabAccess {
  const namespaces = ['--user', '--net', '--mount', '--preserve-credentials']
  return {
    prefix: ['nsenter', '--target', String(pid), ...namespaces, '--'],
    netnsDir: `/proc/${pid}/root${NETNS_DIR}`,
  }
}

/** What to put before a command so that it runs in a namespace; nothing for no namespace. */
export function inNamespace(namespace: string | undefined): string[] {
  return namespace === undefined ? [] : ['ip', 'netns', 'exec', namespace]
}
