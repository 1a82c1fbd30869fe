import { once } from 'node:events';
import { readdir } from 'node:fs/promises';
import { expect } from 'chai';
import { RelayThreads } from '../../lib/relay/thread/relay-threads.js';
import { echo } from '../support/backends.js';
import { EngineProcess } from '../support/engine-process.js';
import { nativeFault } from '../support/native.js';
import { dialError } from '../support/peer.js';
import { until } from '../support/until.js';
import { engineSuite } from './engine-suite/index.js';
import { type MakeEngine, withRig } from './engine-suite/rig.js';

const MORTAL = new URL('../support/programs/mortal-worker.js', import.meta.url);

describe('native engine', () => {
  before(function () {
    nativeFault(this);
  });

  for (const threads of [1, 2]) {
    engineSuite(`in ${threads === 1 ? 'one relay thread' : 'two relay threads'}`, async (options, events) => {
      const engine = new RelayThreads({ threads, engine: 'native', options, events });
      await engine.start();
      return engine;
    });
  }

  it('leaves no descriptor behind when its thread dies, and opens everything again on the same ports', async () => {
    const make: MakeEngine = async (options, events) => {
      const engine = new RelayThreads({ threads: 1, engine: 'native', options, events, worker: MORTAL });
      await engine.start();
      return engine;
    };
    await withRig(make, {}, async (rig) => {
      const backend = await rig.tcpBackend({ serve: echo });
      const udp = await rig.udpBackend();
      const listener = await rig.open('TCP', [backend]);
      const flows = await rig.open('UDP', [udp], { host: '0.0.0.0' });
      const opened = (await readdir('/proc/self/fd')).length;
      const crowd = await Promise.all(Array.from({ length: 30 }, () => rig.dial(listener)));
      for (const client of crowd) client.send('x');
      for (const client of crowd) await client.got('x');
      await (await rig.dialUdp(flows)).ask('x');

      const channel = new BroadcastChannel('relay-thread-dies');
      channel.postMessage('die');
      channel.close();
      // It blocks until somebody calls.
      await rig.engine.stats();
      expect(await Promise.all(crowd.map((client) => client.ended()))).to.deep.equal(new Array(30).fill('rst'));
      await until('the listener again', async () => (await dialError(listener.host, listener.port)) === 'connected');
      expect(String(await (await rig.dialUdp(flows)).ask('z'))).to.equal('z');
      // Two UDP clients of ours, and one flow of theirs.
      await until('as many descriptors as before', async () => (await readdir('/proc/self/fd')).length <= opened + 3);
    });
  });

  it('serves small messages beside fat flows: no flow has a turn without end', async function () {
    this.timeout(20_000);
    const make: MakeEngine = (options, _events) => EngineProcess.start({ engine: 'native', options });
    await withRig(make, {}, async (rig) => {
      const sink = await rig.tcpBackend({ keep: false });
      const backend = await rig.tcpBackend({ serve: echo });
      const fat = await rig.open('TCP', [sink]);
      const small = await rig.dial(await rig.open('TCP', [backend]));
      let over = false;
      const chunk = Buffer.alloc(1024 * 1024);
      const senders = [0, 1, 2].map(async () => {
        const { socket } = await rig.dial(fat, { keep: false });
        while (!over) if (!socket.write(chunk)) await once(socket, 'drain');
      });
      const times: number[] = [];
      for (let count = 1; count <= 100; count++) {
        const startMs = performance.now();
        small.send('.');
        await small.gotBytes(count);
        times.push(performance.now() - startMs);
      }
      over = true;
      await Promise.all(senders);
      times.sort((one, other) => one - other);
      expect(times[50]).to.be.below(50);
      expect(times[98]).to.be.below(500);
      const { bytesUp } = await rig.statsOf(fat);
      expect(bytesUp).to.be.above(10 * chunk.length);
    });
  });
});
