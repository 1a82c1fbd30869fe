import { readdir, readFile, readlink } from 'node:fs/promises';
import { expect } from 'chai';
import * as k from '../../lib/sys/constants.js';
import { nativeFault, ringFault } from '../support/native.js';

describe('Ring', () => {
  let libc: typeof import('../../lib/sys/libc.js');
  let sockets: typeof import('../../lib/sys/socket.js');
  let addresses: typeof import('../../lib/sys/sockaddr.js');
  let Memory: typeof import('../../lib/sys/memory.js')['Memory'];
  let Ring: typeof import('../../lib/sys/ring.js')['Ring'];
  let dup2: (from: number, to: number) => number;
  const cleanUps: (() => void)[] = [];

  before(async function () {
    nativeFault(this);
    await ringFault(this);
    libc = await import('../../lib/sys/libc.js');
    sockets = await import('../../lib/sys/socket.js');
    addresses = await import('../../lib/sys/sockaddr.js');
    ({ Memory } = await import('../../lib/sys/memory.js'));
    ({ Ring } = await import('../../lib/sys/ring.js'));
    dup2 = (await import('koffi')).default.load(null).func('int dup2(int, int)') as unknown as typeof dup2;
  });

  afterEach(() => {
    for (const cleanUp of cleanUps.splice(0)) cleanUp();
  });

  function ringOf(capacity: number) {
    const ring = new Ring(capacity);
    cleanUps.push(() => ring.close());
    return ring;
  }

  function bound(): number {
    const fd = sockets.openBound(k.SOCK_DGRAM, '127.0.0.1', 0, () => 0);
    cleanUps.push(() => libc.close(fd));
    return fd;
  }

  /** A socket whose peer is `port` of 127.0.0.1. */
  function connectedTo(port: number): number {
    const fd = bound();
    const peer = new Memory(32);
    const length = addresses.writeSockaddr(peer, 0, '127.0.0.1', port);
    expect(libc.connect(fd, peer.address, length)).to.equal(0);
    return fd;
  }

  function textsAt(fd: number): string[] {
    const into = new Memory(64);
    const texts: string[] = [];
    for (;;) {
      const length = libc.recv(fd, into.address, 64, k.MSG_DONTWAIT);
      if (length < 0) return texts;
      texts.push(String.fromCharCode(...into.bytes.subarray(0, length)));
    }
  }

  it('makes the calls in their order and reports each, however often it goes round', () => {
    const to = bound();
    const from = connectedTo(sockets.localPort(to));
    const ring = ringOf(4);
    const text = new Memory(16);
    text.bytes.set([...'0123456789'].map((digit) => digit.charCodeAt(0)));
    for (let round = 0; round < 5; round++) {
      const heard: [number, number][] = [];
      for (let i = 0; i < 3; i++) ring.send(from, text.address + round + i, i + 1, k.MSG_DONTWAIT, 100 + i);
      expect(ring.pending).to.equal(3);
      ring.submit((id, result) => heard.push([id, result]));
      expect(ring.pending).to.equal(0);
      expect(heard).to.deep.equal([
        [100, 1],
        [101, 2],
        [102, 3],
      ]);
      const digits = '0123456789';
      const sent = [0, 1, 2].map((i) => digits.slice(round + i, round + 2 * i + 1));
      expect(textsAt(to)).to.deep.equal(sent);
    }
  });

  it('reports a failure as a negative errno, and makes the others all the same', () => {
    const to = bound();
    const from = connectedTo(sockets.localPort(to));
    const nobody = bound();
    const refused = connectedTo(sockets.localPort(nobody));
    cleanUps.splice(cleanUps.length - 2, 1);
    libc.close(nobody);
    const ring = ringOf(8);
    const text = new Memory(70_000);
    text.bytes[0] = 'x'.charCodeAt(0);
    const results: number[] = [];
    ring.send(refused, text.address, 1, k.MSG_DONTWAIT, 0);
    ring.send(refused, text.address, 1, k.MSG_DONTWAIT, 1);
    ring.send(from, text.address, 70_000, k.MSG_DONTWAIT, 2);
    ring.send(-1, text.address, 1, k.MSG_DONTWAIT, 3);
    ring.send(from, text.address, 1, k.MSG_DONTWAIT, 4);
    ring.submit((id, result) => {
      results[id] = result;
    });
    // The first is sent; the answer to it meets the second.
    expect(results).to.deep.equal([1, -k.ECONNREFUSED, -k.EMSGSIZE, -k.EBADF, 1]);
    expect(textsAt(to)).to.deep.equal(['x']);
  });

  it('is filled for the next time by the one who is told', () => {
    const to = bound();
    const from = connectedTo(sockets.localPort(to));
    const ring = ringOf(2);
    const text = new Memory(8);
    const heard: number[] = [];
    for (let id = 0; id < 2; id++) ring.send(from, text.address, id, k.MSG_DONTWAIT, id);
    ring.submit((id) => {
      heard.push(id);
      ring.send(from, text.address, 3, k.MSG_DONTWAIT, 10 + id);
    });
    expect([heard, ring.pending, textsAt(to).length]).to.deep.equal([[0, 1], 2, 2]);
    ring.submit((id) => heard.push(id));
    expect([heard, ring.pending, textsAt(to).length]).to.deep.equal([[0, 1, 10, 11], 0, 2]);
  });

  it('refuses more than it has room for', () => {
    const ring = ringOf(2);
    for (let id = 0; id < 2; id++) ring.send(-1, 0, 0, 0, id);
    expect(() => ring.send(-1, 0, 0, 0, 2)).to.throw(RangeError, /full/);
  });

  it('fails with ECANCELED what the kernel does not take', async () => {
    const ring = ringOf(4);
    const links = await Promise.all(
      (await readdir('/proc/self/fd')).map(async (fd) => [fd, await readlink(`/proc/self/fd/${fd}`).catch(() => '')]),
    );
    const [own] = links.filter(([, link]) => link === 'anon_inode:[io_uring]');
    // In place of the ring the kernel finds something else.
    const other = bound();
    expect(dup2(other, Number(own?.[0]))).to.be.at.least(0);
    const heard: [number, number][] = [];
    for (let id = 0; id < 3; id++) ring.send(-1, 0, 0, 0, id);
    ring.submit((id, result) => heard.push([id, result]));
    expect(heard).to.deep.equal([0, 1, 2].map((id) => [id, -k.ECANCELED]));
    expect(ring.pending).to.equal(0);
  });

  it('leaves neither descriptor nor memory behind', async () => {
    const used = async () => [
      (await readdir('/proc/self/fd')).length,
      (await readFile('/proc/self/maps', 'utf8')).split('\n').filter((line) => line.includes('io_uring')).length,
    ];
    const before = await used();
    for (let count = 0; count < 20; count++) {
      const ring = new Ring(8);
      ring.close();
      ring.close();
    }
    expect(await used()).to.deep.equal(before);
  });
});
