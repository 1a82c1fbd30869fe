/**
 * Whatever happens to Services that contend for addresses and ports, in whatever order: what is applied in the end is what a
 * fresh start would apply, nothing is left over, and on the way no redirect leads to a listener that does not accept.
 */
import { expect } from 'chai';
import fc from 'fast-check';
import { ListenerSet } from '../../lib/apply/listener-set.js';
import { Reconciler } from '../../lib/apply/reconciler.js';
import { RedirectPorts } from '../../lib/apply/redirect-ports.js';
import type { IpFamily } from '../../lib/config/address.js';
import { silentLog } from '../../lib/config/log.js';
import { keysOf, packBackends } from '../../lib/model/backend.js';
import { monotonicClock } from '../../lib/model/clock.js';
import type { EndpointSlice, Service, ServicePortSpec } from '../../lib/model/objects.js';
import type { ServicePlan } from '../../lib/plan/service-plan.js';
import type { Redirect, RedirectAction, RedirectChanges } from '../../lib/redirect/redirector.js';
import type { Backends, Bound, ListenerSpec } from '../../lib/relay/engine.js';
import { ObjectStore } from '../../lib/source/store.js';
import { redisService, redisSlice } from '../support/objects.js';
import { until } from '../support/until.js';
import { FakeEngine, FakeRedirector, Journal } from './fakes.js';

/** Says what is wrong as soon as a redirect leads to a listener that does not accept. */
class WatchedEngine extends FakeEngine {
  readonly backends = new Map<string, readonly string[]>();
  readonly affinities = new Map<string, number | undefined>();
  readonly wrongs: string[] = [];
  redirector: WatchedRedirector | undefined;

  override async open(listener: ListenerSpec, backends: Backends): Promise<Bound> {
    const bound = await super.open(listener, backends);
    this.affinities.set(listener.key, listener.affinityTimeoutMs);
    this.#have(listener.key, backends);
    return bound;
  }

  override async update(key: string, backends: Backends): Promise<Bound> {
    const bound = await super.update(key, backends);
    this.#have(key, backends);
    return bound;
  }

  override async setAffinity(key: string, affinityTimeoutMs: number | undefined): Promise<void> {
    this.affinities.set(key, affinityTimeoutMs);
  }

  override async close(key: string): Promise<void> {
    this.#have(key, []);
    this.backends.delete(key);
    this.affinities.delete(key);
    await super.close(key);
  }

  /** The open listener at a place of a redirect. */
  listenerAt({ host, port }: { readonly host: string; readonly port: number }, protocol: string): string | undefined {
    const open = [...this.open_.values()];
    return open.find((one) => one.host === host && one.port === port && one.servicePort.protocol === protocol)?.key;
  }

  #have(key: string, backends: Backends): void {
    if (backends.length === 0 && this.redirector?.leadsTo(key)) this.wrongs.push(`${key} went before its redirect`);
    this.backends.set(key, [...keysOf(packBackends(backends))].sort());
  }
}

class WatchedRedirector extends FakeRedirector {
  constructor(readonly engine: WatchedEngine) {
    super(engine.journal);
    engine.redirector = this;
  }

  override async apply(changes: RedirectChanges): Promise<void> {
    await super.apply(changes);
    for (const { frontend, action, insideAction } of this.redirects.values()) {
      for (const one of [action, insideAction]) {
        if (one?.kind !== 'listener') continue;
        const key = this.engine.listenerAt(one, frontend.protocol);
        const backends = this.engine.backends.get(key ?? '') ?? [];
        if (backends.length === 0) this.engine.wrongs.push(`a redirect leads to ${key}, which does not accept`);
      }
    }
  }

  leadsTo(key: string): boolean {
    return [...this.redirects.values()].some(({ frontend, action, insideAction }) =>
      [action, insideAction].some(
        (one) => one?.kind === 'listener' && this.engine.listenerAt(one, frontend.protocol) === key,
      ),
    );
  }
}

class World {
  readonly store = new ObjectStore();
  readonly engine = new WatchedEngine(new Journal());
  readonly redirector = new WatchedRedirector(this.engine);
  readonly health = new Map<string, ServicePlan['healthCheck']>();
  readonly reconciler: Reconciler;

