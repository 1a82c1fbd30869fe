import { expect } from 'chai';
import { ListenerSet } from '../../lib/apply/listener-set.js';
import { Reconciler } from '../../lib/apply/reconciler.js';
import { RedirectPorts } from '../../lib/apply/redirect-ports.js';
import { silentLog } from '../../lib/config/log.js';
import { monotonicClock } from '../../lib/model/clock.js';
import { ObjectStore } from '../../lib/source/store.js';
import { redisService, redisSlice, servicePort } from '../support/objects.js';
import { until } from '../support/until.js';
import { FakeEngine, FakeRedirector, Journal } from './fakes.js';

const NODE_PORT = 'work/saythx-redis:redis/TCP@0.0.0.0:31269';
const INTERNAL = 'work/saythx-redis:redis/TCP@internal/192.168.77.1';
const FRONTEND = '10.96.0.10:6379/TCP';

function setUp(former: Readonly<Record<string, number>> = {}, minSyncPeriodMs = 0) {
  const formerPorts = new Map(Object.entries(former).map(([key, port]) => [key, { port, insidePort: undefined }]));
  const journal = new Journal();
  const engine = new FakeEngine(journal);
  const redirector = new FakeRedirector(journal);
  const store = new ObjectStore();
  const now = { offsetMs: 0 };
  const clock = { nowMs: () => monotonicClock.nowMs() + now.offsetMs };
  const ports = new RedirectPorts({ first: 20_000, last: 20_009 });
  const listeners = new ListenerSet({ engine, ports, drainMs: 1_000, clock, log: silentLog });
  const view = {
    nodeName: 'node-a',
    zone: undefined,
    serviceProxyName: undefined,
    nodePortHosts: (family: string) => (family === 'IPv4' ? ['0.0.0.0'] : []),
    redirectHost: (family: string) => (family === 'IPv4' ? '192.168.77.1' : undefined),
  };
  const applied: string[] = [];
  const reconciler = new Reconciler({
    store,
    listeners,
    redirector,
    view: () => view,
    minSyncPeriodMs,
    formerPorts,
    onApplied: (service) => applied.push(service),
    clock,
    log: silentLog,
  });
  const syncs: number[] = [];
  const latenciesMs: number[] = [];
  reconciler.status.onSync((_durationMs, latencies) => {
    syncs.push(clock.nowMs());
    latenciesMs.push(...latencies);
  });
  reconciler.start();
  /** Until every change that was made so far has been applied. */
  const settled = () =>
    until('the sync', () => reconciler.status.synced && reconciler.status.oldestPendingAtMs === undefined);
  return { journal, engine, redirector, store, reconciler, applied, syncs, latenciesMs, settled, now };
}

type World = ReturnType<typeof setUp>;

