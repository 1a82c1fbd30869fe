/**
 * Owns finding a field again in the text it was read from, for the line and column of a fault.
 *
 *   path of a fault -> YAML node tree, or a walk over JSON text -> offset
 *
 * A field that is missing is answered by the innermost field on its path that is there.
 */
import { isMap, isScalar, isSeq, type Node } from 'yaml';
import type { Path } from '../objects/fault.js';

export function yamlOffset(root: Node | null, path: Path): number {
  let node: unknown = root;
  let offset = rangeOf(root) ?? 0;
  for (const part of path) {
    const pair = isMap(node) ? node.items.find(({ key }) => isScalar(key) && key.value === part) : undefined;
    const next: unknown = isSeq(node) ? node.items[Number(part)] : pair?.value;
    if (pair === undefined && next === undefined) break;
    offset = rangeOf(next) ?? rangeOf(pair?.key) ?? offset;
    node = next;
  }
  return offset;
}

function rangeOf(node: unknown): number | undefined {
  return isMap(node) || isSeq(node) || isScalar(node) ? node.range?.[0] : undefined;
}

/** A field that is looked for, and those inside of it. */
interface Wanted {
  offset: number | undefined;
  readonly inner: Map<string | number, Wanted>;
}

/** One walk for all paths. The text must be valid JSON. */
export function jsonOffsets(text: string, paths: readonly Path[]): readonly number[] {
  const root: Wanted = { offset: undefined, inner: new Map() };
  const ways = paths.map((path) => {
    const way = [root];
    for (const part of path) way.push(innerOf(way.at(-1) ?? root, part));
    return way;
  });
  walk(text, root);
  return ways.map((way) => way.findLast(({ offset }) => offset !== undefined)?.offset ?? 0);
}

function innerOf(wanted: Wanted, part: string | number): Wanted {
  let inner = wanted.inner.get(part);
  if (inner === undefined) {
    inner = { offset: undefined, inner: new Map() };
    wanted.inner.set(part, inner);
  }
  return inner;
}

/** An object or list that is open at the point of the walk. */
interface Open {
  readonly wanted: Wanted | undefined;
  /** The key or position of the value that comes next. */
  next: string | number;
  expectsKey: boolean;
}

/** Loops instead of recursing: JSON.parse takes any depth, the stack would not. */
function walk(text: string, root: Wanted): void {
  const stack: Open[] = [];
  let at = 0;
  const begin = (): Wanted | undefined => {
    const top = stack.at(-1);
    const wanted = top === undefined ? root : top.wanted?.inner.get(top.next);
    if (wanted !== undefined) wanted.offset = at;
    return wanted;
  };
  while (at < text.length) {
    const top = stack.at(-1);
    const char = text[at];
    if (char === '{') stack.push({ wanted: begin(), next: '', expectsKey: true });
    else if (char === '[') stack.push({ wanted: begin(), next: 0, expectsKey: false });
    else if (char === '}' || char === ']') stack.pop();
    else if (char === ',' && typeof top?.next === 'number') top.next++;
    else if (char === ',' && top !== undefined) top.expectsKey = true;
    else if (char === '"') {
      const end = endOfString(text, at);
      if (top?.expectsKey === true) {
        if (top.wanted !== undefined) top.next = JSON.parse(text.slice(at, end));
        top.expectsKey = false;
      } else begin();
      at = end - 1;
    } else if (/[-\w]/.test(char ?? '')) {
      begin();
      while (/[-+.\w]/.test(text[at + 1] ?? '')) at++;
    }
    at++;
  }
}

function endOfString(text: string, start: number): number {
  let at = start + 1;
  while (at < text.length && text[at] !== '"') at += text[at] === '\\' ? 2 : 1;
  return at + 1;
}