  constructor() {
    this.reconciler = new Reconciler({
      store: this.store,
      listeners: new ListenerSet({
        engine: this.engine,
        ports: new RedirectPorts({ first: 20_000, last: 20_199 }),
        drainMs: 0,
        clock: monotonicClock,
        log: silentLog,
      }),
      redirector: this.redirector,
      view: () => ({
        nodeName: 'node-a',
        zone: undefined,
        serviceProxyName: undefined,
        nodePortHosts: (family) => [family === 'IPv4' ? '0.0.0.0' : '::'],
        redirectHost: (family) => (family === 'IPv4' ? '192.168.77.1' : 'fd00:77::1'),
      }),
      minSyncPeriodMs: 0,
      onApplied: (service, { healthCheck }) => {
        if (healthCheck === undefined) this.health.delete(service);
        else this.health.set(service, healthCheck);
      },
      clock: monotonicClock,
      log: silentLog,
    });
    this.reconciler.start();
    this.store.markSynced();
  }

  async settled(): Promise<void> {
    const { status } = this.reconciler;
    await until('the sync', () => status.oldestPendingAtMs === undefined);
  }

  /** All that is applied, without the numbers of redirect ports. */
  state(): object {
    const action = (one: RedirectAction | undefined, protocol: string) =>
      one?.kind === 'listener' ? `to ${this.engine.listenerAt(one, protocol)}` : one?.kind;
    const redirect = ({ frontend, action: to, insideAction, allowed, owner }: Redirect) => ({
      to: action(to, frontend.protocol),
      inside: action(insideAction, frontend.protocol),
      allowed,
      owner,
    });
    const { faults, noLocalEndpoints, partsNotServed } = this.reconciler.status;
    return {
      listeners: Object.fromEntries([...this.engine.backends].sort()),
      affinities: Object.fromEntries([...this.engine.affinities].sort()),
      redirects: Object.fromEntries([...this.redirector.redirects].map(([key, one]) => [key, redirect(one)]).sort()),
      health: Object.fromEntries([...this.health].sort()),
      status: { faults, noLocalEndpoints, partsNotServed },
    };
  }
}

const NAMES = ['a', 'b', 'c'] as const;
type Name = (typeof NAMES)[number];

/** One Service and its slices at a moment; undefined: it is not there. */
interface Moment {
  readonly service: Omit<Partial<Service>, 'key'> | undefined;
  readonly age: number;
  readonly endpoints: Readonly<Record<IpFamily, readonly string[]>>;
  readonly targetPort: number;
  readonly local: boolean;
}

const policy = fc.constantFrom('Cluster' as const, 'Local' as const);

/** Few numbers, so that Services and ports of one Service meet. */
const port: fc.Arbitrary<ServicePortSpec> = fc.record({
  name: fc.constantFrom('x', 'y', 'z'),
  protocol: fc.constantFrom('TCP' as const, 'UDP' as const, 'SCTP' as const),
  port: fc.constantFrom(53, 80),
  nodePort: fc.constantFrom(undefined, 30_001, 30_002),
});

/** As the API server has them: names, numbers and node ports of one Service do not meet. */
const ports = fc
  .array(port, { minLength: 1, maxLength: 3 })
  .map((all) =>
    all.filter((one, at) =>
      all
        .slice(0, at)
        .every(
          (other) =>
            other.name !== one.name &&
            (other.protocol !== one.protocol ||
              (other.port !== one.port && (other.nodePort === undefined || other.nodePort !== one.nodePort))),
        ),
    ),
  );

const service = fc.record({
  type: fc.constantFrom('NodePort' as const, 'LoadBalancer' as const, 'ExternalName' as const),
  headless: fc.constantFrom(false, false, false, true),
  clusterIPs: fc.constantFrom(['10.96.0.1'], ['10.96.0.2'], ['10.96.0.1', 'fd00:96::1'], ['fd00:96::1'], []),
  ports,
  internalTrafficPolicy: policy,
  externalTrafficPolicy: policy,
  affinityTimeoutMs: fc.constantFrom(undefined, 1_000, 2_000),
  externalIPs: fc.constantFrom([], ['198.51.100.1'], ['198.51.100.1', 'fd00:e::1']),
  loadBalancerIPs: fc.constantFrom([], ['203.0.113.1'], ['198.51.100.1']),
  loadBalancerSourceRanges: fc.constantFrom([], ['10.0.0.0/8']),
  healthCheckNodePort: fc.constantFrom(undefined, 30_001, 30_003),
});

