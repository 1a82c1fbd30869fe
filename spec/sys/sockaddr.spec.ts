import { expect } from 'chai';
import fc from 'fast-check';
import { parseIp } from '../../lib/config/address.js';
import { nativeFault } from '../support/native.js';

describe('sockaddr', () => {
  type Module = typeof import('../../lib/sys/sockaddr.js');
  type MemoryModule = typeof import('../../lib/sys/memory.js');
  let sockaddr: Module;
  let memory: InstanceType<MemoryModule['Memory']>;

  before(async function () {
    nativeFault(this);
    sockaddr = await import('../../lib/sys/sockaddr.js');
    memory = new (await import('../../lib/sys/memory.js')).Memory(64);
  });

  it('lays out IPv4 as ip(7) says', () => {
    expect(sockaddr.writeSockaddr(memory, 0, '10.1.2.3', 0x1234)).to.equal(16);
    expect([...memory.bytes.subarray(0, 16)]).to.deep.equal([2, 0, 0x12, 0x34, 10, 1, 2, 3, 0, 0, 0, 0, 0, 0, 0, 0]);
  });

  it('lays out IPv6 as ipv6(7) says', () => {
    expect(sockaddr.writeSockaddr(memory, 0, '2001:db8::ff00:1', 53)).to.equal(28);
    const address = [0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0, 0, 1];
    expect([...memory.bytes.subarray(0, 28)]).to.deep.equal([10, 0, 0, 53, 0, 0, 0, 0, ...address, 0, 0, 0, 0]);
  });

  it('leaves nothing of a longer address behind a shorter one', () => {
    sockaddr.writeSockaddr(memory, 0, 'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff', 65_535);
    sockaddr.writeSockaddr(memory, 0, '1.2.3.4', 1);
    expect([...memory.bytes.subarray(8, 32)]).to.deep.equal(new Array(24).fill(0));
  });

  it('reads a mapped address back', () => {
    sockaddr.writeSockaddr(memory, 32, '::ffff:10.0.0.1', 7);
    expect(sockaddr.readHostPort(memory, 32)).to.equal('[::ffff:10.0.0.1]:7');
  });

  it('reads back what it wrote, in canonical text', () => {
    const ip = fc.oneof(fc.ipV4(), fc.ipV6()).map((text) => parseIp(text));
    fc.assert(
      fc.property(ip, fc.integer({ min: 0, max: 65_535 }), (address, port) => {
        fc.pre(address !== undefined);
        sockaddr.writeSockaddr(memory, 32, address ?? '', port);
        expect(sockaddr.readIp(memory, 32)).to.equal(address);
        expect(sockaddr.readPort(memory, 32)).to.equal(port);
      }),
    );
  });
});
