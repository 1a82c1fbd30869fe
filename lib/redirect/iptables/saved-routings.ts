/**
 * Owns reading back what our rules stand for: those that an earlier process left (rule Y7).
 *
 *   SavedTable (nat, filter) -> routingsIn -> Routing -> redirectOf -> Redirect
 */
import { familyOf, type Ip, parseIp } from '../../config/address.js';
import type { Protocol } from '../../model/objects.js';
import { type Block, blockText, parseBlock } from '../block.js';
import {
  type Clause,
  decisive,
  listenersAmong,
  type Routing,
  type Sources,
  sourcesText,
  UNTOUCHED,
  type Verdict,
} from '../clauses.js';
import { type Frontend, frontendKey, type Redirect, type RedirectAction } from '../redirector.js';
import { faultOf } from '../validate.js';
import { NODE, PORTS } from './rule.js';
import { parseRule, type Rule, targetOf } from './rule-text.js';
import type { Saved, SavedTable } from './saved.js';

/** What one rule says of a frontend. */
interface Line {
  readonly frontend: Frontend;
  readonly owner: string;
  readonly clause: Clause;
}

/** Options of the rules of frontends; a rule with any other is none of them. */
const OPTIONS = new Set('-s -d -i -p --dport --src-type --comment -j --to-destination --reject-with'.split(' '));

/**
 * What is no rule of a frontend is left out; so are the guard of redirect ports and the node ports that drop, which lead to
 * no listener.
 */
export function routingsIn(saved: Saved): readonly Routing[] {
  const [nat, filter] = [linesByFrontend(saved.nat), linesByFrontend(saved.filter)];
  return [...new Set([...nat.keys(), ...filter.keys()])].flatMap((key) => {
    const [redirects, refusals] = [nat.get(key) ?? [], filter.get(key) ?? []];
    const [first] = [...redirects, ...refusals];
    if (first === undefined) return [];
    const { frontend, owner } = first;
    const clauses = merged(clausesOf(redirects), clausesOf(refusals));
    const routing = { frontend, owner, clauses, listeners: listenersAmong(clauses.map(({ verdict }) => verdict)) };
    return routing.clauses.some(decides) && faultOf(redirectOf(routing)) === undefined ? [routing] : [];
  });
}

/**
 * The redirect that rules stand for, as far as they tell: who is inside stands first, the node among them; who is allowed
 * stands before everybody else, who is dropped.
 */
export function redirectOf({ frontend, owner, clauses }: Routing): Redirect {
  const decided = clauses.filter(({ from }) => from.loopback !== true);
  const inside = decided[0]?.from.local === true ? decided[0] : undefined;
  const others = inside === undefined ? decided : decided.slice(decided.findIndex((one) => !isSame(one, inside)));
  const [first = clauses[0]] = others;
  const rest = others.slice(0, -1).filter((one) => first !== undefined && isSame(one, first));
  const allowed = {
    cidrs: rest.flatMap(({ from: { block } }) => (block === undefined ? [] : [blockText(block)])),
    node: (inside !== undefined && inside.from.block === undefined) || rest.some(({ from }) => from.local === true),
  };
  return {
    frontend,
    owner,
    action: actionOf(first?.verdict),
    ...(inside === undefined ? {} : { insideAction: actionOf(inside.verdict) }),
    ...(rest.length === 0 ? {} : { allowed }),
  };
}

function isSame({ verdict: a }: Clause, { verdict: b }: Clause): boolean {
  return a.kind === 'listener' && b.kind === 'listener' ? a.host === b.host && a.port === b.port : a.kind === b.kind;
}

function actionOf(verdict: Verdict | undefined): RedirectAction {
  return verdict === undefined || verdict.kind === 'pass' ? { kind: 'reject' } : verdict;
}

/**
 * Both tables hold the clauses in one order, each from the first to the last that it decides. Where somebody else changed
 * that, nat goes before filter, as for packets.
 */
function merged(nat: readonly Clause[], filter: readonly Clause[]): readonly Clause[] {
  const [longer, shorter] = nat.length > filter.length ? [nat, filter] : [filter, nat];
  const parallel = shorter.every(({ from }, i) => sourcesText(from) === sourcesText(longer[i]?.from ?? {}));
  if (!parallel) return decisive([...nat, ...filter, ...UNTOUCHED]);
  const clauses = longer.map((clause, i) => [nat[i], filter[i]].find((one) => decides(one)) ?? clause);
  return decisive([...clauses, ...UNTOUCHED]);
}

function decides(clause: Clause | undefined): boolean {
  return clause !== undefined && clause.verdict.kind !== 'pass';
}

function clausesOf(lines: readonly Line[]): readonly Clause[] {
  return lines.map(({ clause }) => clause);
}

function linesByFrontend({ chains }: SavedTable): ReadonlyMap<string, readonly Line[]> {
  const found = new Map<string, Line[]>();
  for (const [chain, rules] of chains) {
    if (chain === PORTS || chain === NODE) continue;
    for (const rule of rules) {
      const line = lineOf(parseRule(rule));
      if (line === undefined) continue;
      const key = frontendKey(line.frontend);
      const lines = found.get(key);
      if (lines === undefined) found.set(key, [line]);
      else lines.push(line);
    }
  }
  return found;
}

function lineOf({ options }: Rule): Line | undefined {
  if ([...options.keys()].some((name) => !OPTIONS.has(name))) return undefined;
  const verdict = verdictOf(options);
  const from = sourcesOf(options);
  const address = hostOf(options.get('-d') ?? '');
  const protocol = options.get('-p')?.toUpperCase() as Protocol | undefined;
  if (verdict === undefined || from === undefined || address === undefined || protocol === undefined) return undefined;
  const frontend = { address, port: Number(options.get('--dport')), protocol };
  return { frontend, owner: options.get('--comment') ?? '', clause: { from, verdict } };
}

/** `10.96.0.10/32` as `parseRule` spells it; a block of many addresses is no frontend. */
function hostOf(destination: string): Ip | undefined {
  const [address = '', prefix] = destination.split('/');
  return prefix === (familyOf(address) === 'IPv4' ? '32' : '128') ? parseIp(address) : undefined;
}

function sourcesOf(options: Rule['options']): Sources | undefined {
  const [source, incoming, type] = [options.get('-s'), options.get('-i'), options.get('--src-type')];
  const block: Block | undefined = source === undefined ? undefined : parseBlock(source);
  if (source !== undefined && block === undefined) return undefined;
  if ((incoming !== undefined && incoming !== 'lo') || (type !== undefined && type !== 'LOCAL')) return undefined;
  return {
    ...(incoming === undefined ? {} : { loopback: true }),
    ...(type === undefined ? {} : { local: true }),
    ...(block === undefined ? {} : { block }),
  };
}

function verdictOf(options: Rule['options']): Verdict | undefined {
  switch (targetOf(options)) {
    case 'DNAT': {
      const [, bracketed, plain, port] =
        /^(?:\[(.+)\]|([^:]+)):(\d+)$/.exec(options.get('--to-destination') ?? '') ?? [];
      const host = parseIp(bracketed ?? plain ?? '');
      return host === undefined ? undefined : { kind: 'listener', host, port: Number(port) };
    }
    case 'REJECT':
      return { kind: 'reject' };
    case 'DROP':
      return { kind: 'drop' };
    case 'RETURN':
      return { kind: 'pass' };
    default:
      return undefined;
  }
}
