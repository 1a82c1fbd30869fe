/** Owns what redirect specs share: redirects in short, a log to look at, and tools that run inside a namespace. */
import { hostPort, type Ip } from '../../lib/config/address.js';
import type { Log, LogFields } from '../../lib/config/log.js';
import type { Protocol } from '../../lib/model/objects.js';
import { parseBlock } from '../../lib/redirect/block.js';
import { type Routing, routingOf } from '../../lib/redirect/clauses.js';
import { type Exec, runCommand } from '../../lib/redirect/command.js';
import type { Frontend, Redirect, RedirectAction } from '../../lib/redirect/redirector.js';
import type { Namespace } from '../support/lab/namespace.js';

export const OWNER = 'ns/name:port/TCP';

/** `10.96.0.10:53/UDP`, `[fd00::a]:53/UDP`; TCP where no protocol is named. */
export function frontend(text: string): Frontend {
  const [, v6, v4, port, protocol = 'TCP'] = /^(?:\[(.+)\]|([^:]+)):(\d+)(?:\/(TCP|UDP))?$/.exec(text) ?? [];
  return { address: v6 ?? v4 ?? '', port: Number(port), protocol: protocol as Protocol };
}

export function toListener(from: string, host: Ip, port: number, owner = OWNER): Redirect {
  return { frontend: frontend(from), action: { kind: 'listener', host, port }, owner };
}

export function refused(from: string, owner = OWNER): Redirect {
  return { frontend: frontend(from), action: { kind: 'reject' }, owner };
}

export function routing(redirect: Redirect, insideCidrs: readonly string[] = []): Routing {
  return routingOf(
    redirect,
    insideCidrs.flatMap((cidr) => parseBlock(cidr) ?? []),
  );
}

/** `10.96.0.10:53/UDP -> 192.0.2.1:30000, inside drop, for 10.0.0.0/8,node`. */
export function inWords({ frontend: one, action, insideAction, allowed }: Redirect): string {
  const inside = insideAction === undefined ? '' : `, inside ${to(insideAction)}`;
  const ranges = allowed === undefined ? '' : ` for ${[...allowed.cidrs, ...(allowed.node ? ['node'] : [])].join()}`;
  return `${hostPort(one.address, one.port)}/${one.protocol} -> ${to(action)}${inside}${ranges}`;
}

function to(action: RedirectAction): string {
  return action.kind === 'listener' ? hostPort(action.host, action.port) : action.kind;
}

export interface LogLine extends LogFields {
  readonly level: keyof Log;
  readonly message: string;
}

/** A log whose lines stay. */
export function keptLog(): Log & { readonly lines: LogLine[] } {
  const lines: LogLine[] = [];
  const keep =
    (level: keyof Log) =>
    (message: string, fields: LogFields = {}) => {
      lines.push({ ...fields, level, message });
    };
  return { lines, debug: keep('debug'), info: keep('info'), warn: keep('warn'), error: keep('error') };
}

/** What runs in which namespace; `legacy` takes iptables-legacy for iptables. */
export function execIn(namespace: Namespace, backend: 'nf_tables' | 'legacy' = 'nf_tables', wrap: string[] = []): Exec {
  return (program, args, options) => {
    const actual = backend === 'legacy' ? program.replace(/^(ip6?tables)/, '$1-legacy') : program;
    return runCommand('ip', ['netns', 'exec', namespace.name, ...wrap, actual, ...args], options);
  };
}

/** Records the programs that run. */
export function watched(exec: Exec): Exec & { readonly ran: string[] } {
  const ran: string[] = [];
  const watching: Exec = (program, args, options) => {
    ran.push([program, ...args].join(' '));
    return exec(program, args, options);
  };
  return Object.assign(watching, { ran });
}