describe('Reconciler', () => {
  let world: World;

  beforeEach(() => {
    world = setUp();
  });

  afterEach(async () => {
    await world.reconciler.stop();
  });

  it('measures a change from when it happened in the cluster, where a slice says so, and once (H4)', async () => {
    const { store, latenciesMs, settled } = world;
    store.setService(redisService());
    store.setSlice(redisSlice(['10.0.0.1'], { triggeredAtMs: Date.now() - 3_600_000 }));
    store.markSynced();
    await settled();
    expect(
      latenciesMs.every((ms) => ms < 5_000),
      'from before the start',
    ).to.equal(true);
    latenciesMs.length = 0;
    const triggeredAtMs = Date.now() + 1;
    await until('the time to pass', () => Date.now() > triggeredAtMs + 20);
    store.setSlice(redisSlice(['10.0.0.2'], { triggeredAtMs }));
    await settled();
    expect(latenciesMs).to.have.length(1);
    expect(latenciesMs[0]).to.be.within(20, 5_000);
    store.setService(redisService({ ports: [servicePort({ port: 6380 })] }));
    await settled();
    expect(latenciesMs).to.have.length(2);
    expect(latenciesMs[1]).to.be.lessThan(latenciesMs[0] ?? 0);
  });

  async function serving(): Promise<World> {
    world.store.setService(redisService());
    world.store.setSlice(redisSlice(['10.244.1.11']));
    world.store.markSynced();
    await world.settled();
    world.journal.take();
    return world;
  }

  it('applies nothing before the lists are in, then everything in one sync (Y1)', async () => {
    const { store, journal, syncs, settled } = world;
    store.setService(redisService());
    await new Promise((resolve) => setImmediate(resolve));
    expect(journal.take()).to.deep.equal([]);
    store.setSlice(redisSlice(['10.244.1.11']));
    store.markSynced();
    await settled();
    expect(syncs).to.have.length(1);
    expect(journal.take()).to.have.members([
      `open ${INTERNAL} [10.244.1.11]`,
      `open ${NODE_PORT} [10.244.1.11]`,
      `set ${FRONTEND} -> 20000`,
    ]);
  });

  it('opens the listener first, then the redirect (R2)', async () => {
    const { store, journal, settled } = world;
    store.setService(redisService({ ports: [servicePort({ nodePort: undefined })] }));
    store.setSlice(redisSlice(['10.244.1.11']));
    store.markSynced();
    await settled();
    expect(journal.take()).to.deep.equal([`open ${INTERNAL} [10.244.1.11]`, `set ${FRONTEND} -> 20000`]);
  });

  it('removes the redirect first, then the listener (R2)', async () => {
    const { store, journal, settled, engine } = await serving();
    store.deleteService('work/saythx-redis');
    await settled();
    const lines = journal.take();
    expect(lines[0]).to.equal(`remove ${FRONTEND}`);
    expect(lines.slice(1)).to.have.members([`close ${INTERNAL}`, `close ${NODE_PORT}`]);
    expect(engine.open_.size).to.equal(0);
  });

  it('touches only the listeners whose backends changed, and no rule (R1)', async () => {
    const { store, journal, settled } = await serving();
    store.setService(
      redisService({
        namespace: 'other',
        name: 'web',
        clusterIPs: ['10.96.0.20'],
        ports: [servicePort({ nodePort: 31270 })],
      }),
    );
    await settled();
    journal.take();
    store.setSlice(redisSlice(['10.244.1.11', '10.244.1.12']));
    await settled();
    expect(journal.take()).to.have.members([
      `update ${INTERNAL} [10.244.1.11 10.244.1.12]`,
      `update ${NODE_PORT} [10.244.1.11 10.244.1.12]`,
    ]);
  });

  it('runs nothing where a change makes no difference (R1)', async () => {
    const { store, journal, settled, syncs } = await serving();
    store.setSlice(redisSlice(['10.244.1.11', { address: '10.244.1.99', ready: false, serving: false }]));
    await settled();
    expect(syncs.length).to.be.greaterThan(1);
    expect(journal.take()).to.deep.equal([]);
  });

  it('refuses clients before the last endpoint is taken from the listener, and the other way round (E5, R2)', async () => {
    const { store, journal, settled } = await serving();
    store.setSlice(redisSlice([]));
    await settled();
    const [first, ...rest] = journal.take();
    expect(first).to.equal(`set ${FRONTEND} -> reject`);
    expect(rest).to.have.members([`update ${INTERNAL} []`, `update ${NODE_PORT} []`]);
    store.setSlice(redisSlice(['10.244.1.12']));
    await settled();
    const back = journal.take();
    expect(back.at(-1)).to.equal(`set ${FRONTEND} -> 20000`);
    expect(back.slice(0, -1)).to.have.members([
      `update ${INTERNAL} [10.244.1.12]`,
      `update ${NODE_PORT} [10.244.1.12]`,
    ]);
  });

  it('tells which frontends lead to a listener, and which would', async () => {
    const { store, reconciler, settled } = await serving();
    const servicePort = { namespace: 'work', service: 'saythx-redis', port: 'redis', protocol: 'TCP' } as const;
    const at = { kind: 'redirect', host: '192.168.77.1' } as const;
    const listener = {
      key: INTERNAL,
      servicePort,
      family: 'IPv4',
      at,
      affinityTimeoutMs: undefined,
      backends: '',
    } as const;
    expect([reconciler.frontendsOf(listener), reconciler.rejectedOf(listener)]).to.deep.equal([[FRONTEND], []]);
    store.setSlice(redisSlice([]));
    await settled();
    expect([reconciler.frontendsOf(listener), reconciler.rejectedOf(listener)]).to.deep.equal([[], [FRONTEND]]);
  });

  it('passes a changed affinity on to the listeners', async () => {
    const { store, journal, settled } = await serving();
    store.setService(redisService({ affinityTimeoutMs: 60_000 }));
    await settled();
    expect(journal.take()).to.include.members([`affinity ${INTERNAL} 60000`, `affinity ${NODE_PORT} 60000`]);
  });

  it('gives the node port of a deleted Service to the one that replaces it, in one sync', async () => {
    const { store, journal, settled, engine } = await serving();
    store.deleteService('work/saythx-redis');
    store.setService(redisService({ name: 'next', clusterIPs: ['10.96.0.10'] }));
    await settled();
    expect([...engine.open_.keys()]).to.have.members([
      'work/next:redis/TCP@internal/192.168.77.1',
      'work/next:redis/TCP@0.0.0.0:31269',
    ]);
    const lines = journal.take();
    expect(lines.indexOf(`close ${NODE_PORT}`)).to.be.lessThan(
      lines.indexOf('open work/next:redis/TCP@0.0.0.0:31269 []'),
    );
    expect(lines).to.not.include(`remove ${FRONTEND}`);
  });

  it('lets the older of two Services keep a node port, and the other have it afterwards (C2)', async () => {
    const { store, engine, settled } = await serving();
    store.setService(redisService({ name: 'late', clusterIPs: ['10.96.0.30'] }));
    await settled();
    expect(engine.open_.has('work/late:redis/TCP@0.0.0.0:31269')).to.equal(false);
    store.deleteService('work/saythx-redis');
    await settled();
    expect(engine.open_.has('work/late:redis/TCP@0.0.0.0:31269')).to.equal(true);
  });

  it('tries a node port in use again, reports it, and serves the rest meanwhile (C3)', async () => {
    const { store, engine, redirector, reconciler, settled, now } = world;
    engine.busyPorts.add(31_269);
    store.setService(redisService());
    store.setSlice(redisSlice(['10.244.1.11']));
    store.markSynced();
    await settled();
    expect(redirector.rules.get(FRONTEND)).to.equal('20000');
    expect(reconciler.status.faults).to.have.length(1);
    expect(reconciler.status.faults[0]).to.include({ listener: '0.0.0.0:31269', code: 'EADDRINUSE' });
    engine.busyPorts.clear();
    now.offsetMs += 60_000;
    store.setSlice(redisSlice(['10.244.1.12']));
    await settled();
    expect(engine.open_.has(NODE_PORT)).to.equal(true);
    expect(reconciler.status.faults).to.deep.equal([]);
  });

  it('comes back to a port in use by itself (C3)', async () => {
    const { store, engine, settled } = world;
    engine.busyPorts.add(31_269);
    store.setService(redisService());
    store.markSynced();
    await settled();
    engine.busyPorts.clear();
    await until('the node port', () => engine.open_.has(NODE_PORT));
  });

  it('uses the redirect ports again that the rules of an earlier process lead to (Y7)', async () => {
    const later = setUp({ [FRONTEND]: 20_000 });
    try {
      later.store.setService(
        redisService({ name: 'a-new-one', clusterIPs: ['10.96.0.9'], ports: [servicePort({ nodePort: undefined })] }),
      );
      later.store.setSlice(redisSlice(['10.244.1.12'], { key: 'work/a-1', service: 'work/a-new-one' }));
      later.store.setService(redisService());
      later.store.setSlice(redisSlice(['10.244.1.11']));
      later.store.markSynced();
      await later.settled();
      expect(later.redirector.rules.get(FRONTEND)).to.equal('20000');
      expect(later.redirector.rules.get('10.96.0.9:6379/TCP')).to.equal('20001');
    } finally {
      await later.reconciler.stop();
    }
  });

  it('takes another port where the former one is in use by now (Y7)', async () => {
    const later = setUp({ [FRONTEND]: 20_003 });
    try {
      later.engine.busyPorts.add(20_003);
      later.store.setService(redisService());
      later.store.setSlice(redisSlice(['10.244.1.11']));
      later.store.markSynced();
      await later.settled();
      expect(later.redirector.rules.get(FRONTEND)).to.equal('20000');
    } finally {
      await later.reconciler.stop();
    }
  });

  it('takes another port where the former one is in use by now and the lowest of all (Y7)', async () => {
    const later = setUp({ [FRONTEND]: 20_000 });
    try {
      later.engine.busyPorts.add(20_000);
      later.store.setService(redisService());
      later.store.setSlice(redisSlice(['10.244.1.11']));
      later.store.markSynced();
      await later.settled();
      expect(later.redirector.rules.get(FRONTEND)).to.equal('20001');
    } finally {
      await later.reconciler.stop();
    }
  });

  it('goes on to the next redirect port where one is in use', async () => {
    const { store, engine, redirector, settled, reconciler } = world;
    engine.busyPorts.add(20_000).add(20_001);
    store.setService(redisService());
    store.setSlice(redisSlice(['10.244.1.11']));
    store.markSynced();
    await settled();
    expect(redirector.rules.get(FRONTEND)).to.equal('20002');
    expect(reconciler.status.faults).to.deep.equal([]);
  });

  it('moves to another redirect port where somebody took it while there were no endpoints', async () => {
    const { store, engine, redirector, settled, reconciler } = await serving();
    store.setSlice(redisSlice([]));
    await settled();
    engine.busyPorts.add(20_000);
    store.setSlice(redisSlice(['10.244.1.12']));
    await settled();
    expect(redirector.rules.get(FRONTEND)).to.equal('20001');
    expect(reconciler.status.faults).to.deep.equal([]);
  });

  it('refuses clients of a cluster IP whose listener cannot be opened, until it can (E5, C3)', async () => {
    const { store, engine, redirector, settled, reconciler } = world;
    for (let port = 20_000; port <= 20_009; port++) engine.busyPorts.add(port);
    store.setService(redisService());
    store.setSlice(redisSlice(['10.244.1.11']));
    store.markSynced();
    await settled();
    expect(redirector.rules.get(FRONTEND)).to.equal('reject');
    expect(reconciler.status.faults.map(({ code }) => code)).to.deep.equal(['EADDRINUSE']);
    engine.busyPorts.clear();
    await until('the redirect', () => redirector.rules.get(FRONTEND) === '20000');
  });

  it('tries a sync that failed again, tells its age meanwhile, and closes nothing before (Y3, H2)', async () => {
    const { store, redirector, engine, reconciler, settled } = await serving();
    redirector.failures = 1;
    store.deleteService('work/saythx-redis');
    await until('the failure', () => redirector.failures === 0);
    expect(engine.open_.has(INTERNAL)).to.equal(true);
    expect(redirector.rules.has(FRONTEND)).to.equal(true);
    expect(reconciler.status.oldestPendingAtMs).to.be.a('number');
    await settled();
    expect(redirector.rules.has(FRONTEND)).to.equal(false);
    expect(engine.open_.size).to.equal(0);
  });

  it('keeps a listener that a failed sync was to close and that is wanted again (Y3)', async () => {
    const { store, redirector, engine, settled } = await serving();
    redirector.failures = 1;
    store.deleteService('work/saythx-redis');
    await until('the failure', () => redirector.failures === 0);
    store.setService(redisService());
    await settled();
    expect([...engine.open_.keys()]).to.have.members([INTERNAL, NODE_PORT]);
    expect(redirector.rules.get(FRONTEND)).to.equal('20000');
  });

  it('closes a listener for good that a failed sync was to empty (Y3)', async () => {
    const { store, redirector, engine, settled } = await serving();
    redirector.failures = 1;
    store.setSlice(redisSlice([]));
    await until('the failure', () => redirector.failures === 0);
    store.deleteService('work/saythx-redis');
    await settled();
    expect([...engine.open_.keys()]).to.deep.equal([]);
  });

  it('empties a listener that a failed sync was to close only when no redirect leads to it (R2, Y3)', async () => {
    const { store, redirector, journal, settled } = await serving();
    redirector.failures = 1;
    store.deleteService('work/saythx-redis');
    await until('the failure', () => redirector.failures === 0);
    store.setService(redisService());
    store.setSlice(redisSlice([]));
    await settled();
    const lines = journal.take();
    expect(lines[0]).to.equal(`set ${FRONTEND} -> reject`);
    expect(lines.slice(1)).to.have.members([`update ${INTERNAL} []`, `update ${NODE_PORT} []`]);
  });

  it('opens a node port that a failed sync was to close for another Service (Y3)', async () => {
    const { store, redirector, engine, reconciler, settled } = await serving();
    redirector.failures = 1;
    store.setService(redisService({ clusterIPs: ['10.96.0.11'], ports: [servicePort({ nodePort: undefined })] }));
    await until('the failure', () => redirector.failures === 0);
    store.setService(redisService({ name: 'next', clusterIPs: [] }));
    store.setSlice(redisSlice(['10.244.1.12'], { key: 'work/next-1', service: 'work/next' }));
    await settled();
    expect(reconciler.status.faults).to.deep.equal([]);
    expect(engine.open_.has('work/next:redis/TCP@0.0.0.0:31269')).to.equal(true);
  });

  it('tells that a Service is applied that a failed sync had planned for the sake of another (Y3, C2)', async () => {
    const { store, redirector, applied, settled } = await serving();
    store.setService(redisService({ name: 'late', clusterIPs: ['10.96.0.30'] }));
    await settled();
    applied.length = 0;
    redirector.failures = 1;
    store.deleteService('work/saythx-redis');
    await settled();
    expect(applied).to.have.members(['work/saythx-redis', 'work/late']);
  });

  it('never shows fewer endpoints while one moves from slice to slice (S5)', async () => {
    const { store, journal, settled } = world;
    const second = { key: 'work/saythx-redis-2' };
    store.setService(redisService());
    store.setSlice(redisSlice(['10.244.1.11', '10.244.1.12']));
    store.setSlice(redisSlice(['10.244.1.13'], second));
    store.markSynced();
    await settled();
    journal.take();
    store.setSlice(redisSlice(['10.244.1.11']));
    await new Promise((resolve) => setTimeout(resolve, 20));
    store.setSlice(redisSlice(['10.244.1.13', '10.244.1.12'], second));
    await settled();
    expect(journal.take()).to.deep.equal([]);
  });

  it('waits for another slice without putting off the sync that follows (S5, Y2)', async () => {
    const slow = setUp({}, 2_000);
    try {
      slow.store.setService(redisService());
      slow.store.setSlice(redisSlice(['10.244.1.11', '10.244.1.12']));
      slow.store.setSlice(redisSlice(['10.244.1.13'], { key: 'work/saythx-redis-2' }));
      slow.store.markSynced();
      await slow.settled();
      slow.journal.take();
      // So long after the last sync, a change is applied at once.
      slow.now.offsetMs += 10_000;
      slow.store.setSlice(redisSlice(['10.244.1.11']));
      const lost = `update ${NODE_PORT} [10.244.1.11 10.244.1.13]`;
      await until('the endpoint to go', () => slow.journal.lines.includes(lost), 1_000);
    } finally {
      await slow.reconciler.stop();
    }
  });

  it('takes an endpoint away that left one of several slices for good (S5)', async () => {
    const { store, journal, settled } = world;
    store.setService(redisService());
    store.setSlice(redisSlice(['10.244.1.11', '10.244.1.12']));
    store.setSlice(redisSlice(['10.244.1.13'], { key: 'work/saythx-redis-2' }));
    store.markSynced();
    await settled();
    journal.take();
    store.setSlice(redisSlice(['10.244.1.11']));
    await settled();
    expect(journal.take()).to.include(`update ${NODE_PORT} [10.244.1.11 10.244.1.13]`);
  });

  it('counts changes as pending until a sync succeeds (H4, Y3)', async () => {
    const { store, redirector, reconciler, settled } = await serving();
    redirector.failures = 1;
    store.deleteService('work/saythx-redis');
    await until('the failure', () => redirector.failures === 0);
    expect(reconciler.status.serviceChangesPending).to.equal(1);
    await settled();
    expect(reconciler.status.serviceChangesPending).to.equal(0);
  });

  it('counts changes, and forgets the pending ones when they are applied (H4)', async () => {
    const { store, reconciler, settled } = world;
    store.setService(redisService());
    store.setSlice(redisSlice(['10.244.1.11']));
    store.setSlice(redisSlice(['10.244.1.12']));
    expect([reconciler.status.serviceChangesPending, reconciler.status.endpointChangesPending]).to.deep.equal([1, 2]);
    store.markSynced();
    await settled();
    expect([reconciler.status.serviceChangesPending, reconciler.status.endpointChangesPending]).to.deep.equal([0, 0]);
    expect([reconciler.status.serviceChangesTotal, reconciler.status.endpointChangesTotal]).to.deep.equal([1, 2]);
  });

  it('counts parts of Services that are not served, while they are not (S6, C2)', async () => {
    const { store, reconciler, settled } = await serving();
    const sctp = servicePort({ name: 'sig', protocol: 'SCTP', port: 3868, nodePort: undefined });
    store.setService(redisService({ ports: [servicePort(), sctp] }));
    store.setService(redisService({ name: 'late', clusterIPs: ['10.96.0.30'] }));
    await settled();
    expect(reconciler.status.partsNotServed).to.equal(2);
    store.deleteService('work/saythx-redis');
    await settled();
    expect(reconciler.status.partsNotServed).to.equal(0);
  });

  it('plans as many Services as changed, however many there are', async () => {
    const { store, journal, settled } = world;
    for (let at = 0; at < 200; at++) {
      store.setService(
        redisService({ name: `s${at}`, clusterIPs: [], ports: [servicePort({ nodePort: 30_000 + at })] }),
      );
      store.setSlice(redisSlice(['10.244.1.11'], { key: `work/s${at}-1`, service: `work/s${at}` }));
    }
    store.markSynced();
    await settled();
    journal.take();
    store.setSlice(redisSlice(['10.244.1.12'], { key: 'work/s7-1', service: 'work/s7' }));
    await settled();
    expect(journal.take()).to.deep.equal(['update work/s7:redis/TCP@0.0.0.0:30007 [10.244.1.12]']);
  });
});