const moment: fc.Arbitrary<Moment> = fc.record({
  service: fc.option(service, { nil: undefined, freq: 4 }),
  age: fc.nat(9),
  endpoints: fc.record({
    IPv4: fc.subarray(['10.244.1.1', '10.244.1.2']),
    IPv6: fc.subarray(['fd00:10:244::1']),
  }),
  targetPort: fc.constantFrom(8_080, 8_081),
  local: fc.boolean(),
});

/** One write: some Services at once. Not settled: the next one comes at once. */
const write = fc.record({
  moments: fc.dictionary(fc.constantFrom(...NAMES), moment, { minKeys: 1 }),
  settled: fc.boolean(),
});

function put(store: ObjectStore, name: Name, { service: given, age, endpoints, targetPort, local }: Moment): void {
  const key = `work/${name}`;
  if (given === undefined) store.deleteService(key);
  // No two are of one age: then the order of arrival would decide, which a fresh start cannot know.
  else store.setService(redisService({ ...given, name, createdAt: `2026-01-0${age + 1}T00:00:00Z ${name}` }));
  for (const family of ['IPv4', 'IPv6'] as const) {
    const slice: Partial<EndpointSlice> = {
      key: `${key}-${family}`,
      service: key,
      family,
      ports: (given?.ports ?? []).map(({ name: port, protocol }) => ({ name: port, protocol, port: targetPort })),
    };
    const nodeName = local ? 'node-a' : 'node-b';
    const all = endpoints[family].map((address) => ({ address, nodeName }));
    if (all.length > 0) store.setSlice(redisSlice(all, slice));
    else store.deleteSlice(`${key}-${family}`);
  }
}

type Write = typeof write extends fc.Arbitrary<infer T> ? T : never;

/** `failsAt`: the first batch of rules after that write is refused. */
async function play(writes: readonly Write[], failsAt?: number): Promise<void> {
  const world = new World();
  const fresh = new World();
  try {
    const last = new Map<Name, Moment>();
    for (const [at, { moments, settled }] of writes.entries()) {
      world.store.batch(() => {
        for (const name of NAMES) {
          const one = moments[name];
          if (one === undefined) continue;
          put(world.store, name, one);
          last.set(name, one);
        }
      });
      if (at === failsAt) {
        world.redirector.failures = 1;
        // The next write meets what the failed sync has left half done.
        await new Promise((resolve) => setTimeout(resolve, 20));
      } else if (settled) await world.settled();
    }
    await world.settled();
    expect(world.engine.wrongs).to.deep.equal([]);
    fresh.store.batch(() => {
      for (const [name, one] of last) put(fresh.store, name, one);
    });
    await fresh.settled();
    expect(world.state()).to.deep.equal(fresh.state());
    world.store.batch(() => {
      for (const name of NAMES) world.store.deleteService(`work/${name}`);
    });
    await world.settled();
    expect(world.state()).to.deep.equal(new World().state());
  } finally {
    await Promise.all([world.reconciler.stop(), fresh.reconciler.stop()]);
  }
}

describe('any sequence of changes', function () {
  this.timeout(60_000);

  it('ends where a fresh start would, and leaves nothing', async () => {
    const histories = fc.asyncProperty(fc.array(write, { minLength: 1, maxLength: 5 }), (writes) => play(writes));
    await fc.assert(histories, { numRuns: 150 });
  });

  it('ends there with syncs that fail on the way, too (Y3)', async () => {
    const histories = fc.sample(fc.array(write, { minLength: 2, maxLength: 4 }), 100);
    await Promise.all(histories.map((writes, at) => play(writes, at % 3)));
  });
});
