/** ClientIP affinity (B2) through the whole: objects in the store, the reconciler, a real relay thread, real clients. */
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { expect } from 'chai';
import { ListenerSet } from '../../lib/apply/listener-set.js';
import { Reconciler } from '../../lib/apply/reconciler.js';
import { RedirectPorts } from '../../lib/apply/redirect-ports.js';
import { silentLog } from '../../lib/config/log.js';
import { monotonicClock } from '../../lib/model/clock.js';
import type { Protocol, Service } from '../../lib/model/objects.js';
import { defaultEngineOptions } from '../../lib/relay/engine.js';
import { RelayThreads } from '../../lib/relay/thread/relay-threads.js';
import { ObjectStore } from '../../lib/source/store.js';
import { sayAndClose, startTcpBackend } from '../support/backends.js';
import { startUdpBackend, UdpClient } from '../support/datagrams.js';
import { nativeFault } from '../support/native.js';
import { redisService, redisSlice, servicePort } from '../support/objects.js';
import { Peer } from '../support/peer.js';
import { until } from '../support/until.js';
import { FakeRedirector, Journal } from './fakes.js';

const PODS = ['127.0.1.1', '127.0.1.2', '127.0.1.3'] as const;
/** Clients of their own addresses, which the kernel has all of. */
const CLIENT = '127.0.2.1';
const OTHERS = ['127.0.2.2', '127.0.2.3', '127.0.2.4'] as const;
const FOREVER_MS = 3_600_000;
const SHORT_MS = 30;

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

interface Pod {
  readonly port: number;
  close(): Promise<void>;
}

/** A pod that says its address. */
async function startPod(protocol: Protocol, host: string, port: number): Promise<Pod> {
  if (protocol === 'UDP') return startUdpBackend({ host, port, answer: () => host });
  return startTcpBackend({ host, port, serve: sayAndClose(host) });
}

/** Who answers a client that has never been here with this port number. */
async function whoAnswers(protocol: Protocol, port: number, from: string): Promise<string> {
  if (protocol === 'UDP') {
    const client = await UdpClient.dial('127.0.0.1', port, from);
    try {
      return String(await client.ask('who?'));
    } finally {
      client.close();
    }
  }
  const peer = await Peer.dial('127.0.0.1', port, { localAddress: from });
  await peer.ended();
  peer.fin();
  return peer.text;
}

/** A port that was free a moment ago, for TCP and for UDP. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  const socket = createSocket('udp4').bind(port, '127.0.0.1');
  await Promise.race([once(socket, 'listening'), once(socket, 'error')]);
  socket.close();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

class World {
  readonly store = new ObjectStore();
  readonly #redirector = new FakeRedirector(new Journal());
  readonly #reconciler: Reconciler;
  readonly pods = new Map<string, Pod>();

  private constructor(
    readonly protocol: Protocol,
    readonly engine: RelayThreads,
    readonly podPort: number,
    readonly nodePort: number,
  ) {
    const listeners = new ListenerSet({
      engine,
      ports: new RedirectPorts({ first: 21_000, last: 21_999 }),
      drainMs: 0,
      clock: monotonicClock,
      log: silentLog,
    });
    this.#reconciler = new Reconciler({
      store: this.store,
      listeners,
      redirector: this.#redirector,
      view: () => ({
        nodeName: 'node-a',
        zone: undefined,
        serviceProxyName: undefined,
        nodePortHosts: (family) => (family === 'IPv4' ? ['127.0.0.1'] : []),
        redirectHost: (family) => (family === 'IPv4' ? '127.0.0.1' : undefined),
      }),
      minSyncPeriodMs: 0,
      clock: monotonicClock,
      log: silentLog,
    });
    this.#reconciler.start();
    this.store.markSynced();
  }

  static async start(protocol: Protocol, name: 'portable' | 'native'): Promise<World> {
    const engine = new RelayThreads({
      threads: 1,
      engine: name,
      options: defaultEngineOptions,
      events: { log: () => undefined, record: () => undefined },
    });
    await engine.start();
    const podPort = await freePort();
    const world = new World(protocol, engine, podPort, await freePort());
    for (const host of PODS) world.pods.set(host, await startPod(protocol, host, podPort));
    return world;
  }

  async stop(): Promise<void> {
    await this.#reconciler.stop();
    await this.engine.stop(0);
    await Promise.all([...this.pods.values()].map((pod) => pod.close()));
  }

  service(affinityTimeoutMs: number | undefined, over: Partial<Service> = {}): void {
    const { protocol, nodePort } = this;
    this.store.setService(redisService({ affinityTimeoutMs, ports: [servicePort({ protocol, nodePort })], ...over }));
  }

  endpoints(...hosts: readonly string[]): void {
    const ports = [{ name: 'redis', protocol: this.protocol, port: this.podPort }];
    this.store.setSlice(redisSlice(hosts, { ports }));
  }

  /** Until everything that was said so far holds. */
  async applied(): Promise<void> {
    const { status } = this.#reconciler;
    await until('the sync', () => status.synced && status.oldestPendingAtMs === undefined);
    expect(status.faults).to.deep.equal([]);
  }

  async serving(affinityTimeoutMs: number | undefined): Promise<void> {
    this.service(affinityTimeoutMs);
    this.endpoints(...PODS);
    await this.applied();
  }

  /** The redirect port behind the cluster IP. */
  get clusterIpPort(): number {
    return Number(this.#redirector.rules.get(`10.96.0.10:6379/${this.protocol}`));
  }

  async ask(from: string = CLIENT, port = this.nodePort): Promise<string> {
    return whoAnswers(this.protocol, port, from);
  }

  /** One after the other, each when the last one's time is over. */
  async askAfterPauses(times: number, pauseMs: number): Promise<readonly string[]> {
    const answers: string[] = [];
    for (let at = 0; at < times; at++) {
      await sleep(pauseMs);
      answers.push(await this.ask());
    }
    return answers;
  }
}

