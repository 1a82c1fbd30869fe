/**
 * Owns what a redirect means for each client: an ordered list in which the first clause that holds for a client decides.
 *
 *   Redirect + inside blocks -> routingOf -> [from -> verdict, ..., everybody -> verdict] -> rules of a mode
 *
 * Who is inside (rule E7) and who is allowed (rule E8) are blocks of addresses, so that both at once are blocks again, and no
 * more of them than there were: no list of rules grows with the product of the two.
 */
import { familyOf, type Ip } from '../config/address.js';
import {
  type Block,
  blockText,
  contains,
  containsAddress,
  intersection,
  parseBlock,
  withoutContained,
} from './block.js';
import type { Frontend, Redirect, RedirectAction } from './redirector.js';
import { isWildcard } from './validate.js';

/** All of what is set has to hold; nothing is set: everybody. */
export interface Sources {
  /** It came in over the loopback interface: the node itself, dialling an address of its own. */
  readonly loopback?: true;
  /** The source is an address of the node. */
  readonly local?: true;
  readonly block?: Block;
}

/** `pass`: no business of ours, as if there were no redirect. */
export type Verdict = RedirectAction | { readonly kind: 'pass' };

export interface Clause {
  readonly from: Sources;
  readonly verdict: Verdict;
}

/** What becomes of a frontend's packets. The last clause is for everybody. */
export interface Routing {
  readonly frontend: Frontend;
  readonly owner: string;
  readonly clauses: readonly Clause[];
  /** Listeners that the redirect names, each once, whether or not a clause leads there: they are open in any case. */
  readonly listeners: readonly Place[];
}

export interface Place {
  readonly host: Ip;
  readonly port: number;
}

const EVERYBODY: Sources = {};
const DROP: Verdict = { kind: 'drop' };
const PASS: Verdict = { kind: 'pass' };

/** What is so where there is no redirect. */
export const UNTOUCHED: readonly Clause[] = [{ from: EVERYBODY, verdict: PASS }];

/** Of a redirect without a fault. */
export function routingOf(redirect: Redirect, inside: readonly Block[]): Routing {
  const { frontend, owner, action, insideAction = action } = redirect;
  const clauses = decisive(clausesOf(redirect, inside));
  return { frontend, owner, clauses, listeners: listenersAmong([action, insideAction]) };
}

export function listenersAmong(verdicts: readonly Verdict[]): readonly Place[] {
  const found = new Map<string, Place>();
  for (const verdict of verdicts) {
    if (verdict.kind === 'listener') found.set(verdictText(verdict), verdict);
  }
  return [...found.values()];
}

function clausesOf({ frontend, action, insideAction, allowed }: Redirect, inside: readonly Block[]): readonly Clause[] {
  if (insideAction === undefined && allowed === undefined) {
    // Dropped is what comes from outside: what the node sends to an address of its own is not (rule E6).
    const mayBeOwn = action.kind === 'drop' && !isWildcard(frontend.address);
    const everybody: Clause = { from: EVERYBODY, verdict: action };
    return mayBeOwn ? [{ from: { loopback: true }, verdict: PASS }, everybody] : [everybody];
  }
  const family = familyOf(frontend.address);
  const ranges =
    allowed === undefined ? undefined : withoutContained(allowed.cidrs.flatMap((cidr) => parseBlock(cidr) ?? []));
  const clauses: Clause[] = [];
  const differs = insideAction !== undefined && verdictText(insideAction) !== verdictText(action);
  if (differs) {
    const pods = inside.filter((block) => block.family === family);
    const own = ranges === undefined || allowed?.node === true ? [EVERYBODY] : ranges.map(within);
    for (const from of own) clauses.push({ from: { ...from, local: true }, verdict: insideAction });
    for (const block of ranges === undefined ? pods : common(ranges, pods)) {
      clauses.push({ from: within(block), verdict: insideAction });
    }
  }
  for (const block of ranges ?? []) clauses.push({ from: within(block), verdict: action });
  // Last, where `redirectOf` takes it for a client who is allowed, not for one who is inside.
  if (allowed?.node === true && !differs) clauses.push({ from: { local: true }, verdict: action });
  return [...clauses, { from: EVERYBODY, verdict: ranges === undefined ? action : DROP }];
}

function within(block: Block): Sources {
  return block.prefix === 0 ? EVERYBODY : { block };
}

function common(ranges: readonly Block[], pods: readonly Block[]): readonly Block[] {
  return withoutContained(ranges.flatMap((range) => pods.flatMap((pod) => intersection(range, pod) ?? [])));
}

/** Without clauses that decide nothing: those after one for everybody, and those before the last that say the same as it. */
export function decisive(clauses: readonly Clause[]): readonly Clause[] {
  const reached = clauses.slice(0, clauses.findIndex(({ from }) => covers(from, EVERYBODY)) + 1);
  const last = reached.at(-1);
  if (last === undefined) return UNTOUCHED;
  const decides = reached.findLastIndex(({ verdict }) => verdictText(verdict) !== verdictText(last.verdict));
  return decides < 0 ? [last] : [...reached.slice(0, decides + 1), last];
}

/** The clients of both; undefined: there are none. */
export function both(a: Sources, b: Sources): Sources | undefined {
  const block = a.block === undefined || b.block === undefined ? (a.block ?? b.block) : intersection(a.block, b.block);
  if (block === undefined && a.block !== undefined) return undefined;
  return {
    ...(a.loopback === true || b.loopback === true ? { loopback: true } : {}),
    ...(a.local === true || b.local === true ? { local: true } : {}),
    ...(block === undefined ? {} : { block }),
  };
}

/** Every client of `inner` is one of `outer`. */
export function covers(outer: Sources, inner: Sources): boolean {
  if (outer.loopback === true && inner.loopback !== true) return false;
  if (outer.local === true && inner.local !== true) return false;
  return outer.block === undefined || (inner.block !== undefined && contains(outer.block, inner.block));
}

export function isRefusal({ kind }: Verdict): boolean {
  return kind === 'reject' || kind === 'drop';
}

/** Where a client's packets for the frontend end up; undefined: nowhere. */
export function placeFor({ frontend, clauses }: Routing, client: Ip, isLocal: (ip: Ip) => boolean): Place | undefined {
  const holds = ({ loopback, local, block }: Sources) =>
    (loopback !== true || (isLocal(client) && isLocal(frontend.address))) &&
    (local !== true || isLocal(client)) &&
    (block === undefined || containsAddress(block, client));
  const verdict = clauses.find(({ from }) => holds(from))?.verdict ?? PASS;
  if (verdict.kind === 'pass') return { host: frontend.address, port: frontend.port };
  return verdict.kind === 'listener' ? verdict : undefined;
}

/** Whether clients end up in the same places, however those that end up nowhere are told. */
export function samePlaces(a: readonly Clause[], b: readonly Clause[]): boolean {
  const text = (clauses: readonly Clause[]) =>
    clauses.map(({ from, verdict }) => `${sourcesText(from)} ${isRefusal(verdict) ? '' : verdictText(verdict)}`).join();
  return text(a) === text(b);
}

export function sourcesText({ loopback, local, block }: Sources): string {
  return [
    loopback === true ? 'lo' : '',
    local === true ? 'local' : '',
    block === undefined ? '' : blockText(block),
  ].join(' ');
}

function verdictText(verdict: Verdict): string {
  return verdict.kind === 'listener' ? `${verdict.host} ${verdict.port}` : verdict.kind;
}
