/** Items in order of their times; items of the same time in the order they were put in. A binary heap. */
export class EventQueue<T> {
  readonly #heap: { readonly tMs: number; readonly order: number; readonly item: T }[] = []
  #pushed = 0

  get size(): number {
    return this.#heap.length
  }

  /** Time of the next item, or Infinity when there is none. */
  get nextMs(): number {
    return this.#heap[0]?.tMs ?? Infinity
  }

  push(tMs: number, item: T): void {
    const heap = this.#heap
    const entry = { tMs, order: this.#pushed++, item }
    let at = heap.length
    while (at > 0) {
      const parentAt = (at - 1) >> 1
      const parent = heap[parentAt]
      if (parent === undefined || parent.tMs <= tMs) break
      heap[at] = parent
      at = parentAt
    }
    heap[at] = entry
  }

  pop(): T | undefined {
    const heap = this.#heap
    const first = heap[0]
    const last = heap.pop()
    if (first === undefined || last === undefined || first === last) return first?.item
    let at = 0
    for (;;) {
      let childAt = 2 * at + 1
      let child = heap[childAt]
      if (child === undefined) break
      const right = heap[childAt + 1]
      if (right !== undefined && (right.tMs < child.tMs || (right.tMs === child.tMs && right.order < child.order))) {
        child = right
        childAt++
      }
      if (last.tMs < child.tMs || (last.tMs === child.tMs && last.order < child.order)) break
      heap[at] = child
      at = childAt
    }
    heap[at] = last
    return first.item
  }
}
