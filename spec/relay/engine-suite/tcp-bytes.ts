/** Bytes and back-pressure: rules T5 and T7, over both families. */
import { createHash, randomBytes, randomInt } from 'node:crypto';
import { once } from 'node:events';
import { expect } from 'chai';
import { echo } from '../../support/backends.js';
import type { Peer } from '../../support/peer.js';
import { requires } from '../../support/requires.js';
import { until } from '../../support/until.js';
import { type MakeEngine, withRig } from './rig.js';

const MIB = 1024 * 1024;

/** Sends random bytes in pieces of random sizes, as fast as they are taken, then FIN; resolves with their SHA-256. */
async function sendRandom({ socket }: Peer, total: number): Promise<string> {
  const hash = createHash('sha256');
  for (let left = total; left > 0; ) {
    const piece = randomBytes(Math.min(left, randomInt(2) === 0 ? randomInt(1, 200) : randomInt(1, 200_000)));
    hash.update(piece);
    left -= piece.length;
    if (!socket.write(piece)) await once(socket, 'drain');
    else if (randomInt(4) === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  socket.end();
  return hash.digest('hex');
}

export function tcpBytesSuite(make: MakeEngine): void {
  describe('bytes (T7)', () => {
    for (const host of ['127.0.0.1', '::1']) {
      it(`delivers random sizes both ways at once, byte for byte, at ${host}`, async function () {
        this.timeout(30_000);
        if (host === '::1') requires(this, 'ipv6');
        await withRig(make, {}, async (rig) => {
          const backend = await rig.tcpBackend({ host, keep: false });
          const client = await rig.dial(await rig.open('TCP', [backend], { host }), { keep: false });
          const server = await backend.connection();
          const [up, down] = await Promise.all([sendRandom(client, 12 * MIB), sendRandom(server, 12 * MIB)]);
          expect(await Promise.all([client.ended(20_000), server.ended(20_000)])).to.deep.equal(['fin', 'fin']);
          expect([server.bytes, server.sha256]).to.deep.equal([12 * MIB, up]);
          expect([client.bytes, client.sha256]).to.deep.equal([12 * MIB, down]);
        });
      });
    }

    it('delivers every size around the usual buffer sizes, one message at a time', async () => {
      await withRig(make, {}, async (rig) => {
        const backend = await rig.tcpBackend({ serve: echo, keep: false });
        const client = await rig.dial(await rig.open('TCP', [backend]), { keep: false });
        const hash = createHash('sha256');
        let sent = 0;
        for (const size of [
          1, 2, 1447, 1448, 1449, 4095, 4096, 16383, 16384, 16385, 65535, 65536, 65537, 131072, 262145,
        ]) {
          const message = randomBytes(size);
          hash.update(message);
          sent += size;
          client.send(message);
          await client.gotBytes(sent);
        }
        client.fin();
        expect(await client.ended()).to.equal('fin');
        expect([client.bytes, client.sha256]).to.deep.equal([sent, hash.digest('hex')]);
      });
    });

    it('delivers 2,000 messages of one byte, each after the answer to the one before', async () => {
      await withRig(make, {}, async (rig) => {
        const backend = await rig.tcpBackend({ serve: echo });
        const client = await rig.dial(await rig.open('TCP', [backend]));
        for (let index = 0; index < 2_000; index++) {
          client.send(String(index % 10));
          if (client.bytes <= index) await once(client.socket, 'data');
        }
        expect(client.text).to.equal('0123456789'.repeat(200));
      });
    });

    it('keeps 200 connections at once apart', async () => {
      await withRig(make, {}, async (rig) => {
        const backend = await rig.tcpBackend({ serve: echo });
        const listener = await rig.open('TCP', [backend]);
        const one = async () => {
          const client = await rig.dial(listener);
          const message = randomBytes(randomInt(1, 50_000)).toString('hex');
          client.fin(message);
          expect(await client.ended(20_000)).to.equal('fin');
          expect(client.text).to.equal(message);
        };
        await Promise.all(Array.from({ length: 200 }, one));
      });
    });

    it('delivers all of 4 MiB that the backend wrote before it closed at once', async () => {
      await withRig(make, {}, async (rig) => {
        const answer = randomBytes(4 * MIB);
        const backend = await rig.tcpBackend({ serve: (peer) => peer.fin(answer) });
        const client = await rig.dial(await rig.open('TCP', [backend]), { keep: false });
        expect(await client.ended()).to.equal('fin');
        expect([client.bytes, client.sha256]).to.deep.equal([
          4 * MIB,
          createHash('sha256').update(answer).digest('hex'),
        ]);
      });
    });

    it('counts the bytes of both directions', async () => {
      await withRig(make, {}, async (rig) => {
        const backend = await rig.tcpBackend({
          serve: (peer) => peer.socket.once('end', () => peer.fin('x'.repeat(70_000))),
        });
        const listener = await rig.open('TCP', [backend]);
        const client = await rig.dial(listener);
        client.fin('y'.repeat(100_000));
        await client.ended();
        const stats = await rig.untilStats('the end of the connection', listener, ({ active }) => active === 0);
        expect(stats).to.include({ bytesUp: 100_000, bytesDown: 70_000, total: 1 });
        expect(stats.outcomes).to.deep.equal({ closed: 1 });
      });
    });
  });

  describe('back-pressure (T5)', () => {
    for (const direction of ['client', 'backend'] as const) {
      it(`stops a fast ${direction === 'client' ? 'client' : 'backend'} at a reader that does not read, then delivers all`, async function () {
        this.timeout(30_000);
        await withRig(make, {}, async (rig) => {
          const total = 96 * MIB;
          const piece = randomBytes(MIB);
          const backend = await rig.tcpBackend({ keep: false });
          const client = await rig.dial(await rig.open('TCP', [backend]), { keep: false });
          const server = await backend.connection();
          const [writer, reader] = direction === 'client' ? [client, server] : [server, client];
          reader.socket.pause();
          const rssBefore = process.memoryUsage().rss;

          let written = 0;
          const hash = createHash('sha256');
          const write = async (): Promise<void> => {
            while (written < total) {
              hash.update(piece);
              written += MIB;
              if (!writer.socket.write(piece)) await once(writer.socket, 'drain');
            }
            writer.fin();
          };
          const writing = write();

          // Nothing has moved for half a second: every buffer on the way is full.
          let [seen, since] = [-1, 0];
          await until('the writer to be stopped', () => {
            if (written !== seen) [seen, since] = [written, performance.now()];
            return performance.now() - since > 500;
          });
          // The kernel's buffers of four sockets may take some 20 MiB (tcp_wmem, tcp_rmem); ours are far less.
          expect(written).to.be.below(48 * MIB);
          expect(process.memoryUsage().rss - rssBefore).to.be.below(64 * MIB);

          reader.socket.resume();
          await writing;
          expect(await reader.ended(20_000)).to.equal('fin');
          expect([reader.bytes, reader.sha256]).to.deep.equal([total, hash.digest('hex')]);
        });
      });
    }

    it('lets the other direction go on while one is stopped', async () => {
      await withRig(make, {}, async (rig) => {
        const backend = await rig.tcpBackend({ keep: false });
        const client = await rig.dial(await rig.open('TCP', [backend]));
        const server = await backend.connection();
        server.socket.pause();
        let stopped = false;
        for (const piece = randomBytes(MIB); !stopped; ) {
          if (client.socket.write(piece)) continue;
          stopped = await Promise.race([
            once(client.socket, 'drain').then(() => false),
            new Promise<boolean>((resolve) => setTimeout(() => resolve(true), 300)),
          ]);
        }
        server.send('still here');
        await client.got('still here');
      });
    });
  });
}
