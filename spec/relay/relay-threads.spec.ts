import { expect } from 'chai';
import { defaultEngineOptions, type EngineOptions, ListenError } from '../../lib/relay/engine.js';
import { RelayThreads } from '../../lib/relay/thread/relay-threads.js';
import { echo, sayAndClose } from '../support/backends.js';
import { dialError } from '../support/peer.js';
import { until, within } from '../support/until.js';
import { type MakeEngine, withRig } from './engine-suite/rig.js';

const MORTAL = new URL('../support/programs/mortal-worker.js', import.meta.url);

/** Every mortal thread of this process dies. */
function killThreads(): void {
  const channel = new BroadcastChannel('relay-thread-dies');
  channel.postMessage('die');
  channel.close();
}

function relayThreads(threads: number, worker?: URL): MakeEngine {
  return async (options, events) => {
    const all = new RelayThreads({ threads, engine: 'portable', options, events, ...(worker && { worker }) });
    await all.start();
    return all;
  };
}

const quiet = { log: () => undefined, record: () => undefined };

describe('RelayThreads', () => {
  it('opens everything again on the same ports when a thread dies, and says so', async () => {
    await withRig(relayThreads(2, MORTAL), {}, async (rig) => {
      const backend = await rig.tcpBackend({ serve: echo });
      const udp = await rig.udpBackend();
      const listeners = await Promise.all([1, 2, 3, 4].map(() => rig.open('TCP', [backend])));
      const flows = await rig.open('UDP', [udp], { host: '0.0.0.0' });
      const empty = await rig.open('TCP', []);
      const [listener] = listeners;
      if (listener === undefined) throw new Error('four listeners');
      const client = await rig.dial(listener);
      client.send('x');
      await client.got('x');

      killThreads();
      await client.ending;
      await until(
        'both threads to be missed',
        () => rig.heard.logs.filter(({ level }) => level === 'error').length === 2,
      );
      for (const one of listeners) {
        await until('the listener again', async () => (await dialError(one.host, one.port)) === 'connected');
        const next = await rig.dial(one);
        next.send('y');
        await next.got('y');
      }
      expect(String(await (await rig.dialUdp(flows)).ask('z'))).to.equal('z');
      // The listener without backends is known to the new thread as well.
      await rig.update(empty, [backend]);
      expect(await rig.statsOf(empty)).to.include({ listening: true });
      expect(rig.heard.logs.find(({ level }) => level === 'error')?.fields['err']).to.be.instanceOf(Error);
    });
  });

  it('takes the last backends and affinity along to the new thread', async () => {
    await withRig(relayThreads(1, MORTAL), {}, async (rig) => {
      const backends = await Promise.all(['a', 'b'].map((name) => rig.tcpBackend({ serve: sayAndClose(name) })));
      const listener = await rig.open('TCP', []);
      await rig.update(listener, backends);
      await rig.engine.setAffinity(listener.key, 60_000);
      const { port } = await rig.statsOf(listener);
      killThreads();
      await until('the death', () => rig.heard.logs.some(({ level }) => level === 'error'));
      const stats = await rig.untilStats('the listener again', listener, ({ listening }) => listening);
      expect(stats.port).to.equal(port);
      const mine = await rig.ask({ ...listener, port });
      expect(await rig.ask({ ...listener, port })).to.equal(mine);
    });
  });

  it('rejects a call that is under way when its thread dies, as a fault of that listener alone', async () => {
    await withRig(relayThreads(1, MORTAL), {}, async (rig) => {
      const listener = await rig.open('TCP', []);
      const backend = await rig.tcpBackend({ serve: sayAndClose('served') });
      const calls: Promise<unknown>[] = [];
      killThreads();
      await until('the death', () => {
        calls.push(rig.update(listener, [backend]).catch((error: unknown) => error));
        return rig.heard.logs.some(({ level }) => level === 'error');
      });
      for (const failure of await within('all calls', Promise.all(calls))) {
        if (failure !== undefined) expect(failure).to.be.instanceOf(ListenError);
      }
      await rig.update(listener, [backend]);
      const { port } = await rig.statsOf(listener);
      expect(await rig.ask({ ...listener, port })).to.equal('served');
    });
  });

  it('gives the connections of a dead thread back to the bound of all (T9)', async () => {
    await withRig(relayThreads(1, MORTAL), { maxConnections: 1 }, async (rig) => {
      const backend = await rig.tcpBackend({ serve: echo });
      const listener = await rig.open('TCP', [backend]);
      const client = await rig.dial(listener);
      client.send('x');
      await client.got('x');
      killThreads();
      await until('the death', () => rig.heard.logs.some(({ level }) => level === 'error'));
      await rig.untilStats('the listener again', listener, ({ listening }) => listening);
      const next = await rig.dial(listener);
      next.send('y');
      await next.got('y');
      expect(await (await rig.dial(listener)).ended()).to.equal('rst');
    });
  });

  it('lets one Service port use the whole bound of the process, and two no more than it (T9)', async () => {
    await withRig(relayThreads(2), { maxConnections: 4 }, async (rig) => {
      const backend = await rig.tcpBackend({ serve: echo });
      const first = await rig.open('TCP', [backend]);
      for (let count = 0; count < 4; count++) {
        const client = await rig.dial(first);
        client.send('x');
        await client.got('x');
      }
      // Wherever the others live, the bound is reached.
      for (let count = 0; count < 4; count++) {
        const refused = await rig.dial(await rig.open('TCP', [backend]));
        expect(await refused.ended()).to.equal('rst');
      }
    });
  });

  it('keeps listeners of one Service port in one thread, and spreads Service ports over all', async () => {
    await withRig(relayThreads(2, MORTAL), {}, async (rig) => {
      const keys = await Promise.all(Array.from({ length: 16 }, () => rig.open('TCP', [])));
      expect((await rig.engine.stats()).listeners).to.have.length(keys.length);
      killThreads();
      await until('both deaths', () => rig.heard.logs.filter(({ level }) => level === 'error').length === 2);
      const counts = rig.heard.logs
        .filter(({ level }) => level === 'error')
        .map(({ fields }) => Number(fields['listeners']));
      expect(counts.reduce((sum, count) => sum + count, 0)).to.equal(16);
      expect(Math.min(...counts)).to.be.at.least(3);
    });
  });

  it('uses the portable engine where native is not to be had, and says why', async () => {
    const logs: { message: string; fields: Record<string, unknown> }[] = [];
    const log = (_level: string, message: string, fields: Record<string, unknown>) => logs.push({ message, fields });
    const worker = new URL('../support/programs/no-native-worker.js', import.meta.url);
    const threads = new RelayThreads({
      threads: 1,
      engine: 'auto',
      options: defaultEngineOptions,
      events: { ...quiet, log },
      worker,
    });
    await threads.start();
    try {
      expect((await threads.stats()).engine).to.equal('portable');
      expect(logs).to.have.length(1);
      expect(logs[0]?.fields['reason']).to.include('native is not to be had');
    } finally {
      await threads.stop(0);
    }
  });

  it('rejects at start where the engine that was asked for cannot run', async () => {
    const worker = new URL('../support/programs/no-native-worker.js', import.meta.url);
    const options: EngineOptions = defaultEngineOptions;
    const threads = new RelayThreads({ threads: 2, engine: 'native', options, events: quiet, worker });
    const failure = await threads.start().catch((error: unknown) => error);
    expect(failure).to.include({ name: 'EngineUnavailableError', code: 'ENGINE_UNAVAILABLE' });
    await threads.stop(0);
  });

  it('hurries a stop that is under way', async () => {
    await withRig(relayThreads(1), {}, async (rig) => {
      const backend = await rig.tcpBackend({ serve: echo });
      const client = await rig.dial(await rig.open('TCP', [backend]));
      client.send('x');
      await client.got('x');
      const slow = rig.engine.stop(60_000);
      await rig.engine.stop(0);
      await within('the first stop', slow);
      expect(await client.ended()).to.equal('rst');
    });
  });
});
