/**
 * Owns forgetting UDP flows that a changed redirect has made wrong (rule R8). The kernel asks the nat table once per flow:
 * a client that goes on sending would be led to the old place for as long as it sends.
 *
 *   UDP transitions -> conntrack -L -> staleFlows -> conntrack -D, by frontend and place
 */
import type { Ip, IpFamily } from '../config/address.js';
import type { Log } from '../config/log.js';
import type { Place } from './clauses.js';
import type { Exec } from './command.js';
import { type Frontend, RedirectError } from './redirector.js';

/** Where flows of a frontend are led. */
export interface FlowTarget {
  readonly frontend: Frontend;
  /** By the client's address; undefined: nowhere. */
  readonly placeFor: (client: Ip) => Place | undefined;
}

/** The flows of one frontend to one place that it does not lead to any more. */
export interface StaleFlows {
  readonly address: Ip;
  readonly port: number;
  readonly placeHost: Ip;
  readonly placePort: number;
  /** Of this client alone, where it still leads others there; absent: of all. */
  readonly client?: Ip;
}

/** More kinds of stale flows than this in one sync are left to time out: 30 s after their last datagram. */
const MAX_DELETIONS = 512;

export class FlowForgetter {
  readonly #exec: Exec;
  readonly #log: Log;
  #missing = false;

  constructor(exec: Exec, log: Log) {
    this.#exec = exec;
    this.#log = log;
  }

  /** Never rejects: rules are right without it, and a sync that fails over it would only be run again. */
  async forget(family: IpFamily, targets: readonly FlowTarget[]): Promise<void> {
    const udp = targets.filter(({ frontend }) => frontend.protocol === 'UDP');
    if (udp.length === 0 || this.#missing) return;
    try {
      await this.#forget(family.toLowerCase(), udp);
    } catch (error) {
      this.#missing = error instanceof RedirectError && error.code === 'MISSING_TOOL';
      this.#log.warn('stale UDP flows are not deleted: clients may be led to a former place until they pause', {
        err: error,
      });
    }
  }

  async #forget(family: string, targets: readonly FlowTarget[]): Promise<void> {
    const [only, second] = targets;
    const narrow = only !== undefined && second === undefined ? originArgs(only.frontend) : [];
    const { code, stdout, stderr } = await this.#exec('conntrack', ['-L', '-f', family, '-p', 'udp', ...narrow]);
    if (code !== 0) throw new RedirectError('COMMAND_FAILED', `conntrack -L exited ${code}: ${stderr.trim()}`);
    const stale = staleFlows(stdout, targets);
    if (stale.length > MAX_DELETIONS) this.#log.warn('too many stale UDP flows to delete all', { count: stale.length });
    for (const flows of stale.slice(0, MAX_DELETIONS)) {
      const place = ['--reply-src', flows.placeHost, '--reply-port-src', String(flows.placePort)];
      if (flows.client !== undefined) place.push('--orig-src', flows.client);
      // Its exit code is a failure where the flow has just gone by itself.
      await this.#exec('conntrack', ['-D', '-f', family, '-p', 'udp', ...originArgs(flows), ...place]);
    }
    if (stale.length > 0) this.#log.debug('deleted stale UDP flows', { family, stale });
  }
}

/** The client, what it dialled, and who answers it (the second `src` and `sport`). */
const FLOW = / src=(\S+) dst=(\S+) sport=\d+ dport=(\d+) .*?\bsrc=(\S+) dst=\S+ sport=(\d+) /;

/** The flows of one frontend to one place, by whether it still leads their clients there. */
interface Kind {
  readonly flows: StaleFlows;
  readonly staleClients: Set<Ip>;
  holdsRight: boolean;
}

/** Which flows of these frontends, as `conntrack -L` prints them, lead elsewhere than they should; each kind once. */
export function staleFlows(listing: string, targets: readonly FlowTarget[]): readonly StaleFlows[] {
  const wanted = new Map(targets.map(({ frontend, placeFor }) => [`${frontend.address} ${frontend.port}`, placeFor]));
  const kinds = new Map<string, Kind>();
  for (const line of listing.split('\n')) {
    const [, client, address, dport, placeHost, sport] = FLOW.exec(line) ?? [];
    if (client === undefined || address === undefined || placeHost === undefined) continue;
    const [port, placePort] = [Number(dport), Number(sport)];
    const placeFor = wanted.get(`${address} ${port}`);
    if (placeFor === undefined) continue;
    const key = `${address} ${port} ${placeHost} ${placePort}`;
    const flows = { address, port, placeHost, placePort };
    const kind = kinds.get(key) ?? { flows, staleClients: new Set(), holdsRight: false };
    kinds.set(key, kind);
    const place = placeFor(client);
    if (place?.host === placeHost && place.port === placePort) kind.holdsRight = true;
    else kind.staleClients.add(client);
  }
  return [...kinds.values()].flatMap(({ flows, staleClients, holdsRight }) => {
    if (holdsRight) return [...staleClients].map((client) => ({ ...flows, client }));
    return staleClients.size > 0 ? [flows] : [];
  });
}

function originArgs({ address, port }: { readonly address: Ip; readonly port: number }): readonly string[] {
  return ['--orig-dst', address, '--orig-port-dst', String(port)];
}
