/**
 * Owns turning a parsed YAML document into plain JSON values, with bounds that hold whatever the document.
 *
 *   text -> parseYaml (depth) -> yaml's node tree -> jsonOf (aliases) -> value | YamlFault with its offset
 *
 * The library's own `toJS` is not used: here a repeated key costs no quadratic search, aliases are charged for all they
 * stand for (also in `<<`), keys are text, and no key reaches a prototype.
 */
import {
  Composer,
  type CST,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  Lexer,
  type LineCounter,
  type Node,
  type Pair,
  Parser,
  type YAMLMap,
} from 'yaml';
import { printable, quote } from '../objects/fault.js';

/** Objects of Kubernetes nest about 20 deep, schemas in CustomResourceDefinitions somewhat more. */
export const MAX_DEPTH = 200;
/** Values that aliases of one document may stand for, each use counted: a bomb of nested aliases ends here. */
export const MAX_ALIASED_VALUES = 100_000;

export class YamlFault extends Error {
  override readonly name = 'YamlFault';
  constructor(
    readonly offset: number,
    message: string,
  ) {
    super(message);
  }
}

const OPTIONS = { schema: 'core', resolveKnownTags: false, uniqueKeys: false, logLevel: 'silent' } as const;

/** The node tree of the one document in `text`; throws YamlFault where it is none. */
export function parseYaml(text: string, lines: LineCounter): Node | null {
  const composer = new Composer(OPTIONS);
  const [document] = composer.compose(tokensOf(text, lines), true, text.length);
  const error = document?.errors[0];
  if (error !== undefined) throw new YamlFault(error.pos[0], `expected YAML: ${printable(error.message)}`);
  return document?.contents ?? null;
}

/**
 * The library's parser keeps what is open in a list, so that any depth is safe there. Its composer recurses: it must not even
 * begin, because V8 aborts the process where it has to compile a regular expression at the end of the stack.
 */
function* tokensOf(text: string, lines: LineCounter): Generator<CST.Token, void> {
  const parser = new Parser(lines.addNewLine);
  lines.addNewLine(0);
  const tokens: CST.Token[] = [];
  for (const lexeme of new Lexer().lex(text)) {
    for (const token of parser.next(lexeme)) tokens.push(token);
    if (parser.stack.length > MAX_DEPTH)
      throw new YamlFault(parser.offset, `expected at most ${MAX_DEPTH} levels, got more`);
  }
  for (const token of parser.end()) tokens.push(token);
  yield* tokens;
}

interface Anchored {
  readonly value: unknown;
  readonly size: number;
}

interface State {
  /** The latest of each name, as YAML has it. A node is not among them before it ends: no value contains itself. */
  readonly anchors: Map<string, Anchored>;
  values: number;
  aliased: number;
}

/** Throws YamlFault. */
export function jsonOf(root: Node | null): unknown {
  return nodeValue(root, { anchors: new Map(), values: 0, aliased: 0 });
}

function nodeValue(node: unknown, state: State): unknown {
  const before = state.values++;
  if (isAlias(node)) return aliased(node.source, offsetOf(node), state);
  const value = isMap(node) ? mapOf(node, state) : isSeq(node) ? seqOf(node.items, state) : scalarOf(node);
  const anchor = isMap(node) || isSeq(node) || isScalar(node) ? node.anchor : undefined;
  if (anchor !== undefined) state.anchors.set(anchor, { value, size: state.values - before });
  return value;
}

function aliased(source: string, offset: number, state: State): unknown {
  const anchored = state.anchors.get(source);
  if (anchored === undefined)
    throw new YamlFault(offset, `expected an anchor before this alias, got *${quote(source)}`);
  state.values += anchored.size;
  state.aliased += anchored.size;
  if (state.aliased > MAX_ALIASED_VALUES) {
    throw new YamlFault(offset, `expected aliases to stand for at most ${MAX_ALIASED_VALUES} values, got more`);
  }
  return anchored.value;
}

function seqOf(nodes: readonly unknown[], state: State): unknown[] {
  return nodes.map((node) => nodeValue(node, state));
}

function mapOf(node: YAMLMap, state: State): Record<string, unknown> {
  const object: Record<string, unknown> = {};
  const merged: unknown[] = [];
  for (const pair of node.items) {
    const key = keyOf(pair);
    const value = nodeValue(pair.value, state);
    if (key === '<<' && isScalar(pair.key) && pair.key.type === 'PLAIN') merged.push(value);
    else if (Object.hasOwn(object, key))
      throw new YamlFault(offsetOf(pair.key), `expected ${quote(key)} once, got it again`);
    else define(object, key, value);
  }
  for (const source of merged.flat()) merge(object, source);
  return object;
}

function keyOf({ key }: Pair): string {
  if (isScalar(key) && typeof key.value !== 'object') return String(key.value);
  if (isScalar(key) && key.value === null) return '';
  throw new YamlFault(offsetOf(key), 'expected a word as key, got something else');
}

/** https://yaml.org/type/merge.html: what the map has itself, or has from an earlier source, stays. */
function merge(object: Record<string, unknown>, source: unknown): void {
  if (typeof source !== 'object' || source === null) return;
  for (const [key, value] of Object.entries(source)) if (!Object.hasOwn(object, key)) define(object, key, value);
}

/** Assigning `__proto__` would set the prototype. */
function define(object: Record<string, unknown>, key: string, value: unknown): void {
  if (key !== '__proto__') object[key] = value;
  else Object.defineProperty(object, key, { value, enumerable: true, configurable: true, writable: true });
}

function scalarOf(node: unknown): unknown {
  const value = isScalar(node) ? node.value : null;
  return typeof value === 'string' ? detached(value) : value;
}

/** A slice of a string keeps the whole string alive: a file's text would live as long as any one of its objects. */
function detached(text: string): string {
  return text.length < 13 ? text : ` ${text}`.slice(1);
}

function offsetOf(node: unknown): number {
  const range = isMap(node) || isSeq(node) || isScalar(node) || isAlias(node) ? node.range : undefined;
  return range?.[0] ?? 0;
}
