/**
 * Owns one engine under test, with everything a test starts around it: all of it is ended after the test, whatever happened.
 *
 *   withRig(make, options, async (rig) => { rig.tcpBackend(...); rig.open(...); rig.dial(...) })
 */
import { isIPv6 } from 'node:net';
import type { Ip } from '../../../lib/config/address.js';
import type { Protocol } from '../../../lib/model/objects.js';
import {
  type Backend,
  type ConnectionRecord,
  defaultEngineOptions,
  type Engine,
  type EngineEvents,
  type EngineOptions,
  type ListenerSpec,
  type ListenerStats,
} from '../../../lib/relay/engine.js';
import {
  type BlackHole,
  startBlackHole,
  startTcpBackend,
  type TcpBackend,
  type TcpBackendOptions,
} from '../../support/backends.js';
import { startUdpBackend, type UdpBackend, type UdpBackendOptions, UdpClient } from '../../support/datagrams.js';
import { Peer } from '../../support/peer.js';
import { until } from '../../support/until.js';

/** Resolves when the engine takes calls. */
export type MakeEngine = (options: EngineOptions, events: EngineEvents) => Engine | Promise<Engine>;

export interface Opened {
  readonly key: string;
  readonly host: Ip;
  readonly port: number;
}

/** What the engine reported. */
export interface Heard {
  readonly records: ConnectionRecord[];
  readonly logs: { readonly level: string; readonly message: string; readonly fields: Record<string, unknown> }[];
}

export class Rig {
  readonly #cleanUps: (() => void | Promise<void>)[] = [];
  #listeners = 0;

  constructor(
    readonly engine: Engine,
    readonly heard: Heard,
  ) {}

  /** Runs after the test, the last one first. */
  defer(cleanUp: () => void | Promise<void>): void {
    this.#cleanUps.push(cleanUp);
  }

  async end(): Promise<void> {
    for (const cleanUp of this.#cleanUps.reverse()) await cleanUp();
  }

  async tcpBackend(options?: TcpBackendOptions): Promise<TcpBackend> {
    const backend = await startTcpBackend(options);
    this.defer(() => backend.close());
    return backend;
  }

  async udpBackend(options?: UdpBackendOptions): Promise<UdpBackend> {
    const backend = await startUdpBackend(options);
    this.defer(() => backend.close());
    return backend;
  }

  async blackHole(): Promise<BlackHole> {
    const hole = await startBlackHole();
    this.defer(() => hole.close());
    return hole;
  }

  spec(protocol: Protocol, rest: Partial<ListenerSpec> = {}): ListenerSpec {
    this.#listeners += 1;
    const key = `listener-${this.#listeners}`;
    const servicePort = { namespace: 'work', service: `service-${this.#listeners}`, port: '', protocol };
    return { key, servicePort, host: '127.0.0.1', port: 0, affinityTimeoutMs: undefined, ...rest };
  }

  /** Opens a listener; `host` of the result is an address it can be dialled at. */
  async open(protocol: Protocol, backends: readonly Backend[], rest?: Partial<ListenerSpec>): Promise<Opened> {
    const spec = this.spec(protocol, rest);
    const { port } = await this.engine.open(spec, backends.map(plain));
    const loopback = isIPv6(spec.host) ? '::1' : '127.0.0.1';
    return { key: spec.key, host: spec.host === '0.0.0.0' || spec.host === '::' ? loopback : spec.host, port };
  }

  async update({ key }: Opened, backends: readonly Backend[]): Promise<void> {
    await this.engine.update(key, backends.map(plain));
  }

  async dial(
    { host, port }: Opened,
    options?: { readonly localAddress?: string; readonly keep?: boolean },
  ): Promise<Peer> {
    const peer = await Peer.dial(host, port, options);
    this.defer(() => void peer.socket.destroy());
    return peer;
  }

  async dialUdp(
    { host, port }: { readonly host: Ip; readonly port: number },
    localAddress?: string,
  ): Promise<UdpClient> {
    const client = await UdpClient.dial(host, port, localAddress);
    this.defer(() => client.close());
    return client;
  }

  /** Dials, and reads all that the backend says until it closes. */
  async ask(listener: Opened, localAddress?: string): Promise<string> {
    const peer = await this.dial(listener, localAddress === undefined ? {} : { localAddress });
    const ending = await peer.ended();
    peer.fin();
    return ending === 'fin' ? peer.text : ending;
  }

  async statsOf({ key }: { readonly key: string }): Promise<ListenerStats> {
    const { listeners } = await this.engine.stats();
    const found = listeners.find((one) => one.key === key);
    if (found === undefined) throw new Error(`no stats of ${key}`);
    return found;
  }

  async untilStats(
    what: string,
    listener: { readonly key: string },
    holds: (stats: ListenerStats) => boolean,
  ): Promise<ListenerStats> {
    return until(what, async () => {
      const stats = await this.statsOf(listener);
      return holds(stats) ? stats : undefined;
    });
  }
}

export async function withRig(
  make: MakeEngine,
  options: Partial<EngineOptions>,
  run: (rig: Rig) => Promise<void>,
): Promise<void> {
  const heard: Heard = { records: [], logs: [] };
  const engine = await make(
    { ...defaultEngineOptions, ...options },
    {
      log: (level, message, fields) => heard.logs.push({ level, message, fields }),
      record: (record) => heard.records.push(record),
    },
  );
  const rig = new Rig(engine, heard);
  rig.defer(() => engine.stop(0));
  try {
    await run(rig);
  } finally {
    await rig.end();
  }
}

/** Test backends carry functions; an engine is given what can be posted. */
function plain({ host, port }: Backend): Backend {
  return { host, port };
}