for (const engine of ['portable', 'native'] as const) {
  for (const protocol of ['TCP', 'UDP'] as const) {
    describe(`ClientIP affinity through the ${engine} engine, ${protocol} (B2)`, () => {
      let world: World;

      before(function () {
        if (engine === 'native') nativeFault(this);
      });

      beforeEach(async () => {
        world = await World.start(protocol, engine);
      });

      afterEach(() => world?.stop());

      it('holds a client to one endpoint, through the node port and the cluster IP alike', async () => {
        await world.serving(FOREVER_MS);
        const first = await world.ask();
        expect(world.clusterIpPort).to.not.equal(world.nodePort);
        for (const port of [world.clusterIpPort, world.nodePort, world.clusterIpPort, world.nodePort]) {
          expect(await world.ask(CLIENT, port)).to.equal(first);
        }
      });

      it('gives every other client its own turn', async () => {
        await world.serving(FOREVER_MS);
        const answers: string[] = [];
        for (const client of OTHERS) answers.push(await world.ask(client));
        expect(answers).to.have.members([...PODS]);
        for (const [at, client] of OTHERS.entries()) expect(await world.ask(client)).to.equal(answers[at]);
      });

      it('lasts as long as it is used, and ends a timeout after the last use', async () => {
        await world.serving(1_000);
        const first = await world.ask();
        const startedMs = performance.now();
        while (performance.now() - startedMs < 1_400) {
          await sleep(100);
          expect(await world.ask()).to.equal(first);
        }
        world.service(SHORT_MS);
        await world.applied();
        expect(await world.askAfterPauses(3, 3 * SHORT_MS)).to.have.members([...PODS]);
      });

      for (const order of ['Service first', 'slices first'] as const) {
        it(`obeys the timeout in this order of arrival: ${order}`, async () => {
          const arrivals = [() => world.service(SHORT_MS), () => world.endpoints(...PODS)];
          for (const arrive of order === 'Service first' ? arrivals : arrivals.reverse()) {
            arrive();
            await world.applied();
          }
          expect(await world.askAfterPauses(3, 3 * SHORT_MS)).to.have.members([...PODS]);
          world.service(FOREVER_MS);
          await world.applied();
          const [first, ...later] = await world.askAfterPauses(3, 3 * SHORT_MS);
          expect(later).to.deep.equal([first, first]);
        });
      }

      it('survives a scale to zero and back, and changes of the others', async () => {
        await world.serving(FOREVER_MS);
        const first = await world.ask();
        world.endpoints();
        await world.applied();
        world.endpoints(...PODS);
        await world.applied();
        expect(await world.ask()).to.equal(first);
        world.endpoints(first, '127.0.1.9');
        await world.applied();
        expect(await world.ask()).to.equal(first);
      });

      it('moves a client whose endpoint went, and keeps it there when that comes back', async () => {
        await world.serving(FOREVER_MS);
        const first = await world.ask();
        world.endpoints(...PODS.filter((host) => host !== first));
        await world.applied();
        const second = await world.ask();
        expect(second).to.not.equal(first);
        world.endpoints(...PODS);
        await world.applied();
        expect(await world.ask()).to.equal(second);
      });

      it('moves a client whose endpoint refuses it, and keeps it there (k/k#24648)', async () => {
        await world.serving(FOREVER_MS);
        const first = await world.ask();
        await world.pods.get(first)?.close();
        const second = await world.ask();
        expect(second).to.not.equal(first);
        world.pods.set(first, await startPod(protocol, first, world.podPort));
        for (let at = 0; at < 3; at++) expect(await world.ask()).to.equal(second);
      });

      it('is turned off and on live', async () => {
        await world.serving(FOREVER_MS);
        await world.ask();
        world.service(undefined);
        await world.applied();
        expect(await world.askAfterPauses(3, 0)).to.have.members([...PODS]);
        world.service(FOREVER_MS);
        await world.applied();
        const first = await world.ask();
        for (const port of [world.clusterIpPort, world.nodePort]) expect(await world.ask(CLIENT, port)).to.equal(first);
      });

      it('outlives a change of the node port, and of the port number', async () => {
        await world.serving(FOREVER_MS);
        const first = await world.ask();
        const nodePort = await freePort();
        world.service(FOREVER_MS, { ports: [servicePort({ protocol, nodePort, port: 6_380 })] });
        await world.applied();
        for (let at = 0; at < 2; at++) expect(await world.ask(CLIENT, nodePort)).to.equal(first);
      });

      it('is forgotten with its Service', async () => {
        await world.serving(FOREVER_MS);
        const first = await world.ask();
        const before = new Set<string>();
        // The turn goes on from wherever it is: of three new starts, shuffled, one differs all but surely.
        for (let at = 0; at < 12 && before.size < 2; at++) {
          world.store.deleteService('work/saythx-redis');
          await world.applied();
          await world.serving(FOREVER_MS);
          before.add(await world.ask());
        }
        expect([...before], `after ${first}`).to.have.length(2);
      });
    });
  }
}
