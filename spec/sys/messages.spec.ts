import { expect } from 'chai';
import * as k from '../../lib/sys/constants.js';
import { nativeFault } from '../support/native.js';
import { requires } from '../support/requires.js';

describe('Messages', () => {
  let libc: typeof import('../../lib/sys/libc.js');
  let sockets: typeof import('../../lib/sys/socket.js');
  let addresses: typeof import('../../lib/sys/sockaddr.js');
  let Memory: typeof import('../../lib/sys/memory.js')['Memory'];
  let Messages: typeof import('../../lib/sys/messages.js')['Messages'];
  const open: number[] = [];

  before(async function () {
    nativeFault(this);
    libc = await import('../../lib/sys/libc.js');
    sockets = await import('../../lib/sys/socket.js');
    addresses = await import('../../lib/sys/sockaddr.js');
    ({ Memory } = await import('../../lib/sys/memory.js'));
    ({ Messages } = await import('../../lib/sys/messages.js'));
  });

  afterEach(() => {
    for (const fd of open.splice(0)) libc.close(fd);
  });

  function bound(host: string, level: number, option: number): number {
    const fd = sockets.openBound(k.SOCK_DGRAM, host, 0, (opened) => sockets.setInt(opened, level, option, 1));
    open.push(fd);
    return fd;
  }

  /** Sends `lengths` from `from` to `to`, and returns the sockaddr memory of the sender's target. */
  function sendTo(fd: number, ip: string, port: number, lengths: readonly number[], from: string): void {
    const out = new Messages(lengths.length);
    const target = new Memory(32);
    const source = new Memory(32);
    addresses.writeSockaddr(target, 0, ip, port);
    addresses.writeSockaddr(source, 0, from, 0);
    const v6 = ip.includes(':');
    const local = v6
      ? new Int32Array([...source.words.subarray(2, 6), 0])
      : new Int32Array([source.words[1] ?? 0, 0, 0, 0, 0]);
    lengths.forEach((length, i) => {
      out.setPeer(i, target.words, 0);
      out.prepare(i, length, v6 ? k.AF_INET6 : k.AF_INET, local, 0);
    });
    expect(out.send(fd, 0, lengths.length)).to.equal(lengths.length);
    expect(lengths.map((_length, i) => out.length(i))).to.deep.equal(lengths);
  }

  it('carries a batch with its lengths and both addresses over IPv4 (U1, U2)', () => {
    const fd = bound('0.0.0.0', k.IPPROTO_IP, k.IP_PKTINFO);
    const port = sockets.localPort(fd);
    sendTo(fd, '127.0.0.3', port, [0, 1, 65_507], '127.0.0.2');
    const into = new Messages(8);
    expect(into.receive(fd)).to.equal(3);
    const local = new Int32Array(5);
    const dialled = new Memory(32);
    addresses.writeSockaddr(dialled, 0, '127.0.0.3', 0);
    for (const [i, length] of [0, 1, 65_507].entries()) {
      expect(into.length(i)).to.equal(length);
      expect(addresses.readHostPort(into.peers, i * 32)).to.equal(`127.0.0.2:${port}`);
      into.readLocal(i, local, 0);
      expect([...local]).to.deep.equal([dialled.words[1], 0, 0, 0, 0]);
    }
  });

  it('receives into the same batch again after its release', () => {
    const fd = bound('0.0.0.0', k.IPPROTO_IP, k.IP_PKTINFO);
    const port = sockets.localPort(fd);
    const into = new Messages(2);
    for (const length of [9, 5_000, 3]) {
      sendTo(fd, '127.0.0.1', port, [length], '127.0.0.1');
      expect(into.receive(fd)).to.equal(1);
      expect(into.length(0)).to.equal(length);
      expect(addresses.readHostPort(into.peers, 0)).to.equal(`127.0.0.1:${port}`);
      into.release(1);
    }
  });

  it('carries both addresses over IPv6 (U1)', function () {
    requires(this, 'ipv6');
    const fd = bound('::', k.IPPROTO_IPV6, k.IPV6_RECVPKTINFO);
    const port = sockets.localPort(fd);
    sendTo(fd, '::1', port, [65_527, 4], '::1');
    const into = new Messages(2);
    expect(into.receive(fd)).to.equal(2);
    const local = new Int32Array(5);
    into.readLocal(1, local, 0);
    expect(addresses.readHostPort(into.peers, 32)).to.equal(`[::1]:${port}`);
    expect(into.length(0)).to.equal(65_527);
    expect([...local]).to.deep.equal([0, 0, 0, 0x01000000, 0]);
  });

  it('tells no local address where the socket does not ask for it', () => {
    const fd = bound('127.0.0.1', k.SOL_SOCKET, k.SO_REUSEADDR);
    sendTo(fd, '127.0.0.1', sockets.localPort(fd), [4], '127.0.0.1');
    const into = new Messages(1);
    expect(into.receive(fd)).to.equal(1);
    const local = new Int32Array([1, 1, 1, 1, 1]);
    into.readLocal(0, local, 0);
    expect([...local]).to.deep.equal([0, 0, 0, 0, 0]);
  });

  it('says with errno that nothing waits', () => {
    const fd = bound('127.0.0.1', k.SOL_SOCKET, k.SO_REUSEADDR);
    expect(new Messages(1).receive(fd)).to.equal(-1);
    expect(libc.errno()).to.equal(k.EAGAIN);
  });
});
