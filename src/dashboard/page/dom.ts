/** Small ways to make and change elements. */

type Attributes = Readonly<Record<string, string | number | boolean | undefined>>
type Child = Node | string

const SVG = 'http://www.w3.org/2000/svg'

/** The element with this id, which stands in index.html. */
export function byId<T extends HTMLElement = HTMLElement>(id: string): T {
  const found = document.getElementById(id)
  if (found === null) throw new Error(`no element #${id}`)
  return found as T
}

export function el<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Attributes = {},
  ...children: readonly Child[]
): HTMLElementTagNameMap[K] {
  return filled(document.createElement(tag), attributes, children)
}

export function svg<K extends keyof SVGElementTagNameMap>(
  tag: K,
  attributes: Attributes = {},
  ...children: readonly Child[]
): SVGElementTagNameMap[K] {
  return filled(document.createElementNS(SVG, tag), attributes, children)
}

function filled<E extends Element>(element: E, attributes: Attributes, children: readonly Child[]): E {
  for (const [name, value] of Object.entries(attributes)) attribute(element, name, value)
  element.append(...children)
  return element
}

/** Sets an attribute if it is another one; `undefined` and `false` take it away. */
export function attribute(element: Element, name: string, value: string | number | boolean | undefined): void {
  if (value === undefined || value === false) {
    if (element.hasAttribute(name)) element.removeAttribute(name)
    return
  }
  const text = value === true ? '' : String(value)
  if (element.getAttribute(name) !== text) element.setAttribute(name, text)
}

/** Sets the text if it is another one, so that nothing is drawn or read anew in vain. */
export function setText(element: Element, text: string): void {
  if (element.textContent !== text) element.textContent = text
}

/** Keeps one element for each item, in their order; those that stay are updated in place and keep the focus. */
export function keyed<T>(
  parent: Element,
  items: readonly T[],
  row: {
    readonly key: (item: T) => string
    readonly make: (item: T) => Element
    readonly update: (element: Element, item: T) => void
  },
): void {
  const old = new Map([...parent.children].map((child) => [child.getAttribute('data-key') ?? '', child]))
  let place = parent.firstElementChild
  for (const item of items) {
    const key = row.key(item)
    let element = old.get(key)
    old.delete(key)
    if (element === undefined) {
      element = row.make(item)
      element.setAttribute('data-key', key)
    }
    row.update(element, item)
    if (element === place) place = place.nextElementSibling
    else parent.insertBefore(element, place)
  }
  for (const element of old.values()) element.remove()
}
