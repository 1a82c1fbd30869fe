/**
 * Owns which redirect ports are in use, and the rules that keep them from being a way in (rule R4).
 *
 *   add, release (host, protocol, port) -> counts -> runs of ports -> PORTS chain
 *
 * Only ports that are ours are guarded: other programs may use the rest of the range.
 */
import type { Ip } from '../../config/address.js';
import type { Protocol } from '../../model/objects.js';
import { PORTS, prefixBits, protocolMatch, ROOT, refuse } from './rule.js';

interface Space {
  readonly host: Ip;
  readonly protocol: Protocol;
  /** Frontends that lead to a port, by port: two frontends of one Service port may share a listener. */
  readonly uses: Uint32Array;
  total: number;
}

export interface PortRun {
  readonly first: number;
  readonly last: number;
}

export class GuardedPorts {
  readonly #spaces = new Map<string, Space>();

  add(host: Ip, protocol: Protocol, port: number): void {
    const key = `${host} ${protocol}`;
    let space = this.#spaces.get(key);
    if (space === undefined) {
      space = { host, protocol, uses: new Uint32Array(65_536), total: 0 };
      this.#spaces.set(key, space);
    }
    space.uses[port] = (space.uses[port] ?? 0) + 1;
    space.total++;
  }

  /** To be called once for every `add`. */
  release(host: Ip, protocol: Protocol, port: number): void {
    const key = `${host} ${protocol}`;
    const space = this.#spaces.get(key);
    if (space === undefined) return;
    space.uses[port] = (space.uses[port] ?? 1) - 1;
    if (--space.total === 0) this.#spaces.delete(key);
  }

  /** Rules of the root chain: what goes to a host of ours and was not redirected is compared with the ports. */
  rootRules(): readonly string[] {
    const hosts = new Set([...this.#spaces.values()].map(({ host }) => host));
    return [...hosts]
      .sort()
      .map((host) => `-A ${ROOT} -d ${host}/${prefixBits(host)} -m conntrack ! --ctstate DNAT -j ${PORTS}`);
  }

  portRules(): readonly string[] {
    const keys = [...this.#spaces.keys()].sort();
    return keys.flatMap((key) => {
      const space = this.#spaces.get(key);
      return space === undefined ? [] : portRunsOf(space.uses).map((run) => portRule(space, run));
    });
  }
}

function portRule({ host, protocol }: Space, { first, last }: PortRun): string {
  const ports = first === last ? `${first}` : `${first}:${last}`;
  const match = `-d ${host}/${prefixBits(host)} ${protocolMatch({ protocol })} --dport ${ports}`;
  return `-A ${PORTS} ${match} ${refuse({ address: host, protocol })}`;
}

/** The fewest runs of consecutive indexes that hold every index with a count, and no other. */
export function portRunsOf(uses: Uint32Array): readonly PortRun[] {
  const runs: PortRun[] = [];
  let first: number | undefined;
  for (let port = 0; port <= uses.length; port++) {
    const used = port < uses.length && uses[port] !== 0;
    if (used) first ??= port;
    else if (first !== undefined) {
      runs.push({ first, last: port - 1 });
      first = undefined;
    }
  }
  return runs;
}
